"""Shortening: a boosted trial's curve says what its parameters score with fewer rounds, and the best of that is next.

Put around the engine by `hpo.searchers.build` under `sampler: auto`, where the sweep searches the number of rounds. The
first r trees of a boosted model are the model of r rounds, so this is no guess: the shorter trial has been seen
already, costs less than the one it comes from, and only has to be run as a trial of its own to count. Whole trials
alone: of those that a race has stopped, fewer rounds made poor parameters the best ones early, and the search then
stayed with them. With early stopping a trial takes the best of its rounds by itself.
"""

from __future__ import annotations

import json
import math

from hpo.metric import Metric
from hpo.searchers.port import Searcher
from hpo.space import Int
from hpo.sweep import Sweep
from hpo.trial import Params, Report, Trial

# LightGBM's trials have a curve only with early stopping; CatBoost chooses its learning rate by the number of rounds.
BOOSTED = "xgboost."
ROUNDS = "n_estimators"
SHORTER = 0.9  # of a trial's rounds at most: the same again with a few rounds less is not worth a trial


def rounds_of(sweep: Sweep) -> Int | None:
    """The parameter that says how many rounds a trial trains, if the sweep searches one and all of them count."""
    if not (sweep.model or "").startswith(BOOSTED) or len(sweep.metrics) > 1:
        return None
    if any("early_stopping" in name for name in (*sweep.fixed, *sweep.space.names)):
        return None
    return next((p for p in sweep.space.parameters if isinstance(p, Int) and p.name == ROUNDS), None)


class Shortening:
    """Asks for a trial's parameters with fewer rounds if that beats the best trial, and the searcher otherwise."""

    def __init__(self, searcher: Searcher, metric: Metric, rounds: Int) -> None:
        self._searcher = searcher
        self._sign = metric.sign
        self._rounds = rounds
        self._best = -math.inf
        self._tried: set[str] = set()
        self._promising: list[tuple[float, int, Params]] = []  # score, -number, parameters

    def ask(self, number: int) -> Trial:
        self._promising = [
            found for found in self._promising if found[0] > self._best and _key(found[2]) not in self._tried
        ]
        if not self._promising:
            return self._searcher.ask(number)
        trial = Trial(number, max(self._promising, key=lambda found: found[:2])[2])
        self.tell(trial)
        return trial

    def tell(self, trial: Trial) -> None:
        self._searcher.tell(trial)
        self._tried.add(_key(trial.params))
        if trial.state != "complete" or not trial.values or trial.memo.keys() & {"trust", "noise"}:
            return  # of other data, or stopped
        self._best = max(self._best, self._sign * trial.values[0])
        inside = any(report.fold is not None for report in trial.reports)  # else there are the folds' scores alone
        curve = trial.curve(len(trial.reports)) if inside else []
        shorter = [(self._sign * value, -(step + 1)) for step, value in curve if self._fits(step + 1, trial)]
        score, rounds = max(shorter, default=(-math.inf, 0))
        if score > self._best:
            self._promising.append((score, -trial.number, {**trial.params, ROUNDS: -rounds}))

    def keep(self, number: int, report: Report) -> bool:
        return self._searcher.keep(number, report)

    def _fits(self, rounds: int, trial: Trial) -> bool:
        given = trial.params.get(ROUNDS)
        return isinstance(given, int) and rounds <= SHORTER * given and self._rounds.check(rounds) is None


def _key(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)
