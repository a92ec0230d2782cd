"""The projection of a journal into MLflow: one parent run for the sweep, one child run per finished trial.

Used by `hpo.sync` alone, in a process of its own: neither mlflow's import nor a slow server is on the path of
a trial. Everything written here can be written again: runs are found by their tags, metrics carry the trial's
own timestamps. Creating a run is the one call that cannot be repeated, so it is never retried blindly: after
a doubtful answer the run is looked up, and `reconcile` removes what a late server created all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run, ViewType
from mlflow.exceptions import MlflowException

from hpo import crash
from hpo.journal import PARENT, Entry, Journal
from hpo.metric import Metric
from hpo.tracking.layout import STATUS, dataset_input, metric, metrics, milliseconds, params, tags, texts
from hpo.tracking.server import Away, Refused, answered, connect, is_missing, sqlite_file
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
        self._known: dict[int, str] = {}
        self._doubtful: set[int] = set()
        self._best: dict[str, float] = {}
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
        return self._experiment

    @property
    def parent(self) -> str:
        """The run id of the sweep."""
        return self._known[PARENT]

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
            except Away as away:
                if is_missing(away.__cause__):
                    self._client = None  # look again at what is there
                raise
            self._journal.published((number, run_id, entry.revision))
            if self._aside.pop(str(number), None) is not None:  # refused once, and taken now
                self._show_aside()
            done += 1
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
        self._status = (status, notes)

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
            ghosts = self._survey()
        if PARENT not in self._known:
            self._client = None  # another store than before: begin anew
        return ghosts

    def _ended(self) -> float:
        """Never before it began, whatever the clock did meanwhile."""
        ends = [trial.finished for trial in self._journal.trials() if trial.finished is not None]
        return max(self._facts.get("created") or 0.0, *ends) if ends else 0.0

    # Opening: the experiment, the parent, and what is there already.

    def _open(self) -> None:
        if self._client is not None:
            return
        client = connect(self._uri)
        self._facts = self._journal.facts()
        self._aside = self._facts.get("refused") or {}
        self._metrics = [Metric(name, direction) for name, direction in self._facts["metrics"]]
        with answered():
            self._client = client
            try:
                self._experiment = self._find_experiment()
                self._survey()
                if PARENT not in self._known:
                    self._create_parent()
                self._describe_parent()
            except BaseException:
                self._client = None
                raise
        self._recall_best()
        self._dataset = []
        self._status = ("", {})

    def _find_experiment(self) -> str:
        """Where the parent is, if it is somewhere; else by name, created if need be."""
        name = self._facts["name"]
        if parent := self._journal.runs().get(PARENT):
            try:
                return str(self.client.get_run(parent).info.experiment_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if experiment := self.client.get_experiment_by_name(name):
            if experiment.lifecycle_stage == "deleted":
                raise Refused(
                    f"experiment {name!r} is deleted in MLflow; bring it back with "
                    f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`"
                )
            return str(experiment.experiment_id)
        database = sqlite_file(self._uri)
        place = None if database is None else (database.parent / "mlruns" / quote(name, safe=" ")).as_uri()
        try:
            return str(self.client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            experiment = self.client.get_experiment_by_name(name)  # another sweep was faster
            if experiment is None:
                raise error
            return str(experiment.experiment_id)

    def _survey(self) -> int:
        """Find this sweep's runs; settle on one per trial, delete the others, re-open what was lost."""
        noted = self._journal.runs()
        found: dict[int, list[Run]] = defaultdict(list)
        for run in self._search(""):
            found[int(run.data.tags.get("hpo.trial", PARENT))].append(run)
        known: dict[int, str] = {}
        ghosts: list[str] = []
        for number, runs in found.items():
            active = sorted(r.info.run_id for r in runs if r.info.lifecycle_stage == "active")
            if noted.get(number) in {r.info.run_id for r in runs}:  # deleted by a person: it stays deleted
                known[number] = noted[number]
            elif active:
                known[number] = active[0]
            ghosts += [run_id for run_id in active if run_id != known[number]]
        self._known = known  # whole before the next call, which may fail
        self._doubtful.clear()
        if lost := [(n, run_id, 0) for n, run_id in noted.items() if known.get(n) != run_id]:
            self._journal.published(*lost)
        for run_id in ghosts:
            self.client.set_terminated(run_id, "KILLED")
            self.client.delete_run(run_id)
        return len(ghosts)

    def _search(self, more: str) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [self._experiment], f"tags.`hpo.sweep` = '{self._facts['id']}'{more}",
                run_view_type=ViewType.ALL, max_results=1000, page_token=token,
            )  # fmt: skip
            yield from page
            if not (token := page.token):
                return

    def _create_parent(self) -> None:
        facts = self._facts
        origin = facts.get("provenance") or {}
        git = origin.get("git") or {}
        tags = {
            "hpo.sweep": facts["id"],
            "hpo.engine": facts.get("engine"),
            "hpo.identity": facts.get("identity"),
            "hpo.state": "running",
            "hpo.follows": facts.get("follows"),
            "mlflow.user": origin.get("user"),
            "mlflow.source.name": origin.get("command"),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": git.get("commit"),
            "mlflow.source.git.branch": git.get("branch"),
            "mlflow.source.git.repoURL": git.get("remote"),
            "hpo.git.dirty": str(git["dirty"]).lower() if git else None,
        }
        crash.point("create parent")
        run = self.client.create_run(
            self._experiment, milliseconds(facts.get("created")), texts(tags), run_name=facts["id"]
        )
        crash.point("created parent")
        self._known[PARENT] = run.info.run_id

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

    def _show_dataset(self) -> None:
        """The driver notes the data set once it is prepared, which may be after this process began."""
        if not self._dataset and (found := self._journal.fact("dataset")):
            dataset = [dataset_input(found, self._facts["document"]["data"]["path"])]
            with answered():
                self.client.log_inputs(self.parent, dataset)
            self._dataset = dataset

    # One trial: three or four calls, whatever its number.

    def _child(self, trial: Trial) -> str:
        facts = texts({
            "hpo.state": trial.state,
            "hpo.attempt": str(trial.attempt) if trial.attempt > 1 else None,
            "hpo.error": f"{trial.failure.cause}: {trial.failure.message}" if trial.failure else None,
        })  # fmt: skip
        run_id = self._known.get(trial.number) or self._look_up(trial.number)
        news: Mapping[str, str] = facts if run_id else {}
        if run_id is None:
            run_id = self._create_child(trial, facts)
        self.client.log_batch(
            run_id,
            metrics=metrics(trial, [m.name for m in self._metrics]),
            params=params(trial.params),
            tags=tags(news),
        )
        crash.point("logged")
        if self._dataset:
            self.client.log_inputs(run_id, self._dataset)
        if trial.failure and trial.failure.traceback:
            self.client.log_text(run_id, trial.failure.traceback, "traceback.txt")
        files = self._folder / "trials" / f"{trial.number:04d}"
        if files.is_dir() and any(files.iterdir()):
            self.client.log_artifacts(run_id, str(files))
        self._show_best(trial)
        self.client.set_terminated(run_id, STATUS[trial.state], end_time=milliseconds(trial.finished))
        return run_id

    def _look_up(self, number: int) -> str | None:
        """Only after a doubtful create; otherwise the survey has seen everything there is."""
        if number not in self._doubtful:
            return None
        found = sorted(
            run.info.run_id for run in self._search(f" and tags.`hpo.trial` = '{number}'")
            if run.info.lifecycle_stage == "active"
        )  # fmt: skip
        if found:
            self._known[number] = found[0]
        return self._known.get(number)

    def _create_child(self, trial: Trial, facts: Mapping[str, str]) -> str:
        name = f"trial-{trial.number:04d}"
        key = {
            "mlflow.parentRunId": self.parent,
            "hpo.sweep": self._facts["id"],
            "hpo.trial": str(trial.number),
        }
        user = (self._facts.get("provenance") or {}).get("user")
        self._doubtful.add(trial.number)
        crash.point("create")
        run = self.client.create_run(
            self._experiment, milliseconds(trial.started or trial.finished),
            {**key, **texts({"mlflow.user": user}), **facts}, run_name=name,
        )  # fmt: skip
        crash.point("created")
        self._doubtful.discard(trial.number)
        self._known[trial.number] = run.info.run_id
        return str(run.info.run_id)

    def _show_best(self, trial: Trial) -> None:
        """`best_<metric>` of the parent, at each trial that improved it. The order of publication is the
        journal's, so a replay writes the same points."""
        better = self._improvements(trial)
        points = [metric(f"best_{name}", value, trial.finished, trial.number) for name, value in better.items()]
        self.client.log_batch(self.parent, metrics=points)
        self._best |= better

    def _improvements(self, trial: Trial) -> dict[str, float]:
        values = zip(self._metrics, trial.values or (), strict=False)
        return {m.name: v for m, v in values if m.name not in self._best or m.better(v, self._best[m.name])}

    def _recall_best(self) -> None:
        pending = {entry.trial.number for entry in self._journal.unpublished(-1)}
        self._best = {}
        for trial in self._journal.trials():
            if trial.number not in pending:
                self._best |= self._improvements(trial)

    def _refuse(self, entry: Entry, reason: str) -> None:
        """Put one trial aside, with the reason, so that it does not stand in the way of the others."""
        number = entry.trial.number
        self.refused[number] = self._aside[str(number)] = reason
        self._show_aside()
        run_id = self._known.get(number)
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
