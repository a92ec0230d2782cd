"""Trials of an earlier data set as evidence: how far they are believed, and what level they had.

Called by `history` and `gaussian_process`. A trial that was scored on other data has its `trust`, the correlation of
what it says with what is true now: so no number of such trials makes the model sure of anything, and a trial of the
sweep's own that contradicts them is right. More data move all scores at once; that is taken out by the configurations
that both data sets have scored.
"""

from __future__ import annotations

import numpy as np
from optuna.trial import FrozenTrial

from hpo.samplers.encoding import Array, keys

DIGITS = 9  # to which a configuration is one that was scored before
TRUST = "hpo:trust"  # the attribute of a trial that says so; none: it is one of ours


def trust_of(trial: FrozenTrial) -> float:
    """1 for a trial of this data; those with the same trust are of the same data."""
    return float(trial.system_attrs.get(TRUST, 1.0))


def kinship(trust: Array) -> Array | None:
    """The correlation of each two trials at the same point; None where all are of this data."""
    if (trust == 1.0).all():
        return None
    return np.where(trust[:, None] == trust, 1.0, np.outer(trust, trust))


def leveled(values: Array, trust: Array, rows: Array) -> Array:
    """Earlier values moved by the median of what changed at the points that were scored again."""
    now = trust == 1.0
    known = now & ~np.isnan(values)
    own = dict(zip(keys(rows[known], DIGITS), values[known], strict=True))
    moved = values.copy()
    for level in np.unique(trust[~now]):
        earlier = trust == level
        pairs = [
            own[key] - v for key, v in zip(keys(rows[earlier], DIGITS), values[earlier], strict=True) if key in own
        ]
        if differences := [pair for pair in pairs if not np.isnan(pair)]:
            moved[earlier] += np.median(differences)
    return moved
