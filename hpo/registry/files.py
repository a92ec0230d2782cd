"""A model as files: how it is written for MLflow, sent, fetched back, and what is opened again.

Used by the other modules of the registry. A model folder is a program, and readers of binary models crash on bad bytes,
so nothing is parsed before all of it is known to be what was registered, and to be of our making.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from hpo.digest import difference
from hpo.errors import HpoError

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # "no pip here": uv's environments have none

DIGESTS = "hpo.sha256"  # the tag of logged models and versions that holds the SHA-256 of each of their files


class DamagedError(HpoError):
    """What came back from the server is not what was sent."""


class UnusableError(Exception):
    """The files of a version are not to be opened, or do not open."""


def fetch(client: MlflowClient, place: str, folder: Path) -> None:
    """Download a model's files; none are there: none come."""
    get_artifact_repository(place, tracking_uri=client.tracking_uri).download_artifacts("", str(folder))


def fetch_version(client: MlflowClient, version: ModelVersion, folder: Path) -> None:
    """The files of a version, whole and ours. UnusableError: which they are not."""
    fetch(client, client.get_model_version_download_uri(version.name, str(version.version)), folder)
    registered = version.tags.get(DIGESTS)
    if registered is None:
        raise UnusableError(f"it was registered without digests of its files ({DIGESTS})")
    if damage := difference(folder, json.loads(registered)):
        raise UnusableError(f"its files are not those that were registered: {damage}")
    if stranger := _stranger(folder):
        raise UnusableError(stranger)


def load(folder: Path, columns: tuple[str, ...] | None = None) -> Any:
    """The model in a folder that `fetch_version` filled; UnusableError too if it wants columns that there are not."""
    try:
        model = mlflow.pyfunc.load_model(str(folder))
    except Exception as error:  # whatever the code of an older model does today
        raise UnusableError(f"{type(error).__name__}: {error}") from error
    schema = model.metadata.get_input_schema()
    wanted = schema.input_names() if schema is not None else []
    if columns is not None and (lacking := [name for name in wanted if name not in columns]):
        raise UnusableError(f"its signature asks for columns that the data lacks: {', '.join(lacking[:5])}")
    return model


def damage(client: MlflowClient, model: LoggedModel, near: Path) -> str | None:
    """How the files that the server has differ from those that were sent."""
    with tempfile.TemporaryDirectory(dir=near) as scratch:
        fetch(client, model.artifact_location, Path(scratch))
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
        elif (data / "model.txt").exists():
            requirements += ["lightgbm"]
        elif (data / "model.cbm").exists():
            requirements += ["catboost"]
        else:
            requirements += ["scikit-learn", "scipy", "skops"]
        mlflow.pyfunc.save_model(
            str(target), loader_module=loader, data_path=str(data), code_paths=[str(module)], mlflow_model=model,
            signature=signature, input_example=example, pip_requirements=[f"{r}=={installed(r)}" for r in requirements],
        )  # fmt: skip


def _stranger(folder: Path) -> str | None:
    """Why this is not a model as `write_model` makes it: its digests say that it is unchanged, not that it is ours."""
    flavors: Mapping[str, Any] = Model.load(str(folder)).flavors
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
