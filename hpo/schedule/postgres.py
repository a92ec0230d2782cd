"""The ledger's database for several hosts: PostgreSQL.

Opened by `hpo.schedule.ledger`. The lock on a schedule is an advisory one that ends with its transaction. Every call is
bounded by time-outs, because a scheduler that waits for its ledger cannot beat; a lost connection is made anew by the
next call, and the tokens say what has become of our slots meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.schedule.database import LedgerError

try:
    import psycopg
except ImportError as error:
    hint = "pip install 'hpo[server]'"
    raise InputError(Problem("a ledger in PostgreSQL needs psycopg", "--ledger", hint)) from error

_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=10000"


class Postgres:
    def __init__(self, url: str, schema: Sequence[str]) -> None:
        self._url = url
        self._db: psycopg.Connection[tuple[Any, ...]] | None = None
        with self.transaction("hpo schema"):  # two that create a table at once collide, IF NOT EXISTS or not
            for statement in schema:
                self.execute(statement)

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._said() as db:
            cursor = db.execute(sql.replace("?", "%s").encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self, lock: str) -> Iterator[None]:
        with self._said() as db, db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 480077))", (f"hpo {lock}",))
            yield

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    @contextmanager
    def _said(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        try:
            if self._db is None or self._db.closed:
                self._db = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=5, options=_OPTIONS, keepalives_idle=5,
                    keepalives_interval=2, keepalives_count=3, tcp_user_timeout=10_000,
                )  # fmt: skip
            yield self._db
        except psycopg.Error as error:
            raise LedgerError(f"the ledger failed: {redact(str(error).strip())}") from error
