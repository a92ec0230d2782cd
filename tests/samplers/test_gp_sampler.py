"""The sampler in real Optuna studies, as anybody would use it; run by pytest."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from statistics import fmean

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from hpo.samplers import GPSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
Objective = Callable[[optuna.Trial], float]


def study(seed: int = 1, **options: object) -> optuna.Study:
    return optuna.create_study(sampler=GPSampler(seed, **options))  # type: ignore[arg-type]


def mixed(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 1e-4, 1.0, log=True)
    y = trial.suggest_float("y", 0.0, 1.0, step=0.05)
    k = trial.suggest_int("k", 1, 99, step=2)
    c = trial.suggest_categorical("c", ["a", "b", None, 3])
    return (math.log10(x) + 2) ** 2 + (y - 0.3) ** 2 + ((k - 31) / 50) ** 2 + {"a": 0.5, "b": 0.0}.get(str(c), 1.0)


def nested(trial: optuna.Trial) -> float:
    kind = trial.suggest_categorical("kind", ["far", "near", "deep"])
    if kind == "far":
        return 2.0 + trial.suggest_float("far_x", 0.0, 1.0)
    x = trial.suggest_float("x", -1.0, 1.0)
    if kind == "near":
        return 0.5 + x**2
    layers = trial.suggest_int("layers", 1, 4)
    if layers > 2:
        return (x - 0.5) ** 2 + (trial.suggest_float("width", 1.0, 100.0, log=True) / 10 - 1) ** 2
    return 1.0 + x**2


@pytest.mark.parametrize("objective", [mixed, nested])
def test_it_beats_chance_by_far(objective: Objective) -> None:
    ours, chance = [], []
    for seed in range(3):
        mine = study(seed)
        mine.optimize(objective, n_trials=40)
        ours.append(mine.best_value)
        theirs = optuna.create_study(sampler=RandomSampler(seed))
        theirs.optimize(objective, n_trials=40)
        chance.append(theirs.best_value)
    assert fmean(ours) < 0.2 * fmean(chance)


def test_a_maximum_is_found_too() -> None:
    found = optuna.create_study(sampler=GPSampler(0), direction="maximize")
    found.optimize(lambda trial: -mixed(trial), n_trials=40)
    assert found.best_value > -0.1


def test_a_study_rebuilt_from_its_trials_asks_the_same() -> None:
    first = study()
    first.optimize(nested, n_trials=40, catch=())
    for cut in (0, 3, 8, 19, 33, 39):
        again = study()
        again.add_trials(first.trials[:cut])
        again.optimize(nested, n_trials=1)
        assert again.trials[-1].params == first.trials[cut].params


def test_without_a_seed_runs_differ() -> None:
    one, other = study(), optuna.create_study(sampler=GPSampler())
    for each in (one, other):
        each.optimize(mixed, n_trials=1)
    assert one.best_params != other.best_params


def test_the_first_trials_are_stratified() -> None:
    found = study(n_startup_trials=10)
    found.optimize(mixed, n_trials=10)
    cells = sorted(int(10 * (math.log10(trial.params["x"]) + 4) / 4) for trial in found.trials)
    assert cells == list(range(10))


def test_trials_in_flight_are_kept_apart() -> None:
    """What is running is not asked again, nor its closest neighbourhood."""

    def bowl(trial: optuna.Trial) -> float:
        return sum((trial.suggest_float(name, 0, 1) - 0.4) ** 2 for name in "abc")

    found = study()
    found.optimize(bowl, n_trials=10)
    places = []
    for _ in range(6):
        running = found.ask()
        bowl(running)
        places.append(tuple(running.params.values()))
    assert min(math.dist(a, b) for a, b in itertools.combinations(places, 2)) > 0.01


def test_with_many_in_flight_most_stay_near_the_best_one() -> None:
    """What they leave to expect is in the corners; nobody would look where the best trial is until they are done."""
    names = "abcdefgh"

    def bowl(trial: optuna.Trial) -> float:
        return sum((trial.suggest_float(name, 0, 1) - 0.4) ** 2 for name in names)

    found = study()
    found.optimize(bowl, n_trials=30)
    best = tuple(found.best_params[name] for name in names)
    asked = [found.ask() for _ in range(12)]
    for trial in asked:
        bowl(trial)
    away = [math.dist(best, tuple(trial.params[name] for name in names)) for trial in asked[3:]]
    assert sum(distance > 0.5 for distance in away) in (1, 2)


def test_failures_are_avoided() -> None:
    def fails_below(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        if x < 0.5:
            raise ValueError
        return x + y

    found = study()
    logging = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found.optimize(fails_below, n_trials=40, catch=ValueError)
    optuna.logging.set_verbosity(logging)
    late = found.trials[20:]
    assert sum(trial.state == TrialState.FAIL for trial in late) <= 8, (
        "half of the space fails, and the best is beside it"
    )
    assert found.best_value < 0.6


@pytest.mark.parametrize("how", ["set_constraint", "constraints_func"])
def test_constraints_are_kept(how: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        if how == "set_constraint":
            trial.set_constraint("sum", 1.0 - x - y)
        return x + 2 * y

    def outside(trial: optuna.trial.FrozenTrial) -> list[float]:
        return [1.0 - trial.params["x"] - trial.params["y"]]

    found = study(constraints_func=outside if how == "constraints_func" else None)
    found.optimize(objective, n_trials=40)
    feasible = [trial for trial in found.trials if all(c <= 0 for c in trial.constraints.values())]
    assert min(trial.values[0] for trial in feasible) < 1.15
    assert len([trial for trial in feasible if trial.number >= 20]) >= 5, "the best lies on the border"


def test_pruned_trials_teach() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.report((x - 0.7) ** 2, 0)
        if (x - 0.7) ** 2 > 0.02:
            raise optuna.TrialPruned
        return (x - 0.7) ** 2

    found = study()
    found.optimize(objective, n_trials=25)
    assert found.best_value < 1e-4


def test_noise_is_noticed() -> None:
    import random

    noise = random.Random(0)
    found = study()
    found.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.2) ** 2 + noise.gauss(0, 0.05), n_trials=50)
    late = [trial.params["x"] for trial in found.trials[30:]]
    assert abs(fmean(late) - 0.2) < 0.2


def test_a_small_space_is_used_up_without_an_error() -> None:
    found = study()
    found.optimize(lambda trial: float(trial.suggest_int("k", 0, 2)), n_trials=14)
    assert found.best_value == 0


def test_equal_values_and_one_value_are_no_problem() -> None:
    found = study()
    found.optimize(lambda trial: trial.suggest_float("x", 0, 1) * 0 + trial.suggest_float("one", 2, 2), n_trials=14)
    assert len({trial.params["x"] for trial in found.trials}) == 14


def test_several_objectives_are_left_to_tpe() -> None:
    found = optuna.create_study(sampler=GPSampler(0), directions=["minimize", "maximize"])
    found.optimize(lambda trial: (mixed(trial), trial.params["x"]), n_trials=15)
    assert len(found.best_trials) >= 1


def test_a_range_may_change_on_the_way() -> None:
    found = study()
    found.optimize(lambda trial: trial.suggest_float("x", 0, 1) ** 2, n_trials=10)
    found.optimize(lambda trial: trial.suggest_float("x", 0, 2) ** 2 + trial.suggest_int("new", 1, 3), n_trials=10)
    assert found.trials[-1].params.keys() == {"x", "new"}


def test_an_ask_is_cheap_however_many_trials_there_are() -> None:
    """CPU milliseconds at 100 and 1,000 trials; generous, since the machine may be busy."""
    for trials, limit in ((100, 60.0), (1000, 150.0)):
        found = study()
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            f"x{k}": optuna.distributions.FloatDistribution(0, 1) for k in range(10)
        }
        drawn = optuna.create_study(sampler=RandomSampler(0))
        for _ in range(trials):
            params = drawn.ask(distributions).params
            value = sum((x - 0.3) ** 2 for x in params.values())
            found.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
        found.ask(distributions)
        before = time.process_time()
        for _ in range(3):
            found.ask(distributions)
        assert 1e3 * (time.process_time() - before) / 3 < 20 * limit  # grows without bound, on any machine


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_solved_problem_is_not_left_for_its_corners(seed: int) -> None:
    """The mean of late trials, not their median: a look far away now and then is welcome, most trials refine."""
    found = study(seed)
    found.optimize(lambda trial: sum((trial.suggest_float(name, -5, 5) - 2) ** 2 for name in "xy"), n_trials=60)
    losses = [trial.values[0] for trial in found.trials]
    assert fmean(losses[-20:]) < 0.6 * fmean(losses[:10])


def test_a_feasible_trial_is_found_where_none_is_known() -> None:
    """Without any, there is no improvement to expect: the search follows the constraints alone."""

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("near a corner", math.dist((x, y), (1, 1)) - 0.1)
        return x

    found = study()
    found.optimize(objective, n_trials=30)
    first = [trial for trial in found.trials[:5] if trial.constraints["near a corner"] <= 0]
    assert not first, "the start was lucky: the test shows nothing"
    assert any(trial.constraints["near a corner"] <= 0 for trial in found.trials)


def test_a_rebuilt_study_with_trials_in_flight_asks_the_same() -> None:
    first = study()
    first.optimize(nested, n_trials=12)
    for _ in range(3):
        nested(first.ask())
    asked = first.ask()
    nested(asked)
    again = study()
    again.add_trials(first.trials[:-1])
    repeated = again.ask()
    nested(repeated)
    assert repeated.params == asked.params
