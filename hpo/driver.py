"""The heart of a search: ask, record, run, record, tell, until the budget is spent.

Called by `hpo.search` with the parts it has built. What happened is recorded before anybody acts on it: a crash
between two lines costs a trial another run, and never a result. Who searches and where trials run come from outside.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Container, Sequence, Sized
from dataclasses import replace
from typing import Protocol

from hpo.executors import Executor, share
from hpo.executors.port import KeepTrial
from hpo.interrupts import Interrupts
from hpo.journal import Journal
from hpo.progress import Progress, Show
from hpo.searchers import Searcher, SpaceExhausted
from hpo.steering import Steering
from hpo.stopping import Stopping
from hpo.sweep import Sweep
from hpo.trial import Report, Trial

GRACE = 10.0  # seconds that running trials get after the first Ctrl-C
SHARE = 0.02  # of the slots' time that may be spent waiting for the searcher
TICK = 0.5  # seconds after which a waiting driver looks at clock, signals and display


class Clock(Protocol):
    """What the loop needs of time; the module `time` is one."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...


def drive(
    journal: Journal,
    searcher: Searcher,
    executor: Executor,
    progress: Progress,
    interrupts: Interrupts,
    show: Show,
    clock: Clock = time,
) -> None:
    """Ask, record, run, record, tell. Results and the starts that follow from them share one commit.

    The searcher is new, and told here what an earlier driver had.
    """
    for trial in progress.trials.values():
        searcher.tell(trial)
    steering = Steering(journal, progress, executor.stop)
    due = _Due(progress, interrupts, clock)
    ahead = _Ahead(searcher, clock, steering)
    unfinished = progress.unfinished
    finished: list[Trial] = []
    keep = _Keep(searcher, steering.condemned) if progress.sweep.pruner else None
    while True:
        steering.look()
        started: list[Trial] = []
        asked = 0  # of those started: another attempt has its number already
        progress.add(*finished)
        try:
            for trial in finished:
                searcher.tell(trial)
                ahead.learn(trial)
            may = not interrupts and not steering.paused
            while may and executor.free > len(started) and (unfinished or due(asked, ahead.asked)):
                trial = unfinished.pop(0) if unfinished else ahead.take(len(progress.trials) + asked)
                asked += trial.number not in progress.trials
                started.append(replace(trial, started=clock.time()))
        except SpaceExhausted:
            due.exhausted = True
        finally:
            # Whatever became of the searcher: a result that is here is kept, a start is known before it happens.
            progress.seconds = due.seconds
            news = steering.news([trial.number for trial in started])
            if finished or started or news:
                journal.record(*finished, *started, seconds=progress.seconds, **news)
        progress.add(*started)
        for trial in started:
            executor.submit(trial)
        show(progress)
        # A cluster may have no room now, and have some later.
        waiting = not interrupts and (unfinished or due(0, ahead.asked))
        if due.grace_is_over or not (executor.busy or waiting or steering.look()):
            journal.record(seconds=progress.seconds, **steering.close())
            return
        if steering.paused and not executor.busy:
            time.sleep(TICK)
        finished = []
        for trial in ahead.wait(executor, keep, len(progress.trials), due):
            if _worth_another_attempt(trial, progress.sweep):
                unfinished.append(trial.again())
            else:
                finished.append(trial)


class _Ahead:
    """Trials asked for while all slots were busy, so that none of them waits for the searcher when it is free.

    What is asked early is asked with less knowledge, so only where it pays: when the slots would otherwise wait for
    more than `SHARE` of their time. One slot never does: its trials are asked for one after the other, each after all
    results before it, and a resumed sweep asks the same.
    """

    def __init__(self, searcher: Searcher, clock: Clock, steering: Steering) -> None:
        self.asked: deque[Trial] = deque()
        self._searcher = searcher
        self._steering = steering
        self._clock = clock
        self._asking = 0.0  # seconds an ask, of late
        self._trying = math.inf  # seconds a trial, of late

    def take(self, number: int) -> Trial:
        """Trial `number`, asked for already or now."""
        return self.asked.popleft() if self.asked else self._ask(number)

    def learn(self, trial: Trial) -> None:
        self._trying = _blend(self._trying, trial.seconds)

    def wait(self, executor: Executor, keep: KeepTrial | None, count: int, due: _Due) -> Sequence[Trial]:
        """The results that come next; until one is here, ask for what will be started after it. `count`: trials so far.

        SpaceExhausted is left to the loop, which starts what was asked for before it.
        """
        slots = executor.free + executor.busy
        came: Sequence[Trial] = ()
        while len(self.asked) < slots and self._pays(slots) and due(len(self.asked)) and not came:
            try:
                self.asked.append(self._ask(count + len(self.asked)))
            except SpaceExhausted:
                due.exhausted = True
            came = executor.wait(keep, timeout=0.0)
        return came or executor.wait(keep, timeout=TICK)

    def _pays(self, slots: int) -> bool:
        return slots > 1 and not self._steering.paused and slots * self._asking > SHARE * self._trying

    def _ask(self, number: int) -> Trial:
        if (wished := self._steering.next(number)) is not None:
            trial = Trial(number, wished)
            self._searcher.tell(trial)  # as it is told of a trial that was asked before a resume
            return trial
        begun = self._clock.monotonic()
        trial = self._searcher.ask(number)
        self._asking = _blend(self._asking, self._clock.monotonic() - begun)
        return trial


class _Keep:
    """The searcher's answer to a report, unless a person has answered it."""

    def __init__(self, searcher: Searcher, condemned: Container[int]) -> None:
        self._searcher = searcher
        self._condemned = condemned

    def __call__(self, number: int, report: Report) -> bool:
        return self._searcher.keep(number, report) and number not in self._condemned


def _blend(before: float, now: float) -> float:
    """A mean that forgets."""
    return now if not before or math.isinf(before) else 0.9 * before + 0.1 * now


class _Due:
    """Whether another trial may start: the budget, the clock, failures in a row, and the user's patience."""

    def __init__(self, progress: Progress, interrupts: Interrupts, clock: Clock) -> None:
        self.exhausted = False
        self._clock = clock
        self._progress = progress
        self._interrupts = interrupts
        self._before = progress.seconds
        self._begun = clock.monotonic()
        self._interrupted: float | None = None
        self._idle = 0.0  # seconds that it was paused for
        self._looked = self._begun
        self._stopping = Stopping(progress, share(progress.sweep)[1])

    @property
    def seconds(self) -> float:
        """Without the time that it was paused for."""
        now = self._clock.monotonic()
        self._idle += (now - self._looked) * self._progress.paused
        self._looked = now
        return self._before + now - self._begun - self._idle

    def __call__(self, starting: int, asked: Sized = ()) -> bool:
        """Beside so many that are starting; what was `asked` for before the space was exhausted may still start."""
        search = self._progress.sweep.search
        if len(self._progress.trials) + starting >= search.trials or (self.exhausted and not asked):
            return False
        if search.timeout is not None and self.seconds >= search.timeout:
            return False
        if self._stopping.is_spent or self._progress.hopeless:
            return False
        self._progress.enough = self._progress.enough or self._stopping.why()
        return self._progress.enough is None

    @property
    def grace_is_over(self) -> bool:
        if self._interrupts and self._interrupted is None:
            self._interrupted = self._clock.monotonic()
            self._progress.stage = "stopping"
        return self._interrupted is not None and self._clock.monotonic() > self._interrupted + GRACE


def _worth_another_attempt(trial: Trial, sweep: Sweep) -> bool:
    return trial.failure is not None and trial.failure.transient and trial.attempt <= sweep.limits.retries
