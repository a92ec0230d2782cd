"""Binned matrices, built once per worker, fold and `max_bin` instead of once per trial.

Used by the XGBoost objective. Least recently used first out, within a budget of bytes, because a search over
`max_bin` asks for many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import xgboost
from numpy.typing import NDArray

from hpo.data import Arrays, Dataset
from hpo.predictor import feature_types

BUDGET = 1 << 30  # bytes a worker
DEFAULT_BINS = 256  # XGBoost's own


class Matrices:
    """The matrices of one data set. `bins` None: not binned, for the boosters that read raw values."""

    def __init__(self, dataset: Dataset, arrays: Arrays, budget: int = BUDGET) -> None:
        self._arrays = arrays
        self._about = about_columns(dataset)
        self._budget = budget
        self._kept: OrderedDict[tuple[object, ...], tuple[int, xgboost.DMatrix]] = OrderedDict()

    def training(self, fold: int, bins: int | None, threads: int, device: str = "cpu") -> xgboost.DMatrix:
        """For each device one of its own: XGBoost keeps the bins there, from the first training to the last."""
        rows = self._arrays.folds[fold][0]
        width = 8 if bins is None else 1 if bins <= DEFAULT_BINS else 2 if bins <= 1 << 16 else 4
        return self._get(
            ("training", fold, bins, device), rows, width, lambda x, y: make_matrix(x, y, self._about, bins, threads)
        )

    def validation(self, fold: int, threads: int) -> xgboost.DMatrix:
        rows = self._arrays.folds[fold][1]
        return self._get(("validation", fold), rows, 8, lambda x, y: make_matrix(x, y, self._about, None, threads))

    def _get(
        self,
        key: tuple[object, ...],
        rows: NDArray[Any],
        width: int,
        build: Callable[[NDArray[Any], NDArray[Any]], xgboost.DMatrix],
    ) -> xgboost.DMatrix:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        matrix = build(self._arrays.features[rows], self._arrays.target[rows])
        self._kept[key] = (width * len(rows) * self._arrays.features.shape[1], matrix)
        while len(self._kept) > 1 and sum(size for size, _ in self._kept.values()) > self._budget:
            self._kept.popitem(last=False)
        return matrix


def about_columns(dataset: Dataset) -> dict[str, object]:
    """XGBoost's names and types of the columns; names it refuses are left out, then it counts."""
    names = [column.name for column in dataset.columns]
    plain = not any(character in name for name in names for character in "[]<")
    return {
        "feature_types": feature_types([asdict(column) for column in dataset.columns]),
        "feature_names": names if plain else None,
        "enable_categorical": True,
    }


def make_matrix(
    features: NDArray[Any], target: NDArray[Any], about: dict[str, object], bins: int | None, threads: int
) -> xgboost.DMatrix:
    if bins is None:
        return xgboost.DMatrix(features, label=target, nthread=threads, **about)
    return xgboost.QuantileDMatrix(features, label=target, nthread=threads, max_bin=bins, **about)
