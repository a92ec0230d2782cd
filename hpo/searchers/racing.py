"""Racing: trials compete fold by fold with the best one so far, and leave as soon as they have no prospect.

The rule that `hpo.searchers.pruning` uses for cross-validated models unless the sweep says otherwise. Folds differ from
each other more than good parameters do, so what counts is the difference on the same folds. What a stopped trial has
shown is turned into the value and the time that it would have had, so that every searcher learns from it.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist, fmean

from hpo.searchers.curves import Gains
from hpo.searchers.rules import Point

NEAR = 20  # of the complete trials, so many of the best say how much differences vary from fold to fold
PRIOR = 4.0  # the weight of that beside a trial's own differences, in folds


class Race:
    """Stop where beating the best trial has become unlikelier than `risk`.

    After k of n folds with a mean difference m to the best trial on the same folds, the final one is about normal
    around m with variance s² (1/k - 1/n): the prediction of a finite population's mean. s comes from the best complete
    trials and the trial's own folds together. With `rounds`, trials stop inside a fold too: its score is then taken as
    high as its curve may still rise.
    Nothing stops before `n_startup` trials are complete; whoever turns out the best has been fully evaluated.
    """

    def __init__(self, risk: float = 0.1, n_startup: int = 1, rounds: bool = False) -> None:
        self._rounds = rounds
        self._risk = risk
        self._z = NormalDist().inv_cdf(1 - risk)
        self._n_startup = n_startup
        self._complete = 0
        self._best: list[tuple[float, int, dict[int, float]]] = []  # the best last: value, -number, fold -> score
        self._spread = math.inf
        self._gains = Gains()
        self._running: defaultdict[int, _Folds] = defaultdict(_Folds)

    def keep(self, point: Point) -> bool:
        own = self._running[point.number]
        own.add(point)
        if self._complete < self._n_startup or (point.series is not None and not self._rounds):
            return True
        scores = own.scores
        if point.series is not None:
            end = self._gains.end(own.curves[point.series], 1 - self._risk)
            if end is None:
                return True
            scores = {**scores, point.series: end}
        best = self._best[-1][2]
        differences = [scores[fold] - best[fold] for fold in scores if fold in best]
        k, n = len(differences), len(best)
        if k == 0:
            return True
        mean = fmean(differences)
        squares = PRIOR * self._spread**2 + sum((d - mean) ** 2 for d in differences)
        deviation = math.sqrt(squares / (PRIOR + k - 1) * max(1 / k - 1 / n, 0.0))
        return mean >= -self._z * deviation

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        self._running.pop(number, None)
        told = _Folds(points)
        if self._rounds:
            self._gains.learn(told.curves, told.scores)
        if value is None or len(told.scores) < 2:
            return
        self._complete += 1
        insort(self._best, (value, -number, told.scores))
        del self._best[:-NEAR]
        *others, (_, _, best) = self._best
        pairs = [[scores[f] - best[f] for f in best if f in scores] for _, _, scores in others]
        pairs = [pair for pair in pairs if len(pair) > 1]
        # Without a pair: folds differ from each other more than the difference of two trials does from fold to fold.
        self._spread = _pooled(pairs or [[*best.values()]])

    def whole(self, points: Sequence[Point]) -> tuple[float, float] | None:
        """What a stopped trial would have come to: its value, and how many times the folds it has that takes.

        As far from the best trial as it is on the folds it has; the last one goes on as such curves do.
        """
        told = _Folds(points)
        shares = dict.fromkeys(told.scores, 1.0)
        scores = dict(told.scores)
        for fold, curve in told.curves.items():
            if fold not in scores and self._rounds:
                end = self._gains.end(curve, 0.5)
                scores[fold] = curve[-1][1] if end is None else end
                shares[fold] = 0.5
        if not self._best or not scores:
            return None
        value, _, best = self._best[-1]
        differences = [scores[fold] - best[fold] for fold in scores if fold in best]
        return (value + fmean(differences), len(best) / sum(shares.values())) if differences else None


class _Folds:
    """A trial's points: the scores of its finished folds, and each fold's curve."""

    def __init__(self, points: Sequence[Point] = ()) -> None:
        self.scores: dict[int, float] = {}
        self.curves: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        for point in points:
            self.add(point)

    def add(self, point: Point) -> None:
        if point.series is None:
            self.scores[point.step] = point.score
        else:
            self.curves[point.series].append((point.step, point.value))


def _pooled(pairs: Sequence[Sequence[float]]) -> float:
    """The standard deviation of a fold's difference, its mean apart: the root of the mean variance."""
    variances = [sum((d - fmean(pair)) ** 2 for d in pair) / (len(pair) - 1) for pair in pairs]
    return math.sqrt(fmean(variances))
