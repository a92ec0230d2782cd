"""Random search: every trial drawn independently from the space.

Built by `hpo.searchers.build`. Needs no engine and no history: trial n depends on the seed and n alone.
This makes it the baseline that every other searcher has to beat, and the quickest to start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from hpo.searchers.terms import Axis, seed_of
from hpo.space import Parameter, Space
from hpo.trial import Report, Trial, Value


@dataclass(frozen=True)
class RandomSearcher:
    space: Space
    seed: int

    def ask(self, number: int) -> Trial:
        random = Random(seed_of(self.seed, number))
        return Trial(number, self.space.sample(lambda parameter: _draw(parameter, random)))

    def tell(self, trial: Trial) -> None:
        """What became of a trial changes nothing here."""

    def keep(self, number: int, report: Report) -> bool:
        return True


def _draw(parameter: Parameter, random: Random) -> Value:
    axis = Axis(parameter)
    if axis.kind != "real" and not axis.log:
        return axis.decode(random.randint(int(axis.low), int(axis.high)))
    # Half a unit wider at both ends, so that the first and the last whole number get their full share.
    margin = 0.5 if axis.kind == "whole" else 0.0
    low, high = axis.low - margin, axis.high + margin
    if not axis.log:
        return axis.decode(random.uniform(low, high))
    return axis.decode(math.exp(random.uniform(math.log(low), math.log(high))))
