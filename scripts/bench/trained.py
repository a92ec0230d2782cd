"""Tuning problems that train: XGBoost on the real data sets, cross-validated. `quality --data` is made of them.

As slow as what they stand for: each configuration is trained in five folds, once, whoever asks for it. One that is
stopped early is trained all the same; what counts is what it had cost by then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
from recorded import Problem

from hpo import objectives
from hpo.attempt import Attempt, run_attempt
from hpo.data import prepare
from hpo.searchers.random import RandomSearcher
from hpo.trial import Report, Trial


class Known(NamedTuple):
    """Of one configuration: `curves` by fold and step, `losses` and `seconds` by fold."""

    steps: np.ndarray
    curves: np.ndarray
    losses: np.ndarray
    seconds: np.ndarray


class Trained:
    slower = 1.0
    draws = 30  # random configurations, whose median has a regret of 1 and whose best has one of 0

    def __init__(self, path: Path, rows: int | None, folder: Path) -> None:
        self._sweep = datasets.sweep_on(path, rows, folder, seed=1)
        self._evaluate = objectives.build(self._sweep, prepare(self._sweep, folder / "prepared")).open()
        self.space, self.metric = self._sweep.space, self._sweep.metric
        self._known: dict[str, Known] = {}

    def losses(self, configurations: list[dict[str, Any]]) -> np.ndarray:
        return np.array([self._run(configuration).losses.mean() for configuration in configurations])

    def steps(self, configuration: dict[str, Any]) -> np.ndarray:
        return self._run(configuration).steps

    def curves(self, configuration: dict[str, Any]) -> np.ndarray:
        return self._run(configuration).curves

    def folds_of(self, configuration: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return self._run(configuration).losses, self._run(configuration).seconds

    def _run(self, configuration: dict[str, Any]) -> Known:
        key = json.dumps(configuration, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._train(configuration)
        return self._known[key]

    def _train(self, configuration: dict[str, Any]) -> Known:
        ends: dict[int, float] = {}  # by fold, in the order in which they end
        begun = time.perf_counter()

        def keep(report: Report) -> bool:
            if report.fold is None:
                ends[report.step] = time.perf_counter()
            return True

        trial = Trial(0, configuration)
        done = run_attempt(self._evaluate, trial, Attempt(trial, keep=keep), self._sweep.metrics)
        assert done.values is not None, done.failure
        last, sign = configuration["n_estimators"], -self._sweep.metric.sign
        took = dict(zip(ends, np.diff([begun, *ends.values()]), strict=True))
        losses = {report.step: sign * report.value for report in done.reports if report.fold is None}
        # The curve's last point is the fold's score, whether the last round is reported or not.
        on_the_way = {
            (r.fold, r.step + 1): sign * r.value for r in done.reports if r.fold is not None and r.step + 1 < last
        }
        steps = sorted({step for _, step in on_the_way})
        folds = sorted(losses)
        return Known(
            np.array([*steps, last]),
            np.array([[*(on_the_way[fold, step] for step in steps), losses[fold]] for fold in folds]),
            np.array([losses[fold] for fold in folds]),
            np.array([took[fold] for fold in folds]),
        )


def problems(folder: Path, rows: int | None, scratch: Path) -> Iterator[Problem]:
    """The bundled data sets and those of the folder."""
    for name, path in datasets.paths_in(folder).items():
        (own := scratch / name).mkdir()
        trained = Trained(path, rows, own)
        searcher = RandomSearcher(trained.space, 0)
        losses = trained.losses([dict(searcher.ask(number).params) for number in range(Trained.draws)])
        yield Problem(f"trained/{name}", trained, trained.metric, float(losses.min()), float(np.median(losses)))
