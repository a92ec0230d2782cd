"""A table as its preparation reads it: a column at a time, so that a large one is never in memory as a whole.

Opened by `hpo.data.store`. Small tables are kept in memory; a large Parquet file is read where it lies, and a large CSV
is first written down as one. Both give the same columns, to the last type: a hold-out that follows from the rows'
content must not follow from how they were read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.data.table import CSV, read_table, readable, refuse_missing, separator

CELLS = 1 << 23  # a table with more than so many values is large: 64 MB as numbers
BYTES = 1 << 25  # a CSV file of more than this is
PIECE = 1 << 21  # values of a CSV file that are read at a time


class Table(Protocol):
    """Rows are numbered from 0 on, whatever is left out."""

    @property
    def names(self) -> list[str]: ...

    def column(self, name: str) -> pd.Series[Any]: ...

    def without(self, rows: NDArray[np.bool_]) -> Table: ...


@dataclass(frozen=True)
class Whole:
    """A table in memory."""

    frame: pd.DataFrame

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    def column(self, name: str) -> pd.Series[Any]:
        return self.frame[name]

    def without(self, rows: NDArray[np.bool_]) -> Whole:
        return Whole(self.frame[~rows].reset_index(drop=True))


@dataclass(frozen=True)
class Filed:
    """A Parquet file whose rows have no names. `gaps`: what stands for a missing value among objects."""

    path: Path
    names: list[str]
    left: NDArray[np.bool_] | None = None  # those that are not left out
    gaps: float | None = None

    def column(self, name: str) -> pd.Series[Any]:
        with readable(self.path):
            series = pd.read_parquet(self.path, columns=[name])[name].reset_index(drop=True)
        if self.gaps is not None and series.dtype == object:
            series = series.where(series.notna(), self.gaps)
        return series if self.left is None else series[self.left].reset_index(drop=True)

    def without(self, rows: NDArray[np.bool_]) -> Filed:
        return replace(self, left=~rows)


def open_table(path: Path, scratch: Path) -> Table:
    """The table in this file; a large CSV is written into the folder `scratch` as Parquet. InputError: it is none."""
    refuse_missing(path)
    found = _filed_csv(path, scratch) if path.suffix.lower() in CSV else _filed(path)
    return found or Whole(read_table(path))


def _filed(path: Path) -> Filed | None:
    """None: it is small, or its rows have names, which are to be a column, or it cannot be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (OSError, ValueError, pyarrow.ArrowException):
        return None  # whoever reads it whole says why
    about = loads((schema.metadata or {}).get(b"pandas", b"{}"))
    index = [column if isinstance(column, str) else column["name"] for column in about.get("index_columns", ())]
    unnamed = [name for name in index if name is None or re.fullmatch(r"__index_level_\d+__", name)]
    names = [name for name in schema.names if name not in unnamed]
    if len(unnamed) < len(index) or rows * len(names) <= CELLS or len(set(names)) < len(names):
        return None
    return Filed(path, names)


def _filed_csv(path: Path, scratch: Path) -> Filed | None:
    """Read twice: what is text in one row is text in all of them, as it is when all are read at once."""
    if path.stat().st_size <= BYTES:
        return None
    import pyarrow
    import pyarrow.parquet

    types = {"whole": pyarrow.int64(), "number": pyarrow.float64(), "truth": pyarrow.bool_(), "text": pyarrow.string()}
    kinds: dict[str, set[str]] = {}
    names: list[str] = []
    for piece in _pieces(path):
        names = [str(name) for name in piece.columns]
        if not isinstance(piece.index, pd.RangeIndex) or len(set(names)) < len(names):
            return None
        for name, series in piece.items():
            kinds.setdefault(str(name), set()).add(_kind(series))
    settled = {name: _settle(found) for name, found in kinds.items()}
    if not names or None in settled.values():
        return None
    schema = pyarrow.schema([(name, types[settled[name] or "text"]) for name in names])
    target = scratch / "table.parquet"
    with pyarrow.parquet.ParquetWriter(target, schema) as file:
        for piece in _pieces(path, {name: str for name in names if settled[name] == "text"}):
            numbers = {name: float for name in names if settled[name] == "number"}
            file.write_table(pyarrow.Table.from_pandas(piece.astype(numbers), schema=schema, preserve_index=False))
    return Filed(target, names, gaps=np.nan)


def _pieces(path: Path, types: dict[str, Any] | None = None) -> Iterator[pd.DataFrame]:
    with readable(path):
        sep = separator(path)
        columns = len(pd.read_csv(path, sep=sep, nrows=0, encoding="utf-8-sig").columns)
        rows = max(1, PIECE // max(1, columns))
        pieces = pd.read_csv(
            path, sep=sep, encoding="utf-8-sig", chunksize=rows, dtype=types or {}, low_memory=False,
        )  # fmt: skip
    with pieces:
        while True:
            with readable(path):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


def _kind(series: pd.Series[Any]) -> str:
    """What pandas takes these values for."""
    if series.isna().all():
        return "nothing"
    if series.dtype == np.int64:
        return "whole"
    if series.dtype == np.float64:
        return "number"
    if series.dtype == bool or (series.dtype == object and pd.api.types.infer_dtype(series.dropna()) == "boolean"):
        return "truth"
    return "text" if pd.api.types.infer_dtype(series.dropna()) == "string" else "other"


def _settle(kinds: set[str]) -> str | None:
    """What pandas takes all of them for; None: nobody but pandas knows."""
    known = kinds - {"nothing"}
    if "other" in known:
        return None
    if known <= {"whole", "number"}:
        return "whole" if kinds == {"whole"} else "number"
    return "truth" if known == {"truth"} else "text"
