"""How the Gaussian process looks at the values: four views and what was learned, in turns from trial to trial.

Called by `gp_sampler`. No single scaling or kernel is best on all problems, and one that is wrong makes the same
mistake every time; in turns they find what the others miss. On the recorded problems (`scripts/bench/quality`) this is
cheap, since each ask still has one model; how much it is worth was not measured apart from other changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hpo.samplers.encoding import Array


class View(NamedTuple):
    """`scale` maps values to those of the model, `trend` adds lines and parabolas to its kernel."""

    name: str
    scale: Callable[[Array], Array]
    trend: bool = False


# Least unit of `bent`, as a share of the distance from the median to bad values. Once most trials are near the optimum,
# their own distances are next to nothing: by them all else is equally bad, and the search goes from corner to corner.
FLOOR = 0.02


def cut(values: Array) -> Array:
    """Outliers on the bad side are cut off: how bad a bad trial is teaches nothing about good ones."""
    low, high = np.quantile(values, [0.25, 0.75])
    return _standard(np.minimum(values, high + 1.5 * (high - low)))


def bent(values: Array) -> Array:
    """Values worse than the median count by their logarithm, in units of the distance from the median to good ones."""
    median = np.median(values)
    low, high = np.quantile(values, [0.1, 0.9])
    z = (values - median) / (max(median - low, FLOOR * (high - median)) or 1.0)
    return _standard(np.where(z > 0, np.log1p(np.maximum(z, 0.0)), z))


def signed(values: Array) -> Array:
    """For constraints: what is below 0 stays below 0."""
    return np.asarray(values / np.sqrt(np.square(values).mean()))


def _standard(values: Array) -> Array:
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


VIEWS = (
    View("cut", cut), View("cut with a trend", cut, trend=True),
    View("bent", bent), View("bent with a trend", bent, trend=True),
)  # fmt: skip
PLAIN = VIEWS[2]  # who knows nothing
SIGNED = View("signed", signed)
LEARNED = View("learned", cut, trend=True)
