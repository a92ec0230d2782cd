"""Gain per second: a cheap region is preferred where the gain is the same, and short trials stay out of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest

from hpo import searchers
from hpo.metric import Metric
from hpo.samplers.cost import KNOWN, POWER, SHORT, per_second
from hpo.space import Float, Space
from hpo.sweep import Named, Search, Sweep

SPACE = Space((Float("x", 0.0, 1.0), Float("size", 1.0, 100.0, log=True)))


def test_the_cost_of_a_point_is_learned() -> None:
    points = np.random.default_rng(0).random((40, 3))
    cost = per_second(points, np.exp(4 * points[:, 1]))
    low, high = cost(np.array([[0.5, 0.1, 0.5], [0.5, 0.9, 0.5]]))
    assert high - low == pytest.approx(POWER * 4 * 0.8, rel=0.25)


def test_nothing_is_said_of_short_trials_or_few_or_equal_ones() -> None:
    points = np.random.default_rng(0).random((40, 3))
    assert not per_second(points, np.full(40, SHORT / 2))(points).any()
    assert not per_second(points[: KNOWN - 1], np.exp(points[: KNOWN - 1, 0]))(points).any()
    assert not per_second(points, np.full(40, np.nan))(points).any()
    assert np.abs(per_second(points, np.full(40, 7.0))(points)).max() < 1e-9


@pytest.mark.parametrize("sampler", ["auto", "gp"])
def test_auto_spends_less_where_size_gives_nothing(sampler: str) -> None:
    search = Search(sampler=Named(sampler), portfolio=0, seed=2)
    searcher = searchers.build(Sweep("s", SPACE, (Metric("loss", "minimize"),), objective="m:f", search=search))
    seconds = []
    for number in range(40):
        trial = searcher.ask(number)
        x, size = (float(trial.params[name]) for name in ("x", "size"))  # type: ignore[arg-type]
        seconds.append(size)
        searcher.tell(replace(trial, started=0.0, finished=size, values=((x - 0.3) ** 2,)))
    late = float(np.mean(np.log(seconds[15:])))
    if sampler == "auto":
        assert late < 0.35 * np.log(100)
    else:
        assert late > 0.35 * np.log(100), "by itself, gp does not look at the clock"


def test_a_study_of_anybody_uses_the_durations_of_its_trials() -> None:
    from datetime import timedelta

    from hpo.samplers import GPSampler
    from hpo.samplers.cost import seconds_of

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=GPSampler(seed=0, cost_aware=True))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) ** 2, n_trials=12)
    for trial in study.trials:
        assert trial.datetime_start is not None
        assert seconds_of(replace_end(trial, trial.datetime_start + timedelta(seconds=3))) == 3.0


def replace_end(trial: optuna.trial.FrozenTrial, end: object) -> optuna.trial.FrozenTrial:
    trial.datetime_complete = end  # type: ignore[assignment]
    return trial
