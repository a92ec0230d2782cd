"""A sweep in the terms of a search engine: parameters as axes, a trial's seed, what a pruned trial was worth.

Called by the adapters beside it. Engines disagree about steps, ends of ranges and whether `1 == True`; here
every parameter becomes an interval of real or whole numbers or an index, so each value comes back exact, and
encoding what was decoded gives the same number again: that is what makes a replay bit-identical.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Literal

from hpo.errors import InputError, Problem
from hpo.metric import Metric
from hpo.space import Choice, Float, Int, Parameter, Space
from hpo.trial import Trial, Value


@dataclass(frozen=True)
class Axis:
    """One parameter as a number in [low, high], both included: the value itself, or its place on the grid."""

    parameter: Parameter

    @property
    def name(self) -> str:
        return self.parameter.name

    @property
    def kind(self) -> Literal["real", "whole", "index"]:
        """`index` has no order; `whole` has one."""
        if isinstance(self.parameter, Choice):
            return "index"
        return "real" if isinstance(self.parameter, Float) and self.parameter.step is None else "whole"

    @property
    def log(self) -> bool:
        return not isinstance(self.parameter, Choice) and self.parameter.log and not self._placed

    @cached_property
    def low(self) -> float:
        return 0 if isinstance(self.parameter, Choice) or self._placed else self.parameter.low

    @cached_property
    def high(self) -> float:
        if isinstance(self.parameter, Choice) or self._placed:
            return int(self.parameter.size) - 1
        return self.parameter.high

    @property
    def fixed(self) -> bool:
        """True where there is nothing to choose."""
        return self.low == self.high

    def decode(self, x: float) -> Value:
        """The parameter's value at x, rounded and clipped into the space."""
        if self.kind == "real":
            return float(min(max(x, self.low), self.high))
        k = int(min(max(round(x), self.low), self.high))
        if isinstance(self.parameter, Choice):
            return self.parameter.values[k]
        if not self._placed:
            return k
        value = min(self.parameter.low + k * (self.parameter.step or 0), self.parameter.high)
        return value if isinstance(self.parameter, Int) else float(value)

    def encode(self, value: Any) -> float:
        """Where a value inside the space lies on the axis."""
        if isinstance(self.parameter, Choice):
            values = self.parameter.values
            return next(k for k, v in enumerate(values) if v == value and type(v) is type(value))
        if self._placed:
            place: int = round((value - self.parameter.low) / (self.parameter.step or 1))
            return place
        return float(value) if self.kind == "real" else int(value)

    @property
    def _placed(self) -> bool:
        """True where the axis counts the places of the parameter's grid."""
        return not isinstance(self.parameter, Choice) and self.parameter.step not in (None, 1)


def axes(space: Space) -> dict[str, Axis]:
    """Parents before children."""
    return {parameter.name: Axis(parameter) for parameter in space.walk}


def seed_of(seed: int, number: int) -> int:
    """The seed of one ask; from sweep seed and trial number alone, so that a resumed sweep goes on."""
    return zlib.crc32(f"{seed}/{number}".encode())


def standing(trial: Trial, metric: Metric) -> float | None:
    """What a trial that was stopped had reached: the mean of its fold scores, else its last outer report."""
    if scores := trial.scores.get(metric.name):
        return fmean(scores)
    outer = [report.value for report in trial.reports if report.fold is None]
    return outer[-1] if outer else None


Check = Callable[[Any], str | None]  # what the value should have been, None if it is fine


def check_options(where: str, what: str, options: Mapping[str, Any], allowed: Mapping[str, Check]) -> None:
    """`where` is the key in the file. Raises InputError with every option that is unknown or not acceptable."""
    problems = []
    for name, value in options.items():
        if name not in allowed:
            known = f"it takes: {', '.join(allowed)}" if allowed else "it takes no options"
            problems.append(Problem(f"{what} has no option {name!r}", where, known))
        elif wanted := allowed[name](value):
            problems.append(Problem(f"{what}: {name} must be {wanted}, not {value!r}", where))
    if problems:
        raise InputError(*problems)
