"""What the final model does, in numbers that a chart can show: which columns move it, and how far to trust it.

Called by `hpo.promotion` once the model is refitted and judged; the journal keeps what is returned, and `hpo.pages`
draws it. XGBoost says itself how each column moved each answer (`pred_contribs`: SHAP values, S. Lundberg, 2018); any
other model is asked again with one column shuffled (L. Breiman, 2001). Everything on held-out rows, the one place where
the answer is not learned by heart.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.data import Dataset, holdout_frame
from hpo.objectives import XGBOOST
from hpo.objectives.judging import Predicts, ask
from hpo.objectives.scoring import PredictedNumbers, score
from hpo.predictor import encode
from hpo.sweep import Sweep

ROWS = 2_000  # of the hold-out that are looked at
CELLS = 400_000  # rows times columns that one round of shuffling may predict
ROUNDS = 5
PATIENCE = 20.0  # seconds after which no further round of shuffling begins
KEPT = 30  # columns
SWARM, POINTS = 12, 150  # columns whose single rows are kept, and how many rows
BINS = 10
CLASSES = 5  # of which the calibration is kept, the most frequent ones
SHOWN = 12  # classes of a confusion table
RESIDUALS = 400

Found = dict[str, Any]


def explain(sweep: Sweep, dataset: Dataset, model: Predicts, folder: Path, threads: int) -> Found:
    """JSON: `importance`, and `calibration` and `confusion`, or `residuals`. Empty without held-out rows.

    `folder` holds the model's files. The same for the same model and rows, but for rounds that time has cut off.
    """
    if not dataset.holdout_rows:
        return {}
    frame, target = holdout_frame(dataset)
    some = np.random.default_rng(sweep.search.seed or 0).permutation(len(frame))[:ROWS]
    answers = ask(sweep, dataset, model, frame)
    found = {"rows": len(frame), **(
        {"residuals": _residuals(answers.numbers, target)} if isinstance(answers, PredictedNumbers)
        else _classes(dataset, model, frame, answers.labels, target)
    )}  # fmt: skip
    part = frame.iloc[some].reset_index(drop=True)
    if sweep.model in XGBOOST:
        return {"importance": _contributions(dataset, part, folder, threads), **found}
    return {"importance": _shuffled(sweep, dataset, model, part, target[some]), **found}


def _contributions(dataset: Dataset, frame: pd.DataFrame, folder: Path, threads: int) -> Found:
    import xgboost

    from hpo.objectives.matrices import about_columns

    booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
    matrix = encode(frame, [asdict(column) for column in dataset.columns])
    rows = xgboost.DMatrix(matrix, nthread=threads, **about_columns(dataset))
    moved = np.asarray(booster.predict(rows, pred_contribs=True))[..., :-1]  # the last one is the mean answer
    sizes = np.abs(moved).mean(axis=tuple(range(moved.ndim - 1)))
    order = np.argsort(-sizes, kind="stable")[:KEPT]
    features: list[Found] = [{"name": dataset.columns[k].name, "value": _round(sizes[k])} for k in order]
    if moved.ndim == 2:  # of several classes, each has contributions of its own
        for feature, k in zip(features[:SWARM], order, strict=False):
            ordered = dataset.columns[k].kind != "categorical"
            places = _places(matrix[:, k]) if ordered else np.full(len(matrix), np.nan)
            pairs = zip(moved[:POINTS, k].tolist(), places[:POINTS].tolist(), strict=True)
            feature["points"] = [[_round(m), None if math.isnan(place) else round(place, 2)] for m, place in pairs]
    scale = "log-odds" if dataset.classifies else f"units of {dataset.target}, before any link"
    unit = f"mean size of what it moves the answer by ({scale})"
    return {"method": "SHAP", "unit": unit, "scale": scale, "rows": len(frame), "features": features}


def _places(values: NDArray[Any]) -> NDArray[Any]:
    """0 for the lowest of its column to 1 for the highest, by rank; NaN stays."""
    ranks = pd.Series(values).rank(method="average").to_numpy(dtype=float)
    count = np.isfinite(values).sum()
    return (ranks - 1) / (count - 1) if count > 1 else np.where(np.isfinite(values), 0.5, np.nan)


def _shuffled(sweep: Sweep, dataset: Dataset, model: Predicts, frame: pd.DataFrame, target: NDArray[Any]) -> Found:
    """How much the metric loses where a column says nothing any more: over the rounds, the mean and its error."""
    names = [column.name for column in dataset.columns]
    rows = min(len(frame), max(200, CELLS // max(1, len(names))))
    frame, target = frame.iloc[:rows], target[:rows]
    metric, begun = sweep.metric, time.monotonic()
    whole = score((metric,), ask(sweep, dataset, model, frame), target)[metric.name]
    losses: list[list[float]] = []
    for number in range(ROUNDS):
        if losses and time.monotonic() - begun > PATIENCE * len(losses) / (len(losses) + 1):
            break
        order = np.random.default_rng(number).permutation(rows)
        losses.append([])
        for name in names:
            other = frame.assign(**{name: frame[name].to_numpy(copy=True)[order]})
            worse = score((metric,), ask(sweep, dataset, model, other), target)[metric.name]
            losses[-1].append(metric.sign * (whole - worse))
    means, spread = np.mean(losses, axis=0), np.std(losses, axis=0) / math.sqrt(len(losses))
    ranked = np.argsort(-means, kind="stable")[:KEPT]
    features = [{"name": names[k], "value": _round(means[k]), "off": _round(spread[k])} for k in ranked]
    return {"method": "permutation", "unit": f"{metric.name} that is lost without it", "scale": metric.name,
            "rows": rows, "features": features}  # fmt: skip


def _classes(
    dataset: Dataset, model: Predicts, frame: pd.DataFrame, labels: NDArray[Any], target: NDArray[Any]
) -> Found:
    count = len(dataset.classes)
    frequent = np.argsort(-np.bincount(target, minlength=count), kind="stable")
    shown = sorted(frequent[:SHOWN].tolist())
    table = np.zeros((count, count), dtype=int)
    np.add.at(table, (target, labels), 1)
    names = [str(dataset.classes[k]) for k in shown]
    found: Found = {"confusion": {"classes": names, "counts": table[np.ix_(shown, shown)].tolist(), "of": count}}
    try:
        chances = pd.DataFrame(model.predict(frame, params={"output": "probability"}))
    except ValueError:
        return found  # it has none
    wanted = [1] if count == 2 else frequent[:CLASSES].tolist()
    found["calibration"] = [
        {"class": str(dataset.classes[k]), **_calibration(chances.iloc[:, k].to_numpy(), target == k)} for k in wanted
    ]
    return found


def _calibration(said: NDArray[Any], true: NDArray[Any]) -> Found:
    """Bins of equally many rows: what was said in the mean, what came of it, and Wilson's interval of 95 % for it."""
    order = np.argsort(said, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    rows = np.array([len(part) for part in bins])
    means, came = (np.array([values[part].mean() for part in bins]) for values in (said, true))
    z = 1.96
    middle = (came + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(came * (1 - came) / rows + z**2 / (4 * rows**2))
    return {
        "said": _all(means), "came": _all(came), "rows": rows.tolist(),
        "low": _all(np.clip(middle - half, 0, 1)), "high": _all(np.clip(middle + half, 0, 1)),
        "off": _round(np.average(abs(means - came), weights=rows)),
    }  # fmt: skip


def _residuals(said: NDArray[Any], target: NDArray[Any]) -> Found:
    off = target - said
    some = np.random.default_rng(0).permutation(len(off))[:RESIDUALS]
    tenths = [part for part in np.array_split(np.argsort(said, kind="stable"), BINS) if len(part)]
    middles = {"said": _all([said[part].mean() for part in tenths]), "off": _all([off[part].mean() for part in tenths])}
    spread = {f"{share:.0%}": _round(np.quantile(np.abs(off), share)) for share in (0.5, 0.9, 0.99)}
    return {
        "said": _all(said[some]),
        "off": _all(off[some]),
        "tenths": middles,
        "spread": spread,
        "mean": _round(off.mean()),
    }


def _round(number: Any) -> float:
    return float(f"{float(number):.4g}")


def _all(numbers: Any) -> list[float]:
    return [_round(number) for number in np.asarray(numbers).tolist()]
