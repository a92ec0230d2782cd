"""What a study has seen, as arrays: points of the unit cube, values to minimize, constraints, points in flight.

Called by `gp_sampler` before each ask. Trials that are finished never change, so their rows are kept; everything else
is made anew from the study.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.samplers.cost import seconds_of
from hpo.samplers.encoding import Array, Encoding
from hpo.samplers.trust import leveled, trust_of

NOISE = "hpo:noise"  # the attribute of a trial that says how many times the variance of a whole one its value has


@dataclass(frozen=True)
class Evidence:
    """Finished trials in the order of their numbers; `values` is NaN and `failed` 1 where there is no result.

    `violations` holds one column per constraint, above 0 where it is violated, NaN where it is not known. `seconds` is
    what a trial took, `trust` how far it counts: below 1 it is of other data. `noise` is the variance of a value in
    units of a whole trial's: above 1 where folds are missing. `whole`: the value is the trial's own and final one.
    """

    encoding: Encoding
    numbers: npt.NDArray[np.int64]
    rows: Array
    values: Array
    failed: Array
    violations: Array
    pending: Array
    seconds: Array
    trust: Array
    noise: Array
    whole: npt.NDArray[np.bool_]

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        return ~np.isnan(self.values)


class History:
    def __init__(self) -> None:
        self._space: dict[str, BaseDistribution] = {}
        self._seen: set[int] = set()
        self._encoding = Encoding({})
        self._rows: dict[int, Array] = {}

    def space(self, study: Study) -> dict[str, BaseDistribution]:
        """Every parameter that a trial ever had and that has something to choose, as it was last asked for."""
        found = dict(self._space)
        for trial in study.get_trials(deepcopy=False):
            if trial.number not in self._seen:
                found.update(trial.distributions)
                if trial.state.is_finished():
                    self._seen.add(trial.number)
                    self._space.update(trial.distributions)
        return {name: found[name] for name in sorted(found) if not found[name].single()}

    def evidence(self, study: Study, number: int, space: dict[str, BaseDistribution]) -> Evidence:
        """All but trial `number`, in the terms of the space."""
        if list(space.items()) != [
            (n, c.distribution) for n, c in zip(self._encoding.names, self._encoding.columns, strict=True)
        ]:
            self._encoding, self._rows = Encoding(space), {}
        sign = 1.0 if study.direction != StudyDirection.MAXIMIZE else -1.0
        finished: list[FrozenTrial] = []
        pending: list[Array] = []
        for trial in study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                finished.append(trial)
            elif trial.number != number and trial.params:
                pending.append(self._encoding.row(trial.params, trial.distributions))
        rows = np.array([self._row(trial) for trial in finished]).reshape(-1, len(space))
        within = ~np.isnan(rows).all(1)
        finished, rows = list(itertools.compress(finished, within)), rows[within]
        values = np.array([_value(trial, sign) for trial in finished], dtype=float)
        complete = np.array([trial.state == TrialState.COMPLETE for trial in finished], dtype=bool)
        if any(trial.state == TrialState.PRUNED for trial in finished):
            best = np.nanmin(values[complete], initial=math.inf) if complete.any() else -math.inf
            values[~complete] = np.maximum(values[~complete], best)  # it cannot have beaten what outlived it
        trust = np.array([trust_of(trial) for trial in finished], dtype=float)
        if (trust < 1.0).any():
            values = leveled(values, trust, rows)
        noise = np.array([trial.system_attrs.get(NOISE, 1.0) for trial in finished], dtype=float)
        keys = sorted({key for trial in finished for key in trial.constraints})
        return Evidence(
            self._encoding,
            np.array([trial.number for trial in finished], dtype=np.int64),
            rows,
            values,
            np.array([float(trial.state == TrialState.FAIL) for trial in finished]),
            np.array([[t.constraints.get(k, math.nan) for k in keys] for t in finished]).reshape(
                len(finished), len(keys)
            ),
            np.array(pending).reshape(-1, len(space)),
            np.array([seconds_of(trial) for trial in finished]),
            trust,
            noise,
            complete & (trust == 1.0) & (noise == 1.0),
        )

    def _row(self, trial: FrozenTrial) -> Array:
        row = self._rows.get(trial.number)
        if row is None:
            row = self._rows[trial.number] = self._encoding.row(trial.params, trial.distributions)
        return row


def _value(trial: FrozenTrial, sign: float) -> float:
    """To be minimized; what a pruned trial had reached; NaN for none."""
    if trial.state == TrialState.COMPLETE:
        return sign * float(trial.values[0])
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return sign * float(trial.intermediate_values[max(trial.intermediate_values)])
    return math.nan
