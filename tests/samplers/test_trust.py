"""Trials of other data in real studies: they lead while nothing else is known, and lose where they are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from hpo.samplers import GPSampler
from hpo.samplers.gaussian_process import GaussianProcess, Inputs
from hpo.samplers.trust import TRUST, kinship, leveled

SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in "xy"}


def bowl(x: float, y: float, middle: float) -> float:
    return (x - middle) ** 2 + (y - middle) ** 2


def told(middle: float, level: float, trust: float | None) -> optuna.Study:
    """A study that was told of 25 trials of a bowl somewhere, at some level."""
    study = optuna.create_study(sampler=GPSampler(1))
    rng = np.random.default_rng(0)
    for x, y in rng.random((25, 2)):
        attributes = {} if trust is None else {TRUST: trust}
        value = bowl(x, y, middle) + level
        params = {"x": float(x), "y": float(y)}
        study.add_trial(create_trial(params=params, distributions=SPACE, value=value, system_attrs=attributes))
    return study


def losses(study: optuna.Study, middle: float, count: int) -> list[float]:
    best = sorted(study.trials, key=lambda trial: trial.values[0])[:3]
    for trial in best:
        study.enqueue_trial(trial.params)
    study.optimize(
        lambda trial: bowl(trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1), middle),
        n_trials=len(best) + count,
    )
    return [float(trial.values[0]) for trial in study.trials[-count:]]


def test_other_data_at_another_level_lead_at_once() -> None:
    assert min(losses(told(0.3, 10.0, 0.9), 0.3, 3)) < 0.005


def test_where_they_are_wrong_what_is_scored_now_is_right() -> None:
    assert min(losses(told(0.2, 0.0, 0.9), 0.8, 15)) < 0.01


def test_a_study_rebuilt_with_them_asks_the_same() -> None:
    first = told(0.3, 10.0, 0.9)
    losses(first, 0.4, 8)
    again = optuna.create_study(sampler=GPSampler(1))
    again.add_trials(first.trials[:-1])
    trial = again.ask()
    assert {name: trial.suggest_float(name, 0, 1) for name in "xy"} == first.trials[-1].params


def test_they_are_leveled_by_what_was_scored_again() -> None:
    rows = np.array([[0.1], [0.2], [0.3], [math.nan], [0.1], [0.2], [math.nan], [0.9]])
    values = np.array([1.0, 2.0, 3.0, 4.0, 1.5, 2.5, 40.0, math.nan])
    trust = np.array([0.9] * 4 + [1.0] * 4)
    assert leveled(values, trust, rows)[:4].tolist() == [1.5, 2.5, 3.5, 4.5], "by the median, not by the outlier"
    assert leveled(values, trust, rows)[4:7].tolist() == [1.5, 2.5, 40.0]
    nothing_again = np.array([0.9] * 7 + [1.0])
    assert leveled(values, nothing_again, rows)[0] == 1.0


def test_kinship_is_a_correlation() -> None:
    trust = np.array([1.0, 0.9, 0.9, 0.81, 0.5, 1.0])
    kin = kinship(trust)
    assert kin is not None
    assert np.linalg.eigvalsh(kin).min() > -1e-12
    assert (kin[0, 5], kin[1, 2]) == (1.0, 1.0)
    assert kin[0, 1] == 0.9
    assert kin[1, 3] == pytest.approx(0.729)
    assert kinship(np.ones(3)) is None


def test_no_number_of_them_makes_it_sure() -> None:
    """A thousand times the same answer about other data is one answer about these."""
    known, groups = Inputs.plain(np.full((50, 1), 0.5)), np.zeros(1, dtype=np.int64)
    theta = np.array([0.0, 0.0, -5.0])  # length, signal 1, little noise
    at = Inputs.plain(np.array([[0.5]]))
    other = replace(known, trust=np.full(50, 0.8))
    mean, deviation = GaussianProcess(other, groups, np.ones(50), theta).predict(at)
    assert mean[0] == pytest.approx(0.8, abs=0.01)
    assert deviation[0] == pytest.approx(0.6, abs=0.01)
    mean, deviation = GaussianProcess(known, groups, np.ones(50), theta).predict(at)
    assert mean[0] == pytest.approx(1.0, abs=0.01)
    assert deviation[0] < 0.05
