"""When more search is not worth it: patience, an estimated regret that keeps its word, CPU hours; and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.errors import InputError
from hpo.metric import Metric
from hpo.progress import Progress
from hpo.searchers.random import RandomSearcher
from hpo.searchers.regret import bound
from hpo.space import Float, Int, Space
from hpo.stopping import EVERY, FIRST, Stopping
from hpo.trial import Failure, Trial
from tests.sweeps import function_sweep, inline, same

PLANE = Space((Float("x", -1.0, 1.0), Float("y", 0.01, 1.0, log=True), Int("one", 3, 3)))
LOSS, GAIN = Metric("loss", "minimize"), Metric("gain", "maximize")


def ended(number: int, value: float | None, seconds: float = 1.0) -> Trial:
    trial = Trial(number, {}, started=0.0, finished=seconds)
    return replace(trial, pruned=True) if value is None else replace(trial, values=(value,))


def test_patience_counts_what_ended_since_the_best_and_not_the_failed() -> None:
    progress = Progress(function_sweep(search={"stop": {"patience": 3}}))
    stopping = Stopping(progress, 1)
    progress.add(ended(0, 1.0), ended(1, 2.0), ended(2, 0.5), ended(3, 0.6), ended(4, None))
    progress.add(Trial(5, {}).failed(Failure("exception", "no"), 1.0))
    assert stopping.why() is None
    progress.add(ended(6, 0.5))
    assert stopping.why() == "the last 3 trials found nothing better (search.stop.patience)"


def test_a_sweep_out_of_patience_ends_says_why_and_is_finished(tmp_path: Path) -> None:
    sweep = function_sweep(search={"trials": 500, "stop": {"patience": 6}})
    result = inline(tmp_path, sweep)
    assert result.state == "finished"
    assert result.best is not None
    assert len(result.all_trials) == result.best.number + 7
    assert "6 trials found nothing better" in (result.stopped or "")
    again = inline(tmp_path, sweep)
    assert (again.resumed, same(again.all_trials, result.all_trials)) == (False, True)


def test_cpu_hours_are_those_of_all_threads_and_bound_the_search() -> None:
    progress = Progress(function_sweep(search={"budget": {"cpu_hours": 1}}))
    stopping = Stopping(progress, 4)
    progress.add(ended(0, 1.0, 800.0), Trial(1, {}, started=0.0))
    assert not stopping.is_spent
    progress.add(ended(1, None, 100.0))
    assert stopping.is_spent


def test_a_sweep_ends_when_its_cpu_hours_are_spent(tmp_path: Path) -> None:
    result = inline(tmp_path, function_sweep(search={"trials": 50, "budget": {"cpu_hours": 1e-12}}))
    assert len(result.all_trials) == 1
    assert (result.state, result.stopped) == ("finished", None)


@pytest.mark.parametrize("metric", [LOSS, GAIN], ids=lambda metric: metric.name)
def test_the_regret_is_below_its_bound_and_the_bound_falls(metric: Metric) -> None:
    """On a smooth function whose best value is known, over several seeds."""
    broken, bounds = 0, []
    for seed in range(8):
        random = RandomSearcher(PLANE, seed)
        trials: list[Trial] = []
        for number in range(60):
            trial = random.ask(number)
            x, y = float(trial.params["x"] or 0), float(trial.params["y"] or 0)
            loss = (x - 0.3) ** 2 + (y - 0.1) ** 2
            trials.append(replace(trial, started=0.0, finished=1.0, values=(-metric.sign * loss,)))
        best = min(-metric.sign * trial.values[0] for trial in trials if trial.values)
        few, many = bound(PLANE, metric, trials[:15], seed), bound(PLANE, metric, trials, seed)
        broken += best > many
        bounds.append((few, many))
    assert broken <= 1
    assert all(many < few for few, many in bounds)


def test_a_small_regret_ends_a_sweep_and_is_stated(tmp_path: Path) -> None:
    search = {"engine": "optuna", "sampler": "gp", "trials": 200, "stop": {"regret": 0.05}}
    sweep = function_sweep(space={"x": {"float": [-1, 1]}}, search=search)
    result = inline(tmp_path, sweep)
    assert FIRST <= len(result.all_trials) < 200
    assert "is left to gain, estimated at 95% confidence (search.stop.regret)" in (result.stopped or "")


def test_the_noise_of_the_best_one_is_a_limit_where_there_are_folds() -> None:
    progress = Progress(function_sweep(search={"stop": {"regret": 1e-9}}, space={"x": {"float": [-1, 1]}}))
    stop = replace(progress.sweep.search.stop, noise=1.0)
    progress.sweep = replace(progress.sweep, search=replace(progress.sweep.search, stop=stop))
    stopping = Stopping(progress, 1)
    for number in range(FIRST):
        x = -1 + 2 * number / (FIRST - 1)
        trial = replace(ended(number, x * x), params={"x": x}, scores={"loss": (x * x - 0.3, x * x + 0.3)})
        progress.add(trial)
    assert "search.stop.noise: the best one's is known to ±0.3" in (stopping.why() or "")
    assert stopping.why() is None, f"asked again only {EVERY} trials later"


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"stop": {"patience": 0}}, "search.stop.patience"),
        ({"stop": {"regret": 0}}, "search.stop.regret"),
        ({"stop": {"noise": 1}}, "a function has no folds"),
        ({"budget": {"cpu_hours": 0}}, "search.budget.cpu_hours"),
        ({"budget": {"hours": 1}}, "hours"),
    ],
)
def test_what_cannot_be_meant_is_refused(search: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        function_sweep(search=search)
    two = [{"name": "a", "direction": "minimize"}, {"name": "b", "direction": "minimize"}]
    with pytest.raises(InputError, match="no single best trial"):
        function_sweep(metric=two, search={"engine": "optuna", "stop": {"patience": 3}})


def test_of_two_limits_the_lower_one_holds() -> None:
    def search(**keys: Any) -> Any:
        return hpo.build(name="s", objective=lambda p, t: 1.0, space={"x": {"float": [0, 1]}},
                         metric={"name": "l", "direction": "minimize"}, search=keys).search  # fmt: skip

    assert search().trials == 100
    assert search(budget={"trials": 500}).trials == 500
    assert search(budget={"trials": 500}, trials=20).trials == 20
    assert search(budget={"timeout": "2m"}, timeout="1m").timeout == 60
    assert search(budget={"timeout": "2m"}).timeout == 120
