"""The user's function: found, called with the parameters and the attempt, its result passed on."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo import objectives
from hpo.attempt import Attempt, run_attempt
from hpo.errors import InputError
from hpo.metric import Metric
from hpo.space import Float, Space
from hpo.sweep import Sweep
from hpo.trial import Pruned, Trial
from tests.data.sweeps import BUNDLED

LOSS = (Metric("loss", "minimize"),)


def sweep_of(objective: Any, root: Path = Path(), metrics: tuple[Metric, ...] = LOSS) -> Sweep:
    space = Space((Float("x", 0.0, 1.0),))
    return Sweep("test", space, metrics, objective=objective, fixed={"y": 2.0}, root=root)


def run(sweep: Sweep) -> Trial:
    objectives.check(sweep, None)
    evaluate = pickle.loads(pickle.dumps(objectives.build(sweep, None))).open()
    return run_attempt(evaluate, trial := Trial(0, {"x": 0.5}), Attempt(trial), sweep.metrics)


def named(params: dict[str, float], trial: Attempt) -> float:
    for step in range(3):
        trial.report(params["x"] + step, step)
    trial.log_metric("y", params["y"])
    return params["x"] * params["y"]


def test_by_name() -> None:
    trial = run(sweep_of(f"{__name__}:named"))
    assert (trial.values, trial.metrics, len(trial.reports)) == ((1.0,), {"y": 2.0}, 3)


def test_a_closure() -> None:
    seen = 4.0
    assert run(sweep_of(lambda params, trial: params["x"] + seen)).values == (4.5,)


@pytest.mark.parametrize("outcome", [[1, 2.5], {"a": 1, "b": 2.5, "more": 0}])
def test_several_values(outcome: Any) -> None:
    metrics = (Metric("a", "minimize"), Metric("b", "maximize"))
    assert run(sweep_of(lambda params, trial: outcome, metrics=metrics)).values == (1.0, 2.5)


def test_pruned() -> None:
    def stop(params: Any, trial: Attempt) -> float:
        raise Pruned

    assert run(sweep_of(stop)).state == "pruned"


@pytest.mark.parametrize("place", ["", "search_spaces"])
def test_a_module_beside_the_file_is_imported_in_the_worker_only(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    name = f"my_objective_{place or 'root'}"
    (tmp_path / place / f"{name}.py").write_text("def f(params, trial): return params['x'] + params['y']\n")
    sweep = sweep_of(f"{name}:f", tmp_path)
    objectives.check(sweep, None)
    payload = pickle.dumps(objectives.build(sweep, None))
    assert name not in sys.modules
    code = (
        "import pickle, sys; from hpo.attempt import Attempt; from hpo.trial import Trial\n"
        "print(pickle.loads(sys.stdin.buffer.read()).open()(Attempt(Trial(0, {'x': 1.0}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=payload, capture_output=True, cwd=BUNDLED.parent)
    assert done.stdout.split() == [b"3.0"], done.stderr


@pytest.mark.parametrize(
    ("path", "said"), [("nowhere_to_be_found:f", "no module 'nowhere_to_be_found'"), ("module.f", "module:function")]
)
def test_a_function_that_cannot_be_found(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        objectives.check(sweep_of(path, tmp_path), None)


def test_a_name_that_the_module_lacks() -> None:
    sweep = dataclasses.replace(sweep_of(f"{__name__}:namd"))
    with pytest.raises(InputError, match="did you mean 'named'"):
        run(sweep)
