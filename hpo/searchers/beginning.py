"""How a search begins and who goes on: the user's guesses, what was good elsewhere, and the choice of `sampler: auto`.

Called by `hpo.searchers`, and by whoever tells the user. A wrapper, because every engine can begin like this; decided
from the sweep's meaning alone, never from its budget, so that a raised budget on resume changes nothing.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.samplers import portfolio
from hpo.searchers.port import Searcher
from hpo.space import Choice, Space
from hpo.sweep import Named, Sweep
from hpo.trial import Params, Report, Trial

LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost")
DEEP = 7.0  # levels, beyond which a tree hardly costs more
LEAVES = ("num_leaves", "max_leaf_nodes", "max_leaves")
CONFIGURATIONS = 8  # of a portfolio, under `sampler: auto`
BEFORE_EXPERIENCE = 5  # of them, where the sampler goes on with what was learned from the same data sets
FEATURES = 100  # beyond so many, choices counted by their values, a Gaussian process costs more than it gives


@dataclass(frozen=True)
class Opening:
    """The first trials' parameters, the sampler after them, and a line that says so. `defaults`: those of the library,
    where they are known and tried."""

    first: tuple[Params, ...]
    sampler: Named | None
    note: str
    defaults: Params | None = None
    auto: bool = False  # the sampler was not named
    experienced: bool = False  # the sampler is to know how losses looked on other data sets


def opening(sweep: Sweep, known: Sequence[Params] = ()) -> Opening:
    """`known`: configurations whose results the searcher is told of; those of the portfolio are not tried again."""
    search = sweep.search
    sampler = search.sampler or (Named("auto") if search.engine == "optuna" else None)
    auto = sampler is not None and sampler.name == "auto"
    experienced = auto and search.portfolio != 0 and portfolio.surfaces(sweep.space, sweep.model) is not None
    usual = BEFORE_EXPERIENCE if experienced else CONFIGURATIONS
    size = usual if auto and search.portfolio is None else search.portfolio or 0
    # Also where the portfolio is switched off: what the library does by itself is no other data's.
    asked = auto or size > 0
    metric, model = sweep.metric.name, sweep.model
    library, found = portfolio.first(sweep.space, metric, size, model, sweep.given) if asked else ("", [])
    defaults: list[Params] = [*found[:1]]
    learned = [params for params in found[1:] if params not in known]
    if asked and (own := _defaults(sweep)) and (not library or (model or "").startswith("sklearn.")):
        # A portfolio's defaults are one of several classes; scikit-learn says by itself what each one's are.
        defaults = [complete(sweep.space, own, found[0] if found else {})]
    base = defaults[0] if defaults else {}
    first: list[Params] = []
    for params in [*defaults, *(complete(sweep.space, guess, base) for guess in search.enqueue), *learned]:
        if params not in first:
            first.append(params)
    said = [f"the defaults of {library or 'the model'}"] if defaults else []
    said += [f"{len(search.enqueue)} of your own"] if search.enqueue else []
    untried = " and were not tried in an earlier sweep" if search.warm_start else ""
    said += [f"{len(learned)} configurations that were good on other data{untried}"] if learned else []
    if learned and races(sweep):
        said = [f"the defaults of {library} and {said[-1]}, a cheap one first"]
    if auto:
        sampler, why = _chosen(sweep)
        experienced = experienced and sampler.name == "gp"
        said.append(f"{why} that knows how such losses look" if experienced else why)
    note = f"{'auto: ' if auto else 'first '}{', then '.join(said)}" if said else ""
    return Opening(tuple(first), sampler, note, defaults[0] if defaults else None, auto, experienced)


def races(sweep: Sweep) -> bool:
    """Whether the first trials are put in the order of a race: what the user enqueued keeps its place."""
    return sweep.pruner is not None and sweep.pruner.name == "race" and not sweep.search.enqueue


def cheap_first(first: Sequence[Params]) -> tuple[Params, ...]:
    """For a race, which the first trials run alone: a cheap one is soon there to compare the costly ones with.

    The library's defaults come second. They are costly as a rule, and on many data sets far from good: fully evaluated
    first, they took a third of the cost of ten trials on recorded problems, and raced they take what they are worth.
    Trees grow with the rounds and twice as many at each level, up to a depth that the rows seldom fill.
    """

    def cost(params: Params) -> float:
        trees, depth, leaves = (
            min((float(v) for n in names if isinstance(v := params.get(n), (int, float)) and v > 0), default=most)
            for names, most in ((("n_estimators", "max_iter"), 1.0), (("max_depth",), DEEP), (LEAVES, 2.0**DEEP))
        )
        return trees * min(math.exp2(min(depth, DEEP)), leaves)

    defaults, *learned = first
    learned.sort(key=cost)
    return (*learned[:1], defaults, *learned[1:])


class Beginning:
    """Trial n has the n-th of these parameters; the searcher is told of them, and asked for all others."""

    def __init__(self, searcher: Searcher, first: Sequence[Params]) -> None:
        self._searcher = searcher
        self._first = first

    def ask(self, number: int) -> Trial:
        if number >= len(self._first):
            return self._searcher.ask(number)
        trial = Trial(number, self._first[number])
        self._searcher.tell(trial)
        return trial

    def tell(self, trial: Trial) -> None:
        self._searcher.tell(trial)

    def keep(self, number: int, report: Report) -> bool:
        return self._searcher.keep(number, report)


def _chosen(sweep: Sweep) -> tuple[Named, str]:
    features = sum(len(p.values) if isinstance(p, Choice) else 1 for p in sweep.space.parameters)
    if len(sweep.metrics) > 1:
        return Named("tpe"), f"TPE for {len(sweep.metrics)} metrics at once"
    if features > FEATURES:
        return Named("tpe"), f"TPE for a space as wide as {features} features"
    return Named("gp", {"cost_aware": True}), "a Gaussian process"


def _defaults(sweep: Sweep) -> dict[str, Any]:
    """What the model's own signature says, of the parameters that are searched, as far as the space can say it.

    Code of the user's is not run here.
    """
    module, _, name = (sweep.model or "").rpartition(".")
    if module.split(".")[0] not in LIBRARIES:
        return {}
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):
        return {}  # what is wrong with the model is said by who builds the objective
    known = [(p, parameters[p.name].default) for p in sweep.space.parameters if p.name in parameters]
    return {p.name: v for p, v in known if isinstance(v, (int, float)) or (isinstance(p, Choice) and _plain(v))}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def complete(space: Space, guess: Mapping[str, Any], base: Params) -> Params:
    """All that the guess leaves open as in `base`, else in the middle."""
    wished = {**base, **guess}
    return space.sample(lambda p: portfolio.nearest(p, wished[p.name]) if p.name in wished else portfolio.middle(p))
