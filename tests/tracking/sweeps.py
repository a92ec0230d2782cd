"""Journals as a driver writes them, and what MLflow holds of them, for the tests of tracking and sync."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from hpo.journal import Journal
from hpo.trial import Failure, Report, Trial

BEGUN = 1_790_000_000.0
DATASET = {
    "digest": "d" * 32, "task": "binary", "target": "late", "rows": 80, "holdout_rows": 20,
    "balance": {"0": 0.5, "1": 0.5},
    "columns": [
        {"name": "carrier", "kind": "categorical", "distinct": 14, "missing": 0},
        {"name": "distance", "kind": "numeric", "missing": 3},
    ],
}  # fmt: skip


def finished(number: int) -> Trial:
    """Of five in a row the fourth has failed and the fifth was pruned."""
    folds = (0.7, 0.75, 0.8 + number / 1000)
    curve = tuple(Report(step, 0.5 + step / 100, fold) for fold in range(3) for step in range(20))
    trial = Trial(
        number, {"learning_rate": 0.1 * (number + 1), "booster": "gbtree"}, started=BEGUN + number,
        finished=BEGUN + number + 1, metrics={"fit_seconds": 0.5}, reports=curve,
        scores={"roc_auc": folds, "accuracy": (0.5, 0.6, 0.7)},
    )  # fmt: skip
    if number % 5 == 3:
        return trial.failed(Failure("exception", "ValueError: no", "Traceback: here"), BEGUN + number + 1)
    if number % 5 == 4:
        return replace(trial, pruned=True, scores={"roc_auc": folds[:1]})
    return replace(trial, values=(sum(folds) / 3,))


def journal_of(folder: Path, uri: str, trials: Iterable[Trial] = (), **facts: Any) -> Journal:
    """A sweep of this name, whose search is over unless a fact says otherwise."""
    given = {
        "id": "flights-1", "name": "flights", "state": "finished", "created": BEGUN, "identity": "1d", "meaning": {},
        "document": {"name": "flights", "data": {"path": "/data/flights.parquet"}, "search": {"trials": 5, "seed": 7}},
        "root": str(folder), "source": "name: flights\n", "engine": "optuna", "metrics": [["roc_auc", "maximize"]],
        "extra_metrics": [["accuracy", "maximize"]], "tracking_uri": uri, "promote": False, "dataset": DATASET,
        "provenance": {"user": "ada", "command": "hpo search", "git": {"commit": "c0ffee", "dirty": True}},
        "best": 0, "trials": 5, "seconds": 1.0, **facts,
    }  # fmt: skip
    journal = Journal.create(folder / f"{given['id']}.journal", given)
    journal.record(*trials)
    return journal


def runs_of(uri: str, name: str = "flights", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], run_view_type=view, max_results=5000))


def delivered_once(uri: str, name: str, trials: int) -> None:
    """One parent, one child per trial, none left RUNNING, each metric row once."""
    runs = runs_of(uri, name)
    numbers = Counter(run.data.tags.get("hpo.trial", "parent") for run in runs)
    assert numbers == {"parent": 1, **{str(number): 1 for number in range(trials)}}
    assert [run.info.run_name for run in runs if run.info.status == "RUNNING"] == []
    parent = next(run.info.run_id for run in runs if "hpo.trial" not in run.data.tags)
    client = MlflowClient(uri)
    for run in runs:
        if "hpo.trial" in run.data.tags:
            assert run.data.tags["mlflow.parentRunId"] == parent
            history = [(m.step, round(m.value, 6)) for m in client.get_metric_history(run.info.run_id, "roc_auc_curve")]
            assert sorted(history) == [(step, round(0.5 + step / 100, 6)) for step in range(20)]
            fold = client.get_metric_history(run.info.run_id, "roc_auc_fold")
            assert len(fold) == len({m.step for m in fold})


def until(what: Any, seconds: float = 60.0) -> None:
    """Wait until `what()` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
