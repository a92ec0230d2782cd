"""F1: whatever order the faults come in. Hypothesis leads a journal, a searcher and a real MLflow store through starts,
results, crashes of either process, lost answers, absences and late creates; the invariants hold all the way.

The store is a copy of a migrated SQLite file; only its answers are lost, before or after they were given.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import requests
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mlflow import MlflowClient

import hpo.tracking.projection
from hpo import searchers
from hpo.journal import PARENT, Journal
from hpo.tracking.projection import Projection
from hpo.tracking.server import TrackingError, connect
from hpo.trial import Failure, Trial
from tests.chaos.figures import FULL, figure, form
from tests.sweeps import function_sweep
from tests.tracking.sweeps import BEGUN, journal_of, runs_of

BUDGET = 6
FAULTS = st.lists(st.sampled_from(["", "", "", "away", "lost"]), max_size=12)


class Forgetful:
    """A client whose next calls go as planned: "away" never reaches the store, "lost" does, and nobody hears of it."""

    def __init__(self, client: MlflowClient, plan: deque[str]) -> None:
        self._client, self._plan = client, plan

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)

        def call(*args: Any, **keys: Any) -> Any:
            fault = self._plan.popleft() if self._plan else ""
            if fault == "away":
                raise requests.ConnectionError("refused")
            answer = found(*args, **keys)
            if fault == "lost":
                raise requests.ConnectionError("reset")
            return answer

        return call


class Story(RuleBasedStateMachine):
    """A driver and a publisher, step by step. I1: what was acknowledged is in the journal, unchanged. At the end, I2:
    one run a trial, I3: the budget is met, I4: no run is RUNNING."""

    migrated: Path
    current: Story
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        Story.current = self
        self.folder = Path(tempfile.mkdtemp())
        shutil.copyfile(self.migrated, self.folder / "mlflow.db")
        self.uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        self.plan: deque[str] = deque()
        self.acknowledged: dict[int, Trial] = {}
        self.sweep = function_sweep()
        self.journal = journal_of(
            self.folder, self.uri, state="running", dataset=None, metrics=[["loss", "minimize"]], best=None
        )
        self.restart_driver()
        self.restart_publisher()

    @rule()
    def restart_driver(self) -> None:
        """Killed and started again: it goes on with what the journal says, and asks for the same parameters."""
        path = self.journal.path
        self.journal.close()
        self.journal = Journal(path)
        self.trials = {trial.number: trial for trial in self.journal.trials()}
        self.searcher = searchers.build(self.sweep)
        for trial in self.trials.values():
            if trial.state == "running":
                assert self.searcher.ask(trial.number).params == trial.params
            self.searcher.tell(trial)

    @rule()
    def restart_publisher(self) -> None:
        self.published = Journal(self.journal.path, durable=False)
        self.projection = Projection(self.published, self.uri, self.folder)

    @property
    def running(self) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.state == "running"]

    @precondition(lambda self: len(self.trials) < BUDGET)
    @rule()
    def start(self) -> None:
        number = len(self.trials)
        trial = replace(self.searcher.ask(number), started=BEGUN + number)
        self.journal.record(trial)
        self.trials[number] = trial

    @precondition(lambda self: self.running)
    @rule(outcome=st.sampled_from(["complete", "pruned", "failed"]), which=st.integers(0, BUDGET))
    def finish(self, outcome: str, which: int) -> None:
        trial = self.running[which % len(self.running)]
        ended = trial.started or BEGUN
        done = replace(trial, finished=ended + 1, values=(float(trial.number),))
        if outcome == "pruned":
            done = replace(done, values=None, pruned=True)
        if outcome == "failed":
            done = trial.failed(Failure("exception", "no"), ended + 1)
        self.journal.record(done)
        self.trials[done.number] = self.acknowledged[done.number] = done
        self.searcher.tell(done)

    @rule(faults=FAULTS)
    def publish(self, faults: list[str]) -> None:
        self.plan.extend(faults)
        with suppress(TrackingError):
            self.projection.publish()
            self.projection.mark("RUNNING", **{"hpo.state": "running"})
        self.plan.clear()

    @rule(faults=FAULTS)
    def reconcile(self, faults: list[str]) -> None:
        self.plan.extend(faults)
        with suppress(TrackingError):
            self.projection.reconcile()
        self.plan.clear()

    @precondition(lambda self: self.acknowledged and PARENT in self.published.runs())
    @rule(which=st.integers(0, BUDGET))
    def late_create(self, which: int) -> None:
        """The server gets round to a create that was given up."""
        number = sorted(self.acknowledged)[which % len(self.acknowledged)]
        client = MlflowClient(self.uri)
        experiment = client.get_run(self.published.runs()[PARENT]).info.experiment_id
        client.create_run(experiment, tags={"hpo.sweep": "flights-1", "hpo.trial": str(number)})

    @invariant()
    def what_was_acknowledged_is_kept(self) -> None:
        Story.steps += 1
        kept = {trial.number: trial for trial in self.journal.trials() if trial.state != "running"}
        assert kept == self.acknowledged

    def teardown(self) -> None:
        """Let it come to its end, without faults."""
        while len(self.trials) < BUDGET:
            self.start()
        while self.running:
            self.finish("complete", 0)
        while self.projection.publish() or self.projection.reconcile():
            pass
        self.projection.mark("FINISHED", **{"hpo.state": "finished"})
        runs = {run.data.tags.get("hpo.trial", str(PARENT)): run for run in runs_of(self.uri)}
        assert len(runs_of(self.uri)) == len(runs) == BUDGET + 1
        status = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
        for number, trial in self.acknowledged.items():
            run = runs[str(number)]
            assert run.info.status == status[trial.state]
            assert run.data.params == {name: str(value) for name, value in trial.params.items()}
            assert run.data.metrics.get("loss") == (trial.values[0] if trial.values else None)
            assert run.info.run_id == self.published.runs()[number]
        assert runs[str(PARENT)].info.status == "FINISHED"
        self.published.close()
        self.journal.close()
        shutil.rmtree(self.folder)


def test_f1_whatever_the_order_of_faults(migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(uri: str) -> Forgetful:
        return Forgetful(connect(uri), Story.current.plan)

    monkeypatch.setattr(hpo.tracking.projection, "connect", forgetful)
    Story.migrated = migrated
    examples = form(12, 500)
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=examples, stateful_step_count=form(20, 40), deadline=None, derandomize=not FULL, database=None,
            suppress_health_check=list(HealthCheck), print_blob=True,
        ),
    )  # fmt: skip
    promise = "any order of faults: what was acknowledged is kept, one run a trial, the budget is met"
    figure("F1", promise, f"{examples} stories, {Story.steps} steps, 0 violations")
