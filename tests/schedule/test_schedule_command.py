"""The commands as a person or cron gives them, with real sweeps in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hpo.journal import Journal
from hpo.resume import journals
from hpo.schedule.command import exit_code
from hpo.schedule.slots import Slot
from tests.schedule.toy import call, due, environment, history, project

TICK = ("tick", "toy.yaml", "--tracking-uri", "none")


def test_a_slot_is_searched_then_skipped_until_something_changes(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    assert call(folder, *TICK).returncode == 0
    assert history(folder) == []
    due(folder)
    done = call(folder, *TICK)
    assert done.returncode == 0, done.stdout + done.stderr
    (first,) = history(folder)
    assert (first["outcome"], first["state"], first["reason"][:9]) == ("searched", "done", "best loss")
    (path,) = journals(folder / ".hpo")
    with closing(Journal(path)) as journal:
        assert journal.counts() == {"complete": 3}  # the schedule's budget
        assert journal.fact("schedule") == "toy"
        assert journal.fact("slot") == first["slot"]
    assert call(folder, *TICK).returncode == 0
    assert len(history(folder)) == 1

    due(folder)
    assert call(folder, *TICK).returncode == 0
    second = history(folder)[0]
    assert second["outcome"] == "skipped"
    assert second["reason"].startswith(f"nothing has changed since {first['slot']}: code ")
    assert len(journals(folder / ".hpo")) == 1

    due(folder)
    (folder / "imported_by_it.py").write_text("x = 1\n")
    assert call(folder, *TICK).returncode == 0
    third = history(folder)[0]
    assert third["outcome"] == "searched"
    assert third["change"] == ["code changed"]
    assert "loss" in third["diff"]
    assert "3 trials" in third["diff"]
    assert not [*(folder / ".hpo" / "slots").iterdir()]


def test_a_failed_slot_says_why_and_is_tried_again(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    call(folder, *TICK)
    due(folder)
    (folder / "toy_objective.py").write_text("def loss(params, trial):\n    raise ValueError('no such file')\n")
    done = call(folder, *TICK)
    assert done.returncode == 75
    assert "again at" in done.stdout
    (slot,) = history(folder)
    assert (slot["state"], slot["attempt"]) == ("waiting", 2)
    assert "no trial gave a usable model" in slot["reason"]
    assert call(folder, *TICK).returncode == 75  # not yet
    assert history(folder) == [slot]


def test_a_killed_schedulers_sweep_is_gone_on_with(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", nap=0.2)
    text = (folder / "toy.yaml").read_text().replace("budget: {trials: 3}", "budget: {trials: 12}")
    (folder / "toy.yaml").write_text(text)
    call(folder, *TICK)
    due(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo.schedule", *TICK], cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while not journals(folder / ".hpo") or _trials(folder) < 3:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 120
    while call(folder, *TICK).returncode or not history(folder) or history(folder)[0]["state"] != "done":
        assert time.monotonic() < until
    (slot,) = history(folder)
    assert slot["outcome"] == "searched"
    (path,) = journals(folder / ".hpo")
    with closing(Journal(path)) as journal:
        assert journal.counts() == {"complete": 12}


def _trials(folder: Path) -> int:
    with closing(Journal(journals(folder / ".hpo")[0], writable=False)) as journal:
        return journal.counts().get("complete", 0)


def test_run_stays_until_it_is_told_to_go(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    call(folder, *TICK)
    due(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo.schedule", "run", *TICK[1:]],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if ": searched" in line:
            process.send_signal(signal.SIGTERM)
            break
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopping" in out


def test_list_says_when_and_what(tmp_path: Path) -> None:
    folder = project(tmp_path / "search_spaces")
    (folder / "other.yaml").write_text("name: other\n")
    text = call(tmp_path, "list").stdout
    assert text.startswith("toy: 0 3 * * * Europe/Berlin, next 20")
    (row,) = json.loads(call(tmp_path, "list", "--json").stdout)
    assert row["last"] is None
    assert row["next"].endswith(("03:00+01:00", "03:00+02:00"))
    assert call(tmp_path, "history").stdout == "no slot has come yet\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schedule: {cron: '0 3 * * 8'}", "toy.yaml:7:18: bad day-of-week"),
        ("schedule: {cron: '@daily', timezone: Mars}", "toy.yaml:7:38: there is no time zone 'Mars'"),
        ("schedule: {timezone: UTC}", "cron is missing"),
        ("schedule: {cron: '@daily', notify: {webhook: 'https://hooks.example/T0/B1'}}", "toy.yaml:7"),
        ("", "there is no schedule in it"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    folder = project(tmp_path / "p")
    lines = (folder / "toy.yaml").read_text().splitlines()[:-1]
    (folder / "toy.yaml").write_text("\n".join([*lines, text, ""]))
    done = call(folder, "list", "toy.yaml")
    assert done.returncode == 2
    assert said in done.stderr


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    (folder / "two.yaml").write_text((folder / "toy.yaml").read_text())
    done = call(folder, "list", "toy.yaml", "two.yaml")
    assert done.returncode == 2
    assert "'toy' is scheduled by" in done.stderr


def test_the_exit_code_is_the_worst_of_the_last_words() -> None:
    slots = [Slot("a", 1, "waiting"), Slot("a", 1, "done", "kept"), Slot("b", 1, "done", "skipped")]
    assert exit_code(slots) == 0
    assert exit_code([*slots, Slot("c", 1, "waiting")]) == 75
    assert exit_code([*slots, Slot("c", 1, "done", "failed")]) == 1
    assert exit_code([*slots, Slot("c", 1, "done", "failed", result={"code": 3})]) == 3
