"""A trial that trained too long is followed by the same one with fewer rounds; run by pytest."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hpo
from hpo import searchers
from hpo.metric import Metric
from hpo.searchers.shortening import rounds_of
from hpo.space import Choice, Float, Int, Space
from hpo.sweep import Named, Search, Sweep
from hpo.trial import Report, Trial

LOSS = Metric("log_loss", "minimize")
SPACE = Space((Int("n_estimators", 10, 400), Float("learning_rate", 0.01, 1.0), Int("max_depth", 2, 9)))
CURVE = ((4, 0.9), (49, 0.2), (99, 0.3), (199, 0.5))  # rounds from 0; the least loss after 50 of them
ANY = {"n_estimators": 200, "learning_rate": 0.5, "max_depth": 6}


def sweep(**given: Any) -> Sweep:
    search = Search(**{"pruner": Named("none"), "portfolio": 0, **given.pop("search", {})})
    return replace(Sweep("s", SPACE, (LOSS,), model="xgboost.XGBClassifier", search=search), **given)


def trained(number: int, params: Any, curve: Any = CURVE, shift: float = 0.0, folds: int = 3) -> Trial:
    """Fold k is worse by k tenths."""
    reports: list[Report] = []
    for fold in range(folds):
        values = [(step, value + shift + fold / 10) for step, value in curve]
        reports += [Report(step, value, fold) for step, value in values]
        reports.append(Report(fold, values[-1][1]))
    value = curve[-1][1] + shift + (folds - 1) / 20
    return Trial(number, params, started=0.0, finished=1.0, values=(value,), reports=tuple(reports))


def begun(made: Sweep) -> searchers.Searcher:
    """After the library's defaults."""
    searcher = searchers.build(made)
    first = searcher.ask(0)
    searcher.tell(trained(0, first.params, curve=((9, 0.7), (99, 0.6))))
    return searcher


def test_the_best_of_a_curve_is_next() -> None:
    searcher = begun(sweep())
    searcher.tell(trained(1, ANY))
    assert searcher.ask(2).params == {**ANY, "n_estimators": 50}
    assert searcher.ask(3).params != {**ANY, "n_estimators": 50}, "once, also while it is running"
    searcher.tell(trained(2, {**ANY, "n_estimators": 50}, CURVE[:2]))
    assert searcher.ask(4).params != {**ANY, "n_estimators": 100}, "what else was better is worse now"


def test_a_resumed_sweep_asks_as_if_it_had_never_stopped() -> None:
    one, done = begun(sweep()), []
    for number in range(1, 12):
        params = one.ask(number).params
        rounds, depth = (int(params[name] or 0) for name in ("n_estimators", "max_depth"))
        curve = {step: value * depth / 9 for step, value in CURVE if step < rounds}
        done.append(trained(number, params, tuple(sorted({rounds - 1: 0.9, **curve}.items()))))
        one.tell(done[-1])
    for count in range(len(done)):
        other = begun(sweep())
        for trial in done[:count]:
            other.tell(trial)
        assert other.ask(count + 1).params == done[count].params
    assert any(_rest(a.params) == _rest(b.params) for a, b in pairwise(done)), "none is shortened"


def test_a_running_trial_is_not_asked_for_again() -> None:
    one, other = begun(sweep()), begun(sweep())
    one.tell(trained(1, ANY))
    other.tell(trained(1, ANY))
    other.tell(one.ask(2))  # announced as running
    assert other.ask(3).params == one.ask(3).params


@pytest.mark.parametrize(
    ("why", "curve", "shift"),
    [
        ("it only rose to its end", ((9, 0.7), (49, 0.6), (199, 0.5)), 0.0),
        ("the best one is better", CURVE, 0.5),
        ("hardly shorter", ((9, 0.7), (189, 0.2), (199, 0.5)), 0.0),
        ("below the space", ((4, 0.1), (199, 0.5)), 0.0),
    ],
)
def test_no_shorter_trial(why: str, curve: Any, shift: float) -> None:
    searcher = begun(sweep())
    searcher.tell(trained(1, ANY, curve, shift))
    asked = dict(searcher.ask(2).params)
    assert {**asked, "n_estimators": 200} != ANY, why


def test_a_stopped_trial_is_left_alone() -> None:
    """However well fewer rounds would have scored on the folds it has."""
    searcher = begun(sweep(search={"pruner": Named("race")}))
    searcher.tell(replace(trained(1, ANY, folds=2), values=None, pruned=True))
    assert searcher.ask(2).params != {**ANY, "n_estimators": 50}


def test_scores_of_folds_are_no_curve() -> None:
    """Of a metric that XGBoost does not know there are no others, and the first fold is not one round."""
    searcher = begun(sweep(space=Space((Int("n_estimators", 1, 400), *SPACE.parameters[1:]))))
    trial = trained(1, ANY)
    searcher.tell(replace(trial, reports=tuple(report for report in trial.reports if report.fold is None)))
    assert _rest(searcher.ask(2).params) != _rest(ANY)


def test_who_it_is_for() -> None:
    assert rounds_of(sweep()) == SPACE.parameters[0]
    assert rounds_of(sweep(model="lightgbm.LGBMClassifier")) is None, "its trials have no curve then"
    assert rounds_of(sweep(model=None, objective="m:f")) is None, "nobody knows what a function does"
    assert rounds_of(sweep(fixed={"early_stopping_rounds": 20})) is None, "it takes the best round by itself"
    assert rounds_of(sweep(metrics=(LOSS, Metric("roc_auc", "maximize")))) is None
    assert rounds_of(sweep(space=Space((Choice("n_estimators", (10, 100)), Float("gamma", 0.0, 1.0))))) is None


def test_a_sampler_that_was_named_decides_alone() -> None:
    searcher = searchers.build(sweep(search={"sampler": Named("tpe")}))
    searcher.tell(replace(searcher.ask(0), started=0.0))
    searcher.tell(trained(1, ANY))
    assert searcher.ask(2).params != {**ANY, "n_estimators": 50}


def on_noise(folder: Path, trials: int) -> Sweep:
    """A sweep whose trials are soon trained too long, and take so little time that it makes no difference."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(150, 2)), columns=list("ab"))
    table["y"] = (table.a + rng.normal(size=150) > 0).astype(int)
    table.to_csv(folder / "noise.csv", index=False)
    return hpo.build(
        name="noise", data={"path": str(folder / "noise.csv"), "target": "y"}, model="xgboost.XGBClassifier",
        metric="log_loss", validation={"folds": 3}, promote=False, recheck=False,
        space={
            "n_estimators": {"int": [10, 60]}, "learning_rate": {"float": [0.05, 0.5]},
            "subsample": {"float": [0.5, 1]},
        },
        search={"budget": {"trials": trials}, "workers": 1, "pruner": "none", "portfolio": "off", "seed": 1},
    )  # fmt: skip


def test_the_shorter_trial_scores_what_the_curve_said(tmp_path: Path) -> None:
    first, *others = hpo.run(on_noise(tmp_path, 5), folder=tmp_path / ".hpo", tracking=None).all_trials
    shorter = [trial for trial in others if _rest(trial.params) == _rest(first.params)]
    assert shorter, [dict(trial.params) for trial in others]
    for trial in shorter:
        said = {step + 1: value for step, value in first.curve(1000)}
        assert trial.values == pytest.approx((said[trial.params["n_estimators"]],), abs=1e-6)  # type: ignore[index]


def _rest(params: Any) -> tuple[Any, ...]:
    return tuple(value for name, value in params.items() if name != "n_estimators")
