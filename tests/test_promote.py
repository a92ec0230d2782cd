"""promote, rollback and history as they are typed, one after the other, on one registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from hpo import history, rollback
from hpo import promote as promotes
from hpo.registry import promote
from tests.registry.models import fitted

Say = Callable[..., Result]


@pytest.fixture
def say(uri: str) -> Say:
    def run(verb: str, *arguments: str, code: int = 0) -> Result:
        command = {"promote": promotes, "rollback": rollback, "history": history}[verb].command
        found = CliRunner().invoke(command, ["segment", "--tracking-uri", uri, *arguments])
        assert found.exit_code == code, found.output
        return found

    return run


def test_a_model_from_hand_to_hand(tmp_path: Path, uri: str, say: Say) -> None:
    bench = fitted(tmp_path, (2, 40))
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("segment", (tmp_path / "mlruns").as_uri())
    run = client.create_run(experiment).info.run_id
    assert "has no history and no champion" in say("history", code=2).output

    promote(client, experiment, run, bench.candidates[0], bench.judge)
    promote(client, experiment, run, replace(bench.candidates[1], manual=True), bench.judge)
    assert "has no version 7; " not in say("promote", "--version", "7", code=2).output
    shown = say("promote", "--reason", "agreed in review").output
    assert "version 2, from sweep segment-1, trial 1" in shown
    assert "the gain" in shown
    assert "verdict  keep:" in shown
    assert "approve: manual" in shown
    assert "champion of segment: version 2 (before: 1)" in shown
    assert "it is the champion already" in say("promote", "--version", "2").output

    back = json.loads(say("rollback", "--reason", "complaints", "--json").output)
    assert (back["version"], back["before"], back["now"]) == ("1", "2", "1")
    again = json.loads(say("promote", "--version", "2", "--json").output)
    assert (again["moved"], again["before"], again["now"]) == (True, "1", "2")
    assert again["evidence"]["champion_version"] == "1"

    told = json.loads(say("history", "--json").output)
    assert [(r["version"], r["by"], r["reason"]) for r in told["reigns"]] == [
        ("1", "sweep", "there was no champion"), ("2", "promote", "agreed in review"),
        ("1", "rollback", "complaints"), ("2", "promote", ""),
    ]  # fmt: skip
    assert told["aliases"] == {"champion": "2", "previous-champion": "1", "challenger": None}
    text = say("history").output
    assert text.splitlines()[-1] == "now: champion 2, previous-champion 1, challenger none"
    assert "agreed in review" in text

    client.set_registered_model_alias("segment", "champion", "1")
    assert "somebody has moved the alias past hpo" in say("history").output
