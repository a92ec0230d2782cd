"""An honest score: what the best of many trials is worth, from folds and seeds that the search has not seen.

Used by `hpo.recheck`; pure. The best of N noisy means is too good by about as much as its own noise, and the more
trials the worse. So the top few are scored again on fresh folds, those that cannot win are left out after each round,
the best of the fresh scores is chosen, and its fresh scores are the estimate. No score of the search is part of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from statistics import NormalDist, fmean, variance

from hpo.metric import Metric
from hpo.trial import Trial
from hpo.verdict import Interval

CONFIDENCE = 0.95  # of each end of the interval
_OUT = 0.975  # how sure it must be that a contender is worse than the leader before it is left out

Fresh = Mapping[int, Sequence[Sequence[float]]]  # trial number -> a round each -> fold scores


def contenders(trials: Iterable[Trial], metric: Metric, top: int) -> list[Trial]:
    """The best complete trials, the best first; equal parameters count once."""
    done = [trial for trial in trials if trial.state == "complete" and trial.values]
    ranked = sorted(done, key=lambda trial: (-metric.sign * (trial.values or (0.0,))[0], trial.number))
    different = {json.dumps(dict(trial.params), sort_keys=True): trial for trial in reversed(ranked)}
    return [trial for trial in ranked if trial in different.values()][:top]


def leader(fresh: Fresh, metric: Metric) -> int:
    """The best mean of those with the most rounds; the lowest number of equals."""
    most = max(map(len, fresh.values()))
    means = {number: metric.sign * _mean(rounds) for number, rounds in fresh.items() if len(rounds) == most}
    return max(means, key=lambda number: (means[number], -number))


def in_the_race(fresh: Fresh, metric: Metric, folds: int) -> list[int]:
    """Those that may still win: not shown to be worse than the leader on the same folds. All have as many rounds."""
    first = leader(fresh, metric)
    kept = []
    for number, rounds in fresh.items():
        ahead = [
            metric.sign * (a - b)
            for best, mine in zip(fresh[first], rounds, strict=False)
            for a, b in zip(best, mine, strict=True)
        ]
        if number == first or len(ahead) < 2 or interval(ahead, folds, _OUT).low <= 0:
            kept.append(number)
    return kept


def interval(scores: Sequence[float], folds: int, confidence: float = CONFIDENCE) -> Interval:
    """Of the mean over repeated cross-validation, whose folds share training rows: the variance is corrected.

    C. Nadeau, Y. Bengio, Machine Learning 52 (2003) 239-281; R. R. Bouckaert, E. Frank, PAKDD 2004, for repetitions.
    """
    mean, count = fmean(scores), len(scores)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    spread = math.sqrt((1 / count + 1 / (folds - 1)) * variance(scores))
    reach = t_quantile(confidence, count - 1) * spread
    return Interval(mean, mean - reach, mean + reach)


def t_quantile(probability: float, freedom: int) -> float:
    """Student's t, within 1 % from 3 degrees of freedom on: G. W. Hill's expansion (Abramowitz, Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + fsum(term / float(freedom) ** (k + 1) for k, term in enumerate(terms))


def _mean(rounds: Sequence[Sequence[float]]) -> float:
    return fmean(score for folds in rounds for score in folds)
