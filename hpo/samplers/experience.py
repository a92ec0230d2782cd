"""What is known of a library's parameters before the first trial: the shape that losses had on other data sets.

Read by `portfolio` from the files beside it, used by `gp_sampler` as the prior of its Gaussian process: a mean surface,
and the few ways in which data sets differ from it, all parabolas in the parameters. So ten trials tell which kind of
data set this is, where a model that starts from nothing would still be learning which parameters matter. Idea: Wang et
al., "Pre-trained Gaussian Processes for Bayesian Optimization" (2024).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hpo.samplers import portfolio
from hpo.samplers.encoding import Array, Encoding
from hpo.space import Choice, Space
from hpo.trial import Value

LEFT = (math.log(0.15), math.log(0.003))  # variances of what the surfaces cannot say, and of noise, to begin with
Term = tuple[str, ...]  # a product: () is the constant, ("a", "a") a parabola along a, ("c=x",) is 1 where c is x


@dataclass(frozen=True)
class Range:
    """A parameter of the surface: its range there is [-1, 1], outside it is the end. `default` for who has none."""

    low: float
    high: float
    log: bool
    default: float

    def place(self, values: Array) -> Array:
        low, high = self.low, self.high
        if self.log:
            low, high, values = math.log(low), math.log(high), np.log(np.maximum(values, low))
        return np.clip(2 * (values - low) / (high - low) - 1, -1.0, 1.0)


class Reading(NamedTuple):
    """From a study's numbers to values: `offset + factor * number`, or for a choice the number's place in `values`."""

    name: str
    offset: float = 0.0
    factor: float = 1.0
    values: tuple[Value, ...] = ()


class Experience:
    """Losses as they were elsewhere: 0 the best of a data set, 1 its median, higher than 1.5 counts as that.

    `weights` has a row per term and columns for the mean and for each way to differ from it, of variance 1. `choices`
    are the defaults of choices.
    """

    def __init__(
        self,
        ranges: Mapping[str, Range],
        choices: Mapping[str, Value],
        weights: Mapping[Term, Sequence[float]],
        readings: Mapping[str, Reading],
    ) -> None:
        self._ranges, self._choices, self._readings = ranges, choices, readings
        # Each term is a product of two of these: the constant, the numbers, their squares, the cases.
        self._cases = sorted({part for term in weights for part in term if "=" in part})
        parts: list[Term] = [(), *((n,) for n in ranges), *((n, n) for n in ranges), *((c,) for c in self._cases)]
        pairs = [((), term) if term in parts else (term[:1], term[1:]) for term in weights]
        self._pairs = np.array([(parts.index(one), parts.index(other)) for one, other in pairs]).T
        self._weights = np.array(list(weights.values()))

    def surface(self, encoding: Encoding, rows: Array) -> Array:
        """The mean and the ways to differ, one row per point."""
        known: dict[str, Array] = {}
        usual = {f"{name}={value}" for name, value in self._choices.items()}
        cases = {case: np.full(len(rows), float(case in usual)) for case in self._cases}
        for j, (name, column) in enumerate(zip(encoding.names, encoding.columns, strict=True)):
            reading = self._readings.get(name)
            if reading is None:
                continue
            u = rows[:, j]
            if reading.name in self._choices and column.choices:
                index = np.floor(u * column.choices)
                for case in [case for case in cases if case.startswith(f"{reading.name}=")]:
                    meant = [k for k, value in enumerate(reading.values) if case == f"{reading.name}={value}"]
                    cases[case] = np.isin(index, meant) * 1.0
            elif reading.name in self._ranges and not column.choices:
                x = column.low + u * (column.high - column.low)
                values = reading.offset + reading.factor * (np.exp(x) if column.log else x)
                known[reading.name] = self._ranges[reading.name].place(values)
        x = np.empty((len(self._ranges), len(rows)))
        for j, (name, scale) in enumerate(self._ranges.items()):
            x[j] = known[name] if name in known else scale.place(np.array(scale.default))
        x[np.isnan(x)] = 0.0  # where a condition leaves it out
        z = np.vstack([np.ones((1, len(rows))), x, x * x, *cases.values()])
        return np.asarray((z[self._pairs[0]] * z[self._pairs[1]]).T @ self._weights)


def of(
    space: Space, metric: str, model: str | None = None, fixed: Mapping[str, Any] | None = None
) -> Experience | None:
    """What is known of the library whose parameters these are; None if nothing is.

    `fixed`: what the model is given besides the space; None where that is not known.
    """
    known, path = portfolio.matching(space, model), portfolio.surfaces(space, model)
    if known is None or path is None:
        return None
    sets, said = json.loads(path.read_text(encoding="utf-8"))["sets"], known.said(fixed)
    made = known.closest(sets, space, metric, fixed)
    readings = {}
    for p in space.parameters:
        name = known.names.get(p.name, p.name)
        if isinstance(p, Choice):
            readings[p.name] = Reading(name, values=tuple(p.values))
        elif p.step in (None, 1):
            readings[p.name] = Reading(name)
        else:  # such a grid is searched by the places on it
            readings[p.name] = Reading(name, p.low, float(p.step))
    return Experience(
        {
            name: Range(low, high, log, _number(said.get(name), default))
            for name, (low, high, log, default) in made["ranges"].items()
        },
        made["choices"],
        {tuple(term.split("*")) if term else (): row for term, row in made["weights"].items()},
        readings,
    )


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, (int, float)) else otherwise
