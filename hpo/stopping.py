"""When more search is not worth its time: `search.stop` and `search.budget.cpu_hours`, asked before each new trial.

Called by the loop in `hpo.search`, after the budget in trials and seconds. Each rule says in a sentence why it ends the
sweep, with the figures it went by: that is what summary, journal and MLflow show.
"""

from __future__ import annotations

from statistics import stdev

from hpo.progress import Progress

FIRST = 20  # trials with a value, before a regret can be estimated
EVERY = 5  # trials between two estimates, which take tens of milliseconds


class Stopping:
    def __init__(self, progress: Progress, threads: int) -> None:
        self._progress = progress
        self._threads = threads
        self._estimated = 0  # trials that the last estimate saw

    @property
    def is_spent(self) -> bool:
        """True once the trials that have ended have held their threads for the CPU hours of the budget."""
        hours = self._progress.sweep.search.budget.cpu_hours
        return hours is not None and self._progress.trial_seconds * self._threads >= 3600 * hours

    def why(self) -> str | None:
        """Why no further trial is worth its time; None while one may be."""
        stop, progress = self._progress.sweep.search.stop, self._progress
        if progress.best is None:
            return None
        if stop.patience is not None and progress.since_best >= stop.patience:
            return f"the last {progress.since_best} trials found nothing better (search.stop.patience)"
        if stop.regret is not None or stop.noise is not None:
            return self._small_regret()
        return None

    def _small_regret(self) -> str | None:
        progress, stop = self._progress, self._progress.sweep.search.stop
        trials = [trial for trial in progress.trials.values() if trial.state == "complete"]
        if len(trials) < max(FIRST, self._estimated + EVERY) or progress.best is None:
            return None
        self._estimated = len(trials)
        from hpo.searchers.regret import CONFIDENCE, bound

        name = progress.sweep.metric.name
        limits = [] if stop.regret is None else [(stop.regret, "search.stop.regret")]
        scores = progress.best.scores.get(name, ())
        if stop.noise is not None and len(scores) > 1:
            error = stdev(scores) / len(scores) ** 0.5
            limits.append((stop.noise * error, f"search.stop.noise: the best one's is known to ±{error:.2g}"))
        if not limits:
            return None
        regret = bound(progress.sweep.space, progress.sweep.metric, trials, progress.sweep.search.seed)
        limit, key = max(limits)
        if regret > limit:
            return None
        return f"at most {regret:.2g} {name} is left to gain, estimated at {CONFIDENCE:.0%} confidence ({key})"
