"""Where a sweep stands: its trials in memory, and what follows from them.

Kept by the loop in `hpo.search`, shown by `hpo.display`, returned inside `hpo.result`. Everything but the trials
themselves is derived, so that a resumed sweep stands exactly where the interrupted one stood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

from hpo.sweep import Sweep
from hpo.trial import Trial

ENOUGH = 20  # trials that must have ended before their share of failures says anything
Stage = Literal["searching", "stopping", "publishing"]


class Progress:
    """All trials by number. `seconds` is the search time used so far, earlier sessions included."""

    def __init__(self, sweep: Sweep, trials: Iterable[Trial] = (), seconds: float = 0.0) -> None:
        self.sweep = sweep
        self.seconds = seconds
        self.stage: Stage = "searching"
        self.note = ""
        self.paused = False  # by a person; see `hpo.steering`
        self.enough: str | None = None  # why more search is not worth it, as `hpo.stopping` found
        self.since_best = 0  # trials that have ended with a result since the best one did
        self.trial_seconds = 0.0  # of all trials that have ended
        self.trials: dict[int, Trial] = {}
        self.best: Trial | None = None
        self.failures_in_a_row = 0
        self.ended: list[Trial] = []  # in the order in which they did
        self.counts: Counter[str] = Counter()  # trials by state
        self.add(*trials)

    def add(self, *trials: Trial) -> None:
        """Take in what became of some trials, in the order in which it happened."""
        for trial in trials:
            if (before := self.trials.get(trial.number)) is not None:
                self.counts[before.state] -= 1
            self.trials[trial.number] = trial
            self.counts[trial.state] += 1
            if trial.state != "running":
                self.ended.append(trial)
                self.since_best += trial.state != "failed"
                self.trial_seconds += trial.seconds
                self.failures_in_a_row = self.failures_in_a_row + 1 if trial.state == "failed" else 0
            if self._is_best(trial):
                self.best, self.since_best = trial, 0

    def _is_best(self, trial: Trial) -> bool:
        if trial.state != "complete" or trial.values is None:
            return False
        if self.best is None or self.best.values is None:
            return True
        ours, theirs = trial.values[0], self.best.values[0]
        if ours == theirs:  # the first of equals, in whatever order parallel trials come back
            return trial.number < self.best.number
        return self.sweep.metric.better(ours, theirs)

    @property
    def hopeless(self) -> str | None:
        """Why so many failures say that no further trial is worth its time; None while they do not."""
        limits = self.sweep.limits
        if self.failures_in_a_row >= limits.failures:
            return f"{self.failures_in_a_row} trials failed one after the other (limits.failures)"
        ended, failed = len(self.ended), self.counts["failed"]
        if ended >= ENOUGH and failed > limits.failure_share * ended:
            return f"{failed} of {ended} trials failed (limits.failure_share)"
        return None

    @property
    def stopped(self) -> str | None:
        """Why the search ended before its trials were used up, if it did."""
        return (self.hopeless or self.enough) if len(self.trials) < self.sweep.search.trials else None

    @property
    def unfinished(self) -> list[Trial]:
        """Trials that were running when an earlier driver went away."""
        return [trial for trial in self.trials.values() if trial.state == "running"]

    def latest(self, count: int) -> list[Trial]:
        """The finished trials, the latest first, at most so many."""
        recent = self.ended[-10 * count :]  # a resumed sweep's are in the order of their numbers
        return sorted(recent, key=lambda trial: trial.finished or 0.0, reverse=True)[:count]

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far, cut off by the time budget; None before the first result."""
        limits = []
        done = len(self.trials) - self.counts["running"]
        if done:
            limits.append(self.seconds / done * (self.sweep.search.trials - done))
        if self.sweep.search.timeout is not None:
            limits.append(self.sweep.search.timeout - self.seconds)
        return max(0.0, min(limits)) if limits else None


Show = Callable[[Progress], None]
