"""Searchers: who decides which parameters are tried next.

`build` is called by `hpo.search` and `hpo.plan`; all else knows the port alone. Engines are imported when
they are built, so a sweep pays only for the one it uses.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from hpo.errors import InputError, Problem
from hpo.searchers.beginning import Beginning, cheap_first, opening, races
from hpo.searchers.port import Searcher, SpaceExhausted
from hpo.searchers.pruning import Pruning, completed, make_rule
from hpo.searchers.shortening import Shortening, rounds_of
from hpo.searchers.terms import check_options
from hpo.sweep import Sweep
from hpo.trial import Params

# Whoever imports Optuna in a notebook without ipywidgets is told so by tqdm, whose bars nobody asked for.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = ["Searcher", "SpaceExhausted", "build", "completed", "defaults", "note", "sampler_of"]


def build(sweep: Sweep, known: Sequence[Params] = ()) -> Searcher:
    """The sweep's searcher, told of nothing yet; what it is going to be told of is `known` and not among its guesses.

    InputError for an unknown sampler, pruner or option.
    """
    begin = opening(sweep, known)
    searcher = _engine(replace(sweep, search=replace(sweep.search, sampler=begin.sampler)), begin.experienced)
    if begin.auto and (rounds := rounds_of(sweep)):
        searcher = Shortening(searcher, sweep.metric, rounds)
    if begin.first:
        searcher = Beginning(searcher, cheap_first(begin.first) if races(sweep) else begin.first)
    if sweep.pruner is None:
        return searcher
    if len(sweep.metrics) > 1:
        raise InputError(
            Problem(
                f"{sweep.pruner.name} cannot judge several metrics at once",
                "search.pruner",
                "leave the pruner out, or optimize one metric and list the others under metrics",
            )
        )
    rule = make_rule(sweep.pruner.name, sweep.pruner.options)
    return Pruning(searcher, rule, sweep.metric, fold_scores=sweep.data is not None)


def note(sweep: Sweep) -> str:
    """A line for the user: how the search begins and what `sampler: auto` has chosen; "" if there is nothing to say."""
    return opening(sweep).note


def defaults(sweep: Sweep) -> Params | None:
    """The parameters of the trial that shows what the library does by itself; None: no trial does."""
    return opening(sweep).defaults


def sampler_of(sweep: Sweep) -> str | None:
    """The name of the sampler after the first guesses; None: the engine has but one."""
    sampler = opening(sweep).sampler
    return sampler.name if sampler else None


def _engine(sweep: Sweep, experienced: bool) -> Searcher:
    sampler = sweep.search.sampler
    match sweep.search.engine:
        case "optuna":
            from hpo.searchers import optuna

            return optuna.build(sweep, experienced)
        case "hyperopt":
            from hpo.searchers import hyperopt

            return hyperopt.build(sweep)
        case "random":
            from hpo.searchers.random import RandomSearcher

            if sampler is not None and sampler.name != "random":
                raise InputError(Problem(f"the engine random has no {sampler.name!r}", "search.sampler"))
            check_options("search.sampler", "random", sampler.options if sampler else {}, {})
            return RandomSearcher(sweep.space, sweep.search.seed)
