"""Where a parameter makes no difference: trials that differ in nothing else, and have the same value to the last bit.

Called by `gp_sampler`, which proposes no trial whose result is known. Of the penalties of boosted trees small values do
nothing where losses are counted in thousands; a model of noisy values cannot know that, and goes on asking for the best
trial with another of them: a search on prices of diamonds had one result nine times over.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hpo.samplers.encoding import Array, keys

MOST = 200  # trials that are looked at, the best ones
ENOUGH = 3  # trials on a range: where scores are coarse, two agree by chance


class Ties:
    """For each column the widest range over which it made no difference; none for a choice."""

    def __init__(self, rows: Array, values: Array, choices: Array, digits: int) -> None:
        """Of whole trials: points without a result in between are not meant."""
        self._low, self._high = np.full((2, rows.shape[1]), np.nan)
        _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
        tied = np.flatnonzero(counts[level] > 1)
        tied = tied[np.argsort(level[tied], kind="stable")[:MOST]]
        for j in np.flatnonzero(choices == 0) if len(tied) else ():
            others = keys(np.column_stack([np.delete(rows[tied], j, 1), level[tied]]), digits)
            alike: defaultdict[bytes, set[float]] = defaultdict(set)
            for key, u in zip(others, rows[tied, j], strict=True):
                alike[key].add(float(u))
            segments = [sorted(of) for of in alike.values() if len(of) > 1]
            if joined := _joined(segments):
                self._low[j], self._high[j] = max(joined, key=lambda ends: ends[1] - ends[0])

    def collapse(self, rows: Array) -> Array:
        """Points that are known to have one value are one point."""
        return np.where((rows >= self._low) & (rows <= self._high), self._low, rows)


def _joined(segments: list[list[float]]) -> list[tuple[float, float]]:
    """The ends of segments that overlap, together, where enough points lie on them."""
    found: list[tuple[float, float, int]] = []
    for segment in sorted(segments):
        low, high, count = segment[0], segment[-1], len(segment)
        if found and low <= found[-1][1]:
            before = found.pop()
            low, high, count = before[0], max(high, before[1]), count + before[2]
        found.append((low, high, count))
    return [(low, high) for low, high, count in found if count >= ENOUGH]
