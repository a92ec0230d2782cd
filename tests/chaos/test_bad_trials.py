"""Rows R4, R8 to R13, R19 and R20: whatever a trial does, it costs itself, and journal and MLflow say the same of it.

One sweep of real processes in which every kind of bad trial happens, published to a real store; then many workers, and
workers beside a parent that has trained. That each executor keeps these promises is in `hpo.testing.ExecutorSuite`.
"""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import hpo
from hpo.attempt import Attempt
from hpo.executors.local import KILL_AFTER, Local
from hpo.executors.worker import Job
from hpo.journal import Journal
from hpo.metric import Metric
from hpo.result import Result
from hpo.trial import Trial
from tests.chaos.deeds import DEADLINE, DEEDS, MEMORY, TRIALS, Trains, objective, reports, train
from tests.chaos.figures import figure, form, limit
from tests.tracking.sweeps import runs_of

METRIC = {"name": "loss", "direction": "minimize"}


class Story(NamedTuple):
    result: Result
    runs: dict[int, Run]
    artifacts: dict[int, set[str]]
    grown: int


@pytest.fixture(scope="module")
def story(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("bad")
    uri = f"sqlite:///{shutil.copyfile(migrated, folder / 'mlflow.db')}"
    limits = {"trial_timeout": DEADLINE, "memory": MEMORY, "failure_share": 1.0}
    search = {"engine": "optuna", "trials": TRIALS, "workers": 2, "seed": 1}
    sweep = hpo.build(
        name="bad", objective=objective, metric=METRIC, space={"x": {"float": [0, 1]}}, search=search, limits=limits
    )
    before = psutil.Process().memory_info().rss
    result = hpo.run(sweep, folder=folder / ".hpo", tracking=uri)
    grown = psutil.Process().memory_info().rss - before
    runs = {int(r.data.tags["hpo.trial"]): r for r in runs_of(uri, "bad") if "hpo.trial" in r.data.tags}
    client = MlflowClient(uri)
    artifacts = {n: {a.path for a in client.list_artifacts(run.info.run_id)} for n, run in runs.items()}
    return Story(result, runs, artifacts, grown)


def wrong(story: Story, numbers: list[int]) -> list[str]:
    """What is not as it should be about these trials, in the journal and in MLflow."""
    found = []
    for number in numbers:
        trial, run, deed = story.result.all_trials[number], story.runs[number], DEEDS[number]
        failure = trial.failure
        fine = failure is not None and failure.cause == deed.cause and deed.says in failure.message
        fine = fine and run.info.status == "FAILED" and run.data.tags["hpo.error"].startswith(f"{deed.cause}: ")
        if not fine or "loss" in run.data.metrics:
            found.append(f"{number}: {failure} {run.info.status} {run.data.tags.get('hpo.error')}")
    return found


def others(story: Story) -> int:
    """Trials that did nothing bad and are not complete in both places."""
    return sum(
        not (trial.state == "complete" and story.runs[trial.number].info.status == "FINISHED")
        for trial in story.result.all_trials if trial.number not in DEEDS
    )  # fmt: skip


def seconds(story: Story, *numbers: int) -> list[float]:
    return [story.result.all_trials[n].seconds for n in numbers]


def test_r8_an_objective_raises(story: Story) -> None:
    """Row R8; the stops are in tests/test_search.py and tests/test_progress.py."""
    bad = wrong(story, [5]) + [n for n in (5,) if "traceback.txt" not in story.artifacts[n]]
    said = f"{TRIALS - len(DEEDS) - others(story)} of {TRIALS - len(DEEDS)} others complete {bad}"
    figure(
        "R8", "a trial that raises is FAILED with its traceback, and the sweep goes on", said, len(bad) + others(story)
    )


def test_r9_a_trial_takes_its_process_with_it(story: Story) -> None:
    """Row R9."""
    numbers = [6, 8, 9, 10, 12]
    bad, slowest = wrong(story, numbers), max(seconds(story, *numbers))
    said = f"{len(numbers)} ways to die, noticed after at most {slowest:.2f} s; {others(story)} others harmed {bad}"
    figure(
        "R9",
        "a crash costs its trial and less than a second, and its signal or exit code is named",
        said,
        len(bad) + others(story) + (slowest > limit(1.0, 10)),
    )


def test_r10_a_memory_bomb(story: Story) -> None:
    """Row R10."""
    bad = wrong(story, [22])
    said = f"bomb of 256 GiB under {MEMORY >> 20} MiB: driver grew by {story.grown / 2**20:.0f} MiB {bad}"
    promise = "a trial that eats all memory is FAILED with that cause; the driver does not grow"
    figure("R10", promise, said, len(bad) + (story.grown > 150 * 2**20))


def test_r12_and_r20_hung_deaf_and_frozen(story: Story) -> None:
    """Rows R12 and R20: a worker that is frozen never comes back with a result; its trial is counted once."""
    numbers = [14, 1, 2]
    polite, deaf, frozen = seconds(story, *numbers)
    bad = wrong(story, numbers) + [n for n in numbers if story.result.all_trials[n].attempt != 1]
    said = (
        f"over the limit by {polite - DEADLINE:.2f} s; deaf {deaf - DEADLINE:.2f} s, frozen {frozen - DEADLINE:.2f} s"
    )
    over = max(polite, max(deaf, frozen) - KILL_AFTER) - DEADLINE
    violations = len(bad) + (over > limit(1.0, 10))
    figure("R12", "a hung trial gets TERM at its limit and KILL 5 s later: TIMEOUT", f"{said} {bad}", violations)
    figure(
        "R20", "a frozen worker's trial ends once, and its late result counts for nothing", f"1 trial {bad}", len(bad)
    )


def test_r13_no_value_that_is_not_finite(story: Story) -> None:
    """Row R13; the searcher takes it in tests/searchers."""
    numbers = [15, 16, 17, 18, 19, 20]
    bad = wrong(story, numbers)
    assert story.result.best is not None
    worse = story.result.best.number in DEEDS or story.result.best.values is None or story.result.best.values[0] < 0
    status = {"complete": "FINISHED", "failed": "FAILED"}
    differ = [t.number for t in story.result.all_trials if story.runs[t.number].info.status != status[t.state]]
    said = f"{len(numbers)} kinds, {TRIALS - len(differ)} of {TRIALS} states agree in journal and MLflow {bad}"
    figure(
        "R13",
        "what is no finite number is FAILED in both stores and never the best",
        said,
        len(bad) + worse + len(differ),
    )


def test_r4_a_worker_is_killed_twice(story: Story) -> None:
    """Row R4; killed from outside and only once: tests/chaos/test_kills.py."""
    trial = story.result.all_trials[12]
    with closing(Journal(story.result.journal)) as journal:
        kept = journal.trials()[12]
    violations = (trial.attempt != 2) + (kept != trial) + len(wrong(story, [12])) + others(story)
    said = f"{trial.attempt} attempts, then {trial.state}: {trial.failure and trial.failure.message}"
    figure(
        "R4", "a trial whose worker is killed is tried again with its parameters, once, then FAILED", said, violations
    )


# Many workers, and a parent with threads.


def test_r19_many_workers_report_at_once(tmp_path: Path) -> None:
    """Row R19: each report is answered by the driver; one writer, one commit a result."""
    workers = form(4, 16)
    search = {"engine": "random", "trials": 2 * workers, "workers": workers, "pruner": "median", "seed": 1}
    keep_all = {"name": "median", "n_startup": 1000}
    sweep = hpo.build(
        name="many", objective=reports, metric=METRIC, space={"x": {"float": [0, 1]}},
        search={**search, "pruner": keep_all},
    )  # fmt: skip
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    kept = [len(trial.reports) for trial in result.all_trials]
    begun = min(t.started or 0.0 for t in result.all_trials)
    rate = sum(kept) / (max(t.finished or 0.0 for t in result.all_trials) - begun)
    lost = sum(n != 200 for n in kept) + sum(t.state != "complete" for t in result.all_trials)
    said = f"{workers} workers, {sum(kept)} of {400 * workers} reports kept, {rate:,.0f} a second, {lost} trials harmed"
    figure("R19", "no report of any worker is lost, and there is no lock to wait for", said, lost)


def test_r11_a_parent_that_has_trained(tmp_path: Path) -> None:
    """Row R11: workers are forked from a template that never trains, not from us, so no thread pool is waited for."""
    train(Attempt(Trial(0, {})))
    job = Job(Trains(), (Metric("loss", "minimize"),), 0, 2, tmp_path)
    done: list[Trial] = []
    left = [Trial(n, {}, started=time.time()) for n in range(50)]
    with closing(Local(job, workers=2, deadline=60.0)) as executor:
        while left or executor.busy:
            while left and executor.free:
                executor.submit(left.pop(0))
            done += executor.wait(timeout=0.5)
    hung = sum(trial.state != "complete" for trial in done)
    figure("R11", "trials train beside a parent that has trained", f"{len(done) - hung} of 50, {hung} hung", hung)
