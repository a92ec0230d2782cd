"""Versions and aliases in MLflow's registry: found by their tags, registered once, pointed at.

Used by the other modules of the registry. Models and versions have no natural key in MLflow, so both carry the sweep
and the trial as tags and are looked up first: a repetition finds what is there. What is registered was uploaded,
fetched back and compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from hpo import crash
from hpo.digest import digests
from hpo.errors import InputError, Problem
from hpo.metric import Metric
from hpo.registry.files import DIGESTS, DamagedError, damage, write_model


@dataclass(frozen=True)
class Candidate:
    """A refitted model. `folder` holds it with its `predictor.py`, `scores` are those on the hold-out (none
    without one), `rows` says which hold-out that is, `columns` and `example` show raw rows, `tags` go to the version.
    `available` are all columns of the data. `manual`: a person decides, whatever the verdict.
    """

    sweep: str
    trial: int
    folder: Path
    model: str
    alias: str
    metric: Metric
    scores: Mapping[str, float]
    rows: str
    columns: tuple[str, ...]
    example: pd.DataFrame | None
    available: tuple[str, ...] | None = None
    manual: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def id_of(version: ModelVersion) -> str:
    """Stores disagree on whether a version is a number or a text."""
    return str(version.version)


def all_of(client: MlflowClient, model: str) -> list[ModelVersion]:
    quote = '"' if "'" in model else "'"
    return list(client.search_model_versions(f"name = {quote}{model}{quote}", max_results=10_000))


def version_of(client: MlflowClient, candidate: Candidate) -> ModelVersion | None:
    """The version that an earlier call registered, by its tags; the lowest if a lost answer made two."""
    found = [
        v for v in all_of(client, candidate.model)
        if v.tags.get("hpo.sweep") == candidate.sweep and v.tags.get("hpo.trial") == str(candidate.trial)
    ]  # fmt: skip
    return min(found, key=lambda v: int(v.version), default=None)


def find(client: MlflowClient, text: str) -> ModelVersion:
    """The version that NAME (its champion), NAME@alias, NAME/version or any of these behind models:/ means."""
    name, at, alias = text.removeprefix("models:/").partition("@")
    name, slash, version = (name, "", "") if at else name.partition("/")
    if slash:
        found = next((v for v in all_of(client, name) if id_of(v) == version), None)
    else:
        found = holder(client, name, alias or "champion")
    if found is None:
        known = ", ".join(sorted((id_of(v) for v in all_of(client, name)), key=int))
        hint = f"its versions: {known}" if known else "is this the right --tracking-uri?"
        raise InputError(Problem(f"there is no model {text!r}", hint=hint))
    return found


def holder(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def point(client: MlflowClient, model: str, alias: str, version: str) -> None:
    _twice(lambda: client.set_registered_model_alias(model, alias, version))


def note(client: MlflowClient, model: str, key: str, value: str) -> None:
    """A tag of the registered model, which rivals may write as well."""
    _twice(lambda: client.set_registered_model_tag(model, key, value))


def unpoint(client: MlflowClient, model: str, alias: str, version: str | None = None) -> None:
    """Take the alias away, if it is there and, where given, names this version."""
    found = holder(client, model, alias)
    if found is not None and version in (None, id_of(found)):
        client.delete_registered_model_alias(model, alias)


def _twice(write: Callable[[], None]) -> None:
    """MLflow looks for the row and then inserts it. Of two who write a new one at the same instant one therefore fails;
    by then the row is there, and once more is enough."""
    try:
        write()
    except MlflowException:
        write()


def register(client: MlflowClient, experiment: str, run_id: str, candidate: Candidate) -> ModelVersion:
    try:
        client.create_registered_model(candidate.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        **candidate.tags,
        "hpo.sweep": candidate.sweep,
        "hpo.trial": str(candidate.trial),
        "hpo.metric": candidate.metric.name,
        "hpo.value": repr(candidate.scores.get(candidate.metric.name)),
        "hpo.rows": candidate.rows,
        **{f"holdout_{name}": repr(value) for name, value in candidate.scores.items()},
    }
    logged = _log(client, experiment, run_id, candidate, tags)
    tags[DIGESTS] = logged.tags[DIGESTS]
    return client.create_model_version(  # `models:/m-…` as the source would be looked up in mlflow's global store
        candidate.model, source=logged.artifact_location, run_id=run_id, tags=tags, model_id=logged.model_id
    )


def _log(
    client: MlflowClient, experiment: str, run_id: str, candidate: Candidate, tags: Mapping[str, str]
) -> LoggedModel:
    """A logged model of the parent run, READY once its files have come back unharmed; what an interrupted call left
    half-written is replaced."""
    ours = f"tags.`hpo.sweep` = '{candidate.sweep}' AND tags.`hpo.trial` = '{candidate.trial}'"
    for model in client.search_logged_models([experiment], filter_string=ours):
        if str(model.status) == "READY" and damage(client, model, candidate.folder.parent) is None:
            return model
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(experiment, name=candidate.model, source_run_id=run_id, tags=dict(tags))
    with tempfile.TemporaryDirectory(dir=candidate.folder.parent) as scratch:
        built = Path(scratch) / "model"
        about = Model(run_id=run_id, model_id=model.model_id)
        write_model(candidate.folder, built, candidate.columns, candidate.example, about)
        client.set_logged_model_tags(model.model_id, {DIGESTS: json.dumps(digests(built))})
        crash.point("upload")
        client.log_model_artifacts(model.model_id, str(built))
        crash.point("uploaded")
    model = client.get_logged_model(model.model_id)
    if spoilt := damage(client, model, candidate.folder.parent):
        raise DamagedError(f"the model did not arrive as it was sent ({spoilt})")
    return client.finalize_logged_model(model.model_id, "READY")
