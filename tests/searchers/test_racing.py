"""The race over folds: who is stopped and when, what the searcher is told of it, and that replay races the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hpo import searchers
from hpo.metric import Metric
from hpo.objectives.folds import fold_order
from hpo.searchers.curves import EARLY
from hpo.searchers.port import Searcher
from hpo.searchers.pruning import Pruning, make_rule, never_fires
from hpo.space import Float, Int, Space
from hpo.sweep import Data, Named, Search, Sweep, Validation
from hpo.trial import Failure, Params, Report, Trial

SPACE = Space((Float("x", -1.0, 1.0),))
SCORE, LOSS = Metric("roc_auc", "maximize"), Metric("log_loss", "minimize")
FOLDS = (0.0, 0.3, -0.2, 0.1, -0.2)  # what a fold adds to every trial's score


class Listener:
    """A searcher that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Trial] = []

    def ask(self, number: int) -> Trial:
        return Trial(number, {"x": 0.0})

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def keep(self, number: int, report: Report) -> bool:
        return True


def race(searcher: Searcher, metric: Metric = SCORE, **options: Any) -> Pruning:
    return Pruning(searcher, make_rule("race", options), metric, fold_scores=True)


def run(
    racing: Searcher,
    number: int,
    scores: Sequence[float] | Callable[[Params], Sequence[float]],
    order: Sequence[int] | None = None,
    name: str = "roc_auc",
) -> Trial:
    """The trial as a worker would return it: stopped at a report, but never at the last one."""
    trial, reports = racing.ask(number), []
    scores = scores(trial.params) if callable(scores) else scores
    for fold in order or range(len(scores)):
        reports.append(Report(fold, scores[fold]))
        if not racing.keep(number, reports[-1]) and len(reports) < len(scores):
            break
    folds = tuple(sorted(report.step for report in reports))
    whole = len(folds) == len(scores)
    trial = replace(
        trial, started=10.0 * number, finished=10.0 * number + len(folds), pruned=not whole, reports=tuple(reports),
        scores={name: tuple(scores[k] for k in folds)}, folds=() if whole else folds,
        values=(sum(scores) / len(scores),) if whole else None,
    )  # fmt: skip
    racing.tell(trial)
    return trial


def around(mean: float, noise: float = 0.0, seed: int = 0) -> list[float]:
    random = Random(f"{mean} {seed}")
    return [mean + fold + random.gauss(0, noise) for fold in FOLDS]


def test_a_trial_far_behind_on_the_same_folds_is_stopped_at_once() -> None:
    racing = race(Listener())
    assert run(racing, 0, around(0.8, 0.01)).state == "complete", "there is nobody to race against"
    assert run(racing, 1, around(0.79, 0.01)).state == "complete"
    assert len(run(racing, 2, around(0.6, 0.01), order=[1, 0, 2, 3, 4]).reports) == 1, "though its fold is a good one"
    assert run(racing, 3, around(0.82, 0.01), order=[2, 4, 0, 1, 3]).state == "complete", "though its folds are bad"


def test_the_second_trial_races_against_the_first() -> None:
    """The library's defaults as a rule: costly, and often far behind. How far folds differ is all that is known yet."""
    racing = race(Listener())
    assert run(racing, 0, around(0.8, 0.01)).state == "complete"
    assert len(run(racing, 1, around(0.1, 0.01)).reports) == 1
    assert len(run(racing, 2, around(0.75, 0.01)).reports) > 2, "folds differ from each other by more"


def test_what_is_better_on_every_fold_is_always_fully_evaluated() -> None:
    racing = race(Listener(), risk=0.4)
    for number in range(20):
        order = Random(number).sample(range(5), 5)
        assert run(racing, number, around(0.5 + number / 1000), order).state == "complete"


@pytest.mark.parametrize("metric", [SCORE, LOSS], ids=lambda metric: metric.name)
def test_the_searcher_is_told_what_a_stopped_trial_would_have_had(metric: Metric) -> None:
    """Not the mean of its folds, which says more about the folds than about the trial."""
    listener = Listener()
    racing = race(listener, metric)
    sign = metric.sign
    run(racing, 0, [sign * s for s in around(0.8)], name=metric.name)
    run(racing, 1, [sign * s for s in around(0.79, 0.005)], name=metric.name)
    stopped = run(racing, 2, [sign * s for s in around(0.6)], order=[1, 0, 2, 3, 4], name=metric.name)
    assert stopped.state == "pruned"
    told = listener.told[-1]
    assert told.state == "complete"
    assert told.values is not None
    assert told.values[0] == pytest.approx(sign * 0.6)
    assert told.seconds == pytest.approx(5.0), "and the time it would have taken"
    assert told.memo["noise"] == pytest.approx(5.0), "one fold of five"
    assert "noise" not in stopped.memo, "which the journal keeps: it is told, not remembered"


def test_a_failed_trial_and_one_that_stops_itself_before_any_fold_are_told_as_they_are() -> None:
    listener = Listener()
    racing = race(listener)
    run(racing, 0, around(0.8))
    failed = racing.ask(1).failed(Failure("exception", "no"), 1.0)
    stopped = replace(racing.ask(2), started=0.0, finished=1.0, pruned=True)
    racing.tell(failed)
    racing.tell(stopped)
    assert listener.told[-2:] == [failed, stopped]


def test_nothing_is_stopped_before_the_start_up_is_over() -> None:
    racing = race(Listener(), n_startup=3)
    states = [run(racing, number, around(mean, 0.01)).state for number, mean in enumerate((0.8, 0.5, 0.4, 0.5))]
    assert states == ["complete", "complete", "complete", "pruned"]


def test_inside_a_fold_a_curve_that_cannot_rise_far_enough_is_the_end() -> None:
    """After enough of its like; one that still may is left alone, and the searcher is told of the end foreseen."""

    def curve(top: float, rounds: int, fold: int) -> list[Report]:
        return [Report(r, top * (1 - 0.8 ** (r + 1)), fold) for r in range(rounds)]

    listener = Listener()
    racing = race(listener, rounds=True)
    for number in range(6):
        reports = []
        for fold in range(5):
            top = 0.88 + number / 1000 + FOLDS[fold] / 10
            reports += [*curve(top, 40, fold), Report(fold, top * (1 - 0.8**40))]
        assert all(racing.keep(number, report) for report in reports if report.fold is None)
        values = (sum(r.value for r in reports if r.fold is None) / 5,)
        racing.tell(replace(racing.ask(number), started=0.0, finished=5.0, values=values, reports=tuple(reports)))
    slow, low = curve(0.9, 20, 0), curve(0.5, 20, 0)
    assert all(racing.keep(6, report) for report in slow)
    kept = [racing.keep(7, report) for report in low]
    assert kept == [True] * (len(kept) - kept[::-1].index(True)) + [False] * kept[::-1].index(True)
    assert EARLY - 1 <= kept.index(False) < 19
    told = tuple(low[: kept.index(False) + 1])
    racing.tell(replace(racing.ask(7), started=0.0, finished=0.5, pruned=True, reports=told))
    last = listener.told[-1]
    assert last.state == "complete"
    assert last.values is not None
    assert 0.35 < last.values[0] < 0.6


def test_few_are_stopped_wrongly() -> None:
    """Of those that are stopped, at most the stated share would have beaten the best."""
    wrong = stopped = 0
    for seed in range(300):
        racing = race(Listener(), risk=0.1)
        for number in range(4):
            run(racing, number, around(0.7, 0.02, seed * 10 + number))
        best = max(sum(around(0.7, 0.02, seed * 10 + number)) / 5 for number in range(4))
        scores = around(0.7, 0.02, seed * 10 + 9)
        if run(racing, 9, scores, Random(seed).sample(range(5), 5)).state == "pruned":
            stopped += 1
            wrong += sum(scores) / 5 > best
    assert stopped > 100
    assert wrong <= 0.15 * stopped  # four looks at each


def sweep(**search: Any) -> Sweep:
    data, model = Data(Path("t.csv"), "y"), "xgboost.XGBClassifier"
    return Sweep("race", SPACE, (SCORE,), data=data, model=model, search=Search(**search))


def score(params: Params, fold: int) -> float:
    x = float(params["x"])  # type: ignore[arg-type]
    return 0.8 - (x - 0.3) ** 2 + FOLDS[fold] + Random(f"{x} {fold}").gauss(0, 0.005)


@pytest.mark.parametrize("sampler", ["auto", "tpe", "random"])
def test_a_resumed_race_goes_on_the_same(sampler: str) -> None:
    ours = sweep(sampler=Named(sampler), seed=5)

    def go(searcher: Searcher, trials: list[Trial], upto: int) -> list[Trial]:
        for number in range(len(trials), upto):
            order = fold_order(ours, 5, number)
            trials.append(run(searcher, number, lambda params: [score(params, fold) for fold in range(5)], order))
        return trials

    whole = go(searchers.build(ours), [], 30)
    assert {trial.state for trial in whole} == {"complete", "pruned"}
    for cut in (1, 7, 20):
        resumed = searchers.build(ours)
        known = [Trial.from_json(trial.to_json()) for trial in whole[:cut]]
        for trial in known:
            resumed.tell(trial)
        again = go(resumed, known, 30)
        assert [(t.params, t.state, t.reports) for t in again] == [(t.params, t.state, t.reports) for t in whole]
    best = max((t for t in whole if t.values), key=lambda t: t.values or ())
    assert len(best.reports) == 5


def test_the_order_of_folds_is_the_trials_own_in_a_race_only() -> None:
    orders = [fold_order(sweep(seed=1), 5, number) for number in range(40)]
    assert all(sorted(order) == [*range(5)] for order in orders)
    assert {order[0] for order in orders} == {*range(5)}
    assert orders == [fold_order(sweep(seed=1), 5, number) for number in range(40)]
    assert orders != [fold_order(sweep(seed=2), 5, number) for number in range(40)]
    assert (
        fold_order(sweep(pruner=Named("median")), 5, 3) == fold_order(sweep(pruner=Named("none")), 5, 3) == [*range(5)]
    )


def test_a_race_begins_with_what_is_cheap_unless_the_user_says_where() -> None:
    rounds, depth = Int("n_estimators", 10, 160, log=True), Int("max_depth", 1, 12)
    space = Space((rounds, depth, Float("learning_rate", 0.01, 0.5), Float("subsample", 0.4, 1.0)))

    def asked(**search: Any) -> list[Params]:
        searcher = searchers.build(replace(sweep(**search), space=space))
        return [searcher.ask(number).params for number in range(6)]

    given, raced = asked(pruner=Named("none")), asked()
    trees = [int(p["n_estimators"] or 0) * 2.0 ** min(int(p["max_depth"] or 0), 7) for p in raced]
    assert raced[1] == given[0], "the library's defaults have somebody to race against"
    assert trees[:1] + trees[2:] == sorted(trees[:1] + trees[2:])
    assert given != raced
    assert sorted(map(str, given)) == sorted(map(str, raced))
    own = asked(enqueue=({"n_estimators": 160, "max_depth": 12},))
    assert (own[1]["n_estimators"], own[1]["max_depth"]) == (160, 12)


def test_who_races_unless_told_otherwise() -> None:
    assert sweep().pruner == Named("race")
    assert sweep(pruner=Named("none")).pruner is None
    assert sweep(pruner=Named("median")).pruner == Named("median")
    assert replace(sweep(), metrics=(SCORE, LOSS)).pruner is None
    function = Sweep("f", SPACE, (LOSS,), objective="m:f")
    assert function.pruner is None
    assert replace(sweep(), validation=Validation(folds=2)).pruner == Named("race")
    assert "a function has none" in (never_fires("race", {}, folds=None, trials=50, has_curve=True) or "")
    assert never_fires("race", {}, folds=5, trials=50, has_curve=False) is None
