"""Trials in virtual time: a clock that jumps, and an executor whose trials end when that clock says so.

For tests of the loop and for benches of it: days on a thousand workers pass in seconds, and what the driver itself
computes is the only time that really passes. Give both the same clock, and `hpo.driver.drive` as well.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from hpo.executors.port import KeepTrial
from hpo.trial import Trial


class VirtualClock:
    """`own()` is the time that really passes, in seconds; by default the processor time of this process."""

    def __init__(self, own: Callable[[], float] = time.process_time) -> None:
        self._own = own
        self._begun = own()
        self._skipped = 0.0

    def monotonic(self) -> float:
        return self._own() - self._begun + self._skipped

    def time(self) -> float:
        return 1.0e9 + self.monotonic()

    def skip(self, seconds: float) -> None:
        self._skipped += max(0.0, seconds)


class Simulated:
    """`seconds(trial)` says how long a trial takes, `value(trial)` what comes of it."""

    def __init__(
        self, clock: VirtualClock, slots: int, seconds: Callable[[Trial], float], value: Callable[[Trial], float]
    ) -> None:
        self._clock = clock
        self._slots = slots
        self._seconds = seconds
        self._value = value
        self._running: list[tuple[float, int, Trial]] = []

    @property
    def free(self) -> int:
        return self._slots - len(self._running)

    @property
    def busy(self) -> int:
        return len(self._running)

    def submit(self, trial: Trial) -> None:
        heapq.heappush(self._running, (self._clock.monotonic() + self._seconds(trial), trial.number, trial))

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> Sequence[Trial]:
        if not self._running:
            return ()
        left = self._running[0][0] - self._clock.monotonic()
        self._clock.skip(left if timeout is None else min(left, timeout))
        done: list[Trial] = []
        while self._running and self._running[0][0] <= self._clock.monotonic():
            ended, _, trial = heapq.heappop(self._running)
            finished = self._clock.time() - (self._clock.monotonic() - ended)
            done.append(replace(trial, values=(self._value(trial),), finished=finished))
        return done

    def stop(self, number: int) -> bool:
        return False

    def close(self) -> None:
        self._running.clear()
