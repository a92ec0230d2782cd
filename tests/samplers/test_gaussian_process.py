"""The regression by itself: it is scikit-learn's, and what is known of a value's noise counts besides."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from hpo.samplers.gaussian_process import BLOCK, JITTER, GaussianProcess, Inputs, Prior, fit

GROUPS = np.zeros(1, dtype=np.int64)


def some(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of three parameters, and values of which the third says nothing."""
    rng = np.random.default_rng(0)
    x = rng.random((count, 3))
    return x, np.sin(6 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=count)


def test_the_posterior_is_scikit_learns() -> None:
    x, y = some(40)
    theta = np.log([0.3, 0.9, 4.0, 1.7, 0.02])
    kernel = ConstantKernel(1.7) * Matern([0.3, 0.9, 4.0], nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=0.02 + JITTER, optimizer=None).fit(x, y)
    points = np.random.default_rng(1).random((3 * BLOCK // len(x), 3))  # some blocks of them, and a rest
    mean, deviation = GaussianProcess(Inputs.plain(x), np.arange(3), y, theta).predict(Inputs.plain(points))
    expected = theirs.predict(points, return_std=True)
    np.testing.assert_allclose(mean, expected[0], atol=1e-9)
    np.testing.assert_allclose(deviation, expected[1], atol=1e-9)


def test_no_hyperparameters_nearby_are_more_probable_than_those_that_are_learned() -> None:
    x, y = some(60)
    prior = Prior(3)
    theirs = GaussianProcessRegressor(
        ConstantKernel() * Matern([1.0, 1.0, 1.0], nu=2.5) + WhiteKernel(), alpha=JITTER, optimizer=None
    ).fit(x, y)

    def log_probability(theta: np.ndarray) -> float:
        likelihood = theirs.log_marginal_likelihood(theta[[3, 0, 1, 2, 4]])  # the signal comes first there
        return float(likelihood - 0.5 * (np.square(theta - prior.mean) / prior.variance).sum())

    found = fit(Inputs.plain(x), np.arange(3), y, prior)
    best = log_probability(found)
    for step in 0.2 * np.vstack([np.eye(5), -np.eye(5)]):
        assert log_probability(found + step) < best
    assert best > log_probability(prior.mean) + 10


def test_two_values_at_a_point_are_weighed_by_their_noise() -> None:
    known = replace(Inputs.plain(np.full((2, 1), 0.5)), noise=np.array([1.0, 4.0]))
    theta = np.array([0.0, math.log(100.0), math.log(0.1)])  # length, a wide signal, noise
    mean, deviation = GaussianProcess(known, GROUPS, np.array([0.0, 1.0]), theta).predict(known.take(GROUPS))
    assert mean[0] == pytest.approx(1 / 5, abs=1e-3)
    assert deviation[0] ** 2 == pytest.approx(0.1 / (1 + 1 / 4), rel=1e-2)


def test_the_noise_that_is_learned_is_that_of_a_whole_value() -> None:
    rng = np.random.default_rng(0)
    x, times = rng.random((100, 1)), np.repeat([1.0, 25.0], 50)
    y = np.sin(5 * x[:, 0]) + 0.1 * np.sqrt(times) * rng.normal(size=100)
    told, untold = (
        math.exp(fit(replace(Inputs.plain(x), noise=noise), GROUPS, y, Prior(1))[-1])
        for noise in (times, np.ones(100))
    )  # fmt: skip
    assert told == pytest.approx(0.01, rel=0.5)
    assert untold > 0.05
