"""What the tests of all cluster engines share: a sweep to disturb, when to disturb it, and what must be left of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.attempt import Attempt, Evaluate
from hpo.errors import ClusterError
from hpo.executors.port import Executor
from hpo.executors.worker import Job
from hpo.journal import Journal
from hpo.metric import Metric
from hpo.progress import Progress
from hpo.sweep import Execution
from hpo.trial import Trial
from tests.sweeps import function_sweep, same
from tests.tracking.sweeps import runs_of

METRICS = (Metric("x", "maximize"),)
TRIALS = 14


class Closure:
    """An objective that no worker could import."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def open(self) -> Evaluate:
        return self._evaluate


class Missing:
    """An objective that cannot be opened."""

    def open(self) -> Evaluate:
        raise ModuleNotFoundError("No module named 'catboots'")


def job(folder: Path, evaluate: Evaluate = lambda attempt: 1.0) -> Job:
    return Job(Closure(evaluate), METRICS, 0, 1, folder)


def one(executor: Executor, **params: Any) -> Trial:
    executor.submit(Trial(0, params, started=time.time()))
    done: list[Trial] = []
    while not done:
        done += executor.wait(timeout=1.0)
    return done[0]


FREE = 4  # trials that run at once; the others wait until the disaster has been


def sweep_on(executor: Mapping[str, Any], gate: Path) -> hpo.Sweep:
    """Its trials from the fifth on wait for the file `gate`: who is killed before has something to lose."""

    def naps(params: dict[str, Any], trial: Attempt) -> float:
        until = time.monotonic() + 120
        while trial.number >= FREE and not gate.exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)
        return float(params["x"]) ** 2

    return function_sweep(naps, executor=executor, search={"workers": "auto", "trials": TRIALS})


def disaster(act: Callable[[], None], gate: Path) -> Callable[[Progress], None]:
    """Once, as soon as the trials that need not wait have ended."""
    done = False

    def strike() -> None:
        act()
        gate.touch()

    def show(progress: Progress) -> None:
        nonlocal done
        if not done and len(progress.ended) >= FREE:
            done = True
            threading.Thread(target=strike).start()

    return show


def loses(executor: Mapping[str, Any], folder: Path, uri: str, act: Callable[[], None]) -> None:
    """Somebody with a trial goes away by `act`; what was there is tried again."""
    sweep, show = sweep_on(executor, folder / "gate"), disaster(act, folder / "gate")
    result = hpo.run(sweep, folder=folder / "hpo", tracking=uri, show=show)
    assert {trial.attempt for trial in result.all_trials} == {1, 2}
    exactly_once(folder / "hpo", uri)


def journaled(folder: Path) -> tuple[str, list[Trial]]:
    """The state of the one sweep there, and its trials."""
    [path] = folder.glob("*.journal")
    with closing(Journal(path)) as journal:
        return str(journal.fact("state")), journal.trials()


def exactly_once(folder: Path, uri: str) -> None:
    """Each trial of the sweep, complete, in its journal and in MLflow, and nothing else there."""
    state, trials = journaled(folder)
    assert state == "finished"
    assert [(trial.number, trial.state) for trial in trials] == [(number, "complete") for number in range(TRIALS)]
    runs = runs_of(uri, "toy")
    tags = [run.data.tags.get("hpo.trial", "parent") for run in runs]
    assert sorted(tags) == sorted(["parent", *map(str, range(TRIALS))])
    assert {run.info.status for run in runs} == {"FINISHED"}
    values = {run.data.tags["hpo.trial"]: run.data.metrics["loss"] for run in runs if "hpo.trial" in run.data.tags}
    assert values == {str(trial.number): (trial.values or ())[0] for trial in trials}


def dies_and_is_resumed(executor: Mapping[str, Any], folder: Path, uri: str, act: Callable[[], None]) -> None:
    """The cluster goes away by `act`; the sweep stops without a failed trial, and goes on without a cluster."""
    sweep, show = sweep_on(executor, folder / "gate"), disaster(act, folder / "gate")
    with pytest.raises(ClusterError, match="cannot be reached any more"):
        hpo.run(sweep, folder=folder / "hpo", tracking=uri, show=show)
    state, before = journaled(folder / "hpo")
    ended = [trial for trial in before if trial.state == "complete"]
    assert state == "interrupted"
    assert FREE <= len(ended) < TRIALS
    assert {trial.state for trial in before} <= {"complete", "running"}, "nobody failed of it"
    result = hpo.run(replace(sweep, executor=Execution()), folder=folder / "hpo", tracking=uri)
    assert result.resumed
    assert same(tuple(result.all_trials[trial.number] for trial in ended), tuple(ended))
    exactly_once(folder / "hpo", uri)
