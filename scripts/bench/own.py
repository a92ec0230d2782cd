"""What configurations of XGBoost score on the bundled data sets, by runs of our own on all of their rows.

Used by `scripts/portfolio`, which learns from them beside the recorded problems: those are small tables, and large ones
want deeper trees and more rounds. All is seeded: the same runs give the same losses again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import xgboost
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from hpo.data import Arrays, Dataset, load, prepare
from hpo.machine import cores
from hpo.objectives.matrices import DEFAULT_BINS, Matrices
from hpo.samplers.portfolio import nearest

SEED, FOLDS = 7, 2  # of the five that there are, so many are trained


@dataclass(frozen=True)
class Opened:
    dataset: Dataset
    arrays: Arrays
    matrices: Matrices


_opened: Opened  # in each process of the pool


def losses(configurations: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """By data set and kind of metric, one for each; numbers have one kind. What a configuration asks beyond the space
    of the benches is brought into it."""
    found = {}
    for name, path in datasets.paths_in(None).items():
        with tempfile.TemporaryDirectory() as scratch:
            sweep = datasets.sweep_on(path, None, Path(scratch), SEED)
            dataset = prepare(sweep, Path(scratch) / "prepared")
            fitted = [{p.name: nearest(p, wished[p.name]) for p in sweep.space.parameters} for wished in configurations]
            with ProcessPoolExecutor(cores(), get_context("spawn"), _open, (dataset,)) as pool:
                runs = list(pool.map(_train, fitted))
        found[name] = {kind: np.array([run[kind] for run in runs]) for kind in runs[0]}
    return found


def _open(dataset: Dataset) -> None:
    global _opened
    arrays = load(dataset)
    _opened = Opened(dataset, arrays, Matrices(dataset, arrays))


def _train(configuration: dict[str, Any]) -> dict[str, float]:
    """The mean over the folds, by kind of metric; smaller is better."""
    classes = len(_opened.dataset.classes)
    about: dict[str, Any] = {"nthread": 1, "seed": SEED}
    if classes:
        about |= (
            {"objective": "multi:softprob", "num_class": classes} if classes > 2 else {"objective": "binary:logistic"}
        )
    native = {name: value for name, value in configuration.items() if name != "n_estimators"} | about
    scores = []
    for fold in range(FOLDS):
        training, validation = _opened.matrices.pair(fold, DEFAULT_BINS, 1)
        said = xgboost.train(native, training, configuration["n_estimators"]).predict(validation)
        target = _opened.arrays.target[_opened.arrays.folds[fold][1]]
        scores.append(_score(said, target, classes))
    return {kind: float(np.mean([score[kind] for score in scores])) for kind in scores[0]}


def _score(said: np.ndarray, target: np.ndarray, classes: int) -> dict[str, float]:
    """By the names that recorded problems have for metrics."""
    if not classes:
        return {"logloss": float(np.sqrt(np.mean(np.square(said - target))))}
    decided = said.argmax(1) if classes > 2 else said > 0.5
    area = (
        roc_auc_score(target, said, multi_class="ovr", average="weighted")
        if classes > 2
        else roc_auc_score(target, said)
    )
    return {"logloss": log_loss(target, said), "acc": 1 - accuracy_score(target, decided), "auc": 1 - area}
