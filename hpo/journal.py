"""The journal: one SQLite file per sweep, the only truth about it.

Written by the driver (`hpo.search`), read by resume, `hpo.status` and the projection (`hpo.tracking`), for
which the trial rows are also the outbox: a row is unpublished while its revision is newer than the one noted
in `runs`. WAL with synchronous=FULL: what `record` returned from survives kill -9 and power loss. The first
I/O error stops the sweep loudly; going on after a failed fsync is how acknowledged work gets lost. Every row has
a checksum, and a small file beside notes the newest revision: SQLite drops what follows a damaged page of its
log without a word, and only who knows how far it went can tell. No secret gets in: see `hpo.redact`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hpo import crash
from hpo.errors import InputError, JournalError, Problem
from hpo.redact import clean
from hpo.trial import Trial

VERSION = 1
MAX_TRIALS = 10_000_000  # a number beyond this is damage
PARENT = -1  # the number under which `runs` keeps the sweep's own run
_SCHEMA = """
CREATE TABLE facts  (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL,
                     body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE runs   (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, revision INTEGER NOT NULL,
                     crc INTEGER NOT NULL);
"""


class Entry(NamedTuple):
    """A trial as the journal holds it; the revision grows with every change anywhere in the journal."""

    trial: Trial
    revision: int


class Journal:
    """An open journal. One writer of trials and facts (the lease sees to that), one writer of `runs`."""

    def __init__(self, path: Path, *, durable: bool = True, writable: bool = True) -> None:
        """Open an existing journal; `durable=False` for a writer whose rows can be found again (`runs`).

        `writable=False` changes not a byte of it, which matters when it is damaged.
        """
        self.path = path
        self._mark: int | None = None
        self._revision: int | None = None  # the newest one; asking for it each time would go through all trials
        with self._loud():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}",
                uri=True, timeout=30, isolation_level=None,
            )  # fmt: skip
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == VERSION and writable:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        if version != VERSION:
            newer = "a newer hpo" if version > VERSION else "an older hpo"
            hint = "go on with the hpo that began it (`pip install hpo==…`), or start a new sweep with --fresh"
            raise InputError(
                Problem(f"{path} is a journal of version {version}, from {newer}; this one reads {VERSION}", hint=hint)
            )

    @classmethod
    def create(cls, path: Path, facts: Mapping[str, Any]) -> Journal:
        """A new journal with its first facts. A crash in here leaves only a `.new` file that nobody reads."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        try:
            db = sqlite3.connect(new)
            with db:
                db.executescript(_SCHEMA)
                db.executemany("INSERT INTO facts VALUES (?, ?, ?)", [_fact(*fact) for fact in facts.items()])
                db.execute(f"PRAGMA user_version={VERSION}")
            db.close()
            new.rename(path)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"cannot write the journal {path}: {error}") from error
        return cls(path)

    # The driver's side.

    def record(self, *trials: Trial, **facts: Any) -> None:
        """Make trials and facts durable, all in one commit: after a crash either all are there or none."""
        crash.point("record")
        with self._loud():
            with self._transaction():
                revision = self._newest_revision() + 1 if trials else 0
                for trial in trials:
                    body = json.dumps(trial.to_json(), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
                    row = (trial.number, revision, trial.state, body)
                    self._db.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?)", (*row, _crc(*row)))
                for fact in facts.items():
                    self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", _fact(*fact))
            if trials:
                self._revision = revision
                self._note(revision)
        crash.point("recorded")

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers. JournalError: one that was acknowledged is missing or changed."""
        noted = self._noted()  # before the rows: a driver may be writing
        with self._loud():
            rows = self._db.execute("SELECT number, revision, state, body, crc FROM trials ORDER BY number").fetchall()
        found = [self._decode(*row) for row in rows]
        if noted > max((row[1] for row in rows), default=0):
            raise self._damaged("the latest trials are missing")
        return found

    def check(self) -> None:
        """JournalError if anything in it is not as it was written."""
        with self._loud():
            said = [row[0] for row in self._db.execute("PRAGMA integrity_check(1)")]
        if said != ["ok"]:
            raise self._damaged(said[0].splitlines()[0])
        if [trial.number for trial in self.trials()] != [*range(sum(self.counts().values()))]:
            raise self._damaged("a trial is missing")
        self.facts()
        self.runs()

    def salvage(self) -> tuple[list[Trial], int]:
        """The trials that are as they were written, and how many are not."""
        with self._loud():
            last = self._db.execute("SELECT max(number) FROM trials").fetchone()[0]
        kept: list[Trial] = []
        for number in range(0 if last is None else min(last, MAX_TRIALS) + 1):
            try:
                query = "SELECT number, revision, state, body, crc FROM trials WHERE number = ?"
                if row := self._db.execute(query, (number,)).fetchone():
                    kept.append(self._decode(*row))
            except (sqlite3.Error, JournalError):  # this is what it is for
                continue
        return kept, (0 if last is None else last + 1) - len(kept)

    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        with self._loud():
            return dict(self._db.execute("SELECT state, count(*) FROM trials GROUP BY state").fetchall())

    def fact(self, key: str, default: Any = None) -> Any:
        with self._loud():
            row = self._db.execute("SELECT key, value, crc FROM facts WHERE key = ?", (key,)).fetchone()
        return default if row is None else self._intact(*row)[1]

    def facts(self) -> dict[str, Any]:
        with self._loud():
            rows = self._db.execute("SELECT key, value, crc FROM facts").fetchall()
        return dict(self._intact(*row) for row in rows)

    # The projection's side.

    def unpublished(self, limit: int = 1000) -> list[Entry]:
        """Finished trials whose newest revision no run shows yet, oldest first."""
        with self._loud():
            rows = self._db.execute(
                "SELECT t.number, t.revision, t.state, t.body, t.crc FROM trials t "
                "LEFT JOIN runs r ON r.number = t.number "
                "WHERE t.state != 'running' AND (r.revision IS NULL OR r.revision < t.revision) "
                "ORDER BY t.revision, t.number LIMIT ?",
                (limit,),
            ).fetchall()
        return [Entry(self._decode(*row), row[1]) for row in rows]

    def finished(self) -> list[Entry]:
        """All finished trials in the order in which they were recorded, which is the one they are published in."""
        with self._loud():
            query = "SELECT number, revision, state, body, crc FROM trials WHERE state != 'running'"
            rows = self._db.execute(f"{query} ORDER BY revision, number").fetchall()
        return [Entry(self._decode(*row), row[1]) for row in rows]

    def count_unpublished(self) -> int:
        with self._loud():
            query = (
                "SELECT count(*) FROM trials t LEFT JOIN runs r ON r.number = t.number "
                "WHERE t.state != 'running' AND (r.revision IS NULL OR r.revision < t.revision)"
            )
            return int(self._db.execute(query).fetchone()[0])

    def published(self, *runs: tuple[int, str, int]) -> None:
        """Note (trial number or PARENT, run id, revision shown there); revision 0: the run exists, no more."""
        with self._loud(), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", [(*r, _crc(*r)) for r in runs])

    def runs(self) -> dict[int, str]:
        """The run id of every published trial, and of the sweep under PARENT."""
        with self._loud():
            rows = self._db.execute("SELECT number, run_id, revision, crc FROM runs").fetchall()
        if any(_crc(*row[:3]) != row[3] for row in rows):
            raise self._damaged("the checksum of a run does not match")
        return {row[0]: row[1] for row in rows}

    def close(self) -> None:
        self._db.close()
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None

    def _note(self, revision: int) -> None:
        """After the commit, so that what is noted is there."""
        if self._mark is None:
            self._mark = os.open(self.path.with_suffix(".mark"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.pwrite(self._mark, f"{revision:020d} {_crc(revision):010d}".encode(), 0)

    def _noted(self) -> int:
        """The revision that was noted last; 0 if there is no note that can be read."""
        try:
            revision, crc = map(int, self.path.with_suffix(".mark").read_bytes().split())
        except (OSError, ValueError):
            return 0
        return revision if _crc(revision) == crc else 0

    def _newest_revision(self) -> int:
        if self._revision is None:
            self._revision = int(self._db.execute("SELECT coalesce(max(revision), 0) FROM trials").fetchone()[0])
        return self._revision

    def _decode(self, number: int, revision: int, state: str, body: str, crc: int) -> Trial:
        if _crc(number, revision, state, body) != crc:
            raise self._damaged("the checksum of a trial does not match")
        return Trial.from_json(json.loads(body))

    def _intact(self, key: str, value: str, crc: int) -> tuple[str, Any]:
        if _crc(key, value) != crc:
            raise self._damaged("the checksum of a fact does not match")
        return key, json.loads(value)

    def _damaged(self, what: str) -> JournalError:
        readable = f"what can still be read: python -m hpo.status {self.path.stem} --salvage"
        return JournalError(f"{self.path} is damaged: {what}; nothing was changed\n    {readable}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _loud(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise JournalError(f"the journal {self.path} failed: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise JournalError(f"the journal {self.path} failed: {error.strerror}") from error


def _fact(key: str, value: Any) -> tuple[str, str, int]:
    text = json.dumps(clean(value, key))
    return key, text, _crc(key, text)


def _crc(*columns: Any) -> int:
    return zlib.crc32("\0".join(map(str, columns)).encode())
