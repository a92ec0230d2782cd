"""Tuning problems that train: XGBoost on the real data sets, cross-validated. `quality --data` is made of them.

As slow as what they stand for: each configuration is trained in five folds, once, whoever asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from recorded import Problem

from hpo import objectives
from hpo.attempt import Attempt, run_attempt
from hpo.data import prepare
from hpo.searchers.random import RandomSearcher
from hpo.trial import Trial

DRAWS = 30  # random configurations, whose median has a regret of 1 and whose best has one of 0


class Trained:
    def __init__(self, path: Path, rows: int | None, folder: Path) -> None:
        self._sweep = datasets.sweep_on(path, rows, folder, seed=1)
        self._evaluate = objectives.build(self._sweep, prepare(self._sweep, folder / "prepared")).open()
        self.space, self.metric = self._sweep.space, self._sweep.metric
        self._known: dict[str, float] = {}

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        return np.array([self._loss(configuration) for configuration in configurations])

    def _loss(self, configuration: dict[str, Any]) -> float:
        key = json.dumps(configuration, sort_keys=True)
        if key not in self._known:
            trial = Trial(0, configuration)
            done = run_attempt(self._evaluate, trial, Attempt(trial), self._sweep.metrics)
            assert done.values is not None, done.failure
            self._known[key] = -self.metric.sign * done.values[0]
        return self._known[key]


def problems(folder: Path, rows: int | None, scratch: Path) -> Iterator[Problem]:
    """The bundled data sets and those of the folder."""
    for name, path in datasets.paths_in(folder).items():
        (own := scratch / name).mkdir()
        trained = Trained(path, rows, own)
        searcher = RandomSearcher(trained.space, 0)
        losses = trained.losses([dict(searcher.ask(number).params) for number in range(DRAWS)])
        yield Problem(f"trained/{name}", trained, trained.metric, float(losses.min()), float(np.median(losses)))
