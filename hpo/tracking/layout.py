"""What goes where in MLflow, and within its limits: numbers, settings and data set as MLflow's own values.

Used by `hpo.tracking.projection`; pure, so that the same journal always gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import re
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
_SOURCES = {"dvc": ("local", "uri"), "https": ("http", "url")}  # as `mlflow.data.get_source` knows them
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


def origin(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a journal says that its table came from; an older one knows the path alone."""
    if found := facts.get("origin"):
        return dict(found)
    path = (facts["document"].get("data") or {}).get("path", "")
    return {"kind": "local", "source": path, "name": PurePath(path).stem, "tags": {}}


def dataset_inputs(dataset: Mapping[str, Any], origin: Mapping[str, Any]) -> list[DatasetInput]:
    """The rows that trials see and, if there are any, those that they never do; the columns in the words that the
    MLflow UI reads."""
    columns = [{"name": c["name"], "type": _TYPES[c["kind"]]} for c in dataset["columns"]]
    target = "double" if dataset["task"] == "regression" else "string"
    schema = json.dumps({"mlflow_colspec": [*columns, {"name": dataset["target"], "type": target}]})
    kind, key = _SOURCES.get(origin["kind"], (origin["kind"], "uri"))
    held = hashlib.md5(f"{dataset['digest']} holdout".encode(), usedforsecurity=False).hexdigest()
    about = {name: dataset[name] for name in ("task", "target")}
    splits = [("training", dataset["digest"], _profile(dataset))]
    if dataset["holdout_rows"]:
        splits.append(("holdout", held, json.dumps({"rows": dataset["holdout_rows"], **about})))
    return [
        DatasetInput(
            Dataset(
                name=origin["name"], digest=digest, source_type=kind, source=json.dumps({key: origin["source"]}),
                profile=profile, schema=schema if len(schema) <= _SCHEMA else None,
            ),
            tags=[InputTag("mlflow.data.context", split), *(InputTag(n, t[:500]) for n, t in origin["tags"].items())],
        )
        for split, digest, profile in splits
    ]  # fmt: skip


def _profile(dataset: Mapping[str, Any]) -> str:
    """Counts, the balance of the target, and each column's gaps and different values, unless they are too many."""
    whole = {name: dataset[name] for name in ("rows", "holdout_rows", "task", "target", "balance")}
    columns = dataset["columns"]
    counted = {
        name: {c["name"]: c[name] for c in columns if c.get(name)} for name in ("missing", "distinct")
    }  # fmt: skip
    profile = json.dumps({**whole, "columns": len(columns), **counted})
    return profile if len(profile) <= _SCHEMA else json.dumps(whole)


def record(trial: Trial) -> str | None:
    """The trial as a tag; None if it is too long for one, and has to be a file."""
    text = whole(trial)
    return text if len(text) <= _TAG else None


def whole(trial: Trial) -> str:
    """What `hpo.reproduce` needs of a trial: without its curve if there are scores to compare, and without a trace."""
    row = trial.to_json()
    if trial.scores:
        row.pop("reports", None)
    if trial.failure:
        row["failure"] = [trial.failure.cause, trial.failure.headline]
    return redact(json.dumps(row, separators=(",", ":"), ensure_ascii=False))


def metric(name: str, value: float, seconds: float | None, step: int) -> Metric:
    return Metric(key(name), value, milliseconds(seconds), step)


def metrics(trial: Trial, names: Sequence[str]) -> list[Metric]:
    """All of a trial's numbers, with its own time: a replay writes the same rows."""
    return [metric(name, value, trial.finished, step) for name, value, step in numbers(trial, names)]


def numbers(trial: Trial, names: Sequence[str]) -> list[tuple[str, float, int]]:
    """(name, value, step); `names` are the sweep's metrics, the first of which the reports are about.

    A headline value only if the trial is complete, so that sorting runs by a metric compares like with like; and before
    all else, as the UI's comparison of runs begins with the metric that it finds first.
    """
    points: list[tuple[str, float, int]] = []
    if trial.state == "complete":
        means = dict(zip(names, trial.values or (), strict=True))
        others = {name: fmean(folds) for name, folds in trial.scores.items() if folds and name not in means}
        points += [(name, value, 0) for name, value in {**means, **others}.items()]
    points += [(name, value, 0) for name, value in trial.metrics.items()]
    for name, folds in trial.scores.items():
        if len(folds) > 1:
            points.append((f"{name}_std", pstdev(folds), 0))
        points += [
            (f"{name}_fold", value, fold) for fold, value in zip(trial.folds or range(len(folds)), folds, strict=True)
        ]
    return points + [(f"{names[0]}_curve", value, step) for step, value in _curve(trial)]


def _curve(trial: Trial) -> list[tuple[int, float]]:
    if trial.scores and all(report.fold is None for report in trial.reports):
        return []  # one report per finished fold: `<metric>_fold` shows the same
    return trial.curve(_CURVE)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any, limit: int) -> str:
    text = redact(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
