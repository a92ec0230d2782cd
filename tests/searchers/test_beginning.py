"""How a search begins: the user's guesses, defaults, portfolio, and what `sampler: auto` chooses; run by pytest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo import searchers
from hpo.metric import Metric
from hpo.searchers.beginning import opening
from hpo.space import Choice, Float, Int, Space
from hpo.sweep import Engine, Named, Search, Sweep

LOSS = Metric("loss", "minimize")
PLAIN = Space((Float("x", 0.0, 1.0), Int("k", 1, 9)))
BOOSTED = Space((Float("learning_rate", 0.01, 0.3, log=True), Int("max_depth", 2, 9), Float("gamma", 0.0, 1.0)))
DEFAULTS = {"learning_rate": 0.3, "max_depth": 6, "gamma": 0.0}


def sweep(space: Space = PLAIN, sampler: str | None = None, model: str | None = None, **keys: Any) -> Sweep:
    search = Search(sampler=Named(sampler) if sampler else None, **keys)
    return Sweep("s", space, (LOSS,), model=model, objective=None if model else "m:f", search=search)


def test_auto_knows_xgboost() -> None:
    found = opening(sweep(BOOSTED, "auto"))
    assert (len(found.first), found.sampler) == (6, Named("gp", {"cost_aware": True}))
    expected = "the defaults of XGBoost, then 5 configurations that were good on other data, then a Gaussian process"
    assert found.note == f"auto: {expected} that knows how such losses look"
    assert searchers.note(sweep(BOOSTED)) == found.note, "auto is the default"


def test_auto_knows_nothing_of_a_function() -> None:
    found = opening(sweep())
    assert (found.first, found.note, found.defaults) == ((), "auto: a Gaussian process", None)


def test_auto_asks_the_model_for_its_defaults() -> None:
    space = Space((Float("C", 0.01, 100.0, log=True), Choice("solver", ("saga", "lbfgs")), Int("max_iter", 10, 50)))
    found = opening(sweep(space, model="sklearn.linear_model.LogisticRegression"))
    assert found.first == ({"C": 1.0, "solver": "lbfgs", "max_iter": 50},)
    assert found.note == "auto: the defaults of the model, then a Gaussian process"
    mine = sweep(space, model="sklearn.linear_model.LogisticRegression", enqueue=({"C": 0.5},))
    assert searchers.defaults(mine) == found.first[0], "whatever is tried beside them"


def test_a_portfolio_begins_with_the_defaults_of_this_very_class() -> None:
    """Those of a forest that classifies are not those of one that predicts numbers."""
    features = Choice("max_features", ("sqrt", 1.0)), Float("min_impurity_decrease", 0.0, 0.1), Int("max_depth", 2, 9)
    for task, wanted in (("Classifier", "sqrt"), ("Regressor", 1.0)):
        found = opening(sweep(Space(features), model=f"sklearn.ensemble.RandomForest{task}"))
        assert found.defaults == {"max_features": wanted, "min_impurity_decrease": 0.0, "max_depth": 9}
        assert "the defaults of random forests, then " in found.note


def test_who_says_nothing_of_its_defaults_has_no_trial_of_them() -> None:
    space = Space((Float("C", 0.01, 100.0), Int("max_depth", 1, 9)))
    assert opening(sweep(space, model="sklearn.tree.DecisionTreeClassifier")).defaults is None, "None is no depth"


def test_auto_leaves_wide_spaces_and_several_metrics_to_tpe() -> None:
    wide = Space(tuple(Choice(f"c{k}", tuple("abcdefg")) for k in range(15)))
    assert opening(sweep(wide)).sampler == Named("tpe")
    assert opening(replace(sweep(), metrics=(LOSS, Metric("size", "minimize")))).sampler == Named("tpe")


@pytest.mark.parametrize("engine", ["optuna", "hyperopt", "random"])
def test_guesses_come_first_whoever_goes_on(engine: Engine) -> None:
    guesses = ({"x": 0.25, "k": 3}, {"k": 9}, {"k": 9, "x": 0.5})
    searcher = searchers.build(sweep(engine=engine, enqueue=guesses))
    asked = [searcher.ask(number).params for number in range(4)]
    assert asked[:2] == [{"x": 0.25, "k": 3}, {"x": 0.5, "k": 9}], "the third is the second again"
    assert asked[2] not in asked[:2]


def test_defaults_then_guesses_then_the_portfolio() -> None:
    found = opening(sweep(BOOSTED, "tpe", portfolio=3, enqueue=({"max_depth": 9},)))
    assert len(found.first) == 5
    assert found.first[0] == DEFAULTS
    assert found.first[1] == {**found.first[0], "max_depth": 9}, "what a guess leaves open has its default"
    assert found.sampler == Named("tpe")
    assert found.note.startswith("first the defaults of XGBoost, then 1 of your own, then 3 config")


def test_off_leaves_the_defaults_and_others_begin_as_they_always_did() -> None:
    """A sweep must never end worse than no sweep; what the library does by itself is no other data's."""
    off = opening(sweep(BOOSTED, "auto", portfolio=0))
    assert (off.first, off.experienced) == ((DEFAULTS,), False)
    assert off.note == "auto: the defaults of XGBoost, then a Gaussian process"
    assert opening(sweep(BOOSTED, "tpe")) == opening(sweep(BOOSTED, "tpe", portfolio=0))
    assert opening(sweep(BOOSTED, "tpe")).note == ""


def test_the_budget_changes_nothing() -> None:
    """Else a sweep whose budget was raised could not be resumed."""
    assert opening(sweep(BOOSTED, trials=10)) == opening(sweep(BOOSTED, trials=100_000))
