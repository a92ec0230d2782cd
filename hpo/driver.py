"""The heart of a search: ask, record, run, record, tell, until the budget is spent.

Called by `hpo.search` with the parts it has built. What happened is recorded before anybody acts on it: a crash
between two lines costs a trial another run, and never a result. Who searches and where trials run come from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from hpo.executors import Executor, share
from hpo.interrupts import Interrupts
from hpo.journal import Journal
from hpo.progress import Progress
from hpo.searchers import Searcher, SpaceExhausted
from hpo.stopping import Stopping
from hpo.sweep import Sweep
from hpo.trial import Trial

GRACE = 10.0  # seconds that running trials get after the first Ctrl-C
TICK = 0.5  # seconds after which a waiting driver looks at clock, signals and display

Show = Callable[[Progress], None]


def drive(
    journal: Journal,
    searcher: Searcher,
    executor: Executor,
    progress: Progress,
    interrupts: Interrupts,
    show: Show,
) -> None:
    """Ask, record, run, record, tell. Results and the starts that follow from them share one commit.

    The searcher is new, and told here what an earlier driver had.
    """
    for trial in progress.trials.values():
        searcher.tell(trial)
    due = _Due(progress, interrupts)
    unfinished = progress.unfinished
    finished: list[Trial] = []
    keep = searcher.keep if progress.sweep.pruner else None
    while True:
        started: list[Trial] = []
        asked = 0  # of those started: another attempt has its number already
        progress.add(*finished)
        try:
            for trial in finished:
                searcher.tell(trial)
            while executor.free > len(started) and not interrupts and (unfinished or due(asked)):
                trial = unfinished.pop(0) if unfinished else searcher.ask(len(progress.trials) + asked)
                asked += trial.number not in progress.trials
                started.append(replace(trial, started=time.time()))
        except SpaceExhausted:
            due.exhausted = True
        finally:
            # Whatever became of the searcher: a result that is here is kept, a start is known before it happens.
            progress.seconds = due.seconds
            if finished or started:
                journal.record(*finished, *started, seconds=progress.seconds)
        progress.add(*started)
        for trial in started:
            executor.submit(trial)
        show(progress)
        waiting = not interrupts and (unfinished or due(0))  # a cluster may have no room now, and have some later
        if due.grace_is_over or not (executor.busy or waiting):
            return
        finished = []
        for trial in executor.wait(keep, timeout=TICK):
            if _worth_another_attempt(trial, progress.sweep):
                unfinished.append(trial.again())
            else:
                finished.append(trial)


class _Due:
    """Whether another trial may start: the budget, the clock, failures in a row, and the user's patience."""

    def __init__(self, progress: Progress, interrupts: Interrupts) -> None:
        self.exhausted = False
        self._progress = progress
        self._interrupts = interrupts
        self._before = progress.seconds
        self._begun = time.monotonic()
        self._interrupted: float | None = None
        self._stopping = Stopping(progress, share(progress.sweep)[1])

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def __call__(self, starting: int) -> bool:
        search = self._progress.sweep.search
        if len(self._progress.trials) + starting >= search.trials or self.exhausted:
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
            self._interrupted = time.monotonic()
            self._progress.stage = "stopping"
        return self._interrupted is not None and time.monotonic() > self._interrupted + GRACE


def _worth_another_attempt(trial: Trial, sweep: Sweep) -> bool:
    return trial.failure is not None and trial.failure.transient and trial.attempt <= sweep.limits.retries
