"""The evidence for a verdict: challenger and champion on the same held-out rows, and every gate the file asks for.

Called by `hpo.promotion` once per champion. Both models are asked through what serves them, with raw rows. Where the
folds are grouped or in the order of time, so are the rows that the bootstrap draws; DeLong's test needs independent
rows, and is used where they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.data import Dataset, holdout_frame
from hpo.intervals import (
    DRAWS,
    Floats,
    Resampling,
    Statistic,
    auc_of,
    blocks_of_time,
    delong,
    mean_of,
    quantiles,
)  # fmt: skip
from hpo.metric import Metric
from hpo.objectives.scoring import Predicted, PredictedClasses, PredictedNumbers, needs_probabilities, score
from hpo.predictor import category_key
from hpo.sweep import Promote, Slice, Sweep
from hpo.verdict import Evidence, Gate, Interval

_SLICES = 20  # values of one column that are looked at, the most frequent first
_BINS = 4  # a column of numbers is cut into so many parts of equal size
_ASKED = 50  # single rows that are predicted for the latency
_SLOW_DRAWS = 400  # draws for a metric that only scikit-learn can compute


class Predicts(Protocol):
    """A `Predictor`, or a model that mlflow.pyfunc loaded."""

    def predict(self, frame: Any, params: Any = None) -> Any: ...


class UnlikeError(Exception):
    """The model's answers cannot be compared with this target."""


def holdout_scores(sweep: Sweep, dataset: Dataset, predictor: Predicts) -> dict[str, float]:
    """Every metric of the sweep on the held-out rows, for anything that predicts from raw rows."""
    frame, target = holdout_frame(dataset)
    return score((*sweep.metrics, *sweep.extra_metrics), ask(sweep, dataset, predictor, frame), target)


def ask(sweep: Sweep, dataset: Dataset, predictor: Predicts, frame: pd.DataFrame) -> Predicted:
    """What the model says about these rows, in the codes of this data set's classes. UnlikeError: other classes."""
    found = np.asarray(predictor.predict(frame))
    if not dataset.classifies:
        return PredictedNumbers(found.astype(float))
    codes = {label: code for code, label in enumerate(dataset.classes)}
    labels = np.array([codes.get(label, -1) for label in found.tolist()])
    probabilities = None
    if any(needs_probabilities(metric) for metric in (*sweep.metrics, *sweep.extra_metrics)):
        shares = pd.DataFrame(predictor.predict(frame, params={"output": "probability"}))
        if set(shares.columns) != set(dataset.classes):
            raise UnlikeError(f"it knows the classes {list(shares.columns)}, the data has {list(dataset.classes)}")
        probabilities = shares[list(dataset.classes)].to_numpy()
    return PredictedClasses(labels, probabilities, len(codes))


def gather(
    sweep: Sweep, dataset: Dataset, challenger: Predicts, folder: Path, champion: Predicts | None = None
) -> Evidence:
    """Everything but the champion's version; `folder` holds the challenger's files.

    May raise what the champion's code raises on today's rows; the challenger's errors are errors.
    """
    rules = sweep.promote or Promote()
    about = Evidence(
        sweep.metric.name, dataset.holdout_rows, rules.confidence, rules.min_gain, when_unscorable=rules.when_unscorable
    )
    if not dataset.holdout_rows:
        return about
    frame, target = holdout_frame(dataset)
    mine = ask(sweep, dataset, challenger, frame)
    theirs = None if champion is None else ask(sweep, dataset, champion, frame)
    bench = _Bench(sweep, target, frame, rules.confidence)
    first, second, gain, method = bench.compare(sweep.metric, mine, theirs)
    gates = [*_alone(sweep, dataset, first, challenger, folder, frame)]
    if theirs is not None:
        gates += _tolerances(rules, sweep, bench, mine, theirs)
        for wanted in rules.slices:
            gates += _slices(wanted, sweep, bench, mine, theirs)
    metrics = (*sweep.metrics, *sweep.extra_metrics)
    return replace(
        about, method=method, challenger=first, champion=second, gain=gain, gates=tuple(gates),
        scores=score(metrics, mine, target),
        champion_scores=None if theirs is None else score(metrics, theirs, target),
    )  # fmt: skip


class _Bench:
    """The held-out rows, and how they are drawn."""

    def __init__(self, sweep: Sweep, target: NDArray[Any], frame: pd.DataFrame, confidence: float) -> None:
        self.target = target
        self.frame = frame
        self.confidence = confidence
        self.clusters: NDArray[np.intp] | None = None
        self._drawn = "rows"
        if sweep.validation.groups is not None:
            self.clusters = pd.factorize(frame[sweep.validation.groups])[0]
            self._drawn = f"values of {sweep.validation.groups}"
        elif sweep.validation.time is not None:
            moments = frame[sweep.validation.time]
            self.clusters = blocks_of_time(moments.rank(method="first").to_numpy())
            self._drawn = "stretches of time"

    def compare(
        self, metric: Metric, mine: Predicted, theirs: Predicted | None,
        rows: NDArray[np.intp] | None = None, confidence: float | None = None,
    ) -> tuple[Interval, Interval | None, Interval | None, str]:  # fmt: skip
        """(the challenger's score, the champion's, the gain, the method), on all rows or on these."""
        target = self.target if rows is None else self.target[rows]
        clusters = self.clusters if rows is None or self.clusters is None else self.clusters[rows]
        both = [_part(found, rows) for found in (mine, theirs) if found is not None]
        sure = self.confidence if confidence is None else confidence
        if clusters is None and (scores := [_positive(metric, found) for found in both])[0] is not None:
            found = delong(target == 1, *[s for s in scores if s is not None], confidence=sure)
            second, gain = (found[1], found[2]) if theirs is not None else (None, None)
            return found[0], second, gain, "DeLong's test"
        values = [score((metric,), found, target)[metric.name] for found in both]
        statistics = [statistic_of(metric, found, target) for found in both]
        draws = _SLOW_DRAWS if any(slow for _, slow in statistics) else DRAWS
        if clusters is not None:
            clusters = np.unique(clusters, return_inverse=True)[1]
        drawn = Resampling(len(target), clusters, draws).values(*(made for made, _ in statistics))
        units = len(target) if clusters is None else int(clusters.max()) + 1
        method = f"paired bootstrap of {units} {self._drawn}"
        intervals = [quantiles(value, draw, sure, units) for value, draw in zip(values, drawn, strict=True)]
        if len(both) == 1:
            return intervals[0], None, None, method
        gained = quantiles(metric.sign * (values[0] - values[1]), metric.sign * (drawn[0] - drawn[1]), sure, units)
        return intervals[0], intervals[1], gained, method


def statistic_of(metric: Metric, predicted: Predicted, target: NDArray[Any]) -> tuple[Statistic, bool]:
    """The metric under weights, and whether it is slow.

    A short way is taken only where it gives scikit-learn's own number on these very rows; else scikit-learn computes
    each draw.
    """
    expected = score((metric,), predicted, target)[metric.name]
    for made in _short_ways(metric, predicted, target):
        if np.isclose(made(np.ones((1, len(target))))[0], expected, rtol=1e-6, atol=1e-9):
            return made, False
    return partial(_each, metric, predicted, target), True


def _each(metric: Metric, predicted: Predicted, target: NDArray[Any], weights: Floats) -> Floats:
    found = []
    for row in weights.astype(int):
        rows = np.repeat(np.arange(len(target)), row)
        try:
            found.append(score((metric,), _part(predicted, rows), target[rows])[metric.name])
        except ValueError:  # a class that was not drawn
            found.append(np.nan)
    return np.array(found)


def _short_ways(metric: Metric, predicted: Predicted, target: NDArray[Any]) -> Iterator[Statistic]:
    """Means over the rows, and the AUC; in the metric's own sign."""
    sign = -1.0 if metric.name.startswith("neg_") else 1.0

    def mean(values: NDArray[Any], root: bool = False) -> Statistic:
        made = mean_of(np.asarray(values, dtype=np.float64), root)
        return lambda weights: sign * made(weights)

    if isinstance(predicted, PredictedNumbers):
        off = predicted.numbers.astype(np.float64) - target
        yield from (mean(off**2), mean(off**2, root=True), mean(np.abs(off)))
        return
    yield mean(predicted.labels == target)
    if (chances := predicted.probabilities) is None:
        return
    if (positive := _positive(metric, predicted)) is not None:
        yield auc_of(positive, target == 1)
    tiny = np.finfo(chances.dtype).eps
    own = np.clip(chances / chances.sum(axis=1, keepdims=True), tiny, 1 - tiny)[np.arange(len(target)), target]
    yield mean(-np.log(own.astype(np.float64)))
    if len(predicted.classes_) == 2:
        yield mean((chances[:, 1] - target) ** 2)


def _positive(metric: Metric, predicted: Predicted) -> Floats | None:
    """The scores of the second class, where the metric is the area under the ROC curve of two classes."""
    if metric.scorer != "roc_auc" or isinstance(predicted, PredictedNumbers) or predicted.probabilities is None:
        return None
    return predicted.probabilities[:, 1].astype(np.float64)


def _part(predicted: Predicted, rows: NDArray[np.intp] | None) -> Predicted:
    if rows is None:
        return predicted
    if isinstance(predicted, PredictedNumbers):
        return PredictedNumbers(predicted.numbers[rows])
    chances = None if predicted.probabilities is None else predicted.probabilities[rows]
    return PredictedClasses(predicted.labels[rows], chances, len(predicted.classes_))


# The gates.


def _alone(
    sweep: Sweep, dataset: Dataset, mine: Interval, model: Predicts, folder: Path, frame: pd.DataFrame
) -> Iterator[Gate]:
    """What the challenger must hold by itself."""
    metric, rules = sweep.metric, sweep.promote or Promote()
    if rules.floor is not None:
        yield Gate("floor", f"hold-out {metric.name}", mine.value, rules.floor, at_most=metric.direction == "minimize")
    if rules.latency is not None:
        name = "seconds to predict one row"
        yield Gate("latency", name, latency(model, frame), rules.latency, at_most=True, about=f"median of {_ASKED}")
    if rules.size is not None:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        yield Gate("size", "bytes of the model", float(size), float(rules.size), at_most=True)
    if rules.missing is not None:
        shares = {c.name: float(frame[c.name].isna().mean()) for c in dataset.columns}
        yield _worst("missing", "share of missing values", shares, rules.missing)
    if rules.unseen is not None:
        kinds = {c.name: set(c.categories) for c in dataset.columns if c.kind == "categorical"}
        shares = {name: _unseen(frame[name], known) for name, known in kinds.items()}
        yield _worst("unseen", "share of unseen categories", shares, rules.unseen)


def _worst(kind: str, name: str, shares: dict[str, float], limit: float) -> Gate:
    worst = max(shares, key=lambda column: shares[column], default=None)
    value = 0.0 if worst is None else shares[worst]
    return Gate(kind, name, value, limit, at_most=True, about=f"column {worst!r} of the hold-out" if worst else "")


def _unseen(series: pd.Series[Any], known: set[str]) -> float:
    given = series.dropna()
    return float(np.mean([category_key(value) not in known for value in given])) if len(given) else 0.0


def latency(model: Predicts, frame: pd.DataFrame, clock: Any = time.perf_counter) -> float:
    """Seconds for one row, the median; the first prediction warms up."""
    rows = [frame.iloc[[k % len(frame)]] for k in range(_ASKED)]
    model.predict(rows[0])
    spent = []
    for row in rows:
        begun = clock()
        model.predict(row)
        spent.append(clock() - begun)
    return float(median(spent))


def _tolerances(
    rules: Promote, sweep: Sweep, bench: _Bench, mine: Predicted, theirs: Predicted
) -> Iterator[Gate]:  # fmt: skip
    """Not inferior: with the asked confidence, no metric is worse by more than its tolerance."""
    known = {metric.name: metric for metric in (*sweep.metrics, *sweep.extra_metrics)}
    for name, tolerance in rules.metrics.items():
        first, second, gain, _ = bench.compare(known[name], mine, theirs)
        assert second is not None
        assert gain is not None
        said = f"{first.value:.6g} against {second.value:.6g}, gain {gain}, tolerated {-tolerance:.6g}"
        yield Gate("metric", name, gain.low, -tolerance, about=said)


def _slices(
    wanted: Slice, sweep: Sweep, bench: _Bench, mine: Predicted, theirs: Predicted
) -> Iterator[Gate]:  # fmt: skip
    """A slice stops a promotion that is shown to be worse there; so many slices share the doubt (Bonferroni)."""
    parts = [part for part in slices_of(bench.frame[wanted.by], wanted.by) if len(part[1]) >= wanted.rows]
    if sweep.metric.scorer and len(np.unique(bench.target)) <= _SLICES:  # each slice needs every class
        everything = len(np.unique(bench.target))
        parts = [part for part in parts if len(np.unique(bench.target[part[1]])) == everything]
    confidence = 1 - (1 - bench.confidence) / max(1, len(parts))
    for name, rows in parts:
        first, second, gain, _ = bench.compare(sweep.metric, mine, theirs, rows, confidence)
        assert second is not None
        assert gain is not None
        said = f"{len(rows)} rows, {first.value:.6g} against {second.value:.6g}, gain {gain}"
        yield Gate("slice", name, gain.high, -wanted.tolerance, about=said)


def slices_of(series: pd.Series[Any], name: str) -> Sequence[tuple[str, NDArray[np.intp]]]:
    """(what the slice is, its rows): a value each, the most frequent first; numbers with many values in quarters."""
    if pd.api.types.is_numeric_dtype(series) and series.nunique() > _SLICES:
        cut = pd.qcut(series, _BINS, duplicates="drop")
        return [(f"{name} in {part}", np.flatnonzero(cut == part)) for part in cut.cat.categories]
    values = series.value_counts().index[:_SLICES]
    return [(f"{name} = {value}", np.flatnonzero(series == value)) for value in values]
