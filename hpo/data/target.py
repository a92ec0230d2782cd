"""The target: which task it makes, its classes and their codes.

Called by `hpo.data.store`. The task is the one asked for, else the one that the metric leaves no choice about,
else what the values look like; each mismatch between target, task and metrics is said in words.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from hpo.data.dataset import Label
from hpo.errors import InputError, Problem
from hpo.metric import Metric, Task
from hpo.sweep import Sweep

_FEW = 20  # whole numbers with more different values than this are quantities, unless the user says otherwise
_MANY = 1000
_CONSTANT = "nothing can be learned from it: take another target, or rows in which it differs"


def read_target(series: pd.Series[Any], sweep: Sweep) -> tuple[Task, tuple[Label, ...], NDArray[Any]]:
    """The task, the classes (empty in regression) and the target as class codes or numbers; no value missing."""
    assert sweep.data is not None
    name, kind = sweep.data.target, _kind(series)
    if kind is None:
        hint = "a target holds numbers, text, or true and false: convert it, or take another column"
        raise InputError(Problem(f"the target {name!r} holds {types.infer_dtype(series)} values", "data.target", hint))
    task = sweep.data.task or _task(series, kind, sweep)
    if task == "regression":
        return task, (), _numbers(series, name, kind)
    different = [_label(value) for value in series.unique()]
    numbers = all(isinstance(label, (int, float)) for label in different)
    classes = tuple(sorted(set(different), key=None if numbers else str))
    if problem := _wrong_classes(name, kind, task, classes, asked=sweep.data.task is not None):
        raise InputError(problem)
    codes = {label: code for code, label in enumerate(classes)}
    position, order = pd.factorize(series)
    return task, classes, np.array([codes[_label(value)] for value in order], dtype=np.int64)[position]


def check_metrics(task: Task, metrics: tuple[Metric, ...]) -> None:
    """Every metric is one of scikit-learn's and suits the task."""
    problems = []
    for metric in metrics:
        if metric.scorer is None:
            hint = "a name of sklearn.metrics.get_scorer_names()"
            problems.append(Problem(f"no metric is called {metric.name!r}", "metric", hint))
        elif task not in metric.tasks:
            common = ("roc_auc", "roc_auc_ovr", "log_loss", "accuracy", "f1_macro", "rmse", "mae", "r2")
            fitting = [name for name in common if task in Metric(name, "maximize").tasks]
            problems.append(Problem(
                f"{metric.name} is for {' and '.join(metric.tasks)}, but the target makes this {task}", "metric",
                f"for {task} there are {', '.join(fitting)}, …; "
                "or set data.task if the target was misunderstood",
            ))  # fmt: skip
    if problems:
        raise InputError(*problems)


def balance(task: Task, classes: tuple[Label, ...], target: NDArray[Any]) -> dict[str, float]:
    """The share of each class, or the distribution's main numbers."""
    if task == "regression":
        quartiles = np.quantile(target, (0.0, 0.25, 0.5, 0.75, 1.0))
        named = dict(zip(("min", "q1", "median", "q3", "max"), quartiles, strict=True))
        return {k: float(v) for k, v in named.items()} | {"mean": float(target.mean()), "std": float(target.std())}
    counts = Counter(target.tolist())
    return {str(label): counts[code] / len(target) for code, label in enumerate(classes)}


def _kind(series: pd.Series[Any]) -> str | None:
    what = types.infer_dtype(series)
    if isinstance(series.dtype, pd.CategoricalDtype) or what in ("boolean", "string", "categorical"):
        return "label"
    return "number" if what in ("integer", "floating", "mixed-integer-float", "decimal") else None


def _task(series: pd.Series[Any], kind: str, sweep: Sweep) -> Task:
    """What the metric leaves no choice about, else what the values look like."""
    tasks = sweep.metric.tasks
    different = series.nunique()
    if kind == "label":
        return "binary" if different <= 2 else "multiclass"
    if tasks == ("regression",):
        return "regression"
    whole = bool((pd.to_numeric(series) % 1 == 0).all())
    if different == 2 or (tasks and whole and different <= _MANY and different <= len(series) / 20):
        return "binary" if different <= 2 else "multiclass"
    return "multiclass" if whole and 1 < different <= _FEW else "regression"


def _label(value: Any) -> Label:
    """A class as the file has it, as a plain value; 1.0 is the 1 that shared its column with a missing value."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return plain if isinstance(plain, (bool, int, float, str)) else str(plain)


def _wrong_classes(name: str, kind: str, task: Task, classes: tuple[Label, ...], asked: bool) -> Problem | None:
    count = len(classes)
    if count < 2:
        return Problem(f"the target {name!r} has only one value, {classes[0]!r}", "data.target", _CONSTANT)
    if task == "binary" and count > 2:
        return Problem(f"the target {name!r} has {count} values, not two", "data.task", "say `task: multiclass`")
    if kind == "number" and any(isinstance(label, float) for label in classes) and not asked:
        return Problem(f"the target {name!r} holds fractions", "data.task", "say `task: regression`, or multiclass")
    if count > _MANY:
        return Problem(f"the target {name!r} has {count} different values: too many for classes", "data.target")
    return None


def _numbers(series: pd.Series[Any], name: str, kind: str) -> NDArray[np.float64]:
    if kind != "number":
        raise InputError(Problem(
            f"the target {name!r} holds {types.infer_dtype(series)} values: regression needs numbers", "data.target"
        ))  # fmt: skip
    target = pd.to_numeric(series).to_numpy(dtype=np.float64)
    if not np.isfinite(target).all():
        raise InputError(Problem(f"the target {name!r} holds infinite values", "data.target", "remove those rows"))
    if target.min() == target.max():
        raise InputError(Problem(f"the target {name!r} is {target[0]:g} in every row", "data.target", _CONSTANT))
    return target
