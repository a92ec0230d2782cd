"""The task: asked for, left no choice by the metric, or read from the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo.data.target import balance, check_metrics, read_target
from hpo.errors import InputError
from tests.data.sweeps import metric, sweep_on


def read(values: Any, metric: str = "accuracy", **data: Any) -> tuple[str, tuple[Any, ...], list[Any]]:
    task, classes, target = read_target(pd.Series(values), sweep_on(Path("t.csv"), "y", (metric,), data=data))
    return task, classes, target.tolist()


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([1, 0, 1], "binary", (0, 1)),
        ([1.0, 0.0], "binary", (0, 1)),
        (["no", "yes"], "binary", ("no", "yes")),
        ([True, False], "binary", (False, True)),
        ([3, 10, 2], "multiclass", (2, 3, 10)),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        (pd.Categorical([10, 9, 2]), "multiclass", (2, 9, 10)),
        ([-1, 1], "binary", (-1, 1)),
    ],
)
def test_classes_are_as_the_file_has_them(values: Any, task: str, classes: tuple[Any, ...]) -> None:
    found, labels, codes = read(values)
    assert (found, labels) == (task, classes)
    assert [type(label) for label in labels] == [type(label) for label in classes]
    assert [labels[code] for code in codes] == list(values)


def test_numbers_are_quantities_when_the_metric_says_so() -> None:
    assert read([0, 1, 2], "rmse") == ("regression", (), [0.0, 1.0, 2.0])
    assert read(np.linspace(0, 1, 50), "rmse")[0] == "regression"


def test_the_user_decides() -> None:
    assert read([1, 2, 3], "accuracy", task="multiclass")[0] == "multiclass"
    assert read([0, 1], "rmse", task="regression")[1] == ()


@pytest.mark.parametrize(
    ("values", "name", "data", "said"),
    [
        (["a", "b"], "rmse", {"task": "regression"}, "regression needs numbers"),
        (["a", "b", "c"], "roc_auc", {"task": "binary"}, "has 3 values, not two"),
        ([0.5, 1.5], "accuracy", {}, "holds fractions"),
        ([1.0, np.inf], "rmse", {}, "infinite"),
        ([2.0, 2.0], "rmse", {}, "every row"),
        (["a", "a"], "accuracy", {}, "only one value"),
        (pd.date_range("2020", periods=3), "accuracy", {}, "datetime64 values"),
        ([f"id {k}" for k in range(2000)], "accuracy", {}, "too many for classes"),
    ],
)
def test_what_cannot_be_a_target_is_said_in_words(values: Any, name: str, data: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(values, name, **data)


@pytest.mark.parametrize(
    ("task", "name", "fits"),
    [("binary", "roc_auc", True), ("multiclass", "roc_auc", False), ("multiclass", "roc_auc_ovr", True),
     ("regression", "accuracy", False), ("regression", "mae", True), ("binary", "rmse", False)],
)  # fmt: skip
def test_metrics_suit_the_task(task: Any, name: str, fits: bool) -> None:
    if fits:
        check_metrics(task, (metric(name),))
    else:
        with pytest.raises(InputError, match=f"the target makes this {task}"):
            check_metrics(task, (metric("log_loss" if task != "regression" else "r2"), metric(name)))


def test_a_continuous_target_is_not_for_a_classification_metric() -> None:
    task, _, _ = read(np.linspace(0, 1, 50), "roc_auc")
    with pytest.raises(InputError, match="regression"):
        check_metrics(task, (metric("roc_auc"),))  # type: ignore[arg-type]


def test_balance() -> None:
    assert balance("binary", ("no", "yes"), np.array([0, 0, 0, 1])) == {"no": 0.75, "yes": 0.25}
    assert balance("regression", (), np.array([1.0, 2.0, 3.0]))["median"] == 2.0
