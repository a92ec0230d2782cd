"""What the ledger wants of a database: rows, all-or-nothing under a lock, and one kind of error.

Kept by `hpo.schedule.sqlite` and `hpo.schedule.postgres`, used by `hpo.schedule.ledger`, which writes SQL that both of
them read: question marks for values, `ON CONFLICT`, `RETURNING`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from hpo.errors import HpoError


class LedgerError(HpoError):
    """The ledger cannot be reached or written; what runs is stopped before anybody else may take it over."""

    exit_code = 74


class Database(Protocol):
    """One connection. Errors of the engine are raised as LedgerError; after one, the next call connects anew."""

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows, if there are any; outside `transaction`, durable when it returns."""

    def transaction(self, lock: str) -> AbstractContextManager[None]:
        """A context: all or nothing, and nobody else is in one of the same name."""

    def close(self) -> None: ...
