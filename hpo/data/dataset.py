"""A prepared data set: what it holds and where it lies, without a single row.

Made by `prepare`, pickled to every worker, written into the journal and MLflow. Small and frozen; the rows are
memory-mapped from `folder` by whoever needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hpo.metric import Task

Kind = Literal["numeric", "categorical", "boolean", "date"]
Label = bool | int | float | str


@dataclass(frozen=True)
class Column:
    """A feature. `format` is how a date is written (None: it was no text); `low` and `high` are encoded values.

    `missing`, `distinct`, `low` and `high` are counted on the rows that are not held out.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    format: str | None = None
    missing: int = 0
    distinct: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Dataset:
    """`digest` is an MD5 (it fits MLflow's field); `classes` are in the order of their codes, empty in regression.

    `rows` are those that objectives see, `holdout_rows` those they never do. `ordered`: fold k is validated on
    the part of time that follows everything it was trained on. `seed` is that of the folds; `repeat`: 0 for those of
    the search, else which of the fresh ones.
    """

    folder: Path
    digest: str
    file_digest: str
    target: str
    task: Task
    classes: tuple[Label, ...]
    columns: tuple[Column, ...]
    rows: int
    holdout_rows: int
    folds: int
    ordered: bool
    balance: Mapping[str, float]
    notes: tuple[str, ...] = ()
    seed: int = 0
    repeat: int = 0

    @property
    def classifies(self) -> bool:
        return self.task != "regression"

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the categorical columns."""
        return tuple(k for k, column in enumerate(self.columns) if column.kind == "categorical")

    @property
    def schema(self) -> dict[str, Any]:
        """The columns and the target, as JSON for MLflow."""
        columns = [
            {"name": c.name, "kind": c.kind} | ({"categories": len(c.categories)} if c.categories else {})
            for c in self.columns
        ]
        return {"columns": columns, "target": {"name": self.target, "task": self.task, "classes": list(self.classes)}}

    @property
    def profile(self) -> dict[str, Any]:
        """Counts, missing values and the balance of the target, as JSON for MLflow."""
        return {
            "rows": self.rows, "holdout_rows": self.holdout_rows, "columns": len(self.columns), "folds": self.folds,
            "missing": {c.name: c.missing for c in self.columns if c.missing}, "target": dict(self.balance),
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Dataset:
        columns = tuple(Column(**column | {"categories": tuple(column["categories"])}) for column in row["columns"])
        parts = {"folder": Path(row["folder"]), "classes": tuple(row["classes"]), "notes": tuple(row["notes"])}
        return cls(**{**row, **parts, "columns": columns})
