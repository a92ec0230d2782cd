"""The regression by itself: what is known of a value's noise counts, in the posterior and in what is learned."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hpo.samplers.gaussian_process import GaussianProcess, Inputs, Prior, fit

GROUPS = np.zeros(1, dtype=np.int64)


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
