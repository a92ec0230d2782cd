"""Sweeps on real tables, for the tests of data and objectives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hpo.data import Dataset, prepare
from hpo.metric import Metric, infer_direction
from hpo.space import Space
from hpo.sweep import Data, Named, Search, Sweep, Validation

BUNDLED = Path(__file__).resolve().parents[2] / "data"
TARGETS = {"flights": "late", "diamonds": "price", "segment": "category"}


def metric(name: str) -> Metric:
    return Metric(name, infer_direction(name) or "maximize")


def sweep_on(
    path: Path,
    target: str,
    metrics: tuple[str, ...] = ("roc_auc",),
    *,
    data: Mapping[str, Any] | None = None,
    validation: Validation = Validation(3),  # noqa: B008  (frozen)
    **settings: Any,
) -> Sweep:
    settings.setdefault("model", "xgboost.XGBClassifier")
    settings.setdefault("space", Space(()))
    settings.setdefault("search", Search(pruner=Named("none"), seed=7))  # folds in their order
    return Sweep(
        name="test",
        metrics=(metric(metrics[0]),),
        extra_metrics=tuple(metric(name) for name in metrics[1:]),
        data=Data(path, target, **(data or {})),
        validation=validation,
        **settings,
    )


def bundled(name: str, folder: Path, rows: int = 2000, **settings: Any) -> tuple[Sweep, Dataset]:
    """A small part of a bundled table, prepared: every k-th row, in the order of the file."""
    table = pd.read_parquet(BUNDLED / f"{name}.parquet")
    path = folder / f"{name}.parquet"
    table.iloc[:: max(1, len(table) // rows)].reset_index(drop=True).to_parquet(path)
    sweep = sweep_on(path, TARGETS[name], **settings)
    return sweep, prepare(sweep, folder / "prepared")
