from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpo.recurrence import Recurrence
from hpo.schedule.slots import NOTED, Slot, back_off, plan

HOUR = 3600
NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())


def hourly(**keys: Any) -> Recurrence:
    return Recurrence("@hourly", **keys)


def running(planned: int = NOON, taken: float = NOON) -> Slot:
    return Slot("flights", planned, "running", taken=taken, started=taken)


def test_before_its_time_there_is_nothing_to_do() -> None:
    assert plan(hourly(), NOON, None, NOON + HOUR - 1) == ((), None)


def test_a_slot_starts_at_its_time() -> None:
    assert plan(hourly(), NOON, None, NOON + HOUR) == ((), NOON + HOUR)


def test_of_many_that_were_missed_the_latest_runs() -> None:
    found = plan(hourly(), NOON, None, NOON + 3 * HOUR + 1800)
    assert [(planned, outcome) for planned, outcome, _ in found.written_off] == [
        (NOON + HOUR, "missed"), (NOON + 2 * HOUR, "missed"),
    ]  # fmt: skip
    assert found.start == NOON + 3 * HOUR


def test_or_all_of_them_in_their_order() -> None:
    assert plan(hourly(catch_up="all"), NOON, None, NOON + 3 * HOUR) == ((), NOON + HOUR)


def test_or_none_unless_it_is_hardly_late() -> None:
    late = plan(hourly(catch_up="none"), NOON, None, NOON + 2 * HOUR + 301)
    assert ([planned for planned, _, _ in late.written_off], late.start) == ([NOON + HOUR, NOON + 2 * HOUR], None)
    assert plan(hourly(catch_up="none"), NOON, None, NOON + 2 * HOUR + 299).start == NOON + 2 * HOUR


def test_a_slot_that_comes_while_one_runs_is_left_out_or_waits() -> None:
    found = plan(hourly(), NOON, running(), NOON + HOUR)
    assert [(planned, outcome) for planned, outcome, _ in found.written_off] == [(NOON + HOUR, "skipped")]
    assert "still runs" in found.written_off[0][2]
    assert plan(hourly(overlap="wait"), NOON, running(), NOON + HOUR) == ((), None)


def test_what_was_due_before_the_running_one_was_taken_is_caught_up_on_later() -> None:
    """Nor may a later one be written off before it, which would hide it for ever."""
    late = running(taken=NOON + 2 * HOUR + 60)
    assert plan(hourly(), NOON, late, NOON + 5 * HOUR) == ((), None)


def test_a_slot_that_waits_goes_first_and_when_it_is_due() -> None:
    waiting = replace(running(), state="waiting", due=NOON + 600.0)
    assert plan(hourly(), NOON, waiting, NOON + 599) == ((), None)
    assert plan(hourly(), NOON, waiting, NOON + 600) == ((), NOON)


def test_years_without_anybody_leave_a_row_for_the_latest_only() -> None:
    found = plan(hourly(), NOON, None, NOON + 2000 * HOUR)
    assert len(found.written_off) == NOTED
    assert found.start == NOON + 2000 * HOUR


def test_a_failed_slot_is_tried_again_ever_later() -> None:
    assert [back_off(attempt) / 60 for attempt in range(1, 7)] == [5, 10, 20, 40, 60, 60]
