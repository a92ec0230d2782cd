"""The journal keeps what it acknowledged: through kill -9, through a full disk, and says when it is damaged."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import InputError, JournalError
from hpo.journal import PARENT, Journal
from hpo.trial import Failure, Report, Trial

DONE = Trial(
    0, {"x": 0.1, "kind": "a", "deep": None}, started=10.0, finished=11.5, values=(0.7,),
    scores={"auc": (0.6, 0.8)}, metrics={"fit_seconds": 1.0}, reports=(Report(0, 0.5), Report(3, 0.6, fold=1)),
    artifacts=("plot.png",), memo={"seen": [1, 2]},
)  # fmt: skip
FAILED = Trial(
    1, {"x": 0.2}, attempt=2, started=1.0, finished=2.0, failure=Failure("signal", "SIGKILL", transient=True)
)
PRUNED = Trial(2, {"x": 0.3}, started=1.0, finished=2.0, pruned=True)
RUNNING = Trial(3, {"x": 0.4}, started=1.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.create(tmp_path / "s.journal", {"name": "s", "nested": {"a": [1, 2.5, None]}})


def test_what_goes_in_comes_out(journal: Journal) -> None:
    journal.record(FAILED, DONE, RUNNING, PRUNED)
    again = Journal(journal.path)
    assert again.trials() == [DONE, FAILED, PRUNED, RUNNING]
    assert again.counts() == {"complete": 1, "failed": 1, "pruned": 1, "running": 1}
    assert again.facts() == {"name": "s", "nested": {"a": [1, 2.5, None]}}
    journal.close()
    again.close()


def test_a_trial_is_replaced_by_what_became_of_it(journal: Journal) -> None:
    journal.record(Trial(0, DONE.params, started=10.0), seconds=1.0)
    journal.record(DONE, RUNNING, seconds=2.0)
    assert journal.trials() == [DONE, RUNNING]
    assert journal.fact("seconds") == 2.0
    journal.close()


def test_rows_are_the_outbox(journal: Journal) -> None:
    journal.record(DONE, RUNNING)
    [entry] = journal.unpublished()
    assert entry.trial == DONE
    journal.published((PARENT, "parent", 0), (0, "run-0", entry.revision))
    assert journal.unpublished() == []
    assert journal.count_unpublished() == 0
    assert journal.runs() == {PARENT: "parent", 0: "run-0"}
    journal.record(DONE)  # changed again: the run that exists is out of date
    assert [e.trial.number for e in journal.unpublished()] == [0]
    assert journal.count_unpublished() == 1
    journal.close()


def test_a_commit_is_all_or_nothing(journal: Journal) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.record(DONE, Trial(1, {"x": float("nan")}, started=1.0), seconds=5.0)
    assert journal.trials() == []
    assert journal.fact("seconds") is None
    journal.record(DONE)
    assert journal.trials() == [DONE]
    journal.close()


def test_two_processes_may_write_their_own_tables(journal: Journal) -> None:
    projection = Journal(journal.path, durable=False)
    for number in range(50):
        journal.record(Trial(number, {}, started=1.0, finished=2.0, values=(1.0,)))
        [entry] = projection.unpublished()
        projection.published((number, f"run-{number}", entry.revision))
    assert projection.count_unpublished() == 0
    assert len(journal.trials()) == 50
    journal.close()
    projection.close()


WRITER = """
import sys
from pathlib import Path
from hpo.journal import Journal
from hpo.trial import Trial
journal = Journal(Path(sys.argv[1]))
first = len(journal.trials())
for number in range(first, first + 100_000):
    journal.record(Trial(number, {"x": number}, started=1.0, finished=2.0, values=(0.5,)))
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(journal: Journal) -> None:
    acknowledged = 0
    for kill in range(1, 9):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(journal.path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(kill * 3):  # progress, not time, decides when it dies
                acknowledged = int(writer.stdout.readline()) + 1
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            acknowledged = max([acknowledged, *(int(n) + 1 for n in rest)])
        kept = [trial.number for trial in journal.trials()]
        assert kept == list(range(len(kept)))
        assert acknowledged <= len(kept) <= acknowledged + 1
    journal.close()


FILLER = """
import resource, signal, sys
from pathlib import Path
from hpo.errors import JournalError
from hpo.journal import Journal
from hpo.trial import Trial
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    for number in range(100_000):
        journal.record(Trial(number, {"x": "y" * 300}, started=1.0, finished=2.0, values=(0.5,)))
        print(number, flush=True)
except JournalError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("limit", [60_000, 100_000, 173_000])
def test_a_full_disk_stops_loudly_and_loses_nothing(journal: Journal, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(journal.path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 74, done.stderr
    assert str(journal.path) in done.stderr
    kept = [trial.number for trial in journal.trials()]
    assert kept[: len(done.stdout.split())] == [int(n) for n in done.stdout.split()]
    journal.record(Trial(len(kept), {}, started=1.0))  # space is back: it goes on
    journal.close()


def test_damage_is_noticed(journal: Journal) -> None:
    journal.record(DONE)
    journal.close()
    db = sqlite3.connect(journal.path)
    db.execute("UPDATE trials SET body = replace(body, '0.7', '0.9')")
    db.commit()
    db.close()
    broken = Journal(journal.path)
    with pytest.raises(JournalError, match="checksum"):
        broken.trials()
    broken.close()


def test_a_journal_from_another_version_is_refused(journal: Journal) -> None:
    journal.close()
    db = sqlite3.connect(journal.path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(InputError, match="version 99"):
        Journal(journal.path)


def test_what_is_not_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.journal").write_bytes(b"not a database, and long enough to be looked at as one" * 40)
    with pytest.raises(JournalError, match="not a database"):
        Journal(tmp_path / "s.journal")
    with pytest.raises(JournalError, match="unable to open"):
        Journal(tmp_path / "absent.journal")
