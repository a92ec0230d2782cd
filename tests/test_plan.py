"""What a sweep will do and cost: the bundled ones, what can be foreseen to go wrong, and an honest probe."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpo
from hpo.plan import Plan, _print, command, plan
from tests.sweeps import SPACE, function_sweep, loss, raises

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml"))


def checked(tmp_path: Path, **keys: Any) -> Plan:
    return plan(function_sweep(keys.pop("objective", loss), **keys), tmp_path, probe=keys.pop("probe", False))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_sweeps_need_no_warning(tmp_path: Path, name: str) -> None:
    found = plan(hpo.load(name), tmp_path, probe=False)
    assert found.combinations == math.inf
    assert not found.warnings
    assert found.workers * found.threads >= 1


def test_a_probe_is_a_real_trial_and_is_multiplied(tmp_path: Path) -> None:
    found = plan(function_sweep(search={"trials": 500}), tmp_path)
    assert found.probe is not None
    assert found.probe.state == "complete"
    assert found.probe.params in function_sweep().space
    assert found.seconds == pytest.approx(500 * found.probe.seconds)
    assert found.bytes is not None
    assert 500 * 2000 < found.bytes < 500 * 20_000
    timed = plan(function_sweep(search={"trials": 1_000_000, "timeout": 1}), tmp_path)
    assert timed.seconds is not None
    assert timed.seconds < 20
    assert not list(tmp_path.rglob("*.journal")), "nothing is tracked"


def test_a_probe_that_fails_says_why(tmp_path: Path) -> None:
    found = plan(function_sweep(raises, search={"pruner": "median"}), tmp_path)
    assert (found.seconds, found.bytes) == (None, None), "a failure says nothing about time"
    [warning] = found.warnings
    assert "the probe trial failed: ValueError: no value for trial 0" in warning
    assert 'raise ValueError(f"no value' in warning, "with the line of the user's code"


def test_a_grid_smaller_than_the_budget(tmp_path: Path) -> None:
    space = {"x": {"int": [0, 4]}, "kind": {"choice": ["a", "b"]}, "y": {"int": [1, 3], "when": {"kind": "a"}}}
    found = checked(tmp_path, space=space, search={"trials": 50})
    assert found.combinations == 5 * (3 + 1)
    assert found.warnings == ("the space has only 20 combinations for 50 trials",)
    assert not checked(tmp_path, space=space, search={"trials": 20}).warnings


def test_conditions_that_contradict_each_other(tmp_path: Path) -> None:
    space = {
        **SPACE,
        "z": {"int": [1, 3], "when": {"kind": "b", "w": 1}},
        "w": {"choice": [1, 2], "when": {"kind": "a"}},
    }
    [warning] = checked(tmp_path, space=space).warnings
    assert warning.startswith("z can never be active")


@pytest.mark.parametrize(
    ("pruner", "trials", "why"),
    [
        ("median", 5, "the first 5 of 5 trials are never judged"),
        ("hyperband", 1, "there is only one"),
        ({"name": "median", "n_startup": 80}, 40, "the first 80 of 40"),
    ],
)
def test_a_pruner_that_can_never_fire(tmp_path: Path, pruner: Any, trials: int, why: str) -> None:
    [warning] = checked(tmp_path, search={"pruner": pruner, "trials": trials}).warnings
    assert "can never stop a trial" in warning
    assert why in warning


def test_a_function_that_reports_nothing_cannot_be_pruned(tmp_path: Path) -> None:
    sweep = function_sweep(lambda params, trial: 1.0, search={"pruner": "median"})
    [warning] = plan(sweep, tmp_path).warnings
    assert "judges reports on the way, and there are none" in warning
    assert not plan(sweep, tmp_path, probe=False).warnings, "unknown without a probe"


def test_the_command_on_real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = [
        *("--set", "model=sklearn.tree.DecisionTreeClassifier", "--set", "fixed={}"),
        *("--set", "space={max_depth: {int: [1, 9]}}", "--set", "validation.folds=2"),
    ]
    done = CliRunner().invoke(command, ["--space", "random_forest", *tree], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "9 combinations" in done.output
    assert "f1_macro 0." in done.output
    assert "warning: the space has only 9 combinations for 40 trials" in done.output
    done = CliRunner().invoke(command, ["--space", "random_forest", *tree, "--json"], catch_exceptions=False)
    found = json.loads(done.output)
    assert found["combinations"] == 9
    assert found["probe"]["params"]["max_depth"] in range(1, 10)
    assert found["seconds"] > 0


def test_bad_input_is_refused_before_anything_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["--space", "xgb", "--set", "fixed={n_estimatrs: 3}", "--no-probe"])
    assert done.exit_code == 2
    assert "did you mean 'n_estimators'" in done.output
    assert "Traceback" not in done.output


def test_the_plan_says_what_ends_a_trial_and_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    stop = {"patience": 9, "regret": 0.1}
    sweep = function_sweep(search={"pruner": "median", "budget": {"cpu_hours": 0.001}, "stop": stop})
    _print(Plan("toy", math.inf, 1, 1), sweep)
    said = capsys.readouterr().out
    for part in ("trials by median", "after 0.001 CPU hours", "9 trials without a better", "at most 0.1 loss is left"):
        assert part in said


def test_flags_as_in_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--trials", "3", "--workers", "1", "--engine", "hyperopt", "--sampler", "anneal", "--pruner", "median"]
    done = CliRunner().invoke(command, ["--space", "custom_objective", "--no-probe", *flags], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "hyperopt anneal" in done.output
    assert "1 worker x" in done.output
