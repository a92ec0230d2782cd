"""The scheduler: looks which slots are due, has them run, writes what became of them. Any number may share a ledger.

Driven by `run` (for ever) and `tick` (once), and by tests in virtual time. One thread, one loop: collect what has
ended, beat, take what is due, tell. A slot is claimed under the ledger's lock before its process starts, and its row is
finished after the process has ended; whoever dies in between is found out by the kernel's lock on this machine, by the
silence of its beats on another, and the same request is made again: what it asks for knows how to go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from hpo.recurrence import Recurrence
from hpo.schedule.database import LedgerError
from hpo.schedule.ledger import Fenced, Ledger
from hpo.schedule.notices import PAUSE, TRIES, Send, send, worth_telling
from hpo.schedule.process import Ended, Lock, Request
from hpo.schedule.slots import Outcome, Slot, back_off, plan

BEAT = 5.0  # seconds between two beats
SILENCE = 20.0  # without a beat that was written: our process is told to stop,
KILL = 30.0  # and killed so long after that,
LEASE = 75.0  # before others take the slot over
TAKES = 25  # a slot that was taken up so often kills whoever takes it


@dataclass(frozen=True)
class Job:
    """A schedule and what its slots ask for. `request` is the same each time, but for slot and predecessor."""

    name: str
    recurrence: Recurrence
    request: Request = field(default_factory=dict)


class Running(Protocol):
    def poll(self) -> Ended | None: ...
    def stop(self, number: int = signal.SIGTERM) -> None: ...


class Runner(Protocol):
    """How slots are run; `hpo.schedule.process.Processes`, or whatever a test needs."""

    holder: str

    def lock(self, slot: Slot) -> Lock | None: ...
    def alive(self, slot: Slot) -> bool | None: ...
    def start(self, slot: Slot, request: Request, lease: Lock) -> Running: ...
    def clear(self, slot: Slot, keep_log: bool) -> None: ...


class Clock(NamedTuple):
    """`now` is what the calendar says and may be set; `steady` only ever runs on."""

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class _Seen(NamedTuple):
    """Another machine's slot as it was when its beat last moved; `alive`: we have seen it move."""

    token: int
    beat: int
    since: float
    alive: bool


@dataclass
class _Held:
    """A slot of ours. `sure` is when we last knew that it is."""

    job: Job
    slot: Slot
    running: Running
    lease: Lock
    sure: float
    stopped: float | None = None
    ended: Ended | None = None


class Scheduler:
    """`lead`: how far back a schedule begins that the ledger has not seen; `at_once`: slots that run side by side."""

    def __init__(
        self, jobs: Sequence[Job], ledger: Ledger, runner: Runner, *, clock: Clock | None = None, at_once: int = 1,
        lead: float = 0.0, say: Callable[[str], None] = print, send: Send = send,
    ) -> None:  # fmt: skip
        self._jobs = {job.name: job for job in jobs}
        self._ledger = ledger
        self._runner = runner
        self._clock = clock or Clock()
        self._at_once = at_once
        self._lead = lead
        self._say = say
        self._send = send
        self._held: dict[str, _Held] = {}
        self._next: dict[str, tuple[float, float]] = {}  # from when to when a schedule needs no look
        self._seen: dict[str, _Seen] = {}
        self.stopping = False
        self.ended: list[Slot] = []  # what became of our slots, the waiting ones too

    @property
    def busy(self) -> bool:
        return bool(self._held)

    @property
    def waits(self) -> bool:
        """Whether a slot of ours is to be tried again later."""
        return any(slot.state == "waiting" and slot.schedule in self._jobs for slot in self._ledger.all_open())

    @property
    def unsure(self) -> bool:
        """Whether a slot of another machine is being watched, which may have to be taken over."""
        steady = self._clock.steady()
        return any(not seen.alive and steady - seen.since <= LEASE for seen in self._seen.values())

    def look(self) -> bool:
        """Once all that is to be done now; whether anything was. LedgerError: try again soon."""
        before = len(self.ended), {*self._held}
        self._collect()
        now = self._clock.now()
        if not self.stopping:
            open = {slot.schedule: slot for slot in self._ledger.all_open()}
            self._seen = {key: seen for key, seen in self._seen.items() if key in {s.key for s in open.values()}}
            for job in self._jobs.values():
                looked, next = self._next.get(job.name, (now, now))
                if job.name in open or not looked <= now < next:  # a clock that was set back: look again
                    self._take(job, now)
        self._tell(now)
        return before != (len(self.ended), {*self._held})

    def stop(self) -> None:
        """Start nothing more; what runs is told to stop, and will be gone on with."""
        self.stopping = True
        for held in self._held.values():
            self._stop(held)

    # What is ours.

    def _collect(self) -> None:
        """Beat for what runs, write down what has ended. The process is watched whatever the ledger says."""
        trouble: LedgerError | None = None
        for held in [*self._held.values()]:
            held.ended = held.ended or held.running.poll()
            try:
                if held.ended is not None:
                    self._conclude(held, held.ended)
                elif self._clock.steady() - held.sure >= BEAT:
                    self._ledger.beat(held.slot)
                    held.sure = self._clock.steady()
            except Fenced:
                self._say(f"{self._name(held.slot)}: taken over by another scheduler")
                held.running.stop(signal.SIGKILL)
                self._drop(held)
            except LedgerError as error:
                trouble = error
            self._watch(held)
        if trouble is not None:
            raise trouble

    def _watch(self, held: _Held) -> None:
        steady = self._clock.steady()
        if held.ended is None and held.stopped is None and steady - held.sure > SILENCE:
            self._say(f"{self._name(held.slot)}: stopped, the ledger cannot be reached")
            self._stop(held)
        if held.ended is None and held.stopped is not None and steady - held.stopped > KILL:
            held.running.stop(signal.SIGKILL)

    def _stop(self, held: _Held) -> None:
        if held.stopped is None:
            held.stopped = self._clock.steady()
            held.running.stop()

    def _conclude(self, held: _Held, ended: Ended) -> None:
        now, slot, recurrence = self._clock.now(), held.slot, held.job.recurrence
        if ended.outcome is not None:
            outcome, reason = cast(Outcome, ended.outcome["outcome"]), str(ended.outcome.get("reason", ""))
            slot = self._finish(held, outcome, reason, ended.outcome, now)
        elif held.stopped is not None:
            self._ledger.wait(slot, now, slot.attempt, "interrupted")
            slot = replace(slot, state="waiting", reason="interrupted")
        elif slot.attempt > recurrence.retries:
            slot = self._finish(held, "failed", ended.trouble, {"code": ended.code}, now)
        else:
            due = now + back_off(slot.attempt)
            self._ledger.wait(slot, due, slot.attempt + 1, ended.trouble)
            slot = replace(slot, state="waiting", due=due, reason=ended.trouble, result={"code": ended.code})
        self._drop(held)
        self.ended.append(slot)
        again = f"; again at {recurrence.local(slot.due)}" if slot.due and slot.state == "waiting" else ""
        self._say(f"{self._name(slot)}: {slot.outcome or 'not done'}: {slot.reason or '-'}{again}")

    def _finish(self, held: _Held, outcome: Outcome, reason: str, result: Mapping[str, Any], now: float) -> Slot:
        with self._ledger.locked(held.slot.schedule):
            done = self._ledger.finish(held.slot, outcome, reason, result, now)
            self._announce(held.job, done, 1, now)
        return done

    def _drop(self, held: _Held) -> None:
        self._runner.clear(held.slot, keep_log=held.ended is None or held.ended.outcome is None)
        held.lease.release()
        del self._held[held.slot.key]

    # What is to become ours.

    def _take(self, job: Job, now: float) -> None:
        """Under the schedule's lock: write off what is missed, claim what is due, or take over what is orphaned."""
        with self._ledger.locked(job.name):
            slot, lease = self._claim(job, now)
            if slot is not None and slot.token > TAKES:
                done = self._ledger.finish(slot, "failed", f"taken up {TAKES} times, and never ended", {}, now)
                self._announce(job, done, 1, now)
            previous = self._ledger.last_search(job.name) if slot is not None else None
            skipped = self._ledger.skipped(job.name, previous) if previous is not None else []
        if slot is None or lease is None:
            return
        if slot.token > TAKES:
            lease.release()
            return
        request = {**job.request, "schedule": job.name, "planned": slot.planned}
        request |= {"at": job.recurrence.local(slot.planned), "previous": previous and dict(previous.result)}
        request["skipped"] = _skips(job, skipped)
        self._say(f"{self._name(slot)}: " + ("begun" if slot.token == 1 else "gone on with"))
        running = self._runner.start(slot, request, lease)
        self._held[slot.key] = _Held(job, slot, running, lease, self._clock.steady())

    def _claim(self, job: Job, now: float) -> tuple[Slot | None, Lock | None]:
        open = self._ledger.open(job.name)
        if open is not None and open.state == "running" and open.key not in self._held and self._is_lost(open):
            return self._lock_and(open, partial(self._ledger.take, open, self._runner.holder, now))
        handled = self._ledger.handled(job.name, job.recurrence, now, self._lead)
        found = plan(job.recurrence, handled, open, now)
        if found.start is not None and len(self._held) >= self._at_once:
            return None, None  # another scheduler may have room; until then it is just late
        written = [self._ledger.write_off(job.name, *lost, now) for lost in found.written_off]
        if done := [slot for slot in written if slot is not None]:
            self._announce(job, done[-1], len(done), now)
            self._say(f"{self._name(done[-1])}: {done[-1].outcome}: {done[-1].reason}; {len(done)} in all")
        if open is None:
            self._next[job.name] = (now, job.recurrence.next(found.start or max(handled, now)) or float("inf"))
        if found.start is None:
            return None, None
        if open is not None:
            return self._lock_and(open, partial(self._ledger.take, open, self._runner.holder, now))
        new = Slot(job.name, found.start, "running", holder=self._runner.holder, started=now, taken=now, due=now)
        return self._lock_and(new, lambda: new if self._ledger.claim(new) else None)

    def _lock_and(self, slot: Slot, write: Callable[[], Slot | None]) -> tuple[Slot | None, Lock | None]:
        """The machine's lock first: a row that is running has somebody who holds it, or nobody who lives."""
        written = None
        if len(self._held) < self._at_once and (lease := self._runner.lock(slot)) is not None:
            try:
                written = write()
            except Fenced:  # somebody was faster
                pass
            finally:
                if written is None:
                    lease.release()
            if written is not None:
                return written, lease
        self._next.pop(slot.schedule, None)
        return None, None

    def _is_lost(self, slot: Slot) -> bool:
        """By the kernel's word if it can give one; else if its beat has not moved for as long as a lease lasts."""
        alive = self._runner.alive(slot)
        if alive is not None:
            self._seen.pop(slot.key, None)
            return not alive
        seen, steady = self._seen.get(slot.key), self._clock.steady()
        if seen is not None and (seen.token, seen.beat) == (slot.token, slot.beat):
            return steady - seen.since > LEASE
        self._seen[slot.key] = _Seen(slot.token, slot.beat, steady, alive=seen is not None)
        return False

    # What others are to know.

    def _announce(self, job: Job, slot: Slot, new: int, now: float) -> None:
        for notice in worth_telling(job.recurrence, slot, new, partial(self._ledger.history, job.name, 1000)):
            self._ledger.notify(notice, now)

    def _tell(self, now: float) -> None:
        """One notice a look: a server that does not answer must not keep us from beating."""
        if not any(job.recurrence.notify.channels for job in self._jobs.values()):
            return
        notice = self._ledger.next_notice(now, PAUSE, [*self._jobs])
        if notice is None:
            return
        trouble = self._send(notice, self._jobs[notice.schedule].recurrence.notify)
        if trouble is None or notice.tries >= TRIES:
            self._ledger.told(notice)
        if trouble is not None:
            self._say(f"{notice.schedule}: not told by {notice.channel}, try {notice.tries} of {TRIES}: {trouble}")

    def _name(self, slot: Slot) -> str:
        return f"{slot.schedule} {self._jobs[slot.schedule].recurrence.local(slot.planned)}"


def _skips(job: Job, slots: Sequence[Slot]) -> str | None:
    """In one line, however many: what the next sweep's run says of those that needed none."""
    if not slots:
        return None
    first, last = (job.recurrence.local(slots[k].planned) for k in (0, -1))
    return f"{first if len(slots) == 1 else f'{len(slots)} slots, {first} to {last}'}: {slots[-1].reason}"
