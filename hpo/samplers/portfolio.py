"""First configurations that were good on many other data sets, fitted into a search space.

Called by `hpo.searchers`. A portfolio is a JSON file in `portfolios/`, made by `scripts/portfolio` (XGBoost) or
`scripts/portfolio_flaml`: it is found by the model's name, else by those of the parameters, since people tune one
library under few names. The library's own defaults come first, so that no search can end worse than no search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hpo.space import Choice, Float, Parameter, Space
from hpo.trial import Params, Value

FOLDER = Path(__file__).parent / "portfolios"
KNOWN = 3  # a space with fewer of a library's names is not that library's
ENOUGH = 0.8  # of the rounds that a space allows, for a set to know what such a space is like


@dataclass(frozen=True)
class Portfolio:
    """`sets` are ordered configurations, the best guess first, or the best for what it costs.

    Each is for spaces that have all of `needs` and about so many `rounds` of boosting, and for a `metric`: what is
    best for a log loss is too careful for an accuracy.
    """

    library: str
    models: tuple[str, ...]  # how the names of its classes begin
    names: Mapping[str, str]  # also known as -> name in the file
    defaults: Params
    sets: tuple[Mapping[str, Any], ...]

    def knows(self, space: Space) -> int:
        """How many parameters of the space it knows; 0 if that is too few to be about the same library."""
        known = sum(self.names.get(name, name) in self.defaults for name in space.names)
        return known if known >= KNOWN and 2 * known >= len(space) else 0

    def said(self, fixed: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the model has where the space says nothing, in the file's names; None: nobody knows the model."""
        return {} if fixed is None else {**self.defaults, **{self.names.get(k, k): v for k, v in fixed.items()}}

    def rounds(self, space: Space, fixed: Mapping[str, Any] | None) -> float:
        """How many a trial may have: by the space, else by what the model is given, else any number."""
        ours = next((p for p in space.parameters if self.names.get(p.name, p.name) == "n_estimators"), None)
        if ours is None:
            told = self.said(fixed).get("n_estimators")
            return float(told) if isinstance(told, (int, float)) else math.inf
        return math.inf if isinstance(ours, Choice) else ours.high

    def closest(
        self, sets: Iterable[Mapping[str, Any]], space: Space, metric: str, fixed: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """Of such sets those made for such a metric, and of them the one whose space is most like this.

        The smallest that has about as many rounds: one with fewer knows nothing of those beyond, and takes them for
        useless.
        """
        ours, most = {self.names.get(p.name, p.name) for p in space.parameters}, self.rounds(space, fixed)
        fitting = [e for e in sets if ours >= set(e["needs"]) and e["metric"] == _kind(metric)]

        def likeness(entry: Mapping[str, Any]) -> tuple[int, bool, float]:
            enough = entry["rounds"] >= ENOUGH * most
            return len(entry["needs"]), enough, -entry["rounds"] if enough else entry["rounds"]

        return max(fitting, key=likeness)

    def configurations(self, space: Space, metric: str, fixed: Mapping[str, Any] | None) -> Iterator[Params]:
        """The defaults, then the set that fits best."""
        yield self.defaults
        most = self.rounds(space, fixed)
        for wished in self.closest(self.sets, space, metric, fixed)["configurations"]:
            yield _balanced(wished, most)

    def fit(self, space: Space, wished: Params) -> dict[str, Value]:
        """The configuration in the space: clipped, and what it does not say at the default or in the middle."""
        wished = {**self.defaults, **wished}

        def value(parameter: Parameter) -> Value:
            name = self.names.get(parameter.name, parameter.name)
            return nearest(parameter, wished[name]) if name in wished else middle(parameter)

        return space.sample(value)


def first(
    space: Space, metric: str, count: int, model: str | None = None, fixed: Mapping[str, Any] | None = None
) -> tuple[str, list[dict[str, Value]]]:
    """The library, its defaults and up to `count` configurations, no two the same; ("", []) for an unknown space.

    `fixed`: what the model is given besides the space; None where that is not known.
    """
    known = matching(space, model)
    found: list[dict[str, Value]] = []
    if known is not None:
        for wished in known.configurations(space, metric, fixed):
            fitted = known.fit(space, wished)
            if fitted not in found:
                found.append(fitted)
            if len(found) == count + 1:
                break
    return (known.library if known else ""), found


def matching(space: Space, model: str | None = None) -> Portfolio | None:
    """The portfolio of the model, a dotted path, or of the library whose parameters these are."""
    name = (model or "").rpartition(".")[2]
    best = max(_shipped(), key=lambda p: (bool(p.knows(space)) and name.startswith(p.models), p.knows(space)))
    return best if best.knows(space) else None


def surfaces(space: Space, model: str | None = None) -> Path | None:
    """The file of what `hpo.samplers.experience` knows of that library."""
    known = matching(space, model)
    path = FOLDER.parent / "surfaces" / f"{known.library.lower()}.json" if known else None
    return path if path is not None and path.is_file() else None


@cache
def _shipped() -> tuple[Portfolio, ...]:
    # From the end: a space that says as little of XGBoost as of LightGBM is taken for the former's.
    paths = sorted(FOLDER.glob("*.json"), reverse=True)
    read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return tuple(
        Portfolio(
            made["library"],
            tuple(made["models"]),
            {other: name for name, others in made["names"].items() for other in others},
            made["defaults"],
            tuple(made["sets"]),
        )
        for made in read
    )


def _kind(metric: str) -> str:
    """Whose portfolio serves a metric: of those that rank, of those that only ask which class, of all other losses."""
    if metric.startswith(("roc_auc", "average_precision")):
        return "roc_auc"
    decided = ("accuracy", "f1", "precision", "recall", "jaccard", "matthews")
    return "accuracy" if any(word in metric for word in decided) else "log_loss"


def _balanced(wished: Params, most: float) -> Params:
    """Fewer boosting rounds than wished take larger steps: their product is what matters most."""
    rounds, rate = wished.get("n_estimators"), wished.get("learning_rate")
    if not isinstance(rounds, int) or not isinstance(rate, float):
        return wished
    return {**wished, "learning_rate": rate * max(1.0, rounds / most)}


def nearest(parameter: Parameter, wished: Value) -> Value:
    """The parameter's value that comes closest; the middle where nothing is close."""
    number = wished if isinstance(wished, (int, float)) and not isinstance(wished, bool) else None
    if isinstance(parameter, Choice):
        if parameter.check(wished) is None or number is None:
            return wished if parameter.check(wished) is None else parameter.values[0]
        numbers = [v for v in parameter.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return min(numbers, key=lambda v: abs(v - number), default=parameter.values[0])
    if number is None:
        return middle(parameter)
    x = min(max(number, parameter.low), parameter.high)
    if parameter.step is not None:
        x = parameter.low + round((x - parameter.low) / parameter.step) * parameter.step
        x = x if x <= parameter.high else x - parameter.step
    return float(x) if isinstance(parameter, Float) else int(x)


def middle(parameter: Parameter) -> Value:
    """The middle of a range (on the log scale if it has one), the first of the choices."""
    if isinstance(parameter, Choice):
        return parameter.values[0]
    low, high = parameter.low, parameter.high
    return nearest(parameter, math.sqrt(low) * math.sqrt(high) if parameter.log else low + (high - low) / 2)
