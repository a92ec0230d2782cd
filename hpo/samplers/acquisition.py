"""Where to look next: log expected improvement, and a search for its maximum over mixed spaces.

Called by `gp_sampler`. Candidates are uniform points and neighbours of the best trials, improved by rounds of shrinking
mutations, or neighbours of one trial alone: no gradient, so that choices, grids and conditions need no special case,
and everything is one matrix product. log EI: Ament et al., "Unexpected Improvements to Expected Improvement" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr

from hpo.samplers.encoding import Array

Score = Callable[[Array], Array]
Repair = Callable[[Array], Array]


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """For minimization; exact to the far tail, where EI itself is 0."""
    z = (best - mean) / deviation
    log_density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    near = z > -25
    out = log_density - 2 * np.log(np.maximum(-z, 1.0))
    z = z[near]
    out[near] = np.log(np.maximum(np.exp(log_density[near]) + z * np.exp(log_ndtr(z)), 1e-300))
    return np.asarray(out + np.log(deviation))


class Search:
    """The best point of a score over the unit cube; `repair` makes any point one that a trial can have."""

    def __init__(self, score: Score, repair: Repair, choices: Array, rng: np.random.Generator) -> None:
        self._score, self._repair, self._rng = score, repair, rng
        self._choices = np.flatnonzero(choices)

    def ranked(self, centers: Array) -> Array:
        """Points, the best first. `centers` are good points known so far."""
        rng, d = self._rng, centers.shape[1]
        uniform = rng.random((1000, d))
        steps = rng.choice([0.02, 0.06, 0.15, 0.3], size=(80 * len(centers), 1))
        near = self._mutate(np.repeat(centers, 80, 0), max(2 / d, 0.25), steps)
        points = self._repair(np.vstack([uniform, near]))
        scores = self._score(points)
        for k in range(6):
            top = np.argsort(-scores, kind="stable")[:24]
            new = self._repair(self._mutate(np.repeat(points[top], 10, 0), max(2 / d, 0.35), 0.12 * 0.5**k))
            points = np.vstack([points[top], new])
            scores = np.concatenate([scores[top], self._score(new)])
        return points[np.argsort(-scores, kind="stable")]

    def near(self, centers: Array) -> Array:
        """Points around the first of them, the best first."""
        points = np.repeat(centers[:1], 1200, 0)
        steps = self._rng.choice([0.02, 0.06, 0.15], size=(len(points), 1))
        points = self._repair(self._mutate(points, max(2 / centers.shape[1], 0.25), steps))
        return points[np.argsort(-self._score(points), kind="stable")]

    def _mutate(self, points: Array, share: float, step: Array | float) -> Array:
        """Some coordinates of each point a normal step away; a choice now and then drawn anew."""
        rng = self._rng
        points = np.where(np.isnan(points), rng.random(points.shape), points)
        moved = rng.random(points.shape) < share
        points = np.clip(np.where(moved, points + step * rng.normal(size=points.shape), points), 0.0, 1.0)
        for j in self._choices:
            drawn = rng.random(len(points)) < 0.15
            points[drawn, j] = rng.random(int(drawn.sum()))
        return points
