"""Optuna's distributions as the unit cube: one column a parameter, NaN where a trial does not have it.

Called by `gp_sampler`. Whole numbers and grids get cells of equal width (of equal width on the log scale), so that a
uniform point of the cube is a fair draw; `snap` moves points to the values they stand for, since the model must not
believe in differences that no trial can make.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Array = npt.NDArray[np.float64]


def keys(rows: Array, digits: int) -> list[bytes]:
    """Of points of the cube; equal for those that agree to so many digits, and so are the same trial."""
    # + 0.0: what is rounded to -0.0 equals 0.0, and has other bytes.
    return [row.tobytes() for row in np.where(np.isnan(rows), -1.0, rows).round(digits) + 0.0]


class Column:
    """One parameter in [0, 1]. `choices` is 0 for numbers; `cells` the number of values, 0 if they are continuous."""

    def __init__(self, distribution: BaseDistribution) -> None:
        self.distribution = distribution
        self.choices = len(distribution.choices) if isinstance(distribution, CategoricalDistribution) else 0
        self.step: float | None = None
        self.log = False
        if isinstance(distribution, (FloatDistribution, IntDistribution)):
            self.step, self.log = distribution.step, distribution.log
            margin = (self.step or 0.0) / 2
            self.low, self.high = self._scale(distribution.low - margin), self._scale(distribution.high + margin)

    def encode(self, value: Any) -> float:
        if self.choices:
            return (self.distribution.to_internal_repr(value) + 0.5) / self.choices
        return min(max((self._scale(value) - self.low) / (self.high - self.low), 0.0), 1.0)

    def decode(self, u: float) -> Any:
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[min(int(u * self.choices), self.choices - 1)]
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        x = self.low + u * (self.high - self.low)
        x = math.exp(x) if self.log else x
        if self.step is not None:
            x = distribution.low + round((x - distribution.low) / self.step) * self.step
        x = min(max(x, distribution.low), distribution.high)
        return int(x) if isinstance(distribution, IntDistribution) else float(x)

    def snap(self, u: Array) -> Array:
        """The same points, each moved to the value that it decodes to; NaN stays."""
        if self.choices:
            return (np.minimum(np.floor(u * self.choices), self.choices - 1) + 0.5) / self.choices
        if self.step is None:
            return u
        distribution = self.distribution
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        x = self.low + u * (self.high - self.low)
        x = np.exp(x) if self.log else x
        x = distribution.low + np.round((x - distribution.low) / self.step) * self.step
        x = np.clip(x, distribution.low, distribution.high)
        return np.asarray(((np.log(x) if self.log else x) - self.low) / (self.high - self.low))

    def _scale(self, x: float) -> float:
        return math.log(x) if self.log else x


class Encoding:
    """A search space as columns, in the order of the mapping."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.names = tuple(space)
        self.columns = tuple(Column(distribution) for distribution in space.values())
        # Features: a number as it is, a choice as one column per value, all of a parameter in one group.
        widths = [max(column.choices, 1) for column in self.columns]
        self.groups = np.repeat(np.arange(len(widths)), widths)
        self.choices = np.array([column.choices for column in self.columns])

    def __len__(self) -> int:
        return len(self.columns)

    def row(self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> Array:
        """A trial's parameters; NaN where it has none or one from outside this space."""
        row = np.full(len(self.columns), np.nan)
        for j, (name, column) in enumerate(zip(self.names, self.columns, strict=True)):
            if name in params:
                known = distributions[name] == column.distribution
                if known or column.distribution._contains(distributions[name].to_internal_repr(params[name])):
                    row[j] = column.encode(params[name])
        return row

    def params(self, row: Array) -> dict[str, Any]:
        return {
            name: column.decode(float(u))
            for name, column, u in zip(self.names, self.columns, row, strict=True)
            if not math.isnan(u)
        }

    def snap(self, rows: Array) -> Array:
        return np.column_stack([column.snap(rows[:, j]) for j, column in enumerate(self.columns)])

    def features(self, rows: Array) -> Array:
        """What the model sees. An absent number sits in the middle, an absent choice has no value at all."""
        out = np.empty((len(rows), len(self.groups)))
        place = 0
        for j, column in enumerate(self.columns):
            u = rows[:, j]
            if column.choices:
                index = np.where(np.isnan(u), -1, u * column.choices).astype(int)
                out[:, place : place + column.choices] = (index[:, None] == np.arange(column.choices)) / math.sqrt(2)
            else:
                out[:, place] = np.where(np.isnan(u), 0.5, u)
            place += max(column.choices, 1)
        return out
