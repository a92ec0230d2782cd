"""Every engine and sampler keeps the promises of the port; run by pytest; one class per kind of searcher."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo import searchers
from hpo.metric import Metric
from hpo.space import Choice, Float, Int, Space
from hpo.sweep import Engine, Named, Search, Sweep
from hpo.testing import LOSS, SearcherSuite

FINITE = Space((Int("a", 1, 3), Choice("b", ("x", None, True)), Float("s", 0.1, 0.3, step=0.1), Float("c", 1.0, 1.0)))
FINITE_NESTED = Space(
    (
        Choice("leaf", ("x", "y"), when={"depth": (2, 3)}),
        Int("depth", 1, 3),
        Float("share", 0.1, 0.9, step=0.1, when={"leaf": ("y",)}),
        Int("power", 1, 8, log=True, when={"depth": (1,)}),
    )
)


def sweep(
    space: Space,
    *metrics: Metric,
    engine: Engine = "optuna",
    sampler: str | None = None,
    pruner: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Sweep:
    return Sweep(
        "suite",
        space,
        metrics or (LOSS,),
        objective="module:function",
        search=Search(
            engine=engine,
            sampler=Named(sampler, options) if sampler else None,
            pruner=Named(pruner) if pruner else None,
            seed=seed,
        ),
    )


class _Built(SearcherSuite):
    engine: Engine = "optuna"
    sampler: str | None = None
    pruner: str | None = None
    options: dict[str, Any] = {}  # noqa: RUF012

    def make(self, space: Space, seed: int, metrics: tuple[Metric, ...]) -> searchers.Searcher:
        built = sweep(
            space, *metrics, engine=self.engine, sampler=self.sampler, pruner=self.pruner, seed=seed, **self.options
        )
        return searchers.build(built)


class TestRandom(_Built):
    engine: Engine = "random"
    learns = False


class TestPruningRandom(TestRandom):
    pruner = "median"


class TestOptunaDefault(_Built):
    pass


class TestOptunaTpe(_Built):
    sampler = "tpe"


class TestBeginningWithGuesses(_Built):
    """The user's own trials first, whoever goes on; cmaes, which takes notes, is told of them as of any other."""

    sampler = "cmaes"
    enqueue = ({"kind": None, "rate": 0.5}, {"layers": 2}, {"model": "forest"})

    def make(self, space: Space, seed: int, metrics: tuple[Metric, ...]) -> searchers.Searcher:
        built = sweep(space, *metrics, sampler=self.sampler, seed=seed)
        guesses = tuple(guess for guess in self.enqueue if set(guess) <= set(space.names))
        return searchers.build(replace(built, search=replace(built.search, enqueue=guesses)))


class TestOptunaSeveralMetrics(_Built):
    metrics = (LOSS, Metric("gain", "maximize"))


class TestOptunaRandom(_Built):
    sampler = "random"
    learns = False


class TestOptunaGp(_Built):
    sampler = "gp"


class TestOptunaCmaes(_Built):
    sampler = "cmaes"


class TestOptunaQmc(_Built):
    sampler = "qmc"
    options = {"scramble": True}  # noqa: RUF012
    learns = False


class TestOptunaNsgaii(_Built):
    sampler = "nsgaii"
    options = {"population_size": 8}  # noqa: RUF012


class TestOptunaGrid(_Built):
    sampler = "grid"
    spaces = (FINITE,)
    learns = False


class TestOptunaBruteForce(_Built):
    sampler = "brute_force"
    spaces = (FINITE, FINITE_NESTED)
    learns = False


class TestHyperoptDefault(_Built):
    engine: Engine = "hyperopt"
    trials = 26  # it learns from the 20th on


class TestHyperoptAnneal(_Built):
    engine: Engine = "hyperopt"
    sampler = "anneal"


class TestHyperoptRandom(_Built):
    engine: Engine = "hyperopt"
    sampler = "rand"
    learns = False


@pytest.mark.parametrize("space", [FINITE, FINITE_NESTED])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_exhaustive_sampler_tries_each_point_once(space: Space, workers: int) -> None:
    searcher = searchers.build(sweep(space, sampler="brute_force" if space.conditional else "grid"))
    tried: list[str] = []
    for number in range(int(space.count())):
        trial = searcher.ask(number)
        tried.append(repr(trial.params))
        if number % workers == workers - 1:
            searcher.tell(replace(trial, started=0.0, finished=1.0, values=(1.0,)))
    assert len(set(tried)) == len(tried)
    with pytest.raises(searchers.SpaceExhausted):
        searcher.ask(len(tried))
