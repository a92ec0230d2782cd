"""The registry: log the best model, register it, judge it against the champion, move the alias.

Called by `hpo.delivery` with values and one callable. Models and versions have no natural key in MLflow, so both
carry the sweep and the trial as tags and are looked up first: a repetition finds what is there. An alias is
moved by an unconditional write, so it is written, read again and repaired until all contenders agree. What is
registered was uploaded, fetched back and compared; what is loaded is compared with what was registered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from hpo import crash
from hpo.digest import difference, digests
from hpo.errors import HpoError
from hpo.metric import Metric

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # "no pip here": uv's environments have none

Scores = Mapping[str, float]
Score = Callable[[Any], Scores]
CHALLENGER = "challenger"  # the alias of the latest version that was judged and not promoted
ROUNDS = 10  # how often an alias that others move as well is judged again
DIGESTS = "hpo.sha256"  # the tag of logged models and versions that holds the SHA-256 of each of their files
RIVALRY = 3600.0  # seconds; versions that beat the same champion within this time compete with each other


@dataclass(frozen=True)
class Verdict:
    promote: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A refitted model. `folder` holds it with its `predictor.py`, `scores` are those on the hold-out (none
    without one), `rows` says which hold-out that is, `columns` and `example` show raw rows, `tags` go to the version.
    """

    sweep: str
    trial: int
    folder: Path
    model: str
    alias: str
    metric: Metric
    scores: Scores
    rows: str
    columns: tuple[str, ...]
    example: pd.DataFrame | None
    min_gain: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate; as JSON it is the journal's fact `promotion`."""

    version: str | None
    model: str
    alias: str
    promoted: bool
    reasons: tuple[str, ...]
    scores: Scores
    champion_scores: Scores | None = None
    uri: str | None = None
    run_id: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def failed(cls, model: str, error: str) -> Promotion:
        """Nothing was judged; a later delivery tries again."""
        return cls(None, model, "", False, (), {}, error=error)

    @property
    def summary(self) -> str:
        if self.error is not None:
            return f"failed: {self.error}"
        return f"{'promoted' if self.promoted else 'not promoted'}: {'; '.join(self.reasons)}"


def verdict(champion: float | None, challenger: float, metric: Metric, min_gain: float = 0.0) -> Verdict:
    """Whether the challenger takes the place of the champion (None: there is none), both on the same rows."""
    if not math.isfinite(challenger):
        return Verdict(False, (f"its hold-out {metric.name} is {challenger}",))
    if champion is None:
        return Verdict(True, ("there was no champion",))
    gain = metric.sign * (challenger - champion)
    compared = f"hold-out {metric.name} {challenger:.6g} against the champion's {champion:.6g}"
    if not gain > 0:
        return Verdict(False, (compared, "it is no better" if gain == 0 else "it is worse"))
    if gain < min_gain:
        return Verdict(False, (compared, f"it gains {gain:.6g}, less than the {min_gain:.6g} asked for"))
    return Verdict(True, (compared, f"it gains {gain:.6g}"))


def promote(client: MlflowClient, experiment: str, run_id: str, candidate: Candidate, score: Score) -> Promotion:
    """Register the candidate and give it the alias if it beats the version that has it now.

    `score` scores a loaded champion on the candidate's hold-out rows. May raise what MLflow raises; a second call
    goes on where the first one stopped and registers nothing twice.
    """
    version = _version_of(client, candidate) or _register(client, experiment, run_id, candidate)
    crash.point("registered")
    for _ in range(ROUNDS):
        champion = _holder(client, candidate.model, candidate.alias)
        if champion is not None and _id(champion) == _id(version):
            judged = Verdict(True, ("it is the champion already",))
            return _outcome(candidate, version, judged, None)
        theirs, judged = _judge(client, champion, candidate, score)
        if judged.promote:
            winner = _take(client, candidate, version, champion)
            if winner is None:
                continue
            if winner != _id(version):
                rival = f"version {winner}, which came at the same time, is better still"
                judged = Verdict(False, (*judged.reasons, rival))
        if not judged.promote:
            _point(client, candidate.model, CHALLENGER, _id(version))
        return _outcome(candidate, version, judged, theirs)
    raise RuntimeError(f"the alias {candidate.alias!r} of {candidate.model!r} was moved {ROUNDS} times meanwhile")


def _outcome(candidate: Candidate, version: ModelVersion, judged: Verdict, theirs: Scores | None) -> Promotion:
    alias = candidate.alias if judged.promote else CHALLENGER
    return Promotion(
        _id(version), candidate.model, alias, judged.promote, judged.reasons, candidate.scores, theirs,
        uri=f"models:/{candidate.model}@{alias}", run_id=version.run_id,
    )  # fmt: skip


def _judge(
    client: MlflowClient, champion: ModelVersion | None, candidate: Candidate, score: Score
) -> tuple[Scores | None, Verdict]:
    """The champion's scores on the candidate's rows. Not knowing them is no reason to replace it."""
    metric = candidate.metric
    if metric.name not in candidate.scores:
        return None, Verdict(False, ("the sweep held no rows out to judge it on",))
    value = candidate.scores[metric.name]
    if champion is None:
        return None, verdict(None, value, metric)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            _fetch(client, client.get_model_version_download_uri(candidate.model, _id(champion)), folder)
            theirs = _score(folder, champion.tags.get(DIGESTS), score)
        return theirs, verdict(theirs[metric.name], value, metric, candidate.min_gain)
    except (_UnscorableError, KeyError) as error:
        why = f"the champion, version {_id(champion)}, cannot be scored on these rows: {error}"
        return None, Verdict(False, (f"{why:.500}", "it stays until a person decides"))


class DamagedError(HpoError):
    """What came back from the server is not what was sent."""


class _UnscorableError(Exception):
    pass


def _fetch(client: MlflowClient, place: str, folder: Path) -> None:
    """Download a model's files; none are there: none come."""
    get_artifact_repository(place, tracking_uri=client.tracking_uri).download_artifacts("", str(folder))


def _score(folder: Path, registered: str | None, score: Score) -> Scores:
    """Nothing in the folder is parsed before all of it is known to be what was registered."""
    if registered is None:
        raise _UnscorableError(f"it was registered without digests of its files ({DIGESTS})")
    if damage := difference(folder, json.loads(registered)):
        raise _UnscorableError(f"its files are not those that were registered: {damage}")
    if stranger := _stranger(folder):
        raise _UnscorableError(stranger)
    try:
        return score(mlflow.pyfunc.load_model(str(folder)))
    except Exception as error:  # whatever the code of an older model does on today's rows
        raise _UnscorableError(f"{type(error).__name__}: {error}") from error


def _stranger(folder: Path) -> str | None:
    """Why this is not a model as `write_model` makes it: its digests say that it is unchanged, not that it is ours."""
    flavors = Model.load(str(folder)).flavors
    code = sorted(path.name for path in (folder / "code").glob("*"))
    loader = flavors.get("python_function", {}).get("loader_module")
    if unknown := flavors.keys() - {"python_function", "xgboost"}:
        return f"it has a flavor that is not ours: {', '.join(sorted(unknown))}"
    if code != [f"{loader}.py"] or loader != _loader((folder / "code" / code[0]).read_bytes()):
        return f"it is loaded by code that is not ours: {loader}"
    return None


def _loader(code: bytes) -> str:
    """The name of a predictor as a module: two models in one process are two modules."""
    return f"hpo_predictor_{hashlib.sha256(code).hexdigest()[:8]}"


def _take(
    client: MlflowClient, candidate: Candidate, version: ModelVersion, champion: ModelVersion | None
) -> str | None:
    """Claim the alias; who has it in the end, or None if someone else came in between: then judge again.

    All who beat the same champion say so before they write, and each chooses the same winner among them, so
    the last write is right whoever makes it.
    """
    beaten = _id(champion) if champion else "none"
    client.set_model_version_tag(candidate.model, _id(version), "hpo.beat", f"{candidate.alias} {beaten}")
    while True:
        rivals = [
            v for v in client.search_model_versions(f"name = '{candidate.model}'")
            if v.tags.get("hpo.beat") == f"{candidate.alias} {beaten}" and v.tags.get("hpo.rows") == candidate.rows
            and abs(v.creation_timestamp - version.creation_timestamp) < RIVALRY * 1000
        ]  # fmt: skip
        sign = candidate.metric.sign
        winner = _id(max(rivals, key=lambda v: (sign * float(v.tags["hpo.value"]), -int(v.version))))
        holder = _holder(client, candidate.model, candidate.alias)
        now = _id(holder) if holder else "none"
        if now == winner:
            return winner
        if now != beaten and now not in {_id(v) for v in rivals}:
            return None
        _point(client, candidate.model, candidate.alias, winner)
        crash.point("pointed")


def _id(version: ModelVersion) -> str:
    """Stores disagree on whether a version is a number or a text."""
    return str(version.version)


def _point(client: MlflowClient, model: str, alias: str, version: str) -> None:
    """Two who write a new alias at the same instant both insert a row, and one of them fails: once more, please."""
    try:
        client.set_registered_model_alias(model, alias, version)
    except MlflowException:
        client.set_registered_model_alias(model, alias, version)


def _version_of(client: MlflowClient, candidate: Candidate) -> ModelVersion | None:
    """The version that an earlier call registered, by its tags; the lowest if a lost answer made two."""
    found = [
        v for v in client.search_model_versions(f"name = '{candidate.model}'")
        if v.tags.get("hpo.sweep") == candidate.sweep and v.tags.get("hpo.trial") == str(candidate.trial)
    ]  # fmt: skip
    return min(found, key=lambda v: int(v.version), default=None)


def _holder(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _register(client: MlflowClient, experiment: str, run_id: str, candidate: Candidate) -> ModelVersion:
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
        if str(model.status) == "READY" and _damage(client, model, candidate.folder.parent) is None:
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
    if damage := _damage(client, model, candidate.folder.parent):
        raise DamagedError(f"the model did not arrive as it was sent ({damage})")
    return client.finalize_logged_model(model.model_id, "READY")


def _damage(client: MlflowClient, model: LoggedModel, near: Path) -> str | None:
    """How the files that the server has differ from those that were sent."""
    with tempfile.TemporaryDirectory(dir=near) as scratch:
        _fetch(client, model.artifact_location, Path(scratch))
        return difference(Path(scratch), json.loads(model.tags.get(DIGESTS, "{}")))


def write_model(
    folder: Path, target: Path, columns: tuple[str, ...], example: pd.DataFrame | None, model: Model
) -> None:
    """An MLflow model without a pickle: the native file, read by the predictor that lies beside it as code.

    The columns are declared as `any`: MLflow would otherwise refuse rows whose integers are wider, or whose
    categories are typed, which the predictor reads just as well.
    """
    code = (folder / "predictor.py").read_bytes()
    loader = _loader(code)
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name) for name in columns]),
        outputs=Schema([ColSpec(AnyType())]),
        params=ParamSchema([ParamSpec("output", "string", "label")]),
    )
    requirements = ["mlflow", "numpy", "pandas"]
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch) / f"{loader}.py"
        module.write_bytes(code)
        data = Path(scratch) / "model"
        shutil.copytree(folder, data, ignore=shutil.ignore_patterns("predictor.py", "__pycache__"))
        if (data / "model.ubj").exists():
            requirements += ["xgboost", "scikit-learn"]
            model.add_flavor(
                "xgboost", xgb_version=installed("xgboost"), data="data/model/model.ubj",
                model_class="xgboost.core.Booster", model_format="ubj", code="code",
            )  # fmt: skip
        else:
            requirements += ["scikit-learn", "scipy", "skops"]
        mlflow.pyfunc.save_model(
            str(target), loader_module=loader, data_path=str(data), code_paths=[str(module)], mlflow_model=model,
            signature=signature, input_example=example, pip_requirements=[f"{r}=={installed(r)}" for r in requirements],
        )  # fmt: skip
