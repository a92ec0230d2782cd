"""What the best is worth: who contends, who is left out, how sure the estimate is."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats

from hpo.honest import contenders, in_the_race, interval, leader, t_quantile
from hpo.metric import Metric
from hpo.trial import Trial

UP, DOWN = Metric("roc_auc", "maximize"), Metric("rmse", "minimize")


def trial(number: int, value: float | None, **params: int) -> Trial:
    done = Trial(number, params or {"x": number}, started=1.0, finished=2.0)
    return Trial(number, done.params, started=1.0, finished=2.0, values=None if value is None else (value,))


def test_the_best_contend_each_with_parameters_of_its_own() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, x=7), trial(2, None), trial(3, 0.9, x=7), trial(4, 0.8), trial(5, 0.85)]
    assert [t.number for t in contenders(trials, UP, 3)] == [1, 5, 4]
    assert [t.number for t in contenders(trials, DOWN, 2)] == [0, 4]
    assert contenders([Trial(0, {}, started=1.0)], UP, 5) == []


def test_the_leader_has_all_rounds_and_the_best_mean() -> None:
    fresh = {3: [[0.75, 0.75], [1.0, 1.0]], 1: [[2.0, 2.0]], 2: [[0.875, 0.875], [0.875, 0.875]]}
    assert leader(fresh, UP) == 2
    assert leader({3: [[1.0]], 5: [[2.0]]}, DOWN) == 3


def test_only_those_that_are_surely_worse_are_left_out() -> None:
    fresh = {
        0: [[0.90, 0.91, 0.92, 0.90, 0.91]],
        1: [[0.89, 0.92, 0.91, 0.91, 0.90]],  # sometimes better
        2: [[0.80, 0.81, 0.82, 0.80, 0.81]],  # always worse, by much
    }
    assert in_the_race(fresh, UP, 5) == [0, 1]
    assert in_the_race({k: [[1 - s for s in r] for r in v] for k, v in fresh.items()}, DOWN, 5) == [0, 1]


@pytest.mark.parametrize(("probability", "freedom"), [(0.95, 4), (0.95, 14), (0.975, 4), (0.975, 5), (0.99, 29)])
def test_students_t(probability: float, freedom: int) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=0.01)


def test_the_interval_allows_for_folds_that_share_rows() -> None:
    scores = [0.8, 0.82, 0.79, 0.83, 0.81]
    found = interval(scores, folds=5)
    assert found.value == fmean(scores)
    reach = stats.t.ppf(0.95, 4) * math.sqrt(1 / 5 + 1 / 4) * stdev(scores)
    assert found.high - found.value == pytest.approx(reach, rel=0.01)
    assert interval([0.8], 5).low == -math.inf


def test_what_is_chosen_by_fresh_scores_is_worth_what_they_say() -> None:
    """The best of 100 equal trials by a noisy score: that score is far too good, the fresh ones are not."""
    dice = np.random.default_rng(0)
    raw, fresh = [], []
    for _ in range(300):
        first = dice.normal(0.0, 1.0, 100)
        trials = [trial(k, float(value)) for k, value in enumerate(first)]
        found = contenders(trials, UP, 5)
        again = {t.number: dice.normal(0.0, 1.0, (3, 5)).tolist() for t in found}
        raw.append(float(first.max()))
        fresh.append(fmean(score for folds in again[leader(again, UP)] for score in folds))
    assert fmean(raw) > 2.3
    assert fmean(fresh) < 0.35
