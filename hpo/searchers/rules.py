"""The rules of pruning: each sees a point of a running trial and says whether the trial may go on.

Made by `hpo.searchers.pruning`, which turns reports into points. A rule knows nothing of engines, folds or signs:
in a point greater is better. What a rule remembers depends only on the set of trials it was told, so that a
resumed sweep decides the same; and one answer costs a search in a sorted list, however long the history.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a trial on the way, greater is better.

    `series` is the fold whose curve this is, None for the outer series. `best` is the best value of the series
    so far. `curve` is False for fold scores: there `step` is the fold, `value` and `best` are the mean of the
    scores so far, and `score` is the fold's own. `first` marks the first series of the trial.
    """

    number: int
    series: int | None
    step: int
    value: float
    best: float
    score: float
    curve: bool
    first: bool


class Rule(Protocol):
    def keep(self, point: Point) -> bool:
        """False if the trial should stop now."""
        ...

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        """A trial has ended, with a value if it is complete; of a failed one there are no points either."""
        ...


class Percentile:
    """Stop where the best so far is worse than that of the `percentile` best complete trials at this step.

    The rule of Google Vizier and Optuna. Fires after `n_startup` complete trials; on a curve from step `warmup`
    on; on fold scores at any fold. 50 is the median.
    """

    def __init__(self, percentile: float = 25.0, n_startup: int = 5, warmup: int = 0) -> None:
        self._rank = 1.0 - percentile / 100.0
        self._n_startup = n_startup
        self._warmup = warmup
        self._complete = 0
        self._seen: defaultdict[tuple[int | None, int], array[float]] = defaultdict(lambda: array("d"))

    def keep(self, point: Point) -> bool:
        if self._complete < self._n_startup or (point.curve and point.step < self._warmup):
            return True
        seen = self._seen.get((point.series, point.step))
        return not seen or point.best >= _quantile(seen, self._rank)

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        if value is None:
            return
        self._complete += 1
        for point in points:
            insort(self._seen[point.series, point.step], point.value)


class Halving:
    """Asynchronous successive halving (Li et al. 2018): of those that reached a rung, the best 1/eta go on.

    Rungs are at min_resource * eta ** (k + skip) steps of a trial's first series: the rounds of its first fold, a
    function's own steps, or whole folds where there are no rounds. The first eta - 1 at a rung cannot be told
    apart, and only the best of them goes on.
    """

    def __init__(self, min_resource: int = 1, eta: int = 3, skip: int = 0) -> None:
        self._first = min_resource * eta**skip
        self._eta = eta
        self._rungs: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))
        self._values: dict[int, list[float]] = {}  # by trial: its value at rung 0, 1, …

    def keep(self, point: Point) -> bool:
        passed = self._values.setdefault(point.number, [])
        while point.first and point.step + 1 >= self._first * self._eta ** len(passed):
            rung = self._rungs[len(passed)]
            insort(rung, point.value)
            passed.append(point.value)
            if point.value < rung[-max(len(rung) // self._eta, 1)]:
                return False
        return True

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        """Take the trial's values out and put them in again as told: a lost attempt leaves nothing behind."""
        for rung, value in enumerate(self._values.pop(number, [])):
            del self._rungs[rung][bisect_left(self._rungs[rung], value)]
        for point in points:
            self.keep(point)
        self._values.pop(number, None)


class Hyperband:
    """Halving in several brackets (Li et al. 2017), the later ones with a later first rung, for slow starters.

    A trial's bracket follows from its number. The brackets share the trials out so that each gets about the same
    budget, as Optuna does it. Without `max_resource`, the steps of the first complete trial stand for it; until
    there is one, no trial is judged.
    """

    def __init__(self, max_resource: int | None = None, min_resource: int = 1, eta: int = 3) -> None:
        self._min_resource = min_resource
        self._eta = eta
        self._brackets: list[Halving] = []
        self._ends: list[int] = []
        self._measure: int | None = None  # the trial whose steps are counted: the lowest number, not the earliest
        self._told: dict[int, Sequence[Point]] | None = {}  # until no lower number can come, then None
        if max_resource is not None:
            self._told = None
            self._build(max_resource)

    def keep(self, point: Point) -> bool:
        return not self._brackets or self._bracket(point.number).keep(point)

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        fresh = {number: points}
        if self._told is not None:
            self._told[number] = [point for point in points if point.first]
            if value is not None and points and (self._measure is None or number < self._measure):
                self._measure = number
                self._build(1 + max(point.step for point in self._told[number]))
                fresh = {**self._told}
            if self._measure is not None and all(n in self._told for n in range(self._measure)):
                self._told = None
        if self._brackets:
            for told, its_points in fresh.items():
                self._bracket(told).learn(told, its_points, None)

    def _build(self, max_resource: int) -> None:
        count = brackets(max_resource, self._min_resource, self._eta)
        self._brackets = [Halving(self._min_resource, self._eta, skip) for skip in range(count)]
        shares = [math.ceil(count * self._eta ** (count - 1 - skip) / (count - skip)) for skip in range(count)]
        self._ends = [sum(shares[: skip + 1]) for skip in range(count)]

    def _bracket(self, number: int) -> Halving:
        # A multiplier prime to the cycle's length spreads each bracket's trials over the whole cycle.
        length = self._ends[-1]
        stride = next(s for s in range(int(length * 0.618) or 1, length + 2) if math.gcd(s, length) == 1)
        place = number * stride % length
        return self._brackets[next(k for k, end in enumerate(self._ends) if place < end)]


class Wilcoxon:
    """Stop where a signed-rank test over the folds says that the trial is worse than the best one.

    One-sided, on the pairs of fold scores, as Optuna's. Never on the first fold; and not where the mean is
    better than the best one's on the same folds. Judges the outer series only: n folds cannot give a p below
    2 ** -n, so at p_threshold 0.1 it can fire from the fourth fold on.
    """

    def __init__(self, p_threshold: float = 0.1, n_startup: int = 2) -> None:
        from scipy.stats import wilcoxon  # here, so that `hpo.plan` can ask `never_fires` without scipy

        self._test = wilcoxon
        self._p_threshold = p_threshold
        self._n_startup = n_startup
        self._scores: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._best: tuple[float, int, dict[int, float]] | None = None

    def keep(self, point: Point) -> bool:
        if point.series is not None:
            return True
        own = self._scores[point.number]
        own[point.step] = point.score
        if self._best is None:
            return True
        best = self._best[2]
        differences = [own[step] - best[step] for step in own if step in best]
        if len(differences) < self._n_startup or sum(differences) >= 0:
            return True
        return bool(self._test(differences, alternative="less", zero_method="zsplit").pvalue >= self._p_threshold)

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        self._scores.pop(number, None)
        scores = {point.step: point.score for point in points if point.series is None}
        if value is not None and scores and (self._best is None or (value, -number) > self._best[:2]):
            self._best = (value, -number, scores)


class Patience:
    """Stop a curve that has not improved by more than `min_delta` in the last `n` reports. Needs no other trial."""

    def __init__(self, n: int = 20, min_delta: float = 0.0) -> None:
        self._n = n
        self._min_delta = min_delta
        self._marks: dict[int, tuple[int | None, float, int]] = {}  # series, the value to beat, reports since

    def keep(self, point: Point) -> bool:
        if not point.curve:
            return True
        series, mark, since = self._marks.get(point.number, (point.series, -math.inf, 0))
        if series != point.series or point.value > mark + self._min_delta:
            self._marks[point.number] = (point.series, point.value, 0)
            return True
        self._marks[point.number] = (series, mark, since + 1)
        return since + 1 < self._n

    def learn(self, number: int, points: Sequence[Point], value: float | None) -> None:
        self._marks.pop(number, None)


def brackets(max_resource: int, min_resource: int, eta: int) -> int:
    """How many brackets Hyperband has: one more than the times that min_resource can be multiplied by eta."""
    count = 1
    while min_resource * eta**count <= max_resource:
        count += 1
    return count


def _quantile(ordered: Sequence[float], rank: float) -> float:
    """Between the two nearest values, as numpy's default."""
    place = (len(ordered) - 1) * rank
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
