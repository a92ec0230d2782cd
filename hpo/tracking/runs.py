"""The runs of one sweep in MLflow: found again by their tags, created once, and where their files go.

Used by `hpo.tracking.projection`, which says what is written into them. Creating a run is the one call that cannot be
repeated, so it is never retried blindly: after a doubtful answer the run is looked up, and `survey` removes what a late
server created all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from hpo import crash
from hpo.journal import PARENT, Journal
from hpo.tracking.layout import milliseconds, texts
from hpo.tracking.server import Refused, sqlite_file
from hpo.trial import Trial

GHOST = "hpo.ghost"  # the tag of a run that a late server created and this account may not delete


class Runs:
    """`known` holds the run id of each trial, and of the sweep under PARENT. May raise what MLflow raises."""

    def __init__(self, client: MlflowClient, journal: Journal, uri: str) -> None:
        self._client = client
        self._journal = journal
        self._uri = uri
        self._facts = journal.facts()
        self._doubtful: set[int] = set()
        self._places: dict[str, str] = {}
        self.known: dict[int, str] = {}
        self.experiment = self._find_experiment()
        self.survey()

    def _find_experiment(self) -> str:
        """Where the parent is, if it is somewhere; else by name, created if need be."""
        name = self._facts["name"]
        if parent := self._journal.runs().get(PARENT):
            try:
                return str(self._client.get_run(parent).info.experiment_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if experiment := self._client.get_experiment_by_name(name):
            if experiment.lifecycle_stage == "deleted":
                raise Refused(
                    f"experiment {name!r} is deleted in MLflow; bring it back with "
                    f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`"
                )
            return str(experiment.experiment_id)
        database = sqlite_file(self._uri)
        place = None if database is None else (database.parent / "mlruns" / quote(name, safe=" ")).as_uri()
        try:
            return str(self._client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            experiment = self._client.get_experiment_by_name(name)  # another sweep was faster
            if experiment is None:
                raise error
            return str(experiment.experiment_id)

    def survey(self) -> int:
        """Find this sweep's runs; settle on one per trial, delete the others, re-open what was lost."""
        noted = self._journal.runs()
        found: dict[int, list[Run]] = defaultdict(list)
        for run in self._search(""):
            found[int(run.data.tags.get("hpo.trial", PARENT))].append(run)
        known: dict[int, str] = {}
        ghosts: list[str] = []
        for number, runs in found.items():
            active = sorted(r.info.run_id for r in runs if _counts(r))
            if noted.get(number) in {r.info.run_id for r in runs}:  # deleted by a person: it stays deleted
                known[number] = noted[number]
            elif active:
                known[number] = active[0]
            ghosts += [run_id for run_id in active if run_id != known[number]]
        self.known = known  # whole before the next call, which may fail
        self._doubtful.clear()
        if lost := [(n, run_id, 0) for n, run_id in noted.items() if known.get(n) != run_id]:
            self._journal.published(*lost)
        for run_id in ghosts:
            self._lay(run_id)
        return len(ghosts)

    def _lay(self, ghost: str) -> None:
        """Delete a run that is not the journal's; an account that may not do so marks it, once and for all."""
        self._client.set_terminated(ghost, "KILLED")
        try:
            self._client.delete_run(ghost)
        except MlflowException as error:
            if error.get_http_status_code() != 403:
                raise
            self._client.set_tag(ghost, GHOST, "true")

    def _search(self, more: str) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment], f"tags.`hpo.sweep` = '{self._facts['id']}'{more}",
                run_view_type=ViewType.ALL, max_results=1000, page_token=token,
            )  # fmt: skip
            for run in page:
                self._places[run.info.run_id] = run.info.artifact_uri
                yield run
            if not (token := page.token):
                return

    def parent(self, tags: Mapping[str, str]) -> str:
        """The sweep's own run, with these tags if it has to be created."""
        if PARENT not in self.known:
            crash.point("create parent")
            self._create(PARENT, self._facts.get("created"), {"hpo.sweep": self._facts["id"], **tags})
            crash.point("created parent")
        return self.known[PARENT]

    def find(self, number: int) -> str | None:
        """A trial's run. The server is asked only after a doubtful create; else the survey has seen all there is."""
        if number in self.known or number not in self._doubtful:
            return self.known.get(number)
        found = sorted(
            run.info.run_id for run in self._search(f" and tags.`hpo.trial` = '{number}'") if _counts(run)
        )  # fmt: skip
        if found:
            self.known[number] = found[0]
        return self.known.get(number)

    def create_child(self, trial: Trial, tags: Mapping[str, str]) -> str:
        key = {
            "mlflow.parentRunId": self.known[PARENT],
            "hpo.sweep": self._facts["id"],
            "hpo.trial": str(trial.number),
        }
        self._doubtful.add(trial.number)
        crash.point("create")
        self._create(trial.number, trial.started or trial.finished, {**key, **tags})
        crash.point("created")
        self._doubtful.discard(trial.number)
        return self.known[trial.number]

    def _create(self, number: int, started: float | None, tags: Mapping[str, Any]) -> None:
        name = f"trial-{number:04d}"
        if number == PARENT:  # the experiment has the sweep's name; the UI's table has room for twenty characters
            name = self._facts["id"].removeprefix(f"{self._facts['name']}-")
        user = (self._facts.get("provenance") or {}).get("user")
        tags = {**texts({"mlflow.user": user}), **tags}
        run = self._client.create_run(self.experiment, milliseconds(started), tags, run_name=name)
        self._places[run.info.run_id] = run.info.artifact_uri
        self.known[number] = run.info.run_id

    def upload(self, run_id: str, folder: Path, under: str | None = None) -> None:
        """All files below the folder, into the run's folder `under`; the client's own calls would ask the server each
        time where they go."""
        place = self._places.get(run_id) or self._client.get_run(run_id).info.artifact_uri
        get_artifact_repository(place, tracking_uri=self._uri).log_artifacts(str(folder), under)


def _counts(run: Run) -> bool:
    return run.info.lifecycle_stage == "active" and GHOST not in run.data.tags
