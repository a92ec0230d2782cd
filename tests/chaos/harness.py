"""Killing real sweeps: start one, watch its journal, and strike when so many trials are in it.

Used by the chaos tests. Progress decides when, never the clock, so that a slow machine tests the same thing.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

from hpo.journal import Journal
from hpo.lease import holder
from hpo.trial import Trial
from tests.chaos.figures import form

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = form(180, 900)  # seconds before a sweep that makes no progress counts as hung


class Driver:
    """`python -m hpo.search …` as a user starts it, in a process group of its own, in `folder`."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT), str(folder)])
        # Not a pipe, which would stop it after some hundred trials, since nobody reads.
        self._out = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed at the end)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpo.search", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": "", **(env or {})},
            stdout=self._out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        weakref.finalize(self, _end, self.process, self._out)  # a test that fails leaves no sweep behind

    def finish(self, code: int = 0) -> str:
        """Wait for the end; what it printed. The exit code must be as said."""
        out = self.reap()
        assert self.process.returncode == code, out
        return out

    def kill_at(self, trials: int, number: int = signal.SIGKILL, late: float = 0.0) -> bool:
        """Signal the whole process group once so many trials are finished, and up to `late` seconds after it, so that
        any step may be hit; False if it ended before that."""
        until = time.monotonic() + PATIENCE
        while finished(self.folder) < trials:
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < until, "no progress"
            time.sleep(0.005)
        time.sleep(late)
        if self.process.poll() is not None:
            return False
        self.signal(number)
        return True

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def reap(self, patience: float | None = PATIENCE) -> str:
        """Wait for the end, however it comes; what it printed."""
        self.process.wait(patience)
        self._out.seek(0)
        return self._out.read()


def _end(process: subprocess.Popen[bytes], out: IO[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    out.close()


def the_journal(folder: Path) -> Path | None:
    found = sorted((folder / ".hpo").glob("*.journal"))
    assert len(found) <= 1, f"one sweep, one journal: {found}"
    return found[0] if found else None


def finished(folder: Path) -> int:
    path = the_journal(folder)
    if path is None:
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        return int(db.execute("SELECT count(*) FROM trials WHERE state != 'running'").fetchone()[0])


def trials(folder: Path) -> list[Trial]:
    path = the_journal(folder)
    assert path is not None
    with closing(Journal(path)) as journal:
        return journal.trials()


def wait_for_publisher(folder: Path) -> None:
    """Until no process publishes this sweep any more."""
    path = the_journal(folder)
    assert path is not None
    until = time.monotonic() + PATIENCE
    while holder(path.with_suffix(".sync")) is not None:
        assert time.monotonic() < until, "the publisher does not come to an end"
        time.sleep(0.05)


def follower(journal: Path, **env: str) -> BaseProcess:
    """`hpo.sync --follow` in a process of its own, within milliseconds: forked off one that has imported mlflow."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["hpo.delivery", "hpo.promotion", "hpo.sync"])
    process = context.Process(target=_follow, args=(journal, env), daemon=True)
    process.start()
    return process


def _follow(journal: Path, env: dict[str, str]) -> None:
    from hpo.sync import follow

    os.environ.update(env)
    sys.exit(follow(journal))


def same(left: Sequence[Trial], right: Sequence[Trial]) -> bool:
    """The same trials in everything but time."""
    return [(t.number, t.params, t.values, t.state) for t in left] == [
        (t.number, t.params, t.values, t.state) for t in right
    ]
