"""Recorded tuning problems: a search space, and what each configuration would have scored, in microseconds.

Used by `scripts/bench/quality` and `scripts/portfolio`. `carried()` are the tables of real XGBoost runs beside this
file; `folder(DIR)` reads a folder of problems: reference, tables, and surrogates as ONNX, which need onnxruntime.
Every loss is to be minimized; a regret of 0 is the best that anybody has found, 1 the median random configuration.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpo.metric import Metric
from hpo.space import Choice, Float, Int, Space

HERE = Path(__file__).resolve().parent
TABLES = HERE / "tables"
METRICS = {
    "logloss": Metric("log_loss", "minimize"),
    "acc": Metric("accuracy", "maximize"),
    "auc": Metric("roc_auc", "maximize"),
    "val_accuracy": Metric("accuracy", "maximize"),
}
OUTPUTS = {
    "rbv2": ("acc", "bac", "auc", "brier", "f1", "logloss", "timetrain", "timepredict", "memory"),
    "lcbench": ("time", "val_accuracy", "val_cross_entropy", "val_balanced_accuracy", "test_cross_entropy"),
}
FULL = {"rbv2": {"trainsize": 1.0, "repl": 10}, "lcbench": {"epoch": 52}}  # the fidelity that counts
TREES = {"booster": "gbtree", "num.impute.selected.cpo": "impute.median"}


class Recorded(Protocol):
    space: Space

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray: ...


@dataclass(frozen=True)
class Problem:
    name: str
    recorded: Recorded
    metric: Metric
    best: float
    median: float

    @property
    def space(self) -> Space:
        return self.recorded.space

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]

    def loss(self, configuration: dict[str, Any]) -> float:
        return float(self.recorded.losses([configuration])[0])

    def value(self, loss: float) -> float:
        """In the metric's own sign."""
        return -self.metric.sign * loss

    def regret(self, loss: Any) -> Any:
        return (loss - self.best) / (self.median - self.best)


class Table:
    """Real XGBoost runs on one data set, interpolated: a Gaussian process over the principal components of what was
    recorded (log loss per fold and round, log test loss per round, log seconds per fold), and a real run's residual."""

    slower = 100.0  # the data sets are small: what takes a tenth of a second is not worth a thought about its cost
    draws = 500
    space = Space(
        (
            Float("learning_rate", 0.005, 0.5, log=True),
            Int("max_depth", 2, 12),
            Float("min_child_weight", 0.5, 100.0, log=True),
            Float("subsample", 0.4, 1.0),
            Float("colsample_bytree", 0.3, 1.0),
            Float("reg_lambda", 1e-3, 100.0, log=True),
            Float("reg_alpha", 1e-3, 30.0, log=True),
            Float("gamma", 1e-3, 10.0, log=True),
            Int("n_estimators", 8, 160, log=True),
        )
    )

    def __init__(self, path: Path) -> None:
        with np.load(path) as kept:
            self._kept = {name: kept[name] for name in kept}
        self._points = self._kept["U"].astype(float)
        self.rounds = self._kept["rounds"]
        self.folds = int(self._kept["K"])

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        return np.array([self.curves(c)[:, -1].mean() for c in configurations])

    def curves(self, configuration: dict[str, Any]) -> np.ndarray:
        """Loss per fold and round, up to the configuration's number of rounds."""
        recorded = self._predict(configuration)[: self.folds * len(self.rounds)].reshape(self.folds, -1)
        steps = self.steps(configuration)
        return np.array([np.interp(steps, self.rounds, fold) for fold in recorded])

    def steps(self, configuration: dict[str, Any]) -> np.ndarray:
        """The recorded rounds up to the configuration's last one."""
        last = configuration["n_estimators"]
        return np.append(self.rounds[self.rounds < last], last)

    def folds_of(self, configuration: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and seconds of each fold."""
        recorded, last = self._predict(configuration), configuration["n_estimators"]
        losses = recorded[: self.folds * len(self.rounds)].reshape(self.folds, -1)
        seconds = recorded[-self.folds :] * last / self.rounds[-1]
        return np.array([np.interp(last, self.rounds, fold) for fold in losses]), seconds

    def _predict(self, configuration: dict[str, Any]) -> np.ndarray:
        kept = self._kept
        u = np.array([_unit(p, configuration[p.name]) for p in self.space.parameters[:-1]])
        squares = np.square(self._points - u)
        r2 = squares @ (1 / kept["ls"] ** 2).T
        r = np.sqrt(5 * r2)
        scores = ((1 + r + 5 / 3 * r2) * np.exp(-r) * kept["c"] * kept["a"].T).sum(0)
        near = np.sort(np.argpartition(squares.sum(1), 12)[:12])
        drawn = near[zlib.crc32(np.round(u, 5).astype(np.float32).tobytes()) % 12]
        return np.exp(scores @ kept["vt"] * kept["sd"] + kept["mu"] + kept["res"][drawn])


def _unit(parameter: Float | Int, value: float) -> float:
    margin = 0.5 if isinstance(parameter, Int) else 0.0
    low, high = parameter.low - margin, parameter.high + margin
    if parameter.log:
        low, high, value = np.log([low, high, value])
    return float((value - low) / (high - low))


class Surrogate:
    """A network of YAHPO Gym (Pfisterer et al., 2022): the scores of one algorithm on many data sets."""

    def __init__(self, path: Path, instance: str, target: str, fixed: dict[str, Any] | None = None) -> None:
        family = "rbv2" if path.name.startswith("rbv2") else path.name
        self._session, self._names, self._codes = _load(path)
        self._fixed = FULL[family] | (fixed or {})
        described = json.loads((path / "config_space.json").read_text())
        [self._instance] = [n for n in self._codes if n in ("task_id", "OpenML_task_id")]
        self._fixed[self._instance] = instance
        self._column = OUTPUTS[family].index(target)
        self._sign = -METRICS[target].sign
        self.space = _space(described, self._fixed)

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        numbers, choices = self._names
        rows = [self._fixed | c for c in configurations]
        inputs = {
            "x_cont": np.array([[row.get(n, 0) for n in numbers] for row in rows], np.float32),
            "x_cat": np.array([[self._codes[n][row.get(n, "#na#")] for n in choices] for row in rows], np.int32),
        }
        return self._sign * self._session.run(["output"], inputs)[0][:, self._column].astype(float)


# The order of the networks' inputs, which their files do not hold.
_INPUTS = {
    "rbv2_xgboost": (
        "nrounds eta gamma lambda alpha subsample max_depth min_child_weight colsample_bytree colsample_bylevel "
        "rate_drop skip_drop trainsize repl",
        "task_id booster num.impute.selected.cpo",
    ),
    "rbv2_rpart": ("cp maxdepth minbucket minsplit trainsize repl", "task_id num.impute.selected.cpo"),
    "lcbench": (
        "epoch batch_size learning_rate momentum weight_decay num_layers max_units max_dropout",
        "OpenML_task_id",
    ),
}  # fmt: skip


@cache
def _load(path: Path) -> tuple[Any, tuple[list[str], list[str]], dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    numbers, choices = _INPUTS[path.name]
    return session, (numbers.split(), choices.split()), json.loads((path / "encoding.json").read_text())


def _space(described: dict[str, Any], fixed: dict[str, Any]) -> Space:
    conditions = {c["child"]: (c["parent"], tuple(c.get("values") or [c["value"]])) for c in described["conditions"]}
    parameters: list[Float | Int | Choice] = []
    for entry in described["hyperparameters"]:
        name = entry["name"]
        parent, values = conditions.get(name, (None, ()))
        if name in fixed or (parent in fixed and fixed[parent] not in values):
            continue
        when = {parent: values} if parent and parent not in fixed else {}
        if entry["type"] == "categorical":
            parameters.append(Choice(name, tuple(sorted(entry["choices"])), when))
        elif entry["type"] == "uniform_int":
            parameters.append(Int(name, int(entry["lower"]), int(entry["upper"]), bool(entry["log"]), when=when))
        else:
            parameters.append(Float(name, float(entry["lower"]), float(entry["upper"]), bool(entry["log"]), when=when))
    return Space(tuple(parameters))


def carried() -> list[Problem]:
    """The tables in this checkout."""
    reference = json.loads((TABLES / "reference.json").read_text())
    loss = METRICS["logloss"]
    return [
        Problem(f"table/{name}", Table(TABLES / f"{name}.npz"), loss, known["best"], known["median"])
        for name, known in reference.items()
    ]


def folder(path: Path) -> list[Problem]:
    """All problems of a folder but those whose optimum a thousand random draws reach: they tell nobody from another."""
    reference = json.loads((path / "data" / "reference.json").read_text())
    problems = []
    for entry in json.loads((path / "data" / "suite.json").read_text())["problems"]:
        known = reference[entry["name"]]
        best, median = known["f_star"], known["f_med"]
        if (known["random_best"]["1000"] - best) / (median - best) < 0.003:
            continue
        recorded: Recorded
        if "table" in entry:
            recorded = Table(path / "data" / "tables" / f"{entry['table']}_model.npz")
        else:
            fixed = TREES if entry["gbtree"] else None
            recorded = Surrogate(path / "data" / "yahpo" / entry["scenario"], entry["instance"], entry["target"], fixed)
        metric = METRICS[entry.get("target", "logloss")]
        problems.append(Problem(entry["name"], recorded, metric, best, median))
    return problems


def apart(path: Path) -> list[str]:
    """Data sets of the XGBoost surrogate that are in no problem: to learn from."""
    instances: list[str] = json.loads((path / "data" / "suite.json").read_text())["meta"]
    return instances
