"""TPE whose cost stops growing with the number of trials: Optuna's own, shown a part of a long history.

Made by `hpo.searchers.optuna` for `sampler: tpe`. Of the trials that are not among the good ones it looks at `MOST`,
evenly spread over the sweep, so that the density of bad trials keeps its shape and the weights of old and new ones
theirs; the good ones and those in flight it sees all. Up to that many trials it is Optuna's, to the last digit.
`scripts/bench/long_history` measures what that loses: nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MOST = 1000  # finished trials that are modeled besides the good ones
_GOOD = 25  # as many as Optuna's default gamma takes of a long history


class BoundedTPE(optuna.samplers.TPESampler):
    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Before the split, which goes through every trial several times."""
        found: dict[str, Any] = super()._sample(_Shortened(study), trial, search_space)  # type: ignore[arg-type]
        return found

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, Any]:
        """Once more after it: not every history can be shortened before."""
        if len(trials) > MOST:
            running = [trial for trial in trials if trial.state is TrialState.RUNNING]
            trials = _spread([trial for trial in trials if trial.state is not TrialState.RUNNING]) + running
        found: dict[str, Any] = super()._get_internal_repr(trials, search_space, study)
        return found


class _Shortened:
    """A study as the sampler's split looks at it, without most of its trials."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, **options: Any) -> list[FrozenTrial]:
        trials = self._study._get_trials(**options)
        if len(trials) <= MOST + _GOOD or len(self._study.directions) > 1:
            return trials
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        if len(complete) < _GOOD:  # some of the good ones were pruned: the split knows which
            return trials
        first = heapq.nsmallest if self._study.direction == StudyDirection.MINIMIZE else heapq.nlargest
        good = {trial.number for trial in first(_GOOD, complete, key=_value)}
        rest = [t for t in trials if t.state is not TrialState.RUNNING and t.number not in good]
        chosen = good | {trial.number for trial in _spread(rest)}
        return [trial for trial in trials if trial.state is TrialState.RUNNING or trial.number in chosen]


def _spread(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    step = max(1.0, len(trials) / MOST)
    return [trials[int(k * step)] for k in range(min(MOST, len(trials)))]


def _value(trial: FrozenTrial) -> float:
    return float(trial.values[0])
