"""The story of a cross-validated trial: fold by fold, each score reported, the mean returned.

Called by the model objectives, which bring what happens inside a fold. A trial that is told to stop keeps the
folds it has finished; after the last fold there is nothing left to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import fmean

from hpo.attempt import Attempt
from hpo.metric import Metric
from hpo.sweep import Sweep
from hpo.trial import Pruned


def cross_validate(
    attempt: Attempt, metrics: Sequence[Metric], order: Sequence[int], run_fold: Callable[[int], Mapping[str, float]]
) -> dict[str, float]:
    """`run_fold(k)` gives the value of every metric; the first one is the outer series of reports."""
    scores: list[Mapping[str, float]] = []
    for fold in order:
        scores.append(run_fold(fold))
        for name, value in scores[-1].items():
            attempt.score(name, value, fold)
        attempt.report(scores[-1][metrics[0].name], step=fold)
        if attempt.should_prune() and len(scores) < len(order):
            raise Pruned
    return {metric.name: fmean(found[metric.name] for found in scores) for metric in metrics}


def fold_order(sweep: Sweep, folds: int, number: int) -> list[int]:
    """The order of a trial's folds: in a race at random, from the sweep's seed and the trial's number, so that nobody
    is tuned to the first fold. Other pruners compare trials fold by fold in one order."""
    order = [*range(folds)]
    if sweep.pruner is not None and sweep.pruner.name == "race":
        Random(f"folds {sweep.search.seed} {number}").shuffle(order)
    return order


def is_reported(done: int) -> bool:
    """Of the rounds 1, 2, 3, … about 50 in the first 2,000 are points of the curve: the first ten, then ever fewer.

    The same ones whatever `n_estimators` is, so that pruners compare like with like.
    """
    point = 1
    while point < done:
        point = max(point + 1, round(point * 1.15))
    return point == done
