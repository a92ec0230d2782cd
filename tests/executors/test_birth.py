"""Workers forked from a template: what they share, what they must not, and how they do without one."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hpo.attempt import Attempt, Evaluate, Outcome
from hpo.executors.birth import Births
from hpo.executors.local import Local
from hpo.executors.worker import Job
from hpo.metric import Metric
from hpo.trial import Trial


class Called:
    """An objective that calls a function."""

    def __init__(self, function: Evaluate) -> None:
        self.function = function

    def open(self) -> Evaluate:
        return self.function


def job(folder: Path, function: Evaluate, *imports: str, threads: int = 1) -> Job:
    return Job(Called(function), (Metric("x", "maximize"),), 0, threads, folder, imports=imports)


def run(executor: Local, count: int) -> list[Trial]:
    """So many at a time, all of them at once."""
    for number in range(count):
        executor.submit(Trial(number, {}, started=time.time()))
    done: list[Trial] = []
    while executor.busy:
        done += executor.wait()
    return sorted(done, key=lambda trial: trial.number)


def values(executor: Local, count: int) -> list[float]:
    done = run(executor, count)
    assert [trial.failure for trial in done] == [None] * count
    return [trial.values[0] for trial in done if trial.values]


def parent(attempt: Attempt) -> Outcome:
    time.sleep(0.3)  # so that no worker takes two of them
    return float(os.getppid())


def test_all_workers_have_one_parent_that_ends_with_them(tmp_path: Path) -> None:
    with closing(Local(job(tmp_path, parent), workers=3)) as executor:
        [template] = set(values(executor, 3))
        assert psutil.Process(int(template)).ppid() == os.getpid()
    assert not psutil.pid_exists(int(template))


def test_workers_come_from_a_template_that_was_begun_before(tmp_path: Path) -> None:
    with closing(Births(threads=1, imports=["hpo.trial"])) as births:
        before = set(psutil.Process().children())
        births.begin()
        [template] = set(psutil.Process().children()) - before
        with closing(Local(job(tmp_path, parent), workers=2, births=births)) as executor:
            assert values(executor, 2) == [float(template.pid)] * 2


def test_a_dead_template_costs_its_workers_and_nothing_else(tmp_path: Path) -> None:
    def fatal(attempt: Attempt) -> Outcome:
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return parent(attempt)

    with closing(Local(job(tmp_path, fatal), workers=1)) as executor:
        [lost] = run(executor, 1)
        assert lost.failure is not None
        assert (lost.failure.cause, lost.failure.transient) == ("signal", True)
        [template] = values(executor, 1)
        assert psutil.Process(int(template)).ppid() == os.getpid()


def test_a_template_that_cannot_be_forked_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may hold a lock that no child would ever get."""
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    (tmp_path / "deadly.py").write_text("import os; os._exit(1)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for imported in ("threaded", "deadly"):
        with closing(Local(job(tmp_path / imported, parent, imported), workers=2)) as executor:
            assert values(executor, 2) == [float(os.getpid())] * 2
    with closing(Local(job(tmp_path / "absent", parent, "hpo.nowhere"), workers=1)) as executor:
        assert values(executor, 1) != [float(os.getpid())]


def test_forked_workers_train_with_threads_after_others_have(tmp_path: Path) -> None:
    """What hangs in the child of a process that has trained must not hang here."""

    def train(attempt: Attempt) -> Outcome:
        import numpy as np
        import xgboost

        x = np.arange(4000.0).reshape(1000, 4)
        xgboost.train({"nthread": 2}, xgboost.QuantileDMatrix(x, label=x[:, 0], nthread=2), 5)
        np.linalg.svd(x @ x.T)
        if attempt.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    threaded = job(tmp_path, train, "hpo.objectives.xgboost", threads=2)
    with closing(Local(threaded, workers=2, deadline=120)) as executor:
        assert [trial.state for trial in run(executor, 2)] == ["failed", "complete"]
        assert [trial.state for trial in run(executor, 2)] == ["failed", "complete"]


def test_forked_workers_are_as_fresh_ones_would_be(tmp_path: Path) -> None:
    def look(attempt: Attempt) -> Outcome:
        import numpy as np
        import threadpoolctl

        pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
        assert pools == {2}, pools
        assert {os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"2"}
        assert os.environ["LEASE"] in "ab"
        assert "HIDDEN" not in os.environ
        assert b"HIDDEN" not in Path(f"/proc/{os.getppid()}/environ").read_bytes()
        assert os.getpgid(0) == os.getpid()
        time.sleep(0.3)
        return float(np.random.random())

    os.environ["HIDDEN"] = "secret"
    try:
        seen = replace(job(tmp_path, look, "hpo.objectives.estimator", "sklearn.linear_model", threads=2))
        leases: list[dict[str, str | None]] = [{"HIDDEN": None, "LEASE": name} for name in "ab"]
        with closing(Local(seen, workers=2, environments=leases)) as executor:
            drawn = values(executor, 2)
    finally:
        del os.environ["HIDDEN"]
    assert drawn[0] != drawn[1]
