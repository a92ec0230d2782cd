from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime
from itertools import islice, pairwise, takewhile

import pytest

from hpo.recurrence import Recurrence, cron_problem, zone_problem

BERLIN = "Europe/Berlin"


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


def slots(cron: str, zone: str, begin: float, count: int) -> list[str]:
    recurrence = Recurrence(cron, zone)
    return [recurrence.local(planned) for planned in islice(recurrence.after(begin), count)]


def test_a_slot_is_strictly_later_and_in_the_zone() -> None:
    monday = at(2026, 11, 23, 2)
    assert slots("0 3 * * 1", BERLIN, monday, 2) == ["2026-11-30T03:00+01:00", "2026-12-07T03:00+01:00"]
    assert slots("0 3 * * 1", BERLIN, monday - 0.5, 1) == ["2026-11-23T03:00+01:00"]


def test_what_a_gap_swallows_runs_right_after_it() -> None:
    assert slots("30 2 * * *", BERLIN, at(2026, 3, 28), 3) == [
        "2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00",
    ]  # fmt: skip


def test_two_times_in_one_gap_are_one_slot() -> None:
    found = slots("0,30 2,3 * * *", BERLIN, at(2026, 3, 28, 12), 3)
    assert found == ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00", "2026-03-30T02:00+02:00"]


def test_what_comes_twice_runs_once() -> None:
    begin = at(2026, 10, 24, 12)
    assert slots("30 2 * * *", BERLIN, begin, 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    second = at(2026, 10, 25, 1, 15)  # a quarter past two, for the second time
    assert slots("30 2 * * *", BERLIN, second, 1) == ["2026-10-26T02:30+01:00"]


def test_an_hourly_slot_counts_real_hours() -> None:
    hours = [*islice(Recurrence("@hourly", BERLIN).after(at(2026, 10, 24, 22) - 1), 26)]
    assert {b - a for a, b in pairwise(hours)} == {3600}
    assert Recurrence("@hourly", BERLIN).local(hours[3]) == "2026-10-25T02:00+01:00"


@pytest.mark.parametrize("cron", ["0 * * * *", "30 2 * * *", "0,30 2,3 * * *", "15 1 1,15 * 5"])
@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe"])
def test_from_wherever_one_looks_the_slots_are_the_same(cron: str, zone: str) -> None:
    recurrence, begin, end = Recurrence(cron, zone), at(2026, 1, 1), at(2027, 1, 1)
    every = [*takewhile(lambda planned: planned < end, recurrence.after(begin))]
    draw = random.Random(cron + zone)
    for _ in range(300):
        moment = draw.uniform(begin, every[-1] - 1)
        assert recurrence.next(moment) == every[bisect_right(every, moment)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("61 * * * *", "bad minute"),
        ("* * * *", "five fields"),
        ("0 0 0 1 1 *", "five fields"),
        ("@dayly", "none of @yearly"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 3 * * MOON", "bad day-of-week"),
    ],
)
def test_what_is_wrong_with_an_expression(expression: str, said: str) -> None:
    assert said in (cron_problem(expression) or "")


def test_names_for_the_usual_ones() -> None:
    for name in ("@yearly", "@monthly", "@weekly", "@Daily", "@hourly", "0 3 * * MON", "0 0 29 2 *", "0 0 L * *"):
        assert cron_problem(name) is None
    assert slots("@weekly", "UTC", at(2026, 11, 23), 1) == ["2026-11-29T00:00+00:00"]


def test_a_zone_that_does_not_exist() -> None:
    assert zone_problem("Europe/Berlin") is None
    assert zone_problem("Europe/Berln") == ("there is no time zone 'Europe/Berln'", "did you mean 'Europe/Berlin'?")
    assert zone_problem("../etc/passwd") is not None
