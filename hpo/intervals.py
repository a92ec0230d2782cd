"""Intervals: how sure a score, or the difference of two scores on the same rows, is.

Used by `hpo.objectives.judging` and `hpo.recheck`, with numpy alone. Rows that belong together (a day's flights, a
stretch of time) are drawn together: drawn one by one they would pretend to be more evidence than they are. The paired
bootstrap draws the same rows for both models, so that what makes a row hard for both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.honest import t_quantile
from hpo.verdict import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]  # (draws, rows) of weights -> (draws,)

DRAWS = 2000
_CELLS = 4_000_000  # weights that are held in memory at a time


@dataclass(frozen=True)
class Resampling:
    """Bootstrap weights: how often each row is in each draw. `clusters` numbers the rows that are drawn together."""

    rows: int
    clusters: NDArray[np.intp] | None = None
    draws: int = DRAWS
    seed: int = 0

    def values(self, *statistics: Statistic) -> Floats:
        """(statistics, draws): each of them on the same draws."""
        found: list[list[Floats]] = [[] for _ in statistics]
        for weights in self._weights():
            for kept, statistic in zip(found, statistics, strict=True):
                kept.append(statistic(weights))
        return np.stack([np.concatenate(kept) for kept in found])

    def _weights(self) -> Iterator[Floats]:
        dice = np.random.default_rng(self.seed)
        units = self.rows if self.clusters is None else int(self.clusters.max()) + 1
        step = max(1, _CELLS // max(1, self.rows))
        for first in range(0, self.draws, step):
            count = min(step, self.draws - first)
            drawn = dice.integers(0, units, (count, units)) + np.arange(count)[:, None] * units
            weights = np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(float)
            yield weights if self.clusters is None else weights[:, self.clusters]


def quantiles(value: float, draws: Floats, confidence: float, units: int) -> Interval:
    """The percentile interval, expanded for few `units` (rows or clusters that were drawn), where it is too narrow.

    T. Hesterberg, The American Statistician 69 (2015) 371-386. Draws in which the score has no value (a class was not
    drawn) are left out.
    """
    known = draws[np.isfinite(draws)]
    if units < 2 or len(known) < max(20, len(draws) / 2):
        return Interval(value, -math.inf, math.inf)
    freedom = max(3, units - 1)
    confidence = NormalDist().cdf(math.sqrt((freedom + 1) / freedom) * t_quantile(confidence, freedom))
    low, high = np.quantile(known, [1 - confidence, confidence])
    return Interval(value, float(low), float(high))


def mean_of(values: Floats, root: bool = False) -> Statistic:
    """The mean over the rows; `root` of it."""

    def statistic(weights: Floats) -> Floats:
        mean = weights @ values / weights.sum(axis=1)
        return np.asarray(np.sqrt(mean) if root else mean)

    return statistic


def auc_of(scores: Floats, positive: NDArray[np.bool_]) -> Statistic:
    """The area under the ROC curve: the share of pairs in the right order, ties half."""
    order = np.argsort(scores, kind="stable")
    truth = positive[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))

    def statistic(weights: Floats) -> Floats:
        sorted_weights = weights[:, order]
        up = np.cumsum(np.where(truth, sorted_weights, 0.0), axis=1)[:, ends]
        down = np.cumsum(np.where(truth, 0.0, sorted_weights), axis=1)[:, ends]
        steps = np.diff(up, prepend=0.0, axis=1)
        below = np.concatenate([np.zeros((len(weights), 1)), down[:, :-1]], axis=1)
        pairs = up[:, -1] * down[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((steps * (below + down) / 2).sum(axis=1) / pairs)

    return statistic


def delong(positive: NDArray[np.bool_], *scores: Floats, confidence: float) -> list[Interval]:
    """The AUC of each model and, for two, of the first minus the second, for independent rows.

    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845; by midranks as in X. Sun, W. Xu,
    IEEE Signal Processing Letters 21 (2014) 1389-1393.
    """
    z = NormalDist().inv_cdf(confidence)
    m, n = int(positive.sum()), int((~positive).sum())
    v10, v01, areas = [], [], []
    for s in scores:
        everyone, above, below = _midranks(s), _midranks(s[positive]), _midranks(s[~positive])
        v10.append((everyone[positive] - above) / n)
        v01.append(1.0 - (everyone[~positive] - below) / m)
        areas.append(float(v10[-1].mean()))
    covariance = np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n
    found = [_normal(area, covariance[k, k], z) for k, area in enumerate(areas)]
    if len(areas) == 2:
        spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        found.append(_normal(areas[0] - areas[1], spread, z))
    return found


def _normal(value: float, variance: float, z: float) -> Interval:
    reach = z * math.sqrt(max(0.0, float(variance)))
    return Interval(value, value - reach, value + reach)


def _midranks(values: Floats) -> Floats:
    _, inside, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inside])


def blocks_of_time(times: Sequence[Any] | NDArray[Any]) -> NDArray[np.intp]:
    """Stretches of neighboring rows, n^(1/3) long: the non-overlapping block bootstrap (E. Carlstein, 1986)."""
    moments = np.asarray(times)
    order = np.argsort(moments, kind="stable")
    length = max(1, round(len(moments) ** (1 / 3)))
    found = np.empty(len(moments), dtype=np.intp)
    found[order] = np.arange(len(moments)) // length
    return found
