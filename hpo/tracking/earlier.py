"""Earlier runs of an MLflow server, ours or anybody's: what was tried and what it scored.

Called by `hpo.earlier` for `search.warm_start`. A registered model leads to the runs of its versions and to the runs
beside and below them; another name is an experiment's. Runs are known by their parameters and metrics alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from hpo.errors import InputError, Problem
from hpo.tracking.server import answered, connect

MOST = 1000  # runs of an experiment that are looked at, the latest first
VERSIONS = 20  # of a registered model, the latest first
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class EarlierRun:
    """`identity` is that of the sweep it belongs to, "" for a run that is none of ours."""

    params: Mapping[str, str]
    value: float | None
    identity: str = ""


def runs(uri: str, name: str, metric: str) -> list[EarlierRun]:
    """All finished runs behind a model or in an experiment. InputError where there is neither."""
    client = connect(uri)
    with answered():
        return [*_of_model(client, name, metric)] or [*_of_experiment(client, name, metric)]


def _of_model(client: MlflowClient, name: str, metric: str) -> Iterator[EarlierRun]:
    try:
        found = client.search_model_versions(f"name='{name.replace(chr(39), '')}'", max_results=VERSIONS)
    except MlflowException:  # a store without a registry
        return
    seen: set[str] = set()
    for version in found:
        if version.run_id and version.run_id not in seen:
            seen.add(version.run_id)
            run = client.get_run(version.run_id)
            top = run.data.tags.get(PARENT) or run.info.run_id
            children = client.search_runs(
                [run.info.experiment_id], f"tags.`{PARENT}` = '{top}' and attributes.status = 'FINISHED'",
                max_results=MOST,
            )  # fmt: skip
            identity = (run if top == run.info.run_id else client.get_run(top)).data.tags.get("hpo.identity", "")
            for each in children or [run]:
                yield _earlier(each, metric, identity)


def _of_experiment(client: MlflowClient, name: str, metric: str) -> Iterator[EarlierRun]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        hint = "an id or its beginning (hpo.status lists them), last, a registered model, or an experiment"
        raise InputError(Problem(f"nothing earlier is named {name!r}", "search.warm_start", hint))
    found = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=MOST)
    identities = {run.info.run_id: run.data.tags.get("hpo.identity", "") for run in found}
    for run in found:
        yield _earlier(run, metric, identities.get(run.data.tags.get(PARENT, ""), ""))


def _earlier(run: Run, metric: str, identity: str) -> EarlierRun:
    return EarlierRun(run.data.params, run.data.metrics.get(metric), identity)
