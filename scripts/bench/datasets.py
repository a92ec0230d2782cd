"""The real data sets of the benches: how to predict what, and some of the rows.

Used by `time_to_score` and `warm_start`. The bundled ones are there always; the others only for whoever has a folder
of them, since their licences do not let us carry them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent.parent
TARGETS = {
    "flights": "late", "diamonds": "price", "segment": "category", "adult": "income", "bank": "deposit",
    "california": "median_house_value", "higgs_small": "signal", "bike": "cnt", "wine": "quality",
}  # fmt: skip
REGRESSION = ("diamonds", "california", "bike", "wine")


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
