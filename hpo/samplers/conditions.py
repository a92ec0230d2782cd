"""Which parameters a trial will have, learned from the trials: a study never says what its conditions are.

Called by `gp_sampler`. For each parameter that some trials do not have, a small decision tree over those that stand
above it; conditions are exact, so a few trials are enough, and a wrong guess costs only a worse candidate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hpo.samplers.encoding import Array

Mask = npt.NDArray[np.bool_]
Rule = Callable[[Array], Mask]


class Conditions:
    """`apply` puts NaN where a point's parameter would not be asked for."""

    def __init__(self, rows: Array, choices: npt.NDArray[np.int64]) -> None:
        present = ~np.isnan(rows)
        counts = present.sum(0)
        self._rules: list[tuple[int, Rule]] = []
        order = sorted(range(rows.shape[1]), key=lambda j: (-counts[j], j))
        for place, j in enumerate(order):
            if counts[j] == len(rows):
                continue
            # A parent is there whenever its child is. Choices first: most conditions hang on them.
            above = [i for i in order[:place] if present[present[:, j], i].all()]
            above.sort(key=lambda i: choices[i] == 0)
            self._rules.append((j, _grow(rows, present[:, j], above, choices, depth=6)))

    def apply(self, rows: Array) -> Array:
        for j, rule in self._rules:
            rows[~rule(rows), j] = np.nan
        return rows

    @property
    def dependent(self) -> list[int]:
        return [j for j, _ in self._rules]


def _grow(rows: Array, present: Mask, above: list[int], choices: npt.NDArray[np.int64], depth: int) -> Rule:
    share = float(present.mean()) if len(present) else 1.0
    if share in (0.0, 1.0) or depth == 0:
        return lambda points: np.full(len(points), share >= 0.5)
    best: tuple[float, Rule] | None = None
    for i in above:
        for test in _tests(rows[:, i], i, bool(choices[i])):
            yes = test(rows)
            if yes.all() or not yes.any():
                continue
            impurity = sum(part.mean() * (p := present[part].mean()) * (1 - p) for part in (yes, ~yes))
            if best is None or impurity < best[0] - 1e-12:
                best = (impurity, test)
        if best is not None and best[0] < 1e-12:
            break
    if best is None:
        return lambda points: np.full(len(points), share >= 0.5)
    test = best[1]
    yes = test(rows)
    left = _grow(rows[yes], present[yes], above, choices, depth - 1)
    right = _grow(rows[~yes], present[~yes], above, choices, depth - 1)

    def rule(points: Array) -> Mask:
        met = test(points)
        return np.where(met, left(points), right(points))

    return rule


def _tests(values: Array, i: int, choice: bool) -> list[Rule]:
    """Is it this value (a choice), is it below this one (a number), is it there at all."""
    known = np.unique(values[~np.isnan(values)])
    tests: list[Rule] = []
    if np.isnan(values).any():
        tests.append(lambda points: np.isnan(points[:, i]))
    if choice:
        tests += [lambda points, v=v: np.abs(points[:, i] - v) < 1e-9 for v in known]  # type: ignore[misc]
    else:
        middles = (known[1:] + known[:-1]) / 2
        if len(middles) > 16:
            middles = np.quantile(middles, np.linspace(0, 1, 16))
        tests += [lambda points, v=v: points[:, i] < v for v in middles]  # type: ignore[misc]
    return tests
