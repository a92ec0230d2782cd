"""Matrices are built once, leave when the budget is full, and say the same however large the data are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import xgboost

from hpo.data import Dataset, load
from hpo.objectives import matrices as module
from hpo.objectives.matrices import Matrices, about_columns
from tests.data.sweeps import bundled


def test_built_once_per_fold_and_bins(tmp_path: Path) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    matrices = Matrices(dataset, load(dataset))
    first, validation = matrices.pair(0, 64, threads=1)
    assert matrices.pair(0, 64, threads=1) == (first, validation)
    assert matrices.pair(0, 32, threads=1)[1] is validation, "not binned: for any number of bins"
    assert len({id(m) for m in (first, matrices.pair(1, 64, 1)[0], matrices.pair(0, 32, 1)[0])}) == 3


@pytest.mark.parametrize("large", [False, True])
def test_the_least_used_leaves_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    arrays = load(dataset)
    train, held = (len(rows) * len(dataset.columns) for rows in arrays.folds[0])
    if large:
        monkeypatch.setattr(module, "LARGE", 1000)
    matrices = Matrices(dataset, arrays, budget=2 * (train + held) + 100 if large else 2 * train + 8 * held + 100)
    used, unused = matrices.pair(0, 16, 1)[0], matrices.pair(0, 32, 1)[0]
    assert matrices.pair(0, 16, 1)[0] is used
    matrices.pair(0, 48, 1)
    assert matrices.pair(0, 16, 1)[0] is used
    assert matrices.pair(0, 32, 1)[0] is not unused


def test_a_matrix_larger_than_the_budget_still_serves(tmp_path: Path) -> None:
    _, dataset = bundled("flights", tmp_path, 600)
    matrices = Matrices(dataset, load(dataset), budget=1)
    assert matrices.pair(0, 16, 1)[0].num_row() == len(load(dataset).folds[0][0])


def fit(pair: tuple[xgboost.DMatrix, xgboost.DMatrix]) -> tuple[list[float], np.ndarray, bytes]:
    """(the curve, the predictions, the model)."""
    curve: dict[str, dict[str, list[float]]] = {}
    params = {"objective": "binary:logistic", "eval_metric": "auc", "nthread": 1, "max_leaves": 20, "max_bin": 64}
    params |= {"grow_policy": "lossguide", "subsample": 0.8, "colsample_bytree": 0.8, "seed": 1}
    booster = xgboost.train(params, pair[0], 20, evals=[(pair[1], "v")], evals_result=curve, verbose_eval=False)
    return curve["v"]["auc"], booster.predict(pair[1]), bytes(booster.save_raw("json"))


@pytest.fixture
def flights(tmp_path: Path) -> Dataset:
    """With categories, gaps, and few and many different values."""
    return bundled("flights", tmp_path, 4000)[1]


def test_large_data_score_the_same(flights: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handed over in parts, judged on binned rows, on disk: to the last bit, with one thread."""
    arrays = load(flights)
    small = Matrices(flights, arrays).pair(1, 64, 1)
    expected = fit(small)
    monkeypatch.setattr(module, "LARGE", 5000)  # some ten parts
    in_memory = Matrices(flights, arrays)
    on_disk = Matrices(flights, arrays, budget=1)
    for matrices in (in_memory, on_disk):
        pair = matrices.pair(1, 64, 1)
        assert all(map(np.array_equal, pair[0].get_quantile_cut(), small[0].get_quantile_cut()))
        curve, predicted, model = fit(pair)
        assert curve == expected[0]
        assert np.array_equal(predicted, expected[1])
        assert model == expected[2]
    assert isinstance(on_disk.pair(1, 64, 1)[0], xgboost.ExtMemQuantileDMatrix)
    assert isinstance(in_memory.pair(1, 64, 1)[0], xgboost.QuantileDMatrix)
    raw = in_memory.pair(1, None, 1)[0]
    assert not isinstance(raw, xgboost.QuantileDMatrix), "some boosters read values that are not binned"


def test_files_on_disk_go_with_their_matrix_and_with_their_process(
    flights: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", 5000)
    home = flights.folder.parent
    with subprocess.Popen(["true"]) as dead:
        pass
    left = home / f".binned-{dead.pid}-killed"
    left.mkdir()
    matrices = Matrices(flights, load(flights), budget=1)
    matrices.pair(0, 64, 1)
    assert not left.exists()
    there = {path.name for path in home.glob(".binned-*")}
    assert len(there) == 2
    del matrices
    assert not {*home.glob(".binned-*")}


def test_names_that_xgboost_refuses_are_left_out(tmp_path: Path) -> None:
    _, plain = bundled("segment", tmp_path, 300, metrics=("accuracy",))
    assert about_columns(plain)["feature_names"] is not None
    odd = type(plain)(**{**vars(plain), "columns": (type(plain.columns[0])("a<b", "numeric"), *plain.columns[1:])})
    assert about_columns(odd)["feature_names"] is None
