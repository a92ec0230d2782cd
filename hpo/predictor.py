"""What is served: raw rows as the user's file has them -> the numbers a model saw in training -> predictions.

Called by `hpo.data` (to encode the table), by `hpo.objectives` (to score the hold-out) and, copied beside the
model, by `mlflow.pyfunc`. One self-contained file that imports nothing of hpo, so that training, judging and
serving cannot read a row differently, and a served model needs neither hpo nor a pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# What a stored scikit-learn model may be made of beyond what skops itself trusts; read by us, never from the file.
SKOPS_TRUSTED = (
    "numpy.dtype",
    "functools.partial",  # of the next one, in HistGradientBoosting; what it holds is checked by name as well
    "sklearn.utils.validation.check_array",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.ExponentialLoss",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn._loss.loss.HuberLoss",
    "sklearn._loss.loss.PinballLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


def encode(frame: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> Matrix:
    """(rows, len(columns)) float64: categories as codes, dates as days since 1970-01-01 UTC, missing as NaN.

    Each column is a mapping with `name`, `kind` and, where the kind has them, `categories` and `format`. Other
    columns of the frame are ignored. ValueError: a column is not there, or holds text where numbers belong.
    """
    if missing := [column["name"] for column in columns if column["name"] not in frame.columns]:
        raise ValueError(f"the rows lack the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}")
    matrix = np.empty((len(frame), len(columns)))
    for k, column in enumerate(columns):
        matrix[:, k] = _ENCODERS[column["kind"]](frame[column["name"]], column)
    return matrix


def category_key(value: Any) -> str:
    """A category's name: 3, 3.0 and "3" are one, as a CSV with a missing value turns the first into the second."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value)


def parse_dates(series: pd.Series[Any], format: str | None) -> pd.Series[Any]:
    """Timestamps in UTC; what cannot be read is missing. Text without a format of its own is read as ISO 8601."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    return pd.to_datetime(series, errors="coerce", utc=True, format=(format or "ISO8601") if _is_text(series) else None)


def _numeric(series: pd.Series[Any], column: Mapping[str, Any]) -> Matrix:
    try:
        numbers = pd.to_numeric(series).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {column['name']!r} holds something that is not a number: {error}") from None
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _boolean(series: pd.Series[Any], column: Mapping[str, Any]) -> Matrix:
    known = {"True": 1.0, "true": 1.0, "1": 1.0, "False": 0.0, "false": 0.0, "0": 0.0}
    return _lookup(series, known)


def _categorical(series: pd.Series[Any], column: Mapping[str, Any]) -> Matrix:
    return _lookup(series, {name: float(code) for code, name in enumerate(column["categories"])})


def _date(series: pd.Series[Any], column: Mapping[str, Any]) -> Matrix:
    days = (parse_dates(series, column.get("format")) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    return np.asarray(days, dtype=np.float64)


def _lookup(series: pd.Series[Any], known: Mapping[str, float]) -> Matrix:
    """One dictionary look-up per different value, not per row; unknown values are missing."""
    codes, different = pd.factorize(series)
    numbers = np.array([known.get(category_key(value), np.nan) for value in different] + [np.nan])
    return numbers.take(codes)  # factorize says -1 for a missing value: the last entry


def _is_text(series: pd.Series[Any]) -> bool:
    return series.dtype == object or isinstance(series.dtype, pd.StringDtype)


_ENCODERS = {"numeric": _numeric, "boolean": _boolean, "categorical": _categorical, "date": _date}


class Predictor:
    """A model folder: `columns.json` and the one of FILES that is there."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        self.columns: list[dict[str, Any]] = about["columns"]
        self.task: str = about["task"]
        self.classes: list[Any] = about["classes"]
        path = next(folder / name for name in FILES if (folder / name).exists())
        if hashlib.sha256(path.read_bytes()).hexdigest() != about["sha256"]:  # a reader of broken bytes may crash
            raise ValueError(f"{path.name} is not the file that was written with this model: its SHA-256 is another")
        self._model = FILES[path.name](path, self)

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
        """One label or number a row; with `{"output": "probability"}` a DataFrame with a column per class, with "both"
        one with the columns `label` and `probability_<class>`."""
        output = (params or {}).get("output", "label")
        if output not in ("label", "probability", "both"):
            raise ValueError(f"output is {output!r}, not 'label', 'probability' or 'both'")
        if output == "both":
            shares = self.predict(frame, {"output": "probability"}).add_prefix("probability_")
            shares.insert(0, "label", self.predict(frame))
            return shares
        matrix = encode(frame, self.columns)
        if output == "label":
            found = self._model.predict(matrix)
            return self._labels()[found.astype(int)] if self.classes else np.asarray(found, dtype=np.float64)
        if not hasattr(self._model, "predict_proba"):
            raise ValueError("this model has no probabilities")
        return pd.DataFrame(self._model.predict_proba(matrix), columns=self.classes, index=frame.index)

    def _labels(self) -> NDArray[Any]:
        labels = np.array(self.classes)
        return labels.astype(object) if labels.dtype.kind == "U" else labels


class _Booster:
    """An XGBoost model behind the two methods that a scikit-learn model has."""

    def __init__(self, path: Path, owner: Predictor) -> None:
        import xgboost

        self._booster = xgboost.Booster(model_file=str(path))
        self._types = feature_types(owner.columns)
        self._classes = owner.classes
        if not owner.classes:
            self.predict_proba = None  # type: ignore[assignment]

    def predict(self, matrix: Matrix) -> NDArray[Any]:
        return labels_of(self._raw(matrix)) if self._classes else self._raw(matrix)

    def predict_proba(self, matrix: Matrix) -> NDArray[Any]:
        return probabilities_of(self._raw(matrix))

    def _raw(self, matrix: Matrix) -> NDArray[Any]:
        import xgboost

        rows = xgboost.DMatrix(
            matrix, feature_types=self._types, feature_names=self._booster.feature_names, enable_categorical=True
        )
        return np.asarray(self._booster.predict(rows))


class _LightGBM(_Booster):
    """A LightGBM model, which says the same things in the same shapes."""

    def __init__(self, path: Path, owner: Predictor) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_file=path)
        self._classes = owner.classes
        if not owner.classes:
            self.predict_proba = None  # type: ignore[assignment]

    def _raw(self, matrix: Matrix) -> NDArray[Any]:
        return np.asarray(self._booster.predict(matrix))


class _CatBoost:
    """A CatBoost model behind the same methods."""

    def __init__(self, path: Path, owner: Predictor) -> None:
        import catboost

        self._model = (catboost.CatBoostClassifier if owner.classes else catboost.CatBoostRegressor)()
        self._model.load_model(str(path))
        self._categorical = [k for k, column in enumerate(owner.columns) if column["kind"] == "categorical"]
        if not owner.classes:
            self.predict_proba = None  # type: ignore[assignment]

    def predict(self, matrix: Matrix) -> NDArray[Any]:
        return np.asarray(self._model.predict(catboost_rows(matrix, self._categorical))).ravel()

    def predict_proba(self, matrix: Matrix) -> NDArray[Any]:
        return np.asarray(self._model.predict_proba(catboost_rows(matrix, self._categorical)))


def catboost_rows(matrix: Matrix, categorical: Sequence[int]) -> pd.DataFrame:
    """The matrix as CatBoost wants it: categories as whole numbers, -1 where there is none."""
    codes = {k: np.nan_to_num(matrix[:, k], nan=-1.0).astype(np.int64) for k in categorical}
    return pd.DataFrame({k: codes.get(k, matrix[:, k]) for k in range(matrix.shape[1])})


def feature_types(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """XGBoost's words: "c" for a category, "q" for a quantity."""
    return ["c" if column["kind"] == "categorical" else "q" for column in columns]


def probabilities_of(raw: NDArray[Any]) -> NDArray[Any]:
    """(rows, classes) from what XGBoost says: one probability for two classes, one a class for more."""
    return raw if raw.ndim == 2 else np.column_stack([1.0 - raw, raw])


def labels_of(raw: NDArray[Any]) -> NDArray[Any]:
    """The class numbers, as XGBClassifier.predict chooses them."""
    return raw.argmax(axis=1) if raw.ndim == 2 else (raw > 0.5).astype(int)


def _load_skops(path: Path, owner: Predictor) -> Any:
    import skops.io

    unknown = set(skops.io.get_untrusted_types(file=path)) - set(SKOPS_TRUSTED)
    if unknown:
        raise ValueError(
            f"{path.name} holds types that are not on the list of known ones: {', '.join(sorted(unknown))}"
        )
    return skops.io.load(path, trusted=list(SKOPS_TRUSTED))


# What a model may be stored as, and who reads it.
FILES = {"model.ubj": _Booster, "model.txt": _LightGBM, "model.cbm": _CatBoost, "model.skops": _load_skops}


def _load_pyfunc(path: str) -> Predictor:
    """Called by mlflow.pyfunc with the model folder."""
    return Predictor(Path(path))
