"""Rows R14, R18, R20 to R23, R25 and the speed of a resume: drivers that are interrupted, frozen, many, or old.

Real drivers on journal progress, except where the clock is the matter: that runs in one process, in simulated time.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

import hpo
import hpo.sync
from hpo import searchers
from hpo.attempt import Attempt
from hpo.errors import HeldError
from hpo.journal import Journal
from hpo.lease import Lease, holder
from hpo.resume import claim
from hpo.trial import Failure, Trial
from tests.chaos.clock import FakeClock
from tests.chaos.figures import FULL, figure, form, limit
from tests.chaos.harness import ROOT, Driver, finished, the_journal, trials, wait_for_publisher
from tests.chaos.test_kills import SLOW, sweep
from tests.sweeps import dies, function_sweep, inline
from tests.test_lease import HOLD
from tests.tracking.sweeps import finished as finished_trial
from tests.tracking.sweeps import journal_of, runs_of

QUIET = ("--space", "killed.yaml", "--tracking-uri", "none")


def slow(folder: Path, nap: str = "0.15", trials: int = 12, workers: int = 1) -> Path:
    made = sweep(folder, "random", trials=trials, workers=workers)
    (made / "objective.py").write_text(SLOW.replace("0.15", nap))
    return made


def test_r14_a_signal_and_what_mlflow_shows_of_it(tmp_path: Path, uri: str) -> None:
    """Row R14; exit codes, the grace time and what is printed for each signal: tests/chaos/test_kills.py."""
    folder = slow(tmp_path / "s", nap="0.3", trials=10_000)
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", uri)
    path = None
    while path is None or finished(folder) < 3 or "sync" not in facts_of(folder):  # it is in MLflow, too
        assert driver.process.poll() is None, driver.reap()
        path = the_journal(folder)
        time.sleep(0.05)
    assert driver.kill_at(3, signal.SIGTERM)
    begun = time.monotonic()
    said = driver.finish(143)
    seconds = time.monotonic() - begun
    wait_for_publisher(folder)
    runs = runs_of(uri, "killed")
    [parent] = [run for run in runs if "hpo.trial" not in run.data.tags]
    left = [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    reason = parent.data.tags["hpo.reason"]
    violations = len(left) + (parent.info.status != "KILLED") + (reason != "SIGTERM") + ("--resume" not in said)
    violations += any(trial.state == "running" for trial in trials(folder))
    figure(
        "R14",
        "SIGTERM: no new trials, running ones may end, the run is KILLED with the reason, exit 143, how to resume",
        f"{seconds:.1f} s to the exit, {len(left)} RUNNING, {parent.info.status}: {reason}",
        violations,
    )


def test_r14_a_scheduler_that_tells_all_processes(tmp_path: Path, uri: str) -> None:
    """`scancel`, `systemctl stop`, an operating system that goes down: driver, workers and publisher get SIGTERM at
    once. The trials that ran are run again by the resume."""
    go = tmp_path / "go"
    nap = f"0 if trial.number < 5 or __import__('os').path.exists({str(go)!r}) else 600"
    folder = slow(tmp_path / "s", nap=nap, trials=8, workers=2)
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", uri)
    while "sync" not in facts_of(folder) or finished(folder) < 5:
        assert driver.process.poll() is None, driver.reap()
        time.sleep(0.05)
    told = psutil.Process(driver.process.pid).children(recursive=True)
    driver.signal(signal.SIGTERM)
    for process in told:
        process.terminate()
    said = driver.finish(143)
    wait_for_publisher(folder)
    [parent] = [run for run in runs_of(uri, "killed") if "hpo.trial" not in run.data.tags]
    running = [run.info.run_name for run in runs_of(uri, "killed") if run.info.status == "RUNNING"]
    ended = f"{parent.info.status}: {parent.data.tags.get('hpo.reason')}"
    go.touch()
    Driver(folder, "--space", "killed.yaml", "--tracking-uri", uri).finish()
    wait_for_publisher(folder)
    done = [trial.number for trial in trials(folder) if trial.state == "complete"]
    again = {run.info.status for run in runs_of(uri, "killed")}
    violations = len(running) + (ended != "KILLED: SIGTERM") + (done != list(range(8))) + (again != {"FINISHED"})
    figure(
        "R14 all at once",
        "SIGTERM to every process at once, as scancel does it: KILLED with the reason, and the resume ends it",
        f"{1 + len(told)} processes told: {len(running)} RUNNING, {ended}; {len(done)} of 8 trials after the resume",
        violations + ("--resume" not in said),
    )


def facts_of(folder: Path) -> Mapping[str, Any]:
    path = the_journal(folder)
    if path is None:
        return {}
    with closing(Journal(path, writable=False)) as journal:
        return journal.facts()


def test_r14_the_second_signal_waits_for_nobody(tmp_path: Path, uri: str) -> None:
    folder = slow(tmp_path / "s", nap="0.01 if trial.number < 2 else 600")
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", uri)
    assert driver.kill_at(2, signal.SIGINT)
    time.sleep(0.3)  # two Ctrl-C in the same instant are one
    assert driver.process.poll() is None, "the running trial has its grace time"
    begun = time.monotonic()
    driver.signal(signal.SIGINT)
    driver.finish(130)
    seconds = time.monotonic() - begun
    wait_for_publisher(folder)
    [parent] = [run for run in runs_of(uri, "killed") if "hpo.trial" not in run.data.tags]
    violations = (seconds > limit(1.0, 5)) + (parent.info.status != "KILLED") + (finished(folder) != 2)
    said = f"{seconds:.2f} s to the exit, then {parent.info.status}: {parent.data.tags['hpo.reason']}"
    figure(
        "R14 twice", "the second Ctrl-C ends it within a second; the publisher brings the rest home", said, violations
    )


def test_r18_many_start_on_a_cold_folder(tmp_path: Path) -> None:
    """Row R18: each its own sweep in one experiment of one store, all at the same instant."""
    rounds, failed, schemas = form(1, 50), 0, 0
    for k in range(rounds):
        many = 8 if FULL else 4
        folder = slow(tmp_path / f"{k}", nap="0.0", trials=2)
        drivers = [Driver(folder, "--space", "killed.yaml", "--fresh") for _ in range(many)]
        for driver in drivers:
            driver.reap()
            failed += driver.process.returncode != 0
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiments = [e.name for e in client.search_experiments() if e.name == "killed"]
        runs = runs_of(f"sqlite:///{folder}/mlflow.db", "killed")
        parents = [run for run in runs if "hpo.trial" not in run.data.tags]
        schemas += experiments != ["killed"] or len(parents) != many or len(runs) != 3 * many
    promise = "all who start on a cold folder at once start; one schema, one experiment, one parent each"
    figure("R18", promise, f"{failed} of {rounds * many} starts failed, {schemas} stores wrong", failed + schemas)


def test_r18_twelve_drivers_and_one_folder(tmp_path: Path) -> None:
    """Without MLflow they are there at the same instant indeed."""
    folder = slow(tmp_path / "s", nap="0.0", trials=1)
    drivers = [Driver(folder, *QUIET, "--fresh") for _ in range(12)]
    for driver in drivers:
        driver.finish()
    assert len(list((folder / ".hpo").glob("*.journal"))) == 12


def test_r20_a_frozen_driver_keeps_its_sweep(tmp_path: Path) -> None:
    """Row R20, as it is here: nobody takes over from a frozen driver, so nothing of it can come too late."""
    folder = slow(tmp_path / "s")
    first = Driver(folder, *QUIET)
    assert first.kill_at(3, signal.SIGSTOP)
    begun = time.monotonic()
    second = Driver(folder, *QUIET)
    said = second.finish(4)
    seconds = time.monotonic() - begun
    frozen = finished(folder)
    first.signal(signal.SIGCONT)
    first.finish()
    done = trials(folder)
    wrong = [t.number for t in done if t.state != "complete" or t.attempt != 1] + [0] * (len(done) != 12)
    named = f"held by process {first.process.pid} on" in said
    promise = "a frozen driver keeps its sweep; another is refused; on waking each trial counts once"
    figure(
        "R20 driver",
        promise,
        f"frozen at {frozen} of 12, {len(done)} in the end, wrong: {wrong}",
        len(wrong) + (not named),
    )
    figure(
        "R22",
        "a second driver is refused within a second, with process and host of the first",
        f"{seconds:.2f} s",
        int(not named) + (seconds > limit(1.0, 60)),
    )


def test_r21_there_is_no_false_takeover(tmp_path: Path) -> None:
    """Row R21: a kernel lock needs no renewal, so none can fail; asking who holds it refuses nobody."""
    path = tmp_path / "a.lock"
    refused: list[float] = []
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()

        def attack() -> None:
            for _ in range(5):
                begun = time.monotonic()
                try:
                    Lease(path, "it").release()
                except HeldError:
                    refused.append(time.monotonic() - begun)
                    assert (holder(path) or {}).get("pid") == other.pid
                os.utime(path, (0, 0))  # as old as can be

        threads = [threading.Thread(target=attack) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.kill()
    taken = 40 - len(refused)
    said = f"{taken} of 40 took over, refused in at most {max(refused):.2f} s"
    figure("R21", "a lease is never taken from a process that lives", said, taken + (max(refused) > limit(1.0, 10)))


clocks: list[FakeClock] = []  # found by the objective, which is called by its name


def naps(params: dict[str, Any], trial: Attempt) -> float:
    clocks[0].go_on(5)
    clocks[0].set_wall(3600 if trial.number % 3 else -7200)
    clocks[0].go_on(5)
    return float(params["x"])


def test_r23_the_clock_is_set_in_mid_sweep(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row R23: 1,000 seconds of budget, ten a trial, and an hour's step of the wall clock in each."""
    with monkeypatch.context() as patch:
        clocks[:] = [FakeClock(patch)]
        result = inline(tmp_path, function_sweep(naps, search={"trials": 1000, "timeout": 1000.0}))
    with closing(Journal(result.journal)) as journal:
        journal.record(tracking_uri=uri)
    assert hpo.sync.deliver(result.journal) is None
    backwards = [run.info.run_name for run in runs_of(uri, "toy") if run.info.end_time < run.info.start_time]
    backwards += [t.number for t in result.all_trials if (t.finished or 0) < (t.started or 0)]
    error = abs(result.seconds - 1000) / 1000
    ordered = [t.number for t in result.all_trials] == list(range(100))
    said = f"{len(result.all_trials)} of 100 trials, {100 * error:.1f} % off, {len(backwards)} end before they start"
    promise = "a clock that is set changes neither the budget nor the order; nothing ends before it starts"
    figure("R23", promise, said, len(backwards) + (error > 0.01) + (not ordered))


def test_r23_a_lost_trial_ends_after_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver ends it, in whose process the clock goes back an hour at each look."""
    now = time.time()
    looks = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: now - 3600.0 * next(looks))
    result = hpo.run(function_sweep(dies, search={"trials": 2}), folder=tmp_path, tracking=None)
    for trial in result.all_trials:
        assert trial.state == "failed"
        assert 0 <= trial.seconds < 60


def test_r25_what_is_no_candidate_is_not_promoted(tmp_path: Path, uri: str) -> None:
    """Row R25: failed, pruned and partial trials never are the best; a model that cannot be judged is never champion.

    Other data, and champions that cannot be scored: tests/registry/; changed files: tests/chaos/test_models.py.
    """
    from hpo.progress import Progress
    from hpo.verdict import Evidence, Interval, verdict

    judged = [
        verdict(Evidence("roc_auc", 9, 0.95, challenger=Interval(value, value, value), champion_version=champion))
        for champion in (None, "1")
        for value in (float("nan"), float("inf"), -float("inf"))
    ]
    promoted = sum(v.promote for v in judged)
    unexplained = sum(not v.reasons for v in judged)
    progress = Progress(function_sweep(metric={"name": "auc", "direction": "maximize"}))
    done = Trial(0, {}, started=1.0, finished=2.0)
    progress.add(
        done.failed(Failure("not finite", "nan"), 2.0),
        Trial(1, {}, started=1.0, finished=2.0, pruned=True, scores={"auc": (0.99,)}),
        Trial(2, {}, started=1.0, scores={"auc": (0.98,)}),
    )
    journal = journal_of(tmp_path, uri, [finished_trial(3), finished_trial(4)], promote=True, best=None)
    assert hpo.sync.deliver(journal.path) is None
    client = MlflowClient(uri, uri)
    models = len(client.search_registered_models())
    [parent] = [run for run in runs_of(uri) if "hpo.trial" not in run.data.tags]
    said = f"{len(judged)} values that are no number, a failed, a pruned, a running trial: {promoted + models} promoted"
    violations = promoted + unexplained + models + (progress.best is not None) + (parent.info.status != "FAILED")
    figure("R25", "what is not a complete, judged model is refused with the reason; the alias stays", said, violations)
    journal.close()


RESUME = """
import os, sys, time
begun = time.process_time()
import hpo.searchers.{engine}
engine = time.process_time() - begun
import hpo
def show(progress):
    if len(progress.trials) > 10_000:
        print(time.process_time() - engine, engine, flush=True)
        os._exit(0)
hpo.run(hpo.load("killed.yaml", ["search.trials=10001"]), tracking=None, executor="inline", show=show)
"""


@pytest.mark.parametrize("engine", ["optuna", "hyperopt"])
def test_a_resume_of_ten_thousand_trials_begins_at_once(tmp_path: Path, engine: str) -> None:
    """All that the process does until the first new trial has started: imports, checks, replay, the first question."""
    folder = sweep(tmp_path / "s", engine, trials=10_001, workers=1)
    made = hpo.load(folder / "killed.yaml")
    ask, dice = searchers.build(hpo.load(folder / "killed.yaml", ["search.engine=random"])).ask, random.Random(1)
    claimed = claim(made, folder / ".hpo")
    with claimed.lease, closing(claimed.journal) as journal:
        for first in range(0, 10_000, 1000):
            asked = map(ask, range(first, first + 1000))
            journal.record(
                *(Trial(t.number, t.params, started=1.0, finished=2.0, values=(dice.random(),)) for t in asked)
            )
        journal.record(state="interrupted")
    done = subprocess.run(
        [sys.executable, "-c", RESUME.format(engine=engine)], cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seconds, imported = map(float, done.stdout.split())
    promise = "a resume with 10,000 trials starts its first new one within 3 s of CPU plus the engine's import"
    said = f"{seconds:.2f} s from the interpreter's start, without {imported:.2f} s of import"
    figure(f"R26 {engine} resume", promise, said, int(seconds > limit(3.0, 15)))
