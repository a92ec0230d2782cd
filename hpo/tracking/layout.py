"""What goes where in MLflow, and within its limits: numbers, settings and data set as MLflow's own values.

Used by `hpo.tracking.projection`; pure, so that the same journal always gives the same rows.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from statistics import fmean, pstdev
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from hpo.redact import redact
from hpo.trial import State, Trial

STATUS: Mapping[State, str] = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
}
_CURVE = 250  # points of a curve that are kept: what a chart can show
_TYPES = {"numeric": "double", "categorical": "string", "boolean": "boolean", "date": "datetime"}
_KEY, _PARAM, _TAG, _SCHEMA = 250, 6000, 8000, 60_000  # MLflow's limits


def milliseconds(seconds: float | None) -> int:
    return round((seconds or 0.0) * 1000)


def key(name: str) -> str:
    """A name that MLflow accepts for a metric or a parameter."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:_KEY]


def params(values: Mapping[str, Any]) -> list[Param]:
    """Nested settings as `search.trials`; lists and whatever else stands at the leaves as JSON."""
    return [Param(key(name), _text(value, _PARAM)) for name, value in _flat(values)]


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Without those that are None."""
    return {name: _text(value, _TAG) for name, value in values.items() if value is not None}


def tags(values: Mapping[str, Any]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in texts(values).items()]


def dataset_input(dataset: Mapping[str, Any], source: str) -> DatasetInput:
    """The journal's note of a prepared data set; the columns in the words that the MLflow UI reads."""
    columns = [{"name": c["name"], "type": _TYPES[c["kind"]]} for c in dataset["columns"]]
    target = "double" if dataset["task"] == "regression" else "string"
    schema = json.dumps({"mlflow_colspec": [*columns, {"name": dataset["target"], "type": target}]})
    profile = {name: dataset[name] for name in ("rows", "holdout_rows", "task", "target", "balance")}
    return DatasetInput(
        Dataset(
            name=PurePath(source).stem, digest=dataset["digest"], source_type="local",
            source=json.dumps({"uri": source}), profile=json.dumps(profile),
            schema=schema if len(schema) <= _SCHEMA else None,
        ),
        tags=[InputTag("mlflow.data.context", "training")],
    )  # fmt: skip


def metric(name: str, value: float, seconds: float | None, step: int) -> Metric:
    return Metric(key(name), value, milliseconds(seconds), step)


def metrics(trial: Trial, names: Sequence[str]) -> list[Metric]:
    """All of a trial's numbers, with its own time: a replay writes the same rows."""
    return [metric(name, value, trial.finished, step) for name, value, step in numbers(trial, names)]


def numbers(trial: Trial, names: Sequence[str]) -> list[tuple[str, float, int]]:
    """(name, value, step); `names` are the sweep's metrics, the first of which the reports are about.

    A headline value only if the trial is complete, so that sorting runs by a metric compares like with like.
    """
    points: list[tuple[str, float, int]] = [(name, value, 0) for name, value in trial.metrics.items()]
    if trial.state == "complete":
        means = {name: fmean(folds) for name, folds in trial.scores.items() if folds}
        means |= zip(names, trial.values or (), strict=True)
        points += [(name, value, 0) for name, value in means.items()]
    for name, folds in trial.scores.items():
        if len(folds) > 1:
            points.append((f"{name}_std", pstdev(folds), 0))
        points += [(f"{name}_fold", value, fold) for fold, value in enumerate(folds)]
    return points + [(f"{names[0]}_curve", value, step) for step, value in _curve(trial)]


def _curve(trial: Trial) -> list[tuple[int, float]]:
    """The mean over the folds that have this step, thinned; of a function, whatever it reported."""
    steps: dict[int, list[float]] = defaultdict(list)
    inner = any(report.fold is not None for report in trial.reports)
    for report in trial.reports:
        if (report.fold is not None) == inner:
            steps[report.step].append(report.value)
    curve = [(step, fmean(values)) for step, values in sorted(steps.items())]
    if not inner and trial.scores:  # one report per finished fold: `<metric>_fold` shows the same
        return []
    if len(curve) <= _CURVE:
        return curve
    return [curve[round(i * (len(curve) - 1) / (_CURVE - 1))] for i in range(_CURVE)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any, limit: int) -> str:
    text = redact(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
