"""The ledger: one row a slot, in a database that all schedulers of a project share. Who writes the row runs the slot.

Used by `hpo.schedule.scheduler`, read by `list` and `history`. SQLite in `.hpo/schedule.db` for one machine, PostgreSQL
by its URL for several: the same SQL. The key (schedule, planned) is unique, all that is decided about one schedule is
decided under its lock, and every later write carries the token of the claim, so that a scheduler that was thought dead
and taken over from cannot write any more. Notices lie in the same database: they are committed with what they tell of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from hpo.errors import InputError, Problem
from hpo.recurrence import Recurrence
from hpo.redact import clean
from hpo.schedule.database import Database
from hpo.schedule.slots import SEARCHED, Outcome, Slot

_COLUMNS = "schedule, planned, state, outcome, reason, attempt, token, holder, beat, due, started, taken, finished"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS schedules (name TEXT PRIMARY KEY, cron TEXT NOT NULL, since DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS slots (schedule TEXT NOT NULL, planned BIGINT NOT NULL, state TEXT NOT NULL, "
    "outcome TEXT, reason TEXT NOT NULL, attempt INTEGER NOT NULL, token INTEGER NOT NULL, holder TEXT NOT NULL, "
    "beat INTEGER NOT NULL, due DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION NOT NULL, "
    "taken DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION, result TEXT NOT NULL, "
    "PRIMARY KEY (schedule, planned))",
    "CREATE INDEX IF NOT EXISTS open_slots ON slots (schedule) WHERE state != 'done'",
    "CREATE TABLE IF NOT EXISTS notices (schedule TEXT NOT NULL, planned BIGINT NOT NULL, channel TEXT NOT NULL, "
    "body TEXT NOT NULL, tries INTEGER NOT NULL, due DOUBLE PRECISION NOT NULL, "
    "PRIMARY KEY (schedule, planned, channel))",
)
CLOCK = 3600.0  # seconds that the clocks of several hosts may differ; beyond that, one of them was wrong


class Fenced(Exception):
    """Somebody else holds the slot by now."""


def connect(url: str) -> Database:
    """`sqlite:///PATH` or `postgresql://…` (the driver's name, as SQLAlchemy wants it, may be there)."""
    scheme, mark, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        from hpo.schedule.sqlite import Sqlite

        return Sqlite(Path(rest[1:]), SCHEMA)
    if mark and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        from hpo.schedule.postgres import Postgres

        return Postgres(f"postgresql://{rest}", SCHEMA)
    hint = "sqlite:///.hpo/schedule.db, or postgresql://user@host/database"
    raise InputError(Problem("the ledger's address is neither SQLite's nor PostgreSQL's", "--ledger", hint))


class Notice(NamedTuple):
    """Something to be told by a channel (webhook, email); kept until it is."""

    schedule: str
    planned: int
    channel: str
    body: Mapping[str, Any]
    tries: int = 0


class Ledger:
    def __init__(self, database: Database) -> None:
        self._db = database

    def close(self) -> None:
        self._db.close()

    # What a look may do, under the schedule's lock.

    @contextmanager
    def locked(self, schedule: str) -> Iterator[None]:
        with self._db.transaction(schedule):
            yield

    def handled(self, schedule: str, recurrence: Recurrence, now: float, lead: float) -> float:
        """The moment up to which all slots are dealt with. A schedule that is new, or means other slots than before,
        begins now, or with the last slot of `lead` seconds ago. What was written off beyond now was the mistake of a
        clock: it is forgotten."""
        cron = f"{recurrence.expression} {recurrence.timezone}"
        rows = self._db.execute("SELECT cron, since FROM schedules WHERE name = ?", schedule)
        if not rows or rows[0][0] != cron or rows[0][1] > now + CLOCK:
            recent = [*takewhile(lambda planned: planned <= now, recurrence.after(now - lead))]
            since = recent[-1] - 1.0 if recent else now
            self._db.execute(
                "INSERT INTO schedules (name, cron, since) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, since = excluded.since",
                schedule, cron, since,
            )  # fmt: skip
            rows = [(cron, since)]
        last = self._db.execute("SELECT max(planned) FROM slots WHERE schedule = ?", schedule)[0][0] or 0
        if last > now + CLOCK:
            self._db.execute(
                "DELETE FROM slots WHERE schedule = ? AND planned > ? AND outcome IN ('missed', 'skipped')",
                schedule, now + CLOCK,
            )  # fmt: skip
            last = self._db.execute(
                "SELECT max(planned) FROM slots WHERE schedule = ? AND planned <= ?", schedule, now + CLOCK
            )[0][0] or 0  # fmt: skip
        return float(max(rows[0][1], last))

    def open(self, schedule: str) -> Slot | None:
        found = self._slots("WHERE schedule = ? AND state != 'done'", schedule)
        return found[0] if found else None

    def claim(self, slot: Slot) -> bool:
        """Write a slot that has no row; False if it has one (a clock that was wrong may have been there before)."""
        return bool(self._db.execute(
            f"INSERT INTO slots ({_COLUMNS}, result) VALUES ({', '.join('?' * 14)}) "
            "ON CONFLICT (schedule, planned) DO NOTHING RETURNING planned",
            slot.schedule, slot.planned, slot.state, slot.outcome, slot.reason, slot.attempt, slot.token, slot.holder,
            slot.beat, slot.due, slot.started, slot.taken, slot.finished, json.dumps(clean(slot.result)),
        ))  # fmt: skip

    def write_off(self, schedule: str, planned: int, outcome: Outcome, reason: str, now: float) -> Slot | None:
        slot = Slot(schedule, planned, "done", outcome, reason, token=0, started=now, taken=now, finished=now)
        return slot if self.claim(slot) else None

    def take(self, slot: Slot, holder: str, now: float) -> Slot:
        """An open slot, from whoever held it. Fenced: it is not as it was when it was read."""
        rows = self._db.execute(
            "UPDATE slots SET state = 'running', token = token + 1, holder = ?, beat = 0, taken = ? "
            "WHERE schedule = ? AND planned = ? AND token = ? AND state = ? RETURNING token",
            holder, now, slot.schedule, slot.planned, slot.token, slot.state,
        )  # fmt: skip
        if not rows:
            raise Fenced
        return replace(slot, state="running", token=rows[0][0], holder=holder, beat=0, taken=now)

    # What the holder of a slot writes; Fenced as soon as it is no longer the holder.

    def beat(self, slot: Slot) -> None:
        self._own(slot, "beat = beat + 1")

    def wait(self, slot: Slot, due: float, attempt: int, reason: str) -> None:
        """Not done: to be taken up again at `due`, by anybody."""
        self._own(slot, "state = 'waiting', due = ?, attempt = ?, reason = ?", due, attempt, reason)

    def finish(self, slot: Slot, outcome: Outcome, reason: str, result: Mapping[str, Any], now: float) -> Slot:
        text = json.dumps(clean(result))
        self._own(slot, "state = 'done', outcome = ?, reason = ?, result = ?, finished = ?", outcome, reason, text, now)
        return replace(slot, state="done", outcome=outcome, reason=reason, result=result, finished=now)

    def _own(self, slot: Slot, change: str, *values: Any) -> None:
        if not self._db.execute(
            f"UPDATE slots SET {change} WHERE schedule = ? AND planned = ? AND token = ? AND state = 'running' "
            "RETURNING planned",
            *values, slot.schedule, slot.planned, slot.token,
        ):  # fmt: skip
            raise Fenced

    # What is there.

    def all_open(self) -> list[Slot]:
        return self._slots("WHERE state != 'done'")

    def history(self, schedule: str | None = None, limit: int = 20) -> list[Slot]:
        """The latest first."""
        if schedule is None:
            return self._slots("ORDER BY planned DESC, schedule LIMIT ?", limit)
        return self._slots("WHERE schedule = ? ORDER BY planned DESC LIMIT ?", schedule, limit)

    def names(self) -> list[str]:
        """All schedules that were ever looked at."""
        return [name for (name,) in self._db.execute("SELECT name FROM schedules ORDER BY name")]

    def last_search(self, schedule: str) -> Slot | None:
        """The latest slot that has something to be compared with."""
        names = ", ".join(f"'{outcome}'" for outcome in SEARCHED)
        found = self._slots(f"WHERE schedule = ? AND outcome IN ({names}) ORDER BY planned DESC LIMIT 1", schedule)
        return found[0] if found else None

    def skipped(self, schedule: str, since: Slot) -> list[Slot]:
        """Those after it with nothing to be learned, the oldest first."""
        where = "WHERE schedule = ? AND outcome = 'skipped' AND planned > ? ORDER BY planned"
        return self._slots(where, schedule, since.planned)

    def _slots(self, where: str, *values: Any) -> list[Slot]:
        rows = self._db.execute(f"SELECT {_COLUMNS}, result FROM slots {where}", *values)
        return [Slot(*(*row[:-1], json.loads(row[-1]))) for row in rows]

    # Notices.

    def notify(self, notice: Notice, now: float) -> None:
        self._db.execute(
            "INSERT INTO notices VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
            notice.schedule, notice.planned, notice.channel, json.dumps(notice.body), now,
        )  # fmt: skip

    def next_notice(self, now: float, pause: float, schedules: Sequence[str]) -> Notice | None:
        """One that is due, ours for `pause` seconds: if we die meanwhile, or it cannot be sent, it is due again."""
        for row in self._db.execute(
            f"SELECT schedule, planned, channel, body, tries FROM notices WHERE due <= ? "
            f"AND schedule IN ({', '.join('?' * len(schedules))}) ORDER BY due LIMIT 10",
            now, *schedules,
        ):  # fmt: skip
            notice = Notice(row[0], row[1], row[2], json.loads(row[3]), row[4] + 1)
            if self._db.execute(
                "UPDATE notices SET tries = tries + 1, due = ? "
                "WHERE schedule = ? AND planned = ? AND channel = ? AND tries = ? RETURNING tries",
                now + pause * 2 ** min(row[4], 8), *row[:3], row[4],
            ):  # fmt: skip
                return notice
        return None

    def told(self, notice: Notice) -> None:
        self._db.execute(
            "DELETE FROM notices WHERE schedule = ? AND planned = ? AND channel = ?",
            notice.schedule, notice.planned, notice.channel,
        )  # fmt: skip
