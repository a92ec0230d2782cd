"""How sweeps stand, from real journals: finished, interrupted, running, none."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpo.journal import Journal
from hpo.resume import claim
from hpo.status import command, status
from tests.sweeps import every_third_fails, function_sweep, inline, raises


def call(*arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".hpo"


def test_no_sweeps(folder: Path) -> None:
    assert "start one: python -m hpo.search" in call()
    assert json.loads(call("--json")) == []


def test_a_finished_one(folder: Path) -> None:
    result = inline(folder, function_sweep(every_third_fails, search={"trials": 9}))
    facts = status(result.journal)
    assert result.best is not None
    assert facts["state"] == "finished"
    assert facts["trials"] == {"complete": 3, "pruned": 0, "failed": 6, "running": 0}
    assert facts["best"] == {
        "number": result.best.number,
        "loss": result.best_value,
        "params": dict(result.best_params),
    }
    assert facts["failures"]["not finite: loss is nan, not a finite number"] == 3
    assert facts["unpublished"] == 0, "nothing is to be published where there is no tracking"
    said = call("last")
    assert f"{result.id}: finished" in said
    assert "exception: ValueError: no value for trial 1\n" in said
    assert f"trial {result.best.number}, loss {result.best_value:.6g}" in said
    assert "resume" not in said
    assert json.loads(call(result.id, "--json", "--folder", str(folder))) == facts


def test_the_best_is_the_one_that_was_chosen(folder: Path) -> None:
    """On fresh folds another trial may have won than in the search."""
    result = inline(folder, function_sweep(search={"trials": 3}))
    assert result.best is not None
    chosen = next(trial for trial in result.all_trials if trial.number != result.best.number)
    with closing(Journal(result.journal)) as journal:
        estimate = {"metric": "loss", "trial": chosen.number, "value": 4.25, "low": 4.0, "high": 4.5}
        journal.record(estimate=estimate)
    facts = status(result.journal)
    assert (facts["best"]["number"], facts["estimate"]) == (chosen.number, estimate)
    assert "fresh folds  loss 4.25, 90 % interval 4 to 4.5" in call("last")


def test_one_that_runs_and_one_that_was_killed(folder: Path) -> None:
    claimed = claim(function_sweep(), folder)
    path = claimed.journal.path
    driver = status(path)["driver"]
    assert (status(path)["state"], driver["pid"]) == ("running", os.getpid())
    assert f"process {os.getpid()}" in call("last")
    claimed.journal.close()
    claimed.lease.release()
    assert status(path)["state"] == "interrupted", "the journal still says running, but nobody holds the lease"
    assert f"--resume {claimed.id}" in call("last")


def test_the_overview_fits_and_is_never_cut(folder: Path) -> None:
    facts: dict[str, Any] = {"tracking_uri": "http://away", "promotion": {"promoted": True, "version": "12"}}
    for name in ("flight-delays", "a-name-of-a-sweep-that-is-much-too-long-for-any-terminal-that-we-know-of"):
        result = inline(folder, function_sweep(every_third_fails, name=name))
        with closing(Journal(result.journal)) as journal:
            journal.record(**(facts if name == "flight-delays" else {}))
    lines = call().splitlines()
    assert lines[0].split() == ["sweep", "state", "trials", "failed", "best", "promoted", "unpublished"]
    assert len(lines) == 3
    assert {line.split()[0] for line in lines[1:]} == {path.stem for path in folder.glob("*.journal")}
    [short] = [line.split() for line in lines if line.startswith("flight-delays")]
    assert short[1:4] == ["finished", "8/8", "5"]
    assert short[5:] == ["v12", "8"]


def test_columns_that_say_nothing_are_left_out(folder: Path) -> None:
    inline(folder, function_sweep(search={"trials": 2}))
    lines = call().splitlines()
    assert lines[0].split() == ["sweep", "state", "trials", "best"]
    assert max(map(len, lines)) <= 80


def test_why_it_stopped_and_what_it_follows(folder: Path) -> None:
    sweep = function_sweep(raises, limits={"failures": 3}, search={"trials": 9})
    stopped = inline(folder, sweep)
    assert stopped.stopped == "3 trials failed one after the other (limits.failures)"
    assert "stopped      3 trials failed" in call("last")
    first = claim(function_sweep(name="other"), folder)
    first.journal.close()
    second = claim(function_sweep(name="other"), folder, fresh=True)
    assert status(second.journal.path)["follows"] == first.id
    assert f"follows      {first.id}" in call(second.id)
    second.journal.close()
    for lease in (first.lease, second.lease):
        lease.release()


def test_a_damaged_one_is_said_and_hides_no_other(folder: Path) -> None:
    damaged = inline(folder, function_sweep(name="damaged"))
    intact = inline(folder, function_sweep(name="intact"))
    with closing(sqlite3.connect(damaged.journal)) as db:
        db.execute("UPDATE trials SET body = replace(body, '0', '1') WHERE number = 3")
        db.commit()
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 74
    assert intact.id in done.stdout
    assert "is damaged: the checksum of a trial does not match" in done.stderr
    assert f"hpo.status {damaged.id} --salvage" in done.stderr
    salvaged = CliRunner().invoke(command, [damaged.id, "--salvage"])
    assert salvaged.exit_code == 74
    assert [json.loads(line)["number"] for line in salvaged.stdout.splitlines()] == [0, 1, 2, 4, 5, 6, 7]
    assert salvaged.stderr == "7 trials intact, 1 damaged\n"
    whole = CliRunner().invoke(command, [intact.id, "--salvage"])
    assert (whole.exit_code, whole.stderr) == (0, "8 trials intact, 0 damaged\n")
