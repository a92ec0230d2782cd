"""The real data sets of the benches: how to predict what, some of the rows, and a sweep of XGBoost.

Used by `quality`, `time_to_score` and `warm_start`. The bundled ones are there always; the others only for whoever has
a folder of them, since their licences do not let us carry them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import hpo

ROOT = Path(__file__).resolve().parent.parent.parent
TARGETS = {
    "flights": "late", "diamonds": "price", "segment": "category", "adult": "income", "bank": "deposit",
    "california": "median_house_value", "higgs_small": "signal", "bike": "cnt", "wine": "quality",
}  # fmt: skip
REGRESSION = ("diamonds", "california", "bike", "wine")
SPACE = {
    "n_estimators": {"int": [20, 500], "log": True},
    "learning_rate": {"float": [0.01, 0.5], "log": True},
    "max_depth": {"int": [2, 12]},
    "min_child_weight": {"float": [0.5, 50.0], "log": True},
    "subsample": {"float": [0.4, 1.0]},
    "colsample_bytree": {"float": [0.3, 1.0]},
    "reg_lambda": {"float": [0.001, 100.0], "log": True},
    "reg_alpha": {"float": [0.001, 30.0], "log": True},
    "gamma": {"float": [0.001, 10.0], "log": True},
}


def paths_in(folder: Path | None) -> dict[str, Path]:
    """By name: the bundled ones, and those of the folder."""
    folders = [ROOT / "data", *([folder] if folder else [])]
    return {path.stem: path for one in folders for path in sorted(one.glob("*.parquet")) if path.stem in TARGETS}


def data_of(path: Path) -> dict[str, Any]:
    """What a sweep file says of one."""
    given = {"path": str(path), "target": TARGETS[path.stem]}
    return {**given, "task": "regression"} if path.stem in REGRESSION else given


def every(table: pd.DataFrame, rows: int | None) -> pd.DataFrame:
    """About so many of the rows, evenly spread over the file."""
    return table if rows is None else table.iloc[:: max(1, len(table) // rows)].reset_index(drop=True)


def sweep_on(path: Path, rows: int | None, folder: Path, seed: int) -> hpo.Sweep:
    """Five folds of the rows, and room for many trials; a copy of the rows is in the folder."""
    if rows is not None:
        every(pd.read_parquet(path), rows).to_parquet(path := folder / path.name)
    regression = path.stem in REGRESSION
    return hpo.build(
        name=path.stem,
        data=data_of(path),
        model="xgboost.XGBRegressor" if regression else "xgboost.XGBClassifier",
        metric="rmse" if regression else "log_loss",
        validation={"folds": 5},
        space=SPACE,
        search={"budget": {"trials": 100_000}, "seed": seed, "workers": 2, "threads": 1},
        promote=False,
    )  # fmt: skip
