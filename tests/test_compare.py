"""Two sweeps side by side: the gain, how sure it is, and what is printed of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpo.compare import _lines, command
from hpo.contest import Gain, gain
from hpo.pages.view import View
from hpo.trial import Trial
from tests.sweeps import function_sweep, inline

A, B = (0.70, 0.80, 0.60, 0.75, 0.65), (0.72, 0.82, 0.62, 0.77, 0.66)  # folds differ far more than the sweeps do


def view(scores: tuple[float, ...], direction: str = "maximize", seed: int = 1, fresh: Any = None) -> View:
    facts: dict[str, Any] = {
        "id": f"toy-{seed}", "metrics": [["auc", direction]], "dataset": {"folds": 5},
        "meaning": {"data.digest": "d1", "validation.folds": 5, "search.seed": seed, "name": "toy"},
    }  # fmt: skip
    if fresh:
        facts["estimate"] = {"trial": 0, "value": 0.7, "low": 0.6, "high": 0.8}
        rows = [{"trial": 0, "round": r + 1, "scores": {"auc": list(folds)}} for r, folds in enumerate(fresh)]
        facts["recheck"] = {"trials": [0, 1], "results": [*rows, {"trial": 1, "round": 1, "error": "no"}]}
    mean = sum(scores) / len(scores)
    trial = Trial(0, {"depth": 3}, started=1.0, finished=2.0, values=(mean,), scores={"auc": scores})
    return View(facts, [trial], "finished")


def test_on_the_same_folds_in_pairs() -> None:
    found = gain(view(A), view(B))
    assert isinstance(found, Gain)
    assert found.interval.value == pytest.approx(0.018)
    assert found.significant
    assert "in pairs on the same 5" in found.method
    worse = gain(view(B, "minimize"), view(A, "minimize"))
    assert isinstance(worse, Gain)
    assert worse.interval == found.interval  # less is better here


def test_on_other_folds_by_bootstrap() -> None:
    found = gain(view(A), view(B, seed=2))
    assert isinstance(found, Gain)
    assert found.interval.value == pytest.approx(0.018)
    assert not found.significant  # the same difference, which now drowns in that of the folds
    assert "bootstrap of 5 and 5" in found.method
    sure = gain(view(A), view(tuple(x + 0.5 for x in A), seed=2))
    assert isinstance(sure, Gain)
    assert sure.significant


def test_fresh_folds_where_both_have_them() -> None:
    fresh = [A, B]
    found = gain(view(A, fresh=fresh), view(A, fresh=[tuple(x - 0.01 for x in folds) for folds in fresh]))
    assert isinstance(found, Gain)
    assert found.interval.value == pytest.approx(-0.01)
    assert found.method == "in pairs on the same 10 fresh folds"
    half = gain(view(A, fresh=fresh), view(A))
    assert isinstance(half, Gain)
    assert "too good" in half.method


def test_as_it_is_typed(tmp_path: Path) -> None:
    first = inline(tmp_path, function_sweep(name="first", search={"trials": 24}))
    inline(tmp_path, function_sweep(name="second", space={"x": {"float": [-1, 1]}}, search={"trials": 4}))
    inline(tmp_path, function_sweep(name="third", metric={"name": "cost", "direction": "minimize"}))

    def say(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(command, [*arguments, "--folder", str(tmp_path)])
        assert done.exit_code == code, done.output
        return done.output

    text = say("first", "second")
    assert f"A  {first.id}\n" in text
    assert "24 complete" in text
    assert "importance of x" in text
    assert "one value each: no telling how sure" in text
    assert "nothing to compare: they have different metrics, loss and cost" in say("first", "third")
    assert "is one sweep, not two" in say("first", "first", code=2)
    told = json.loads(say("first", "second", "--json"))
    assert told["sweeps"][0]["best"]["params"].keys() == {*first.best_params}
    assert told["gain"]["significant"] is False
    assert told["gain"]["low"] is None


@pytest.mark.parametrize("width", [120, 80, 40])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    one = view(A, fresh=[A])
    one.facts["id"] = "a-name-that-is-as-long-as-people-make-them-20261123-101500-3f2a"  # type: ignore[index]
    trial = Trial(0, {f"a_long_name_{k}": "a long value " * k for k in range(6)}, finished=1.0, values=(0.7,))
    lines = [*_lines(one, View(one.facts, [trial], "finished"), width)]
    assert max(map(len, lines)) <= width
    assert all(len(line) < 500 for line in _lines(one, one, None))
