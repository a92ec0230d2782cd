"""What a look at one schedule finds to do: which slots are written off, and which one starts. Pure.

Called by `hpo.schedule.scheduler` inside the ledger's lock on that schedule, so that what it decides is written before
anybody else looks. Every slot up to `handled` has a row, none after it has: a slot is written off or started in the
order of time, never out of it, or one in between would be forgotten without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from hpo.recurrence import Recurrence

LATE = 300.0  # seconds after which a slot that nobody has started counts as missed
NOTED = 1000  # of many slots in a row that were missed, so many of the latest get a row

State = Literal["running", "waiting", "done"]
Outcome = Literal["promoted", "kept", "searched", "skipped", "missed", "failed"]
SEARCHED = ("promoted", "kept", "searched")  # the outcomes that the next slot may be compared with


@dataclass(frozen=True)
class Slot:
    """A row of the ledger. `token` grows with every claim and fences off who lost it; `beat` grows while it is held.

    `waiting`: not done, and to be taken up again at `due`. `taken` is when the last holder began, `started` the first.
    """

    schedule: str
    planned: int
    state: State
    outcome: Outcome | None = None
    reason: str = ""
    attempt: int = 1
    token: int = 1
    holder: str = ""
    beat: int = 0
    due: float = 0.0
    started: float = 0.0
    taken: float = 0.0
    finished: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.schedule}@{self.planned}"


class Plan(NamedTuple):
    """`written_off`: (planned, outcome, reason) of slots that will not run; `start`: the one that does."""

    written_off: tuple[tuple[int, Outcome, str], ...] = ()
    start: int | None = None


def plan(recurrence: Recurrence, handled: float, open: Slot | None, now: float) -> Plan:
    """What is to be done now. `open` is the schedule's slot that is not done; there is at most one."""
    if open is not None and open.state == "waiting":
        return Plan(start=open.planned if open.due <= now else None)  # what came meanwhile is caught up on after it
    due = [*takewhile(lambda planned: planned <= now, recurrence.after(handled))]
    if open is not None:
        return Plan(_overlapped(recurrence, open, due))
    if recurrence.catch_up == "all":
        return Plan(start=due[0] if due else None)
    start = due.pop() if due and (recurrence.catch_up == "latest" or due[-1] >= now - LATE) else None
    reason = f"nobody was there at its time; catch_up: {recurrence.catch_up}"
    return Plan(tuple((planned, "missed", reason) for planned in due[-NOTED:]), start)


def _overlapped(recurrence: Recurrence, running: Slot, due: list[int]) -> tuple[tuple[int, Outcome, str], ...]:
    """Those that came while another one ran. One that had come before that is still to be caught up on."""
    if recurrence.overlap == "wait" or (due and due[0] <= running.taken):
        return ()
    reason = f"the slot of {recurrence.local(running.planned)} still runs"
    return tuple((planned, "skipped", reason) for planned in due[-NOTED:])


def back_off(attempt: int) -> float:
    """Seconds until a slot that has failed so many times is tried again: 5, 10, 20, 40, 60, 60, … minutes."""
    return float(min(300 * 2 ** (attempt - 1), 3600))
