"""The loop in virtual time: a clock that the test sets, and processes that end when it says so."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpo.recurrence import Notify, Recurrence
from hpo.schedule.ledger import Ledger, Notice, connect
from hpo.schedule.process import Ended
from hpo.schedule.scheduler import KILL, LEASE, SILENCE, TAKES, Clock, Job, Scheduler
from hpo.schedule.slots import Slot

KEPT = Ended(0, {"outcome": "kept", "reason": "no better"})
NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
HOUR = 3600


class Lock:
    def __init__(self, held: set[str], key: str) -> None:
        self._held, self._key = held, key

    def fileno(self) -> int:
        return -1

    def release(self) -> None:
        self._held.discard(self._key)


class Process:
    def __init__(self, key: str, ends: Ended | None) -> None:
        self.key, self.ended = key, ends
        self.signals: list[int] = []

    def poll(self) -> Ended | None:
        return self.ended

    def stop(self, number: int = 15) -> None:
        self.signals.append(number)


class Machine:
    """Where schedulers run: processes begin and end, locks are seen, the clock is set by hand."""

    def __init__(self, folder: Path, ends: Ended | None = KEPT) -> None:
        self.now, self.steady = float(NOON), 0.0
        self.ends = ends
        self.url = f"sqlite:///{folder}/schedule.db"
        self.ran: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.requests: list[Mapping[str, Any]] = []
        self.locks: set[str] = set()
        self.told: list[Notice] = []
        self.holder = "kernel/1"

    def lock(self, slot: Slot) -> Lock | None:
        if slot.key in self.locks:
            return None
        self.locks.add(slot.key)
        return Lock(self.locks, slot.key)

    def alive(self, slot: Slot) -> bool | None:
        return slot.key in self.locks if slot.holder == self.holder else None

    def start(self, slot: Slot, request: Mapping[str, Any], lease: Any) -> Process:
        self.ran[slot.key] += 1
        self.requests.append(request)
        self.processes.append(Process(slot.key, self.ends))
        return self.processes[-1]

    def clear(self, slot: Slot, keep_log: bool) -> None:
        pass

    def scheduler(self, *jobs: Job, **options: Any) -> Scheduler:
        """`holder`: of another machine than ours."""
        clock = Clock(lambda: self.now, lambda: self.steady, lambda seconds: None)
        self.ledger = Ledger(connect(self.url))
        return Scheduler(jobs, self.ledger, self, clock=clock, say=lambda text: None, send=self._tell, **options)

    def _tell(self, notice: Notice, notify: Notify) -> str | None:
        self.told.append(notice)
        return None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.ledger.close()


def settle(scheduler: Scheduler) -> None:
    while scheduler.look():
        pass


def an_hour_later(machine: Machine, scheduler: Scheduler) -> Scheduler:
    machine.sleep(HOUR)
    settle(scheduler)
    return scheduler


def begun(machine: Machine, *jobs: Job) -> Scheduler:
    """A scheduler that began at noon, and has looked after an hour, when the first slot was due."""
    scheduler = machine.scheduler(*(jobs or [hourly()]))
    settle(scheduler)
    return an_hour_later(machine, scheduler)


def hourly(**keys: Any) -> Job:
    return Job("flights", Recurrence("@hourly", **keys))


def outcomes(machine: Machine) -> list[tuple[float, str | None]]:
    """(hours after noon, outcome or state) of each slot, the first of them first."""
    return [((s.planned - NOON) / HOUR, s.outcome or s.state) for s in reversed(machine.ledger.history("flights"))]


def test_two_years_of_hourly_and_weekly_slots_in_two_zones_run_once_each(tmp_path: Path) -> None:
    """Over eight changes of the clock, each slot once and none besides. On a file without fsync, for speed alone."""
    machine = Machine(tmp_path)
    begin, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2026, 2028))
    jobs = [
        Job(f"{cron} {zone}", Recurrence(cron, zone))
        for cron in ("@hourly", "30 2 * * 0")
        for zone in ("Europe/Berlin", "America/New_York")
    ]
    machine.now = begin
    scheduler = machine.scheduler(*jobs, at_once=4)
    machine.ledger._db.execute("PRAGMA synchronous=OFF")
    settle(scheduler)
    upcoming = {job.name: job.recurrence.next(begin) or 0 for job in jobs}
    planned: set[str] = set()
    while (moment := min(upcoming.values())) < end:
        machine.sleep(moment - machine.now)
        settle(scheduler)
        for job in jobs:
            if upcoming[job.name] == moment:
                planned.add(f"{job.name}@{moment}")
                upcoming[job.name] = job.recurrence.next(moment) or 0
    machine.ledger.close()
    assert {*machine.ran} == planned
    assert {*machine.ran.values()} == {1}
    assert Counter(key.rpartition("@")[0] for key in planned) == {
        "@hourly Europe/Berlin": 17_519, "@hourly America/New_York": 17_519,  # the two years less their first moment
        "30 2 * * 0 Europe/Berlin": 104, "30 2 * * 0 America/New_York": 104,
    }  # fmt: skip


def test_a_slot_gets_what_became_of_the_last_search(machine: Machine) -> None:
    machine.ends = Ended(0, {"outcome": "promoted", "reason": "", "score": 0.7})
    scheduler = begun(machine, Job("flights", Recurrence("@hourly", "Europe/Berlin"), {"space": "flights.yaml"}))
    an_hour_later(machine, scheduler)
    assert machine.requests[0] == {
        "space": "flights.yaml", "schedule": "flights", "planned": NOON + HOUR, "at": "2026-11-23T14:00+01:00",
        "previous": None,
        "skipped": None,
    }  # fmt: skip
    assert machine.requests[1]["previous"]["score"] == 0.7


def test_a_failed_slot_is_tried_again_and_then_given_up(machine: Machine) -> None:
    machine.ends = Ended(3, None, "exit code 3: no usable model")
    scheduler = begun(machine, hourly(retries=2))
    for minutes in (4.9, 0.2, 9.7, 0.4):
        assert outcomes(machine) == [(1, "waiting")]
        machine.sleep(60 * minutes)
        settle(scheduler)
    assert outcomes(machine) == [(1, "failed")]
    assert machine.ran == {f"flights@{NOON + HOUR}": 3}
    assert [slot.state for slot in scheduler.ended] == ["waiting", "waiting", "done"]
    assert machine.ledger.history("flights")[0].reason == "exit code 3: no usable model"


def test_a_slot_that_comes_while_one_runs(machine: Machine) -> None:
    machine.ends = None
    scheduler = begun(machine)
    an_hour_later(machine, scheduler)
    machine.processes[0].ended = KEPT
    settle(scheduler)
    an_hour_later(machine, scheduler)
    assert outcomes(machine) == [(1, "kept"), (2, "skipped"), (3, "running")]


def test_what_runs_is_gone_on_with_after_a_stop(machine: Machine) -> None:
    machine.ends = None
    scheduler = begun(machine)
    scheduler.stop()
    assert machine.processes[0].signals == [15]
    machine.processes[0].ended = Ended(143, None, "exit code 143")
    settle(scheduler)
    assert not scheduler.busy
    assert outcomes(machine) == [(1, "waiting")]
    machine.ledger.close()
    machine.ends = KEPT
    machine.sleep(3 * HOUR)
    settle(machine.scheduler(hourly()))
    assert outcomes(machine) == [(1, "kept"), (2, "missed"), (3, "missed"), (4, "kept")]
    assert machine.ran == {f"flights@{NOON + HOUR}": 2, f"flights@{NOON + 4 * HOUR}": 1}


def test_a_process_that_does_not_stop_is_killed(machine: Machine) -> None:
    machine.ends = None
    scheduler = begun(machine)
    scheduler.stop()
    machine.sleep(KILL - 1)
    scheduler.look()
    assert machine.processes[0].signals == [15]
    machine.sleep(2)
    scheduler.look()
    assert machine.processes[0].signals == [15, 9]


def test_a_dead_schedulers_slot_is_taken_over_at_once_on_its_machine(machine: Machine) -> None:
    machine.ends = None
    begun(machine)
    machine.ledger.close()
    machine.sleep(1)
    other = machine.scheduler(hourly())
    settle(other)
    assert sum(machine.ran.values()) == 1  # somebody still holds the lock
    machine.locks.clear()
    machine.ends = KEPT
    settle(other)
    assert machine.ran == {f"flights@{NOON + HOUR}": 2}
    assert outcomes(machine) == [(1, "kept")]


def test_and_from_another_machine_when_its_beat_has_stood_still(machine: Machine) -> None:
    machine.ends = None
    remote = begun(machine)
    far = machine.ledger
    machine.holder = "other kernel/1"
    machine.locks.clear()
    local = machine.scheduler(hourly())
    for _ in range(30):  # it lives: each look sees another beat
        machine.sleep(10)
        remote.look()
        local.look()
    assert sum(machine.ran.values()) == 1
    assert not local.unsure
    machine.sleep(LEASE - 1)
    local.look()
    assert sum(machine.ran.values()) == 1
    machine.ends = KEPT
    machine.sleep(2)
    settle(local)
    assert machine.ran == {f"flights@{NOON + HOUR}": 2}
    machine.processes[0].ended = KEPT  # the first was not dead, only frozen: what it says counts no more
    settle(remote)
    assert not remote.busy
    assert outcomes(machine) == [(1, "kept")]
    far.close()


def test_a_tick_that_finds_another_machines_slot_stays_until_it_knows(machine: Machine) -> None:
    machine.ends = None
    begun(machine)
    machine.ledger.close()
    machine.holder = "other kernel/1"
    machine.locks.clear()
    tick = machine.scheduler(hourly())
    tick.look()
    assert tick.unsure
    machine.sleep(LEASE + 1)
    machine.ends = KEPT
    settle(tick)
    assert outcomes(machine) == [(1, "kept")]


def test_without_its_ledger_a_scheduler_stops_before_others_take_over(machine: Machine, tmp_path: Path) -> None:
    machine.ends = None
    scheduler = begun(machine)
    machine.ledger._db.execute("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(tmp_path / "schedule.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")  # nobody can write
        seconds = 0
        while not machine.processes[0].signals:
            machine.sleep(1)
            seconds += 1
            with pytest.raises(Exception, match="locked"):
                scheduler.look()
            assert seconds + KILL < LEASE
        assert seconds > SILENCE
        other.execute("ROLLBACK")
    machine.ends = KEPT
    machine.processes[0].ended = Ended(143, None)
    settle(scheduler)  # and goes on by itself
    assert outcomes(machine) == [(1, "kept")]
    assert [slot.reason for slot in scheduler.ended] == ["interrupted", "no better"]


def test_a_slot_that_kills_whoever_takes_it_is_given_up(machine: Machine) -> None:
    machine.ends = None
    for left in reversed(range(TAKES + 2)):
        settle(machine.scheduler(hourly(), lead=HOUR))
        machine.locks.clear()
        if left:
            machine.ledger.close()
    assert sum(machine.ran.values()) == TAKES
    assert outcomes(machine) == [(0, "failed")]


def test_a_clock_that_is_set_does_no_harm(machine: Machine) -> None:
    scheduler = machine.scheduler(hourly())
    settle(scheduler)
    for hour in range(1, 4):
        machine.now = NOON + hour * HOUR
        settle(scheduler)
        machine.now -= 2 * HOUR  # back
        settle(scheduler)
    machine.now = NOON + 100_000 * HOUR  # wrong by years
    settle(scheduler)
    for hour in range(4, 7):
        machine.now = NOON + hour * HOUR
        settle(scheduler)
    assert {*machine.ran.values()} == {1}
    ran = sorted(int(key.rpartition("@")[2]) for key in machine.ran)
    assert [(planned - NOON) / HOUR for planned in ran] == [1, 2, 3, 4, 5, 6, 100_000]


def test_slots_of_several_schedules_wait_for_room(machine: Machine) -> None:
    machine.ends = None
    jobs = [Job(name, Recurrence("@hourly")) for name in ("a", "b")]
    scheduler = begun(machine, *jobs)
    assert [process.key for process in machine.processes] == [f"a@{NOON + HOUR}"]
    machine.processes[0].ended = KEPT
    settle(scheduler)
    assert [process.key for process in machine.processes] == [f"a@{NOON + HOUR}", f"b@{NOON + HOUR}"]


def test_what_is_worth_telling_is_told_once(machine: Machine) -> None:
    scheduler = machine.scheduler(hourly(retries=0, notify=Notify("HOOK", skipped=3, failed=2)))
    settle(scheduler)
    skipped, failed = Ended(0, {"outcome": "skipped", "reason": "nothing has changed"}), Ended(1, None, "exit code 1")
    promoted = Ended(0, {"outcome": "promoted", "reason": "better", "diff": "roc_auc 0.7 -> 0.8"})
    for machine.ends in (promoted, *[skipped] * 7, failed, failed, failed, KEPT, failed):
        an_hour_later(machine, scheduler)
    assert [(notice.body["event"], notice.body["in_a_row"]) for notice in machine.told] == [
        ("promoted", 1), ("skipped", 3), ("skipped", 6), ("failed", 2),
    ]  # fmt: skip
    assert "since last time: roc_auc 0.7 -> 0.8" in machine.told[0].body["text"]


def test_a_notice_that_cannot_be_sent_is_sent_later(tmp_path: Path) -> None:
    class Deaf(Machine):
        def _tell(self, notice: Notice, notify: Notify) -> str | None:
            super()._tell(notice, notify)
            return "refused" if len(self.told) < 3 else None

    machine = Deaf(tmp_path, Ended(0, {"outcome": "promoted", "reason": ""}))
    scheduler = begun(machine, hourly(notify=Notify("HOOK")))
    for seconds, tries in ((1, 1), (60, 2), (60, 2), (60, 3), (600, 3)):
        machine.sleep(seconds)
        settle(scheduler)
        assert len(machine.told) == tries
    machine.ledger.close()
    assert os.path.exists(tmp_path / "schedule.db")
