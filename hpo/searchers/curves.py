"""Learning curves: how much a fold may still gain, judged by how much others gained from there.

Used by the race. Boosting with a small learning rate starts slowly, so that values at the same round say little about
two trials; the gain still to come in units of the gain since half as many rounds says more. Early stopping ends a
curve like any other last round does.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping, Sequence

EARLY = 10  # rounds: before, a curve has no shape yet
ENOUGH = 15  # curves that passed a step, before others are judged there

Curve = Sequence[tuple[int, float]]  # step, value; greater is better


class Gains:
    """The gains that finished curves had left at each step. What it knows depends on the set of curves alone."""

    def __init__(self) -> None:
        self._left: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))

    def learn(self, curves: Mapping[int, Curve], scores: Mapping[int, float]) -> None:
        """A trial's curves by fold; those count whose fold was finished."""
        for fold, curve in curves.items():
            if fold in scores:
                for k, (step, value) in enumerate(curve):
                    if step + 1 >= EARLY and (recent := _recent(curve[: k + 1])):
                        insort(self._left[step], (scores[fold] - value) / recent)

    def end(self, curve: Curve, share: float) -> float | None:
        """Where the curve ends at most in that share of the known cases, lower than it stands where it overfits; None
        where too few are known."""
        step, value = curve[-1]
        left = self._left.get(step)
        if step + 1 < EARLY or left is None or len(left) < ENOUGH:
            return None
        return value + left[math.ceil(share * len(left)) - 1] * _recent(curve)


def _recent(curve: Curve) -> float:
    """What changed since half as many rounds, whichever way."""
    step, value = curve[-1]
    before = bisect_right(curve, (step + 1) // 2 - 1, key=lambda point: point[0]) - 1
    return abs(value - curve[max(before, 0)][1])
