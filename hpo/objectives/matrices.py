"""Binned matrices, built once per worker, fold and `max_bin` instead of once per trial.

Used by the XGBoost objective. Least recently used first out, within a budget of bytes, because a search over `max_bin`
asks for many. The rows of a large fold are handed to XGBoost some at a time, and its validation part is binned by the
same cuts, at a byte a value instead of eight: neither changes a cut or a score. What is beyond the budget by itself
lies on disk, in XGBoost's external memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from hpo.data import Arrays, Dataset
from hpo.machine import cores, memory
from hpo.predictor import feature_types

DEFAULT_BINS = 256  # XGBoost's own
LARGE = 1 << 23  # values: 64 MB as numbers. So many are handed over at a time, and a data set of more is large
_BINNED = ".binned-"

Pair = tuple[xgboost.DMatrix, xgboost.DMatrix]


class Matrices:
    """The matrices of one data set. `bins` None: not binned, for the boosters that read raw values.

    `budget` in bytes: for all that is kept, and for one matrix in memory. By default half of what a worker may use.
    """

    def __init__(self, dataset: Dataset, arrays: Arrays, budget: int | None = None) -> None:
        self._arrays = arrays
        self._about = about_columns(dataset)
        self._budget = budget
        self._home = dataset.folder.parent
        self._large = arrays.features.size > LARGE
        self._kept: OrderedDict[tuple[object, ...], tuple[int, Any]] = OrderedDict()

    def pair(self, fold: int, bins: int | None, threads: int, device: str = "cpu") -> Pair:
        """What fold k is trained and judged on. For each device one of its own: XGBoost keeps the bins there, from the
        first training to the last."""
        budget = self._budget or worker_budget(threads)
        rows, held = self._arrays.folds[fold]
        columns = self._arrays.features.shape[1]
        if self._large and bins is not None and device == "cpu":  # both at once: the one refers to the other
            size = width(bins) * (len(rows) + len(held)) * columns
            home = self._home if width(bins) * len(rows) * columns > budget else None

            def both() -> Pair:
                training = bin_rows(*self._some(rows), self._about, bins, threads, home=home)
                return training, bin_rows(*self._some(held), self._about, bins, threads, home=home, like=training)

            found: Pair = self._get(("pair", fold, bins), 0 if home else size, budget, both)
            return found
        key, size = ("training", fold, bins, device), width(bins) * len(rows) * columns
        training = self._get(key, size, budget, lambda: self._whole(rows, bins, threads))
        size = 8 * len(held) * columns
        return training, self._get(("validation", fold), size, budget, lambda: self._whole(held, None, threads))

    def _some(self, rows: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp]]:
        return self._arrays.features, self._arrays.target, rows

    def _whole(self, rows: NDArray[np.intp], bins: int | None, threads: int) -> xgboost.DMatrix:
        return make_matrix(self._arrays.features[rows], self._arrays.target[rows], self._about, bins, threads)

    def _get(self, key: tuple[object, ...], size: int, budget: int, build: Callable[[], Any]) -> Any:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        while self._kept and size + sum(kept for kept, _ in self._kept.values()) > budget:
            self._kept.popitem(last=False)
        self._kept[key] = (size, build())
        return self._kept[key][1]


def worker_budget(threads: int, cap: int | None = None) -> int:
    """Bytes for matrices: half of the cap, else of this machine's memory as far as it goes with so many threads."""
    return (cap or memory() * min(threads, cores()) // cores()) // 2


def width(bins: int | None) -> int:
    """Bytes a value."""
    return 8 if bins is None else 1 if bins <= DEFAULT_BINS else 2 if bins <= 1 << 16 else 4


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
    features: NDArray[Any], target: NDArray[Any], about: Mapping[str, object], bins: int | None, threads: int
) -> xgboost.DMatrix:
    if bins is None:
        return xgboost.DMatrix(features, label=target, nthread=threads, **about)
    return xgboost.QuantileDMatrix(features, label=target, nthread=threads, max_bin=bins, **about)


def bin_rows(
    features: NDArray[Any], target: NDArray[Any], rows: NDArray[np.intp], about: Mapping[str, object], bins: int,
    threads: int, *, home: Path | None = None, like: xgboost.DMatrix | None = None,
) -> xgboost.DMatrix:  # fmt: skip
    """These rows, never all of them as numbers at a time; with `home`, binned into files there. `like`: by its cuts."""
    options = {"max_bin": bins, "nthread": threads, "ref": like, "enable_categorical": about["enable_categorical"]}
    if home is None:
        return xgboost.QuantileDMatrix(_Rows(features, target, rows, about), **options)
    _sweep_out(home)
    folder = tempfile.mkdtemp(prefix=f"{_BINNED}{os.getpid()}-", dir=home)
    matrix = xgboost.ExtMemQuantileDMatrix(_Rows(features, target, rows, about, f"{folder}/page"), **options)
    weakref.finalize(matrix, shutil.rmtree, folder, ignore_errors=True)
    return matrix


class _Rows(xgboost.DataIter):  # type: ignore[misc]
    """Hands rows over, as many at a time as are no trouble."""

    def __init__(
        self, features: NDArray[Any], target: NDArray[Any], rows: NDArray[np.intp], about: Mapping[str, object],
        prefix: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(cache_prefix=prefix)
        self._features = features
        self._target = target
        self._rows = rows
        self._about = {name: value for name, value in about.items() if name != "enable_categorical"}
        self._step = max(1, LARGE // features.shape[1])
        self._at = 0

    def next(self, input_data: Callable[..., None]) -> bool:
        some = self._rows[self._at : self._at + self._step]
        if not len(some):
            return False
        self._at += self._step
        input_data(data=self._features[some], label=self._target[some], **self._about)
        return True

    def reset(self) -> None:
        self._at = 0


def _sweep_out(home: Path) -> None:
    """Remove what workers that were killed have left."""
    for folder in home.glob(f"{_BINNED}*"):
        try:
            os.kill(int(folder.name[len(_BINNED) :].partition("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):  # another user's process, or a folder that is not ours
            continue
