"""Intervals against their definitions: resampled row by row, and by how often they hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hpo.intervals import Resampling, auc_of, blocks_of_time, delong, mean_of, quantiles


def rows(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positive, a good score, a weak one), with ties."""
    dice = np.random.default_rng(seed)
    positive = dice.random(count) < 0.4
    return positive, np.round(positive + dice.normal(size=count), 1), positive + 2 * dice.normal(size=count)


def test_weights_mean_rows_drawn_again() -> None:
    positive, scores, _ = rows(0)
    dice = np.random.default_rng(1)
    drawn = dice.integers(0, len(scores), (20, len(scores)))
    weights = np.stack([np.bincount(draw, minlength=len(scores)) for draw in drawn]).astype(float)
    expected = [roc_auc_score(positive[draw], scores[draw]) for draw in drawn]
    np.testing.assert_allclose(auc_of(scores, positive)(weights), expected)
    np.testing.assert_allclose(mean_of(scores)(weights), [scores[draw].mean() for draw in drawn])
    squares = [np.sqrt((scores[draw] ** 2).mean()) for draw in drawn]
    np.testing.assert_allclose(mean_of(scores**2, root=True)(weights), squares)


def test_a_draw_is_as_many_rows_and_all_statistics_see_the_same() -> None:
    size = Resampling(50, draws=300).values(lambda weights: weights.sum(axis=1), lambda weights: weights[:, 0])
    assert set(size[0]) == {50.0}
    assert 0.8 < size[1].mean() < 1.2
    values = np.arange(50.0)
    twice = Resampling(50, draws=300).values(mean_of(values), mean_of(values))
    np.testing.assert_array_equal(twice[0], twice[1])


def test_rows_that_belong_together_are_drawn_together() -> None:
    """Ten copies of a row are no more evidence than one: the interval is that of the few, not of the many."""
    few = np.random.default_rng(0).normal(size=40)
    many, clusters = np.repeat(few, 10), np.repeat(np.arange(40), 10)
    spread = {
        name: float(Resampling(len(values), given).values(mean_of(values))[0].std())
        for name, values, given in (("few", few, None), ("many", many, None), ("clusters", many, clusters))
    }
    assert spread["clusters"] == pytest.approx(spread["few"], rel=0.1)
    assert spread["many"] < spread["few"] / 2


def test_delong_is_the_auc_and_agrees_with_the_bootstrap() -> None:
    positive, good, weak = rows(3)
    first, second, gain = delong(positive, good, weak, confidence=0.95)
    assert first.value == pytest.approx(roc_auc_score(positive, good))
    assert second.value == pytest.approx(roc_auc_score(positive, weak))
    drawn = Resampling(len(good)).values(auc_of(good, positive), auc_of(weak, positive))
    other = quantiles(gain.value, drawn[0] - drawn[1], 0.95, 150)
    assert gain.low == pytest.approx(other.low, abs=0.015)
    assert gain.high == pytest.approx(other.high, abs=0.015)
    assert delong(positive, good, good, confidence=0.95)[2].low == 0.0
    assert len(delong(positive, good, confidence=0.95)) == 1


@pytest.mark.parametrize("method", ["delong", "bootstrap"])
def test_a_bound_holds_as_often_as_it_says(method: str) -> None:
    """Two scores that are equally good: the lower bound of the gain is above zero in about 5 % of the cases."""
    wrong, repetitions = 0, 400
    for seed in range(repetitions):
        dice = np.random.default_rng(seed)
        positive = dice.random(150) < 0.5
        shared = positive + dice.normal(size=150)
        left, right = (shared + dice.normal(size=150) for _ in range(2))
        if method == "delong":
            low = delong(positive, left, right, confidence=0.95)[2].low
        else:
            drawn = Resampling(150, draws=300).values(auc_of(left, positive), auc_of(right, positive))
            low = quantiles(0.0, drawn[0] - drawn[1], 0.95, 150).low
        wrong += low > 0
    assert 0.02 * repetitions < wrong < 0.085 * repetitions


def test_too_few_draws_with_a_value_prove_nothing() -> None:
    drawn = np.full(1000, np.nan)
    assert quantiles(0.5, drawn, 0.95, 99).low == -np.inf
    drawn[:600] = 0.5
    assert quantiles(0.5, drawn, 0.95, 99).low == 0.5


def test_stretches_of_time_hold_neighbors() -> None:
    times = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 8.0, 7.0])
    assert blocks_of_time(times).tolist() == [2, 0, 1, 0, 1, 2, 3, 3]


def test_few_groups_are_little_evidence() -> None:
    """The lower bound of a mean of nothing, over ten groups, is above zero in about 5 % of the cases, not in 10 %."""
    wrong, repetitions = 0, 400
    for seed in range(repetitions):
        values = np.repeat(np.random.default_rng(seed).normal(size=10), 20)
        [drawn] = Resampling(200, np.repeat(np.arange(10), 20), draws=400).values(mean_of(values))
        wrong += quantiles(float(values.mean()), drawn, 0.95, 10).low > 0
    assert wrong < 0.075 * repetitions
