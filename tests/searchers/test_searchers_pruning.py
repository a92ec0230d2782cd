"""The rules of pruning, by hand-computed cases and against Optuna's own pruners; run by pytest."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import optuna
import pytest

from hpo import searchers
from hpo.errors import InputError
from hpo.metric import Direction, Metric
from hpo.searchers.pruning import Pruning, make_rule, never_fires
from hpo.searchers.random import RandomSearcher
from hpo.searchers.rules import Hyperband, Point
from hpo.space import Float, Space
from hpo.sweep import Data, Named, Search, Sweep
from hpo.trial import Failure, Report, Trial

SPACE = Space((Float("x", 0.0, 1.0),))
LOSS, SCORE = Metric("loss", "minimize"), Metric("score", "maximize")


def pruning(name: str, metric: Metric = SCORE, *, fold_scores: bool = False, **options: Any) -> Pruning:
    return Pruning(RandomSearcher(SPACE, 0), make_rule(name, options), metric, fold_scores=fold_scores)


def play(pruner: Pruning, number: int, values: list[float], fold: int | None = None) -> Trial:
    """Run a trial with these values on the way; the last one is its result unless it is stopped."""
    return play_reports(pruner, number, [Report(step, value, fold) for step, value in enumerate(values)])


def play_reports(pruner: Pruning, number: int, reports: list[Report]) -> Trial:
    trial = replace(pruner.ask(number), started=0.0, finished=1.0)
    for place, report in enumerate(reports, 1):
        if not pruner.keep(number, report):
            trial = replace(trial, reports=tuple(reports[:place]), pruned=True)
            break
    else:
        trial = replace(trial, reports=tuple(reports), values=(reports[-1].value,))
    pruner.tell(trial)
    return trial


def test_median_stops_what_is_worse_than_the_median_at_the_same_step() -> None:
    pruner = pruning("median", n_startup=3)
    for number, value in enumerate((0.1, 0.5, 0.9)):
        assert play(pruner, number, [value, value]).state == "complete"
    assert play(pruner, 3, [0.5, 0.5]).state == "complete", "equal to the median is not worse"
    stopped = play(pruner, 4, [0.6, 0.4, 0.4])
    assert stopped.state == "complete", "its best so far counts on a curve"
    assert len(play(pruner, 5, [0.49, 0.9]).reports) == 1


def test_median_of_a_loss_looks_the_other_way() -> None:
    pruner = pruning("median", LOSS, n_startup=3)
    for number, value in enumerate((0.1, 0.5, 0.9)):
        play(pruner, number, [value])
    assert play(pruner, 3, [0.51]).pruned
    assert not play(pruner, 4, [0.49]).pruned


def test_median_waits_for_startup_and_warmup() -> None:
    pruner = pruning("median", n_startup=2, warmup=1)
    play(pruner, 0, [0.9, 0.9])
    assert play(pruner, 1, [0.1, 0.1]).state == "complete"
    assert len(play(pruner, 2, [0.0, 0.0]).reports) == 2, "stopped at the first step after the warm-up"


def test_fold_scores_are_compared_by_their_mean_and_never_warm_up() -> None:
    pruner = pruning("median", n_startup=1, warmup=100, fold_scores=True)
    play(pruner, 0, [0.9, 0.5])  # means 0.9, 0.7
    assert not play(pruner, 1, [0.95, 0.46]).pruned  # 0.705
    assert play(pruner, 2, [0.95, 0.44]).pruned  # 0.695, though its best fold is the best of all


def test_curves_of_different_folds_are_kept_apart() -> None:
    pruner = pruning("median", n_startup=1, fold_scores=True)
    play(pruner, 0, [0.9], fold=0)
    assert not play(pruner, 1, [0.1], fold=1).pruned
    assert play(pruner, 2, [0.1], fold=0).pruned


def test_percentile_keeps_the_best_part() -> None:
    pruner = pruning("percentile", percentile=25.0, n_startup=4)
    for number, value in enumerate((0.0, 0.1, 0.2, 0.3)):
        play(pruner, number, [value])
    # The best quarter of these begins at 0.225.
    assert play(pruner, 4, [0.22]).pruned
    assert not play(pruner, 5, [0.23]).pruned


def test_halving_lets_the_best_third_pass_each_rung() -> None:
    pruner = pruning("halving", min_resource=1, eta=3)
    assert not play(pruner, 0, [0.5]).pruned
    assert play(pruner, 1, [0.4]).pruned
    assert not play(pruner, 2, [0.6]).pruned
    assert play(pruner, 3, [0.5]).pruned
    assert play(pruner, 4, [0.55]).pruned
    assert not play(pruner, 5, [0.58]).pruned, "two of six may go on"


def test_halving_has_its_rungs_at_powers_of_eta() -> None:
    pruner = pruning("halving", min_resource=2, eta=2)
    play(pruner, 0, [1.0] * 9)
    play(pruner, 1, [1.0] * 9)
    assert len(play(pruner, 2, [0.0] * 9).reports) == 2
    assert len(play(pruner, 3, [1.0, 1.0, 0.0, 0.0, 0.0]).reports) == 4


def test_halving_counts_one_series_only() -> None:
    """Rounds of the first fold where there are some: the later folds and the fold scores add no rungs."""
    pruner = pruning("halving", fold_scores=True)
    play(pruner, 0, [0.9], fold=0)
    bad = [Report(0, 0.9, 0), Report(0, 0.1), Report(0, 0.1, 1), Report(8, 0.1, 1), Report(1, 0.1)]
    assert play_reports(pruner, 1, bad).state == "complete"


def test_a_failed_attempt_leaves_no_trace_on_a_rung() -> None:
    pruner = pruning("halving")
    assert pruner.keep(0, Report(0, 0.9))
    assert pruner.keep(0, Report(0, 0.9)), "the second attempt does not compete with the first"
    pruner.tell(Trial(0, {"x": 0.5}, finished=1.0, failure=Failure("signal", "killed")))
    assert not play(pruner, 1, [0.1]).pruned


def test_hyperband_gives_each_bracket_its_share_and_its_own_first_rung() -> None:
    rule = Hyperband(max_resource=9, min_resource=1, eta=3)
    stopped_at: dict[int, list[int]] = {}
    for number in range(17):
        bracket = rule._brackets.index(rule._bracket(number))
        point = Point(number, None, 0, -number, -number, -number, curve=True, first=True)
        for step in range(9):
            if not rule.keep(replace(point, step=step)):
                stopped_at.setdefault(bracket, []).append(step)
                break
        else:
            stopped_at.setdefault(bracket, []).append(-1)
    # Three brackets, ceil(3 * 9 / 3), ceil(3 * 3 / 2), ceil(3 / 1) trials in a round of 17.
    assert {bracket: len(steps) for bracket, steps in stopped_at.items()} == {0: 9, 1: 5, 2: 3}
    assert {bracket: steps[0] for bracket, steps in stopped_at.items()} == {0: -1, 1: -1, 2: -1}
    assert {bracket: set(steps[1:]) for bracket, steps in stopped_at.items()} == {0: {0}, 1: {2}, 2: {8}}


def test_hyperband_takes_its_measure_from_the_first_complete_trial() -> None:
    """The first by number, in whatever order parallel trials end: a resumed sweep must decide the same."""
    random = Random(5)
    curves = [[random.random() for _ in range(9)] for _ in range(40)]
    curves[1] = curves[1][:3]
    given, derived, parallel = pruning("hyperband", max_resource=9), pruning("hyperband"), pruning("hyperband")
    first = [play(derived, number, curves[number]) for number in range(2)]
    assert [trial.state for trial in first] == ["complete", "complete"]
    for pruner, order in ((given, (0, 1)), (parallel, (1, 0))):
        for number in order:
            pruner.tell(first[number])
    rest = [play(derived, number, curves[number]) for number in range(2, 40)]
    assert [play(given, number, curves[number]) for number in range(2, 40)] == rest
    assert [play(parallel, number, curves[number]) for number in range(2, 40)] == rest
    assert 0 < sum(trial.pruned for trial in rest) < len(rest)


def test_wilcoxon_stops_what_is_worse_on_each_of_four_folds() -> None:
    pruner = pruning("wilcoxon", fold_scores=True)
    play_reports(pruner, 0, [Report(k, 0.8) for k in range(5)])
    assert len(play(pruner, 1, [0.7, 0.71, 0.72, 0.73, 0.74]).reports) == 4  # 1/16 is below 0.1, 1/8 is not
    assert not play(pruner, 2, [0.7, 0.71, 0.95, 0.75, 0.8]).pruned


def test_wilcoxon_compares_with_the_best_complete_trial() -> None:
    pruner = pruning("wilcoxon", fold_scores=True)
    assert play(pruner, 0, [0.5, 0.5, 0.5, 0.5, 0.5]).state == "complete"
    assert play(pruner, 1, [0.9, 0.9, 0.9, 0.9, 0.9]).state == "complete"
    assert play(pruner, 2, [0.7, 0.6, 0.65, 0.66, 0.7]).pruned


def test_wilcoxon_does_not_look_at_curves_of_a_fold() -> None:
    pruner = pruning("wilcoxon", fold_scores=True)
    play(pruner, 0, [0.9] * 9, fold=0)
    assert not play(pruner, 1, [0.1] * 9, fold=0).pruned


def test_patience_stops_a_curve_that_stands_still() -> None:
    pruner = pruning("patience", n=3, min_delta=0.01)
    assert len(play(pruner, 0, [0.1, 0.2, 0.205, 0.209, 0.2, 0.3]).reports) == 5
    assert not play(pruner, 1, [0.1, 0.2, 0.2, 0.2, 0.3]).pruned
    folds = pruning("patience", n=1, fold_scores=True)
    assert not play(folds, 0, [0.9, 0.1, 0.1]).pruned, "fold scores are no curve"


def test_patience_begins_anew_in_each_fold() -> None:
    pruner = pruning("patience", n=2, fold_scores=True)
    reports = [Report(0, 0.9, 0), Report(1, 0.8, 0), Report(0, 0.5, 1), Report(1, 0.4, 1)]
    assert play_reports(pruner, 0, reports).state == "complete"


@pytest.mark.parametrize(
    ("name", "options", "fold_scores"),
    [
        ("median", {"n_startup": 3}, False),
        ("median", {"n_startup": 3}, True),
        ("percentile", {"percentile": 40, "n_startup": 2, "warmup": 1}, False),
        ("halving", {"eta": 2}, False),
        ("hyperband", {"max_resource": 8, "eta": 2}, False),
        ("hyperband", {"eta": 2}, False),
        ("hyperband", {"eta": 2}, True),
        ("wilcoxon", {"p_threshold": 0.2}, True),
        ("patience", {"n": 2}, False),
    ],
)
def test_replay_decides_the_same(name: str, options: Mapping[str, Any], fold_scores: bool) -> None:
    random = Random(name)

    def values() -> list[float]:
        level = random.random()
        return [level + random.random() / 3 for _ in range(8)]

    curves = [values() for _ in range(30)]
    whole = pruning(name, fold_scores=fold_scores, **options)
    trials = [play(whole, number, curve) for number, curve in enumerate(curves)]
    assert 0 < sum(trial.pruned for trial in trials) < len(trials)
    for cut in (1, 7, 16, 29):
        resumed = pruning(name, fold_scores=fold_scores, **options)
        for trial in trials[:cut]:
            resumed.tell(Trial.from_json(json.loads(json.dumps(trial.to_json()))))
        assert [play(resumed, n, curves[n]) for n in range(cut, 30)] == trials[cut:]


def optuna_decisions(pruner: optuna.pruners.BasePruner, curves: list[list[float]], direction: Direction) -> list[int]:
    """How many reports each trial makes under one of Optuna's pruners."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=pruner, direction=direction)
    made = []
    for curve in curves:
        trial = study.ask()
        for step, value in enumerate(curve):
            trial.report(value, step + 1)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
        made.append(step + 1)
    return made


def _experimental(make: Callable[[], optuna.pruners.BasePruner]) -> optuna.pruners.BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()


@pytest.mark.parametrize("metric", [LOSS, SCORE])
@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("median", {"n_startup": 4, "warmup": 2}, lambda: optuna.pruners.MedianPruner(4, 3)),
        ("percentile", {"percentile": 30.0, "n_startup": 3}, lambda: optuna.pruners.PercentilePruner(30.0, 3)),
        ("halving", {"eta": 2}, lambda: optuna.pruners.SuccessiveHalvingPruner(1, 2)),
        ("halving", {"min_resource": 2, "eta": 3}, lambda: optuna.pruners.SuccessiveHalvingPruner(2, 3)),
    ],
)
def test_curves_are_judged_as_by_optuna(
    name: str, options: dict[str, Any], theirs: Callable[[], optuna.pruners.BasePruner], metric: Metric
) -> None:
    random = Random(7)
    curves = []
    for _ in range(60):
        level = random.random()
        curves.append([level + random.random() / 2 for _ in range(10)])
    pruner = pruning(name, metric, **options)
    ours = [len(play(pruner, number, curve).reports) for number, curve in enumerate(curves)]
    assert ours == optuna_decisions(_experimental(theirs), curves, metric.direction)
    assert len(set(ours)) > 1


@pytest.mark.parametrize("metric", [LOSS, SCORE])
def test_wilcoxon_is_optunas(metric: Metric) -> None:
    random = Random(3)
    sign = 1 if metric.direction == "maximize" else -1
    curves = []
    for number in range(31):
        level = 0.2 if number == 0 else random.random() / 5
        curves.append([sign * (level + random.random() / 10) for _ in range(12)])
    ours = pruning("wilcoxon", metric)
    made = [len(play(ours, number, curve).reports) for number, curve in enumerate(curves)]
    theirs = _experimental(lambda: optuna.pruners.WilcoxonPruner(p_threshold=0.1))
    assert made == optuna_decisions(theirs, curves, metric.direction)
    assert len(set(made)) > 2


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("medain", {}, "did you mean 'median'?"),
        ("median", {"startup": 3}, "n_startup, warmup"),
        ("median", {"n_startup": -1}, "a whole number, at least 0"),
        ("median", {"percentile": 3}, "no option 'percentile'"),
        ("percentile", {"percentile": 100}, "a number between 0 and 100"),
        ("halving", {"eta": 1, "min_resource": True}, "min_resource must be a whole number, at least 1, not True"),
        ("hyperband", {"max_resource": 0}, "a whole number, at least 1"),
        ("wilcoxon", {"p_threshold": "small"}, "a number between 0 and 1"),
        ("patience", {"min_delta": -1.0}, "a number, at least 0"),
    ],
)
def test_bad_pruners_are_refused(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refused:
        make_rule(name, options)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options", "folds", "trials", "has_curve", "fires"),
    [
        ("median", {}, 5, 100, True, True),
        ("median", {}, 5, 5, True, False),
        ("median", {}, None, 100, False, False),
        ("wilcoxon", {}, 5, 100, False, True),
        ("wilcoxon", {}, 4, 100, False, False),
        ("wilcoxon", {"p_threshold": 0.02}, 5, 100, True, False),
        ("patience", {}, 5, 100, False, False),
        ("patience", {}, 5, 1, True, True),
        ("halving", {}, 3, 100, False, True),
        ("halving", {"min_resource": 3}, 3, 100, False, False),
        ("hyperband", {"max_resource": 9}, 3, 1, True, False),
        ("hyperband", {}, None, 100, True, True),
    ],
)
def test_a_pruner_that_can_never_fire_is_known_beforehand(
    name: str, options: dict[str, Any], folds: int | None, trials: int, has_curve: bool, fires: bool
) -> None:
    why = never_fires(name, options, folds=folds, trials=trials, has_curve=has_curve)
    assert (why is None) is fires


@pytest.mark.parametrize("folds", [3, 4, 5, 6, 8])
def test_never_fires_is_right_about_wilcoxon(folds: int) -> None:
    """The worst trial that there can be, against the best one: is it stopped before its last fold?"""
    pruner = pruning("wilcoxon", fold_scores=True)
    play(pruner, 0, [0.9] * folds)
    stopped = len(play(pruner, 1, [0.1 + k / 100 for k in range(folds)]).reports) < folds
    assert stopped is (never_fires("wilcoxon", {}, folds=folds, trials=2, has_curve=False) is None)


def test_build_wraps_the_engine_and_refuses_several_metrics(tmp_path: Any) -> None:
    search = Search(engine="random", pruner=Named("median", {"n_startup": 1}))
    sweep = Sweep("s", SPACE, (SCORE,), data=Data(tmp_path, "y"), model="a.B", search=search)
    searcher = searchers.build(sweep)
    assert isinstance(searcher, Pruning)
    play(searcher, 0, [0.9, 0.5])
    assert play(searcher, 1, [0.95, 0.4]).pruned, "with data, the outer series is fold scores"
    with pytest.raises(InputError, match="several metrics"):
        searchers.build(replace(sweep, metrics=(SCORE, LOSS)))
