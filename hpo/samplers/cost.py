"""What a trial costs, learned from the trials so far: log seconds as a smooth function of the parameters.

Called by `gp_sampler`, which divides its expected improvement by it. A ridge of parabolas is enough: time grows with
rounds, depth and rows in powers, and a wrong cost only costs time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial

Array = npt.NDArray[np.float64]

SECONDS = "hpo:seconds"  # the attribute of a trial that says how long its training took
POWER = 0.7  # of the cost that a gain is divided by
CHEAP = 0.1  # of the median: cheaper than that is as good as that, or a search would try nothing else
SHORT = 0.1  # seconds: below, it is not the training that takes the time
KNOWN = 5  # trials


def seconds_of(trial: FrozenTrial) -> float:
    """NaN where it is not known."""
    if SECONDS in trial.system_attrs:
        return float(trial.system_attrs[SECONDS])
    return trial.duration.total_seconds() if trial.duration is not None else float("nan")


def per_second(features: Array, seconds: Array) -> Callable[[Array], Array]:
    """From features to what a log improvement loses for the time it takes; nothing where all trials take little."""
    known = seconds > 0
    if known.sum() < KNOWN or np.median(seconds[known]) < SHORT:
        return lambda points: np.zeros(len(points))
    terms = _terms(features[known])
    log = np.log(np.maximum(seconds[known], CHEAP * np.median(seconds[known])))
    ridge = terms.T @ terms + 0.5 * np.eye(terms.shape[1])
    slopes = POWER * np.linalg.solve(ridge, terms.T @ (log - log.mean()))
    return lambda points: _terms(points) @ slopes


def _terms(features: Array) -> Array:
    centered = features - 0.5
    return np.column_stack([np.ones(len(features)), centered, centered**2])
