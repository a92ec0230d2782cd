"""Sweeps over plain functions, for the tests of the story: quick, and every turn it can take is in a parameter."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpo
from hpo.attempt import Attempt
from hpo.result import Result
from hpo.sweep import Sweep
from hpo.trial import Trial

SPACE = {
    "x": {"float": [-5, 5]},
    "kind": {"choice": ["a", "b"]},
    "y": {"float": [0.001, 1], "log": True, "when": {"kind": "a"}},
}


def loss(params: dict[str, Any], trial: Attempt) -> float:
    """Easy, and with a curve: the best value is near x = 0."""
    value = float(params.get("x", 0.0)) ** 2 + float(params.get("y", 0.5))
    for step in range(4):
        trial.report(value + 3 - step, step)
        if trial.should_prune():
            raise hpo.Pruned
    return value


def naps(params: dict[str, Any], trial: Attempt) -> float:
    time.sleep(0.1)
    return loss(params, trial)


def raises(params: dict[str, Any], trial: Attempt) -> float:
    raise ValueError(f"no value for trial {trial.number}\nand a second line")


def every_third_fails(params: dict[str, Any], trial: Attempt) -> float:
    """One in three raises, one in three is not a number."""
    if trial.number % 3 == 1:
        raises(params, trial)
    return math.nan if trial.number % 3 == 2 else loss(params, trial)


def dies(params: dict[str, Any], trial: Attempt) -> float:
    """Takes its process with it."""
    os._exit(7)


def dies_once(params: dict[str, Any], trial: Attempt) -> float:
    """As if somebody else had killed the first attempt at each trial."""
    if trial.attempt == 1:
        os.kill(os.getpid(), 15)
        time.sleep(60)
    return loss(params, trial)


def two(params: dict[str, Any], trial: Attempt) -> tuple[float, float]:
    return float(params["x"]) ** 2, (float(params["x"]) - 2) ** 2


def function_sweep(objective: Callable[..., Any] = loss, **keys: Any) -> Sweep:
    """A sweep of 8 random trials, one at a time, unless the keys say otherwise."""
    search = {"engine": "random", "trials": 8, "seed": 3, "workers": 1, **keys.pop("search", {})}
    metric = keys.pop("metric", {"name": "loss", "direction": "minimize"})
    document = {"name": "toy", "space": SPACE, "metric": metric, "search": search, **keys}
    return hpo.build(objective=objective, **document)


def inline(folder: Path, sweep: Sweep, **options: Any) -> Result:
    return hpo.run(sweep, folder=folder, tracking=None, executor="inline", **options)


def same(left: tuple[Trial, ...], right: tuple[Trial, ...]) -> bool:
    """The same trials in everything but time."""
    return [(t.number, t.params, t.values, t.state, t.reports) for t in left] == [
        (t.number, t.params, t.values, t.state, t.reports) for t in right
    ]
