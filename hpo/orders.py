"""An order: what a person wants of a sweep that runs, and the queue beside the journal that it waits in.

Written by `hpo.control` (and by `hpo.sync` for a tag in MLflow), read by the driver's `hpo.steering`. A file of its
own, since the journal has one writer: what is in it is durable before anybody is told, and each order has a number, by
which the driver's journal knows those that it has carried out.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.errors import InputError, JournalError, Problem, did_you_mean
from hpo.journal import Journal

VERBS = ("pause", "resume", "stop", "extend", "prune", "enqueue")
LASTING = ("extend", "enqueue")  # these may wait for the next run
_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, verb TEXT NOT NULL,
                                   argument TEXT NOT NULL, who TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Order:
    """`argument`: how many for extend, the trial's number for prune, parameters for enqueue; else None."""

    verb: str
    argument: Any = None
    who: str = ""
    number: int = 0

    def __str__(self) -> str:
        return self.verb if self.argument is None else f"{self.verb} {json.dumps(self.argument, ensure_ascii=False)}"


@dataclass(frozen=True)
class Answer:
    """What the driver said to an order; `done`: it does that."""

    done: bool
    text: str

    def __str__(self) -> str:
        return self.text if self.done else f"refused: {self.text}"


def parse(words: str, who: str) -> Order:
    """An order as it is typed: `extend 20`, `enqueue {"max_depth": 4}`. InputError: it is none."""
    verb, _, rest = words.strip().partition(" ")
    rest = rest.strip()
    if verb not in VERBS:
        raise InputError(Problem(f"{verb!r} is no order", hint=did_you_mean(verb, VERBS)))
    if verb in ("extend", "prune"):
        least = 1 if verb == "extend" else 0
        if not rest.isascii() or not rest.isdecimal() or not least <= int(rest) <= 1_000_000:
            what = "by how many trials" if verb == "extend" else "the number of a trial"
            raise InputError(Problem(f"{verb} wants {what}", hint=f"{verb} 7"))
        return Order(verb, int(rest), who)
    if verb == "enqueue":
        return Order(verb, _params(rest), who)
    if rest:
        raise InputError(Problem(f"{verb} takes nothing", hint=verb))
    return Order(verb, None, who)


def _params(text: str) -> Mapping[str, Any]:
    hint = "enqueue " + shlex.quote('{"max_depth": 4, "learning_rate": 0.1}')
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(Problem(f"the parameters are not JSON: {error}", hint=hint)) from None
    if not isinstance(found, dict) or not found:
        raise InputError(Problem("enqueue wants parameters", hint=hint))
    return found


def answer(journal: Journal, number: int) -> Answer | None:
    """What the driver said to an order; None: nothing yet."""
    found = (journal.fact("orders") or {}).get("answers", {}).get(str(number))
    return Answer(**found) if found else None


def is_open(journal: Journal) -> bool:
    """Whether a driver, if there is one, still looks at orders: not after the last trial."""
    return not (journal.fact("orders") or {}).get("closed", False)


class Orders:
    """The queue of one sweep, by its journal's path. Every call opens the file: writers are many and brief."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_suffix(".orders")
        self._seen: tuple[int, int] | None = None

    def put(self, order: Order, key: str | None = None) -> int:
        """Its number, once it is durable; the same key again is the same order."""
        row = (key, order.verb, json.dumps(order.argument), order.who)
        with closing(self._open()) as db:
            db.execute("INSERT OR IGNORE INTO orders (key, verb, argument, who) VALUES (?, ?, ?, ?)", row)
            query, given = ("key = ?", (key,)) if key else ("number = last_insert_rowid()", ())
            return int(db.execute(f"SELECT number FROM orders WHERE {query}", given).fetchone()[0])

    def after(self, number: int) -> list[Order]:
        """Those that came after this one, the oldest first."""
        if not self.path.exists():
            return []
        with closing(self._open()) as db:
            query = "SELECT verb, argument, who, number FROM orders WHERE number > ? ORDER BY number"
            rows = db.execute(query, (number,)).fetchall()
        return [Order(verb, json.loads(argument), who, int(known)) for verb, argument, who, known in rows]

    def find(self, key: str) -> Order | None:
        """The order that was put under this key."""
        if not self.path.exists():
            return None
        with closing(self._open()) as db:
            query = "SELECT verb, argument, who, number FROM orders WHERE key = ?"
            row = db.execute(query, (key,)).fetchone()
        return None if row is None else Order(row[0], json.loads(row[1]), row[2], int(row[3]))

    def withdraw(self, number: int) -> None:
        """Nobody will carry it out."""
        with closing(self._open()) as db:
            db.execute("DELETE FROM orders WHERE number = ?", (number,))

    @property
    def changed(self) -> bool:
        """Whether the file is another one than at the last look: cheap enough for every turn of the loop."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        before, self._seen = self._seen, (found.st_mtime_ns, found.st_size)
        return before != self._seen

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            db.execute("PRAGMA synchronous=FULL")
            db.execute(_SCHEMA)
            return db
        except sqlite3.Error as error:
            raise JournalError(f"the orders {self.path} cannot be read: {error}") from error
