"""R32: three schedulers on one ledger are killed at random; no slot is lost, none is run twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hpo.recurrence import Recurrence
from hpo.schedule.ledger import Ledger, connect
from tests.chaos.figures import figure, form
from tests.chaos.harness import PATIENCE, ROOT
from tests.chaos.postgres import Postgres
from tests.chaos.schedulers import STEPS, jobs

JOBS = 4


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


class Fleet:
    """Three schedulers; who dies is replaced."""

    def __init__(self, url: str, folder: Path) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.schedulers", url, str(folder), str(JOBS)]
        self._log = folder / "log"
        self.processes = [self._start() for _ in range(3)]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def kill(self, draw: random.Random) -> None:
        number = draw.randrange(3)
        assert self.processes[number].poll() is None, self._log.read_text()
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start()

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            assert process.wait(PATIENCE) in (0, -15), self._log.read_text()  # -15: it had hardly begun


def storm(url: str, folder: Path, slots: int) -> tuple[int, int, int]:
    """Kill one of them about every third slot; kills, slots done, slots doubled or lost."""
    folder.mkdir()
    draw = random.Random(slots)
    begun = time.time() - 60.0 * (slots // JOBS + 1)
    with closing(Ledger(connect(url))) as ledger:
        for name in jobs(JOBS):  # as if the schedules had been there for so long, and nobody else
            ledger.handled(name, Recurrence("* * * * *", catch_up="all"), begun, lead=0.0)
        fleet = Fleet(url, folder)
        kills, strike, seen, until = 0, 2, 0, time.monotonic() + PATIENCE
        while (done := sum(slot.state == "done" for slot in ledger.history(limit=100_000))) < slots:
            if done > seen:
                seen, until = done, time.monotonic() + PATIENCE
            assert time.monotonic() < until, "no progress: " + (folder / "log").read_text()[-2000:]
            if done >= strike:
                time.sleep(draw.uniform(0, 0.1))
                fleet.kill(draw)
                kills, strike = kills + 1, done + draw.randrange(1, 6)
            time.sleep(0.01)
        fleet.stop()
        rows = [slot for slot in ledger.history(limit=100_000) if slot.state == "done"]
    wrong = len([*folder.glob("*.doubled")])
    for slot in rows:
        steps = folder / f"{slot.schedule}-{slot.planned}.steps"
        wrong += slot.outcome != "kept" or slot.result["steps"] != STEPS or steps.read_bytes() != b"." * STEPS
    for name in jobs(JOBS):
        planned = sorted(slot.planned for slot in rows if slot.schedule == name)
        wrong += planned != [*range(planned[0], planned[0] + 60 * len(planned), 60)] or planned[0] > begun + 60
    return kills, len(rows), wrong


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_r32_killed_schedulers_lose_and_double_no_slot(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'schedule.db'}"
    if kind == "PostgreSQL":
        url = request.getfixturevalue("postgres").uri
    kills, slots, wrong = storm(url, tmp_path / "work", form(24, 200))
    assert kills > 3
    figure(
        f"R32 {kind}", "three schedulers on one ledger, killed at random: no slot is lost, none is run twice",
        f"{kills} kills, {slots} slots: {wrong} lost or doubled", wrong,
    )  # fmt: skip
