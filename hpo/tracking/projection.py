"""The projection of a journal into MLflow: one parent run for the sweep, one child run per finished trial.

Used by `hpo.sync` alone, in a process of its own: neither mlflow's import nor a slow server is on the path of
a trial. Everything written here can be written again: runs are found by their tags (`hpo.tracking.runs`), metrics
carry the trial's own timestamps. Over a network the number of requests is what publishing costs: all that belongs
to one run goes in one batch, and the sweep's own figures once for many trials.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import DatasetInput
from mlflow.entities import Metric as MetricRow
from mlflow.exceptions import MlflowException

from hpo import crash
from hpo.journal import PARENT, Entry, Journal
from hpo.metric import Metric
from hpo.tracking import COMMAND, RECORD
from hpo.tracking.layout import (
    STATUS,
    dataset_inputs,
    metric,
    metrics,
    milliseconds,
    origin,
    params,
    record,
    tags,
    texts,
    whole,
)  # fmt: skip
from hpo.tracking.runs import Runs
from hpo.tracking.server import Away, Refused, answered, connect, is_missing
from hpo.tracking.story import story
from hpo.trial import Trial

_BATCH = 100  # trials between two looks at the clock by the caller


class Projection:
    """What MLflow shows of one journal. `folder` holds the sweep's files, `trials/0007/` those of a trial.

    Every method may raise `Away` or `Refused` and may then be called again.
    """

    def __init__(self, journal: Journal, uri: str, folder: Path) -> None:
        self._journal = journal
        self._uri = uri
        self._folder = folder
        self._facts: dict[str, Any] = {}
        self._metrics: list[Metric] = []
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._best: dict[str, float] = {}
        self._points: list[MetricRow] = []
        self._dataset: list[DatasetInput] = []
        self._status: tuple[str, dict[str, str]] = ("", {})
        self._aside: dict[str, str] = {}
        self.refused: dict[int, str] = {}

    @property
    def client(self) -> MlflowClient:
        assert self._client is not None, "call publish() first"
        return self._client

    @property
    def experiment(self) -> str:
        """Its id; empty before the server has answered for the first time."""
        return self._experiment

    @property
    def parent(self) -> str:
        """The run id of the sweep."""
        return self._runs.known[PARENT]

    @property
    def quarantine(self) -> str | None:
        """Which trials MLflow refused, and why the first."""
        if not self.refused:
            return None
        number, reason = next(iter(self.refused.items()))
        return f"MLflow refused {len(self.refused)} of the trials, first trial {number}: {reason}"

    def publish(self) -> int:
        """Publish the oldest finished trials that are not in MLflow yet; how many. None left: 0."""
        self._open()
        self._show_dataset()
        try:
            return self._publish()
        except Away as away:
            if is_missing(away.__cause__):
                self._client = None  # look again at what is there
            raise

    def _publish(self) -> int:
        done = 0
        for entry in self._journal.unpublished(_BATCH + len(self.refused)):
            number = entry.trial.number
            if number in self.refused:
                continue
            try:
                with answered():
                    run_id = self._child(entry.trial)
            except Refused as refused:
                self._refuse(entry, str(refused))
                continue
            self._note_best(entry.trial)
            self._journal.published((number, run_id, entry.revision))
            if self._aside.pop(str(number), None) is not None:  # refused once, and taken now
                self._show_aside()
            done += 1
        if self._points:
            self._show_best()
        return done

    def mark(self, status: str, **notes: str) -> None:
        """The sweep's own status (RUNNING, FINISHED, KILLED) and tags."""
        self._open()
        if (status, notes) == self._status:
            return
        with answered():
            self.client.log_batch(self.parent, tags=tags(notes))
            if status == "RUNNING":
                self.client.update_run(self.parent, status=status)
            else:
                self.client.set_terminated(self.parent, status, end_time=milliseconds(self._ended()) or None)
                self._tell_story(status, notes.get("hpo.reason"))
        self._status = (status, notes)

    def _tell_story(self, status: str, reason: str | None) -> None:
        log = self._folder / "sync.log"
        publishing = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        end = f"{status}: {reason}" if reason else status
        trials = [entry.trial for entry in self._journal.finished()]
        self._attach(self.parent, "sweep.log", story(self._facts, trials, end, publishing))

    def wish(self) -> str | None:
        """What a person has set as the tag `hpo.command` of the sweep's run."""
        self._open()
        with answered():
            found: str | None = self.client.get_run(self.parent).data.tags.get(COMMAND)
        return found

    def grant(self, words: str, said: str) -> None:
        """Answer it, and take it away, unless it has become another one meanwhile."""
        with answered():
            self.client.log_batch(self.parent, tags=tags({f"{COMMAND}.done": f"{words}: {said}"}))
            found = self.client.get_run(self.parent).data.tags.get(COMMAND, "")
            if found and (found == words or found.split()[0] == words.split()[0]):
                self.client.delete_tag(self.parent, COMMAND)

    def show_file(self, name: str, text: str) -> None:
        """A file of the sweep's own run; there already, it is replaced."""
        self._open()
        with answered():
            self._attach(self.parent, name, text)

    def tag(self, number: int, name: str) -> str | None:
        """What a tag of a trial's run, or of the sweep's under PARENT, says now; None without the run or the tag."""
        self._open()
        if (run_id := self._runs.known.get(number)) is None:
            return None
        with answered():
            found: str | None = self.client.get_run(run_id).data.tags.get(name)
        return found

    def label(self, number: int, notes: Mapping[str, str]) -> None:
        """Set tags of a trial's run, or of the sweep's under PARENT. A run that a person has deleted stays as it is."""
        self._open()
        if (run_id := self._runs.known.get(number)) is None:
            return
        try:
            with answered():
                self.client.log_batch(run_id, tags=tags(notes))
        except Refused:
            with answered():
                if self.client.get_run(run_id).info.lifecycle_stage == "active":
                    raise

    def _attach(self, run_id: str, name: str, text: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / name).write_text(text, encoding="utf-8")
            self._runs.upload(run_id, Path(scratch))

    def show_model(self, scores: Mapping[str, float], summary: str, uri: str | None) -> None:
        """What became of the best trial's model."""
        self._open()
        points = [metric(f"holdout_{name}", value, self._ended(), 0) for name, value in scores.items()]
        with answered():
            notes = {"hpo.verdict": summary, "hpo.model": uri}
            self.client.log_batch(self.parent, metrics=points, tags=tags(notes))

    def reconcile(self) -> int:
        """Remove every run of this sweep that is not the one the journal knows; how many there were."""
        self._open()
        with answered():
            ghosts = self._runs.survey()
        if PARENT not in self._runs.known:
            self._client = None  # another store than before: begin anew
        return ghosts

    def _ended(self) -> float:
        """Never before it began, whatever the clock did meanwhile."""
        ends = [trial.finished for trial in self._journal.trials() if trial.finished is not None]
        return max(self._facts.get("created") or 0.0, *ends) if ends else 0.0

    # Opening: the runs that are there already, and the sweep's own.

    def _open(self) -> None:
        if self._client is not None:
            return
        client = connect(self._uri)
        self._facts = self._journal.facts()
        self._aside = self._facts.get("refused") or {}
        self._metrics = [Metric(name, direction) for name, direction in self._facts["metrics"]]
        with answered():
            self._runs = Runs(client, self._journal, self._uri)
            self._experiment = self._runs.experiment
            self._runs.parent(self._origin_tags())
            self._client = client
            try:
                self._describe_parent()
            except BaseException:
                self._client = None
                raise
        self._recall_best()
        self._dataset = []
        self._status = ("", {})

    def _origin_tags(self) -> dict[str, str]:
        facts = self._facts
        made = facts.get("provenance") or {}
        git = made.get("git") or {}
        return texts({
            **origin(facts)["tags"],
            "hpo.engine": facts.get("engine"),
            "hpo.identity": facts.get("identity"),
            "hpo.state": "running",
            "hpo.follows": facts.get("follows"),
            "hpo.schedule": facts.get("schedule"),
            "hpo.slot": facts.get("slot"),
            "hpo.skipped": facts.get("skipped"),
            "hpo.change": "; ".join(facts.get("change") or []) or None,
            "hpo.project_run": made.get("project_run"),
            "mlflow.source.name": made.get("command"),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": git.get("commit"),
            "mlflow.source.git.branch": git.get("branch"),
            "mlflow.source.git.repoURL": git.get("remote"),
            "hpo.git.dirty": str(git["dirty"]).lower() if git else None,
        })  # fmt: skip

    def _describe_parent(self) -> None:
        """Settings, file and origin. A setting stays as it was at first: MLflow refuses to change one."""
        self._journal.published((PARENT, self.parent, 0))
        there = self.client.get_run(self.parent).data.params
        settings = [param for param in params(self._facts["document"]) if param.key not in there]
        self.client.log_batch(self.parent, params=settings)
        if source := self._facts.get("source"):
            self.client.log_text(self.parent, source, "sweep.yaml")
        if origin := self._facts.get("provenance"):
            self.client.log_dict(self.parent, origin, "provenance.json")
        if (sessions := self._folder / "sessions").is_dir():
            self._runs.upload(self.parent, sessions, "sessions")

    def _show_dataset(self) -> None:
        """The driver notes the data set once it is prepared, which may be after this process began."""
        if not self._dataset and (found := self._journal.fact("dataset")):
            splits = dataset_inputs(found, origin(self._facts))
            with answered():
                self.client.log_inputs(self.parent, splits)
            self._dataset = splits[:1]  # no trial sees the hold-out

    # One trial: four calls, whatever its number, and one more for each 1,000 metrics and for each file.

    def _child(self, trial: Trial) -> str:
        facts = texts({
            "hpo.state": trial.state,
            "hpo.attempt": str(trial.attempt) if trial.attempt > 1 else None,
            "hpo.worker": trial.worker or None,
            "hpo.error": f"{trial.failure.cause}: {trial.failure.message}" if trial.failure else None,
            RECORD: record(trial),
        })  # fmt: skip
        run_id = self._runs.find(trial.number)
        news: Mapping[str, str] = facts if run_id else {}
        if run_id is None:
            run_id = self._runs.create_child(trial, {**facts, **texts(origin(self._facts)["tags"])})
        self.client.log_batch(
            run_id,
            metrics=metrics(trial, [m.name for m in self._metrics]),
            params=params(trial.params),
            tags=tags(news),
        )
        crash.point("logged")
        if self._dataset:
            self.client.log_inputs(run_id, self._dataset)
        self._upload_files(trial, run_id)
        self.client.set_terminated(run_id, STATUS[trial.state], end_time=milliseconds(trial.finished))
        return run_id

    def _upload_files(self, trial: Trial, run_id: str) -> None:
        if record(trial) is None:
            self._attach(run_id, f"{RECORD}.json", whole(trial))
        if trial.failure and trial.failure.traceback:
            self._attach(run_id, "traceback.txt", trial.failure.traceback)
        files = self._folder / "trials" / f"{trial.number:04d}"
        if files.is_dir() and any(files.iterdir()):
            self._runs.upload(run_id, files)

    def _note_best(self, trial: Trial) -> None:
        """`best_<metric>` of the parent, at each trial that improved it; `_show_best` sends them. The order of
        publication is the journal's, so a replay writes the same points."""
        better = self._improvements(trial)
        self._points += [metric(f"best_{name}", value, trial.finished, trial.number) for name, value in better.items()]
        self._best |= better

    def _show_best(self) -> None:
        """One request for all trials since the last one."""
        with answered():
            self.client.log_batch(self.parent, metrics=self._points)
        self._points = []

    def _improvements(self, trial: Trial) -> dict[str, float]:
        values = zip(self._metrics, trial.values or (), strict=False)
        return {m.name: v for m, v in values if m.name not in self._best or m.better(v, self._best[m.name])}

    def _recall_best(self) -> None:
        """Of the trials that were published before; sent once more, as a killed process may have kept the last ones."""
        pending = {entry.trial.number for entry in self._journal.unpublished(-1)}
        self._best, self._points = {}, []
        for entry in self._journal.finished():
            if entry.trial.number not in pending:
                self._note_best(entry.trial)

    def _refuse(self, entry: Entry, reason: str) -> None:
        """Put one trial aside, with the reason, so that it does not stand in the way of the others."""
        number = entry.trial.number
        self.refused[number] = self._aside[str(number)] = reason
        self._show_aside()
        run_id = self._runs.known.get(number)
        if run_id is None:
            return
        self._journal.published((number, run_id, 0))
        with answered():
            try:
                self.client.log_batch(run_id, tags=tags({"hpo.refused": reason}))
                self.client.set_terminated(
                    run_id, STATUS[entry.trial.state], end_time=milliseconds(entry.trial.finished)
                )
            except MlflowException as error:
                if error.get_http_status_code() >= 500:
                    raise

    def _show_aside(self) -> None:
        """Which trials are put aside, in the journal and on the sweep's run."""
        self._journal.record(refused=self._aside)
        text = "; ".join(f"trial {number}: {reason}" for number, reason in self._aside.items())
        with answered():
            self.client.log_batch(self.parent, tags=tags({"hpo.refused": text or "none any more"}))
