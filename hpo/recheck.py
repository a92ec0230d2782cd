"""After the search: the best trials again, on fresh folds and seeds, where the trials ran; then one of them is chosen.

Called by `hpo.search` between the last trial and the end of the search. Recorded as it goes, in the journal's fact
`recheck`, so that a resume goes on with what is missing; what comes of it is the fact `estimate`. Workers get
parameters and the number of a round, never a held-out row: those are opened later, by `hpo.promotion`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from hpo.executors import Executor
from hpo.honest import CONFIDENCE, contenders, in_the_race, interval, leader
from hpo.interrupts import Interrupts
from hpo.journal import Journal
from hpo.progress import Progress, Show
from hpo.trial import FRESH, Trial

TICK = 0.5  # seconds after which a waiting driver looks at the signals


def recheck(
    journal: Journal, executor: Executor, progress: Progress, interrupts: Interrupts, show: Show
) -> None:  # fmt: skip
    """Make the chosen trial the best one; where there is nothing to choose from, or nobody waits, it stays as it is."""
    sweep = progress.sweep
    found = contenders(progress.trials.values(), sweep.metric, sweep.recheck.top if sweep.recheck else 0)
    if sweep.recheck is None or sweep.data is None or len(found) < 2:
        return
    done = _Fresh(journal, [trial.number for trial in found])
    while (due := done.due(sweep.recheck.rounds, progress)) and not interrupts:
        trials = [Trial(n + r * FRESH, progress.trials[n].params, memo=progress.trials[n].memo) for n, r in due]
        _run(executor, trials, done, progress, interrupts, show)
    scores = done.scores(sweep.metric.name)
    if interrupts or not scores:
        return
    chosen = leader(scores, sweep.metric)
    assert progress.best is not None
    estimate = interval([score for folds in scores[chosen] for score in folds], sweep.validation.folds)
    journal.record(estimate={
        "metric": sweep.metric.name, "trial": chosen, **asdict(estimate), "confidence": CONFIDENCE,
        "raw": (progress.best.values or (0.0,))[0], "raw_trial": progress.best.number,
        "rounds": {str(number): len(rounds) for number, rounds in scores.items()},
    })  # fmt: skip
    progress.best = progress.trials[chosen]


def _run(
    executor: Executor, waiting: list[Trial], done: _Fresh, progress: Progress, interrupts: Interrupts, show: Show
) -> None:  # fmt: skip
    """Run these, as many at a time as there is room; a worker that is lost is tried again as often as a trial is."""
    while (waiting or executor.busy) and not interrupts:
        while waiting and executor.free:
            executor.submit(replace(waiting.pop(0), started=time.time()))
        progress.note = f"the best {len(done.numbers)} again on fresh folds: {done.count} done"
        show(progress)
        for trial in executor.wait(None, timeout=TICK):
            if trial.failure and trial.failure.transient and trial.attempt <= progress.sweep.limits.retries:
                waiting.append(trial.again())
            else:
                done.add(trial)


class _Fresh:
    """The fact `recheck`: which trials contend, and what came of each round; a failed one is out."""

    def __init__(self, journal: Journal, numbers: list[int]) -> None:
        self._journal = journal
        kept: Mapping[str, Any] = journal.fact("recheck") or {}
        same = kept.get("trials") == numbers  # more trials since: other contenders, another race
        self.numbers = numbers
        self._results: list[dict[str, Any]] = list(kept["results"]) if same else []
        if not same:
            self._record()

    @property
    def count(self) -> int:
        return len(self._results)

    def add(self, trial: Trial) -> None:
        round, number = divmod(trial.number, FRESH)
        result: dict[str, Any] = {"trial": number, "round": round, "seconds": trial.seconds}
        if trial.state == "complete":
            result["scores"] = {name: list(folds) for name, folds in trial.scores.items()}
        else:
            result["error"] = trial.failure.headline if trial.failure else trial.state
        self._results.append(result)
        self._record()

    def scores(self, metric: str) -> dict[int, list[list[float]]]:
        """Trial -> fold scores of each round, of those that never failed."""
        failed = {result["trial"] for result in self._results if "error" in result}
        found: dict[int, list[list[float]]] = {}
        for result in sorted(self._results, key=lambda result: int(result["round"])):
            if result["trial"] not in failed:
                found.setdefault(result["trial"], []).append(result["scores"][metric])
        return {number: found[number] for number in self.numbers if number in found}

    def due(self, rounds: int, progress: Progress) -> list[tuple[int, int]]:
        """(trial, round) to run next: a round is run by all who may still win, then the race is looked at again."""
        alive = self.numbers
        ran = {(result["trial"], result["round"]) for result in self._results}
        for round in range(1, rounds + 1):
            if missing := [(number, round) for number in alive if (number, round) not in ran]:
                return missing
            metric = progress.sweep.metric
            scores = {n: s[:round] for n, s in self.scores(metric.name).items() if n in alive and len(s) >= round}
            alive = in_the_race(scores, metric, progress.sweep.validation.folds) if len(scores) > 1 else [*scores]
        return []

    def _record(self) -> None:
        self._journal.record(recheck={"trials": self.numbers, "results": self._results})
