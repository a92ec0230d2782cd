"""Two sweeps against each other: by how much the best of the one beats the best of the other, and how sure that is.

Used by `hpo.compare`; made from two journals alone. On the same folds of the same data the scores are compared in
pairs, so that what makes a fold hard for both cancels out; else both means are drawn again and again. Fresh folds are
taken where both sweeps have them: the scores of a search are those of the best of many, and too good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hpo.honest import CONFIDENCE, interval
from hpo.verdict import Interval

if TYPE_CHECKING:
    from hpo.pages.view import View

_ROWS = ("data.digest", "data.target", "data.holdout", "data.task", "data.drop", "validation.", "search.seed")

Folds = Mapping[tuple[int, int], float]  # (round, fold) -> score


@dataclass(frozen=True)
class Gain:
    """How much better the second is than the first, positive where it is, whatever the metric's direction."""

    metric: str
    interval: Interval
    method: str

    @property
    def significant(self) -> bool:
        return self.interval.low > 0 or self.interval.high < 0

    @property
    def known(self) -> bool:
        return math.isfinite(self.interval.low)


def gain(first: View, second: View) -> Gain | str:
    """Or why there is none."""
    if first.metrics[0] != second.metrics[0]:
        return f"they have different metrics, {first.metrics[0].name} and {second.metrics[0].name}"
    if first.best is None or second.best is None:
        return f"{(second if first.best else first).facts['id']} has no complete trial"
    metric = first.metrics[0]
    fresh = [_fresh(view) for view in (first, second)]
    a, b = fresh if all(fresh) else [_searched(view) for view in (first, second)]
    where = "fresh folds" if all(fresh) else "the search's folds, on which the best of many is too good"
    folds = min((view.facts.get("dataset") or {}).get("folds") or 2 for view in (first, second))
    if len(a) < 2 or len(b) < 2:
        values = [(view.best.values or (math.nan,))[0] for view in (first, second) if view.best]
        apart = metric.sign * (values[1] - values[0])
        return Gain(metric.name, Interval(apart, -math.inf, math.inf), "one value each: no telling how sure")
    common = sorted(a.keys() & b.keys())
    if same_rows(first, second) and len(common) > 1:
        found = interval([metric.sign * (b[key] - a[key]) for key in common], folds)
        return Gain(metric.name, found, f"in pairs on the same {len(common)} {where}")
    found = _unpaired([metric.sign * v for v in a.values()], [metric.sign * v for v in b.values()], folds)
    return Gain(metric.name, found, f"bootstrap of {len(a)} and {len(b)} {where}; their rows or folds are not the same")


def same_rows(first: View, second: View) -> bool:
    """Fold k holds the same rows in both."""
    meanings = [view.facts.get("meaning") or {} for view in (first, second)]
    told = [{key: text for key, text in meaning.items() if key.startswith(_ROWS)} for meaning in meanings]
    return bool(told[0].get("data.digest")) and told[0] == told[1]


def _fresh(view: View) -> Folds:
    """Of the trial that was chosen; empty where nothing was rechecked."""
    chosen = (view.facts.get("estimate") or {}).get("trial")
    results: list[dict[str, Any]] = (view.facts.get("recheck") or {}).get("results") or []
    name = view.metrics[0].name
    return {
        (result["round"], fold): score
        for result in results if result["trial"] == chosen and "scores" in result
        for fold, score in enumerate(result["scores"][name])
    }  # fmt: skip


def _searched(view: View) -> Folds:
    assert view.best is not None
    scores = view.best.scores.get(view.metrics[0].name, ())
    return {(0, fold): score for fold, score in zip(view.best.folds or range(len(scores)), scores, strict=False)}


def _unpaired(a: list[float], b: list[float], folds: int) -> Interval:
    """Folds share training rows, so their scores vary less than fresh samples would: both spreads are widened, as
    `hpo.honest.interval` does."""
    import numpy as np

    from hpo.intervals import Resampling, quantiles

    means = []
    for seed, scores in enumerate((a, b)):
        values = np.array(scores)
        drawn = Resampling(len(scores), seed=seed).values(partial(_means, values))[0]
        widened = math.sqrt(1 + len(scores) / (folds - 1))
        means.append(fmean(scores) + widened * (drawn - fmean(scores)))
    return quantiles(fmean(b) - fmean(a), means[1] - means[0], CONFIDENCE, min(len(a), len(b)))


def _means(values: Any, weights: Any) -> Any:
    return weights @ values / len(values)
