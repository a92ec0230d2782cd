"""The publishing process as the driver sees it: waited for, stopped, dead, refused."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

import hpo
from hpo.journal import Journal
from hpo.lease import Lease, holder
from hpo.progress import Progress
from hpo.publisher import Publisher
from tests.conftest import free_port
from tests.sweeps import function_sweep, inline
from tests.tracking.sweeps import finished, journal_of


def test_it_publishes_all_and_says_how_much_is_left(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, [finished(number) for number in range(3)])
    left: list[int] = []
    publisher = Publisher(journal, tmp_path / "flights-1", journal.fact("tracking_uri"))
    assert publisher.wait(left.append, lambda: False) is None
    assert left[0] == 3
    assert journal.count_unpublished() == 0
    assert len(journal.runs()) == 4
    journal.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's processes may come forward again")
def test_one_that_is_waited_for_is_no_longer_behind_others(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, [finished(number) for number in range(3)], state="running")
    driver = Lease(journal.path.with_suffix(".lock"), "the sweep")
    seen: list[int] = []
    publisher = Publisher(journal, tmp_path / "flights-1", journal.fact("tracking_uri"))

    def look(left: int) -> None:
        with suppress(ProcessLookupError):
            seen.append(os.getpriority(os.PRIO_PROCESS, publisher._process.pid) - os.nice(0))
        if seen[-1] > 0 and not left and journal.fact("state") == "running":
            journal.record(state="finished")
            driver.release()

    assert publisher.wait(look, lambda: False) is None
    assert seen[-1] == 0
    journal.close()


def test_a_user_who_has_waited_enough_ends_it_and_the_rest_stays(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, f"http://127.0.0.1:{free_port()}", [finished(0)])
    publisher = Publisher(journal, tmp_path / "flights-1", journal.fact("tracking_uri"))
    asked: list[None] = []
    assert publisher.wait(lambda left: asked.append(None), lambda: len(asked) > 3) == "not waited for"
    assert publisher._process.poll() is None, "it goes on"
    assert publisher.stop() == "stopped by the user"
    assert publisher.stop() is None
    assert journal.count_unpublished() == 1
    assert holder(journal.path.with_suffix(".sync")) is None, "it is gone"
    journal.close()


def test_one_that_is_killed_says_where_to_look(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, [finished(0)])
    publisher = Publisher(journal, tmp_path / "flights-1", journal.fact("tracking_uri"))
    os.kill(publisher._process.pid, signal.SIGKILL)
    said = publisher.wait(lambda left: None, lambda: False)
    assert said is not None
    assert "ended with code -9" in said
    assert "sync.log" in said
    journal.close()


def test_a_search_ends_although_the_server_is_away(tmp_path: Path) -> None:
    """It says so, and everything is in the journal."""
    sweep = function_sweep(search={"trials": 3})
    notes: list[str] = []
    away = f"http://127.0.0.1:{free_port()}"

    def show(progress: Progress) -> None:
        notes.append(f"{progress.stage}: {progress.note}")
        if progress.stage == "publishing" and len(notes) > 12:
            os.kill(os.getpid(), signal.SIGINT)  # enough waited

    result = hpo.run(sweep, folder=tmp_path, tracking=away, executor="inline", show=show)
    assert result.state == "finished"
    assert result.unpublished
    assert "publishing: publishing to MLflow: 3 left" in notes
    journal = Journal(result.journal)
    assert journal.count_unpublished() == 3
    journal.close()


def test_without_tracking_there_is_none(tmp_path: Path) -> None:
    result = inline(tmp_path, function_sweep(search={"trials": 1}))
    assert result.unpublished is None
    assert not list(tmp_path.rglob("sync.log"))
