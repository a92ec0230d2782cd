"""Our own runs of XGBoost on the bundled data sets, and a forest that foresees from them what others would score.

Used by `scripts/portfolio`, which learns from them beside the recorded problems. A run trains a random configuration in
some folds for as many rounds as there are, and keeps the curves, so that it stands for fewer rounds too. All is drawn
from seeds: the same runs are made again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import datasets
import numpy as np
import xgboost

from hpo.data import Dataset, load, prepare
from hpo.machine import cores
from hpo.objectives.folds import is_reported
from hpo.objectives.matrices import DEFAULT_BINS, Matrices
from hpo.searchers.random import RandomSearcher
from hpo.space import Int, Space

RUNS, FOLDS, ROWS = 400, 2, 6000  # configurations of a data set, the folds each is trained in, about so many rows
PART = 8  # configurations that one process trains on the same matrices
ROUNDS, LEVELS = "nrounds", "colsample_bylevel"
# What XGBoost calls a kind of metric with two classes and with more. Numbers have one kind, which nothing bounds.
EVALUATIONS = {"logloss": ("logloss", "mlogloss"), "acc": ("error", "merror"), "auc": ("auc", "auc")}


@dataclass(frozen=True)
class Runs:
    """`losses` by kind of metric: a row for each configuration, a column for each of the rounds."""

    name: str
    configurations: list[dict[str, Any]]
    rounds: list[int]
    losses: Mapping[str, np.ndarray]


class Forest:
    """The runs of one data set as a recorded problem: for one kind of metric, what any configuration would score."""

    def __init__(self, runs: Runs, space: Space, metric: str) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self.space = space
        self._forest = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=1, n_jobs=-1)
        done = [configuration | {ROUNDS: rounds} for configuration in runs.configurations for rounds in runs.rounds]
        self._forest.fit(self._rows(done), runs.losses[metric].ravel())

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        found: np.ndarray = self._forest.predict(self._rows(configurations))
        return found

    def _rows(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        columns = []
        for parameter in self.space.parameters:
            values = np.array([configuration.get(parameter.name, 1.0) for configuration in configurations])
            columns.append(np.log(values) if getattr(parameter, "log", False) else values)
        return np.column_stack(columns)


def make_runs(space: Space) -> Iterator[Runs]:
    """On each bundled data set. Half of the configurations leave `colsample_bylevel` alone, as most people do."""
    searcher, random = RandomSearcher(space, 1), Random(1)
    drawn = [dict(searcher.ask(number).params) for number in range(RUNS)]
    drawn = [c | {LEVELS: 1.0} if random.random() < 0.5 else c for c in drawn]
    [most] = [p.high for p in space.parameters if isinstance(p, Int) and p.name == ROUNDS]
    rounds = [done for done in range(1, most + 1) if is_reported(done) or done == most]
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        for name, path in datasets.paths_in(None).items():
            (folder := Path(scratch) / name).mkdir()
            sweep = datasets.sweep_on(path, ROWS, folder, seed=1)
            dataset = prepare(sweep, folder / "prepared")
            parts = [drawn[k : k + PART] for k in range(0, RUNS, PART)]
            curves = [curve for part in pool.map(_train, repeat(dataset), parts, repeat(most)) for curve in part]
            losses = {kind: np.array([found[kind] for found in curves]) for kind in curves[0]}
            at = np.array(rounds) - 1
            yield Runs(name, drawn, rounds, {kind: found[:, at] for kind, found in losses.items()})


def _train(dataset: Dataset, configurations: list[dict[str, Any]], most: int) -> list[dict[str, np.ndarray]]:
    """For each of them the mean curve over the folds by kind of metric; smaller is better."""
    matrices, classes = Matrices(dataset, load(dataset)), len(dataset.classes)
    names, about = {"logloss": "rmse"}, {}
    if dataset.classifies:
        names = {kind: evaluations[classes > 2] for kind, evaluations in EVALUATIONS.items()}
        about = (
            {"objective": "multi:softprob", "num_class": classes} if classes > 2 else {"objective": "binary:logistic"}
        )
    about |= {"nthread": 1, "seed": 1, "eval_metric": list(names.values())}

    def curve(configuration: dict[str, Any], fold: int) -> dict[str, np.ndarray]:
        training, validation = matrices.pair(fold, DEFAULT_BINS, 1)
        found: dict[str, dict[str, list[float]]] = {}
        native = {name: value for name, value in configuration.items() if name != ROUNDS} | about
        held = [(validation, "held")]
        xgboost.train(native, training, most, evals=held, evals_result=found, verbose_eval=False)
        values = {kind: np.array(found["held"][name]) for kind, name in names.items()}
        return {kind: 1.0 - of if kind == "auc" else of for kind, of in values.items()}

    curves = [[curve(configuration, fold) for fold in range(FOLDS)] for configuration in configurations]
    return [{kind: np.mean([fold[kind] for fold in folds], 0) for kind in names} for folds in curves]
