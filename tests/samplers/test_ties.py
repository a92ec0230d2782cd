"""A parameter that makes no difference where it was tried: nobody asks for the same result again."""

from __future__ import annotations

import numpy as np
import optuna

from hpo.samplers import GPSampler
from hpo.samplers.ties import Ties

NUMBERS = np.zeros(2, dtype=int)


def ties(rows: list[list[float]], values: list[float], choices: np.ndarray = NUMBERS) -> Ties:
    return Ties(np.array(rows), np.array(values), choices, 6)


def test_a_range_on_which_nothing_changes_is_one_point() -> None:
    found = ties([[0.5, 0.1], [0.5, 0.3], [0.5, 0.2], [0.7, 0.2]], [1.0, 1.0, 1.0, 2.0])
    points = np.array([[0.7, 0.25], [0.7, 0.1], [0.6, 0.4], [0.6, np.nan]])
    np.testing.assert_array_equal(found.collapse(points), [[0.7, 0.1], [0.7, 0.1], [0.6, 0.4], [0.6, np.nan]])


def test_two_that_agree_may_do_so_by_chance() -> None:
    points = np.array([[0.5, 0.2]])
    np.testing.assert_array_equal(ties([[0.5, 0.1], [0.5, 0.3]], [1.0, 1.0]).collapse(points), points)


def test_nothing_is_said_of_what_lies_between_two_ranges() -> None:
    rows = [[0.5, u] for u in (0.0, 0.1, 0.2, 0.9, 0.95, 1.0)]
    found = ties(rows, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert found.collapse(np.array([[0.1, 0.5]]))[0, 1] == 0.5
    assert found.collapse(np.array([[0.1, 0.15]]))[0, 1] == 0.0, "the widest one"


def test_a_choice_has_no_range_and_two_moves_at_once_say_nothing() -> None:
    rows = [[0.5, 0.1], [0.5, 0.3], [0.5, 0.5]]
    points = np.array([[0.5, 0.2]])
    assert ties(rows, [1.0] * 3, np.array([0, 5])).collapse(points)[0, 1] == 0.2
    rows = [[0.4, 0.1], [0.5, 0.3], [0.6, 0.5]]
    np.testing.assert_array_equal(ties(rows, [1.0] * 3).collapse(points), points)


def test_a_search_does_not_ask_for_the_best_result_again() -> None:
    """`b` counts from 0.8 on only."""

    def loss(trial: optuna.Trial) -> float:
        a, b = trial.suggest_int("a", 1, 1000), trial.suggest_float("b", 0.0, 1.0)
        return float((a - 300.3) ** 2) + max(b - 0.8, 0.0)

    study = optuna.create_study(sampler=GPSampler(seed=1))
    study.optimize(loss, n_trials=60)
    again = 60 - len({trial.value for trial in study.trials})
    assert again <= 15, "half of them, where a model of noisy values is left alone"
