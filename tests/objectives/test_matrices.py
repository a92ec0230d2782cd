"""Matrices are built once, and leave when the budget is full, the least used first."""

from __future__ import annotations

from pathlib import Path

from hpo.data import load
from hpo.objectives.matrices import Matrices, about_columns
from tests.data.sweeps import bundled


def test_built_once_per_fold_and_bins(tmp_path: Path) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    matrices = Matrices(dataset, load(dataset))
    first = matrices.training(0, 64, threads=1)
    assert matrices.training(0, 64, threads=1) is first
    assert matrices.validation(0, threads=1) is matrices.validation(0, threads=1)
    assert len({id(m) for m in (first, matrices.training(1, 64, 1), matrices.training(0, 32, 1))}) == 3


def test_the_least_used_leaves_first(tmp_path: Path) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    arrays = load(dataset)
    one = len(arrays.folds[0][0]) * len(dataset.columns)
    matrices = Matrices(dataset, arrays, budget=2 * one + 100)
    used, unused = matrices.training(0, 16, 1), matrices.training(0, 32, 1)
    assert matrices.training(0, 16, 1) is used
    matrices.training(0, 48, 1)
    assert matrices.training(0, 16, 1) is used
    assert matrices.training(0, 32, 1) is not unused


def test_a_matrix_larger_than_the_budget_still_serves(tmp_path: Path) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    matrices = Matrices(dataset, load(dataset), budget=1)
    assert matrices.training(0, 16, 1).num_row() == len(load(dataset).folds[0][0])


def test_names_that_xgboost_refuses_are_left_out(tmp_path: Path) -> None:
    _, plain = bundled("segment", tmp_path, 300, metrics=("accuracy",))
    assert about_columns(plain)["feature_names"] is not None
    odd = type(plain)(**{**vars(plain), "columns": (type(plain.columns[0])("a<b", "numeric"), *plain.columns[1:])})
    assert about_columns(odd)["feature_names"] is None
