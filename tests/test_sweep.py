"""The identity of a sweep: each thing that changes the meaning of a result changes it, nothing else does."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpo.loader import from_document

DOCUMENT: dict[str, Any] = {
    "name": "a", "data": {"path": "t.csv", "target": "y"}, "model": "sklearn.linear_model.Ridge", "metric": "rmse",
    "space": {"alpha": {"float": [0.1, 1.0]}, "k": {"choice": ["x", "y"]}},
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "other.csv").write_text("x,y\n1,3\n")
    (tmp_path / "ours.py").write_text("def f(params, trial): return 1.0\n")
    return tmp_path


def identity(root: Path, changes: dict[str, Any] | None = None, document: dict[str, Any] = DOCUMENT) -> str:
    document = copy.deepcopy(document)
    for key, value in (changes or {}).items():
        section, _, name = key.partition(".")
        if name:
            document.setdefault(section, {})[name] = value
        else:
            document[section] = value
    return from_document(document, root).identity


@pytest.mark.parametrize(
    "changes",
    [
        {"search.trials": 7}, {"search.timeout": "1h"}, {"search.workers": 3}, {"search.threads": 2},
        {"limits.retries": 0}, {"limits.trial_timeout": 9}, {"limits.memory": "1G"}, {"limits.failures": 3},
        {"promote": False}, {"promote.alias": "best"}, {"metrics": ["mae"]}, {"search.sampler": "auto"},
        {"space": {"alpha": {"float": [0.1, 1]}, "k": {"choice": ["x", "y"], "when": {}}}},
        {"data.path": "./t.csv"},
    ],
    ids=str,
)  # fmt: skip
def test_the_budget_does_not_change_it(root: Path, changes: dict[str, Any]) -> None:
    assert identity(root, changes) == identity(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "b"}, {"model": "sklearn.linear_model.Lasso"}, {"metric": "mae"}, {"metric": ["rmse", "mae"]},
        {"fixed.tol": 0.1}, {"data.path": "other.csv"}, {"data.target": "x"}, {"data.holdout": 0.3},
        {"data.task": "regression"}, {"data.drop": ["x"]}, {"data.categorical": ["x"]}, {"validation.folds": 3},
        {"validation.groups": "x"}, {"validation.time": "x"}, {"search.engine": "hyperopt"},
        {"search.engine": "random"}, {"search.sampler": "random"}, {"search.portfolio": "off"},
        {"search.enqueue": [{"alpha": 0.5}]},
        {"search.sampler": {"name": "tpe", "n_startup_trials": 3}},
        {"search.pruner": "none"}, {"search.pruner": "median"}, {"search.seed": 1},
        {"space.alpha": {"float": [0.1, 2.0]}},
        {"space.alpha": {"float": [0.1, 1.0], "log": True}}, {"space.alpha": {"float": [0.1, 1.0], "step": 0.1}},
        {"space.alpha": {"float": [0.1, 1.0], "when": {"k": "x"}}}, {"space.k": {"choice": ["y", "x"]}},
        {"space.more": {"int": [1, 2]}},
    ],
    ids=str,
)  # fmt: skip
def test_each_meaning_changes_it(root: Path, changes: dict[str, Any]) -> None:
    assert identity(root, changes) != identity(root)


def test_bytes_of_data_and_code_count_and_the_place_does_not(root: Path, tmp_path: Path) -> None:
    function = {"name": "a", "objective": "ours:f", "metric": "rmse", "space": {"x": {"int": [1, 2]}}}
    before, function_before = identity(root), identity(root, document=function)
    shutil.copytree(root, tmp_path / "moved")
    assert identity(tmp_path / "moved") == before
    assert identity(tmp_path / "moved", document=function) == function_before
    (root / "t.csv").write_text("x,y\n1,2.0\n")
    (root / "ours.py").write_text("def f(params, trial): return 2.0\n")
    assert identity(root) != before
    assert identity(root, document=function) != function_before


def test_names_and_metrics(root: Path) -> None:
    sweep = from_document({**DOCUMENT, "promote": {"model": "m"}}, root)
    assert (sweep.registered_model, sweep.metric.name) == ("m", "rmse")
    assert from_document({**DOCUMENT, "promote": False}, root).registered_model == "a"
