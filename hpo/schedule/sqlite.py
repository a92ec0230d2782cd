"""The ledger's database on one machine: a SQLite file.

Opened by `hpo.schedule.ledger`. One writer at a time is what SQLite gives, so the lock on a schedule is a lock on
everything; a look takes a millisecond. WAL with synchronous=FULL, as the journal: what was claimed stays claimed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpo.schedule.database import LedgerError

PATIENCE = 60.0  # seconds to wait for whoever else writes


class Sqlite:
    def __init__(self, path: Path, schema: Sequence[str]) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"the ledger {path} cannot be made: {error}") from error
        with self._said():
            self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
            self._write_ahead()
            self._db.execute("PRAGMA synchronous=FULL")
        with self.transaction(""):
            for statement in schema:
                self._db.execute(statement)

    def _write_ahead(self) -> None:
        """Of several who open a fresh file at once all but one are refused at once, whatever the timeout: SQLite does
        not wait for a lock that it would have to raise from a shared one."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._said():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, lock: str) -> Iterator[None]:
        with self._said():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        with self._said():
            self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self._path} failed: {error}") from error
