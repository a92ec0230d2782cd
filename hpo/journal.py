"""The journal: one SQLite file per sweep, the only truth about it.

Written by the driver (`hpo.search`), read by resume, `hpo.status` and the projection (`hpo.tracking`), for
which the trial rows are also the outbox: a row is unpublished while its revision is newer than the one noted
in `runs`. WAL with synchronous=FULL: what `record` returned from survives kill -9 and power loss. The first
I/O error stops the sweep loudly; going on after a failed fsync is how acknowledged work gets lost.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hpo.errors import InputError, JournalError
from hpo.trial import Trial

VERSION = 1
PARENT = -1  # the number under which `runs` keeps the sweep's own run
_SCHEMA = """
CREATE TABLE facts  (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL,
                     body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE runs   (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL, revision INTEGER NOT NULL);
"""


class Entry(NamedTuple):
    """A trial as the journal holds it; the revision grows with every change anywhere in the journal."""

    trial: Trial
    revision: int


class Journal:
    """An open journal. One writer of trials and facts (the lease sees to that), one writer of `runs`."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open an existing journal; `durable=False` for a writer whose rows can be found again (`runs`)."""
        self.path = path
        with self._loud():
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise InputError(f"{path} is a journal of version {version}; this hpo reads version {VERSION}")

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
                db.executemany("INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in facts.items()])
                db.execute(f"PRAGMA user_version={VERSION}")
            db.close()
            new.rename(path)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"cannot write the journal {path}: {error}") from error
        return cls(path)

    # The driver's side.

    def record(self, *trials: Trial, **facts: Any) -> None:
        """Make trials and facts durable, all in one commit: after a crash either all are there or none."""
        with self._loud(), self._transaction():
            revision = self._next_revision()
            for trial in trials:
                body = json.dumps(trial.to_json(), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
                self._db.execute(
                    "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?)",
                    (trial.number, revision, trial.state, body, zlib.crc32(body.encode())),
                )
            for key, value in facts.items():
                self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers."""
        with self._loud():
            rows = self._db.execute("SELECT body, crc FROM trials ORDER BY number").fetchall()
        return [self._decode(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        with self._loud():
            return dict(self._db.execute("SELECT state, count(*) FROM trials GROUP BY state").fetchall())

    def fact(self, key: str, default: Any = None) -> Any:
        with self._loud():
            row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def facts(self) -> dict[str, Any]:
        with self._loud():
            return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM facts")}

    # The projection's side.

    def unpublished(self, limit: int = 1000) -> list[Entry]:
        """Finished trials whose newest revision no run shows yet, oldest first."""
        with self._loud():
            rows = self._db.execute(
                "SELECT t.body, t.crc, t.revision FROM trials t LEFT JOIN runs r ON r.number = t.number "
                "WHERE t.state != 'running' AND (r.revision IS NULL OR r.revision < t.revision) "
                "ORDER BY t.revision, t.number LIMIT ?",
                (limit,),
            ).fetchall()
        return [Entry(self._decode(body, crc), revision) for body, crc, revision in rows]

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
            self._db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", runs)

    def runs(self) -> dict[int, str]:
        """The run id of every published trial, and of the sweep under PARENT."""
        with self._loud():
            return dict(self._db.execute("SELECT number, run_id FROM runs").fetchall())

    def close(self) -> None:
        self._db.close()

    def _next_revision(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(revision), 0) + 1 FROM trials").fetchone()[0])

    def _decode(self, body: str, crc: int) -> Trial:
        if zlib.crc32(body.encode()) != crc:
            raise JournalError(f"{self.path} is damaged: a trial's checksum does not match; nothing was changed")
        return Trial.from_json(json.loads(body))

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
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self.path} failed: {error}") from error
