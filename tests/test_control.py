"""`hpo.control` as it is typed, on a search in a process of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from hpo.control import command
from hpo.status import status
from tests.chaos.harness import Driver, finished, the_journal
from tests.tracking.sweeps import until

NAPS = """
import time

def train(params, trial):
    time.sleep(0.2)
    return params["x"] ** 2
"""
SWEEP = """
name: toy
objective: naps:train
metric: {name: loss, direction: minimize}
space: {x: {float: [-5, 5]}, depth: {int: [1, 9]}, kind: {choice: [a, b]}, y: {int: [1, 9], when: {kind: b}}}
search: {engine: random, trials: 500, seed: 1, workers: 1}
"""


def test_a_search_is_steered_from_another_terminal(tmp_path: Path) -> None:
    (tmp_path / "naps.py").write_text(NAPS)
    (tmp_path / "sweep.yaml").write_text(SWEEP)

    def say(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(command, ["last", *words, "--folder", str(tmp_path / ".hpo")])
        assert done.exit_code == code, done.output
        return done

    def told(*words: str, code: int = 0) -> Any:
        return json.loads(say(*words, "--json", code=code).output)

    driver = Driver(tmp_path, "--space", "sweep.yaml", "--tracking-uri", "none")
    until(lambda: the_journal(tmp_path) and finished(tmp_path) > 1, 120)
    path = the_journal(tmp_path)
    assert path is not None
    assert "no trial is started" in say("pause").output
    until(lambda: status(path)["trials"]["running"] == 0, 60)
    count = finished(tmp_path)
    assert status(path)["state"] == "paused"
    assert told("extend", "20")["answer"] == "the budget is 520 trials now"
    assert told("enqueue", '{"y": 3, "kind": "b", "x": 1}')["state"] == "done"
    assert "x: 7 is outside [-5, 5]" in say("enqueue", '{"x": 7}', code=2).output
    assert "did you mean 'depth'?" in say("enqueue", '{"dept": 7}', code=2).output
    assert "only allowed when kind is 'b'" in say("enqueue", '{"y": 7, "kind": "a"}', code=2).output
    refused = told("prune", "0", code=1)
    assert (refused["state"], refused["answer"]) == ("refused", "trial 0 is complete")
    time.sleep(1.0)
    assert finished(tmp_path) == count
    assert "it goes on" in say("resume").output
    until(lambda: finished(tmp_path) > count, 60)
    assert "the search ends here" in say("stop").output
    out = driver.finish()
    assert "paused: nothing is started until" in out
    assert "stopped by" in out
    found = status(path)
    assert (found["state"], found["budget"]) == ("finished", 520)

    assert "no search of toy" in say("pause", code=2).output
    assert told("enqueue", '{"x": 2}')["state"] == "waiting"
    assert "it waits for the next run" in say("extend", "1").output
    again = Driver(tmp_path, "--space", "sweep.yaml", "--tracking-uri", "none", "--resume", "last")
    until(lambda: finished(tmp_path) > found["trials"]["complete"], 120)
    assert status(path)["budget"] == 521
    assert "the search ends here" in say("stop").output
    again.finish()
