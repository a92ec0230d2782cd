"""`hpo.space check`: what is in a space, what is odd about it, and that every mistake is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpo.spaces import command, warnings
from tests.conftest import ROOT
from tests.sweeps import function_sweep

ODD = {
    "rate": {"float": [0.0001, 3.0]}, "one": {"int": [8, 8]}, "many": {"choice": [*range(60)]},
    "kind": {"choice": ["a", "b"]}, "a": {"choice": [1, 2], "when": {"kind": "a"}},
    "never": {"float": [0, 1], "when": {"a": 1, "kind": "b"}},
}  # fmt: skip


def test_what_is_in_it() -> None:
    done = CliRunner().invoke(command, ["check", "xgb.yaml"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("9 parameters, 1 under a condition; more configurations than can be counted")
    assert any(line.split()[:2] == ["max_depth", "int"] and "default 6" in line for line in lines)
    assert any("when grow_policy is lossguide" in line for line in lines)
    assert lines[-1].startswith("begins with  auto: the defaults of XGBoost")  # and nothing is odd
    told = json.loads(CliRunner().invoke(command, ["check", "xgb.yaml", "--json"]).output)
    assert told["warnings"] == []
    assert told["parameters"][0] == {
        "name": "learning_rate", "float": [0.03, 0.3], "log": True, "size": None, "default": 0.3,
    }  # fmt: skip


def test_what_is_odd() -> None:
    said = " | ".join(warnings(function_sweep(space=ODD)))
    assert "rate goes from 0.0001 to 3" in said
    assert "one has one value" in said
    assert "many has 60 values" in said
    assert "never is never active" in said
    few = function_sweep(space={"kind": {"choice": ["a", "b"]}}, search={"trials": 100})
    assert [*warnings(few)] == ["there are 2 different configurations, and 100 trials"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml")))
def test_nothing_is_odd_about_the_bundled_ones(name: str) -> None:
    done = CliRunner().invoke(command, ["check", name])
    assert done.exit_code == 0, done.output
    assert "warning" not in done.output


def test_under_the_name_of_the_space_with_all_that_is_wrong(tmp_path: Path) -> None:
    text = "name: x\nobjective: no:no\nmetric: r2\nspace: {a: {int: [5, 2]}, b: {flaot: [1, 2]}}\n"
    (tmp_path / "bad.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "hpo.space", "check", str(tmp_path / "bad.yaml")], cwd=ROOT, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    for said in ("bad.yaml:4:18", "is not {float: [low, high]}", "no module 'no'"):
        assert said in done.stderr
