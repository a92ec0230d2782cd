"""One kept process per slot: the conformance suite, and what is particular to real processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo.attempt import Attempt, Evaluate, Objective, Outcome
from hpo.errors import InputError
from hpo.executors.local import Local
from hpo.executors.port import Executor
from hpo.executors.worker import Job
from hpo.metric import Metric
from hpo.testing import ExecutorSuite
from hpo.trial import Trial
from tests.executors.losses import Closure

METRICS = (Metric("x", "maximize"),)


class TestLocal(ExecutorSuite):
    def make(self, objective: Objective, folder: Path, **limits: Any) -> Executor:
        job = Job(objective, METRICS, 0, 1, folder, two_way=limits.get("two_way", False), memory=limits.get("memory"))
        return Local(job, workers=2, deadline=limits.get("deadline"))


def one(executor: Executor, **params: Any) -> Trial:
    executor.submit(Trial(0, params, started=time.time()))
    [trial] = executor.wait()
    return trial


def local(objective: Objective, folder: Path, **options: Any) -> Local:
    return Local(Job(objective, METRICS, options.pop("seed", 0), 1, folder), workers=1, **options)


def test_a_worker_is_kept_warm_and_replaced_only_when_lost(tmp_path: Path) -> None:
    with closing(local(Closure(lambda attempt: float(os.getpid())), tmp_path)) as executor:
        first, again = one(executor).values, one(executor).values
    assert first == again

    def suicidal(attempt: Attempt) -> Outcome:
        if attempt.params.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        return float(os.getpid())

    with closing(local(Closure(suicidal), tmp_path)) as executor:
        before = one(executor).values
        lost = one(executor, die=True)
        assert (lost.state, lost.worker) == ("failed", "1")
        assert (after := one(executor)).values != before
        assert after.worker == "1", "the slot, whatever process is in it"


def test_an_idle_worker_that_dies_is_replaced_unnoticed(tmp_path: Path) -> None:
    with closing(local(Closure(lambda attempt: float(os.getpid())), tmp_path)) as executor:
        values = one(executor).values
        assert values is not None
        os.kill(int(values[0]), signal.SIGKILL)
        executor.submit(Trial(1, {}, started=time.time()))
        [trial] = executor.wait()
        # It died before it took the trial up, or as it did: a loss that is nobody's fault, and worth another try.
        assert trial.state == "complete" or (trial.failure is not None and trial.failure.transient)
        assert one(executor).state == "complete"


def test_the_deadline_counts_from_the_moment_the_worker_is_ready(tmp_path: Path) -> None:
    class Slow:
        def open(self) -> Evaluate:
            time.sleep(1.2)
            return lambda attempt: 1.0

    with closing(local(Closure(lambda attempt: 1.0), tmp_path)):
        pass
    with closing(local(Slow(), tmp_path, deadline=0.6)) as executor:
        assert one(executor).state == "complete"


def test_each_worker_is_told_its_share_of_the_threads(tmp_path: Path) -> None:
    with closing(local(Closure(lambda attempt: float(os.environ["OMP_NUM_THREADS"])), tmp_path)) as executor:
        assert one(executor).values == (1.0,)


def test_an_objective_that_cannot_be_opened_is_the_users_problem(tmp_path: Path) -> None:
    class Missing:
        def open(self) -> Evaluate:
            raise ModuleNotFoundError("No module named 'catboots'")

    with closing(local(Missing(), tmp_path)) as executor, pytest.raises(InputError, match="catboots"):
        one(executor)


def test_workers_that_die_at_birth_are_not_replaced_for_ever(tmp_path: Path) -> None:
    class Deadly:
        def open(self) -> Evaluate:
            print("the last words")
            os._exit(9)

    def both(executor: Executor) -> None:
        for _ in range(9):
            one(executor)

    with (
        closing(local(Deadly(), tmp_path)) as executor,
        pytest.raises(InputError, match=r"exit code 9(.|\n)*last words"),
    ):
        both(executor)


DRIVER = """
import os, sys, time
from pathlib import Path
from hpo.executors.local import Local
from hpo.executors.worker import Job
from hpo.metric import Metric
from hpo.testing import Program
from hpo.trial import Trial
executor = Local(Job(Program(), (Metric("x", "maximize"),), 0, 1, Path(sys.argv[1])), workers=2)
for number in range(2):
    executor.submit(Trial(number, {"do": "hang deaf"}, started=time.time()))
executor.wait(timeout=1.0)
print(*(slot._process.pid for slot in executor._slots), flush=True)
time.sleep(600)
"""


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
        assert len(workers) == 2
        driver.kill()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert len(gone) == 2
    assert not alive
