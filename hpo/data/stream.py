"""Tables in pieces: read and written a part at a time, for files that are larger than memory.

Used by `hpo.predict`. A CSV is read twice: a column that is text somewhere is text everywhere, as it is when the whole
file is read at once, so that a piece of it cannot mean something else than the whole. What is written has its name only
once it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from hpo.data.table import CSV, PARQUET, refuse_missing
from hpo.errors import InputError, Problem


def columns_of(path: Path) -> list[str]:
    """The names of the columns; InputError: no such file, or not one of ours."""
    refuse_missing(path)
    if _kind(path) == "parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)
    return list(pd.read_csv(path, sep=_separator(path), nrows=0, encoding="utf-8-sig").columns)


def pieces(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """The table, so many rows at a time, in its order."""
    if _kind(path) == "parquet":
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(rows):
                yield batch.to_pandas()
        return
    options: dict[str, Any] = {"sep": _separator(path), "encoding": "utf-8-sig", "chunksize": rows}
    text: set[str] = set()
    for piece in pd.read_csv(path, **options):
        text |= {name for name in piece.columns if not pd.api.types.is_numeric_dtype(piece[name])}
    yield from pd.read_csv(path, dtype=dict.fromkeys(text, str), **options)


class Writer:
    """A Parquet or CSV file that grows piece by piece and appears when it is closed without an error."""

    def __init__(self, path: Path) -> None:
        self._kind = _kind(path)
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._parquet: Any = None
        self.rows = 0

    def __enter__(self) -> Writer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._part.unlink(missing_ok=True)
        return self

    def write(self, piece: pd.DataFrame) -> None:
        if self._kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            schema = None if self._parquet is None else self._parquet.schema
            table = pyarrow.Table.from_pandas(piece, schema=schema, preserve_index=False)
            if self._parquet is None:
                self._parquet = pyarrow.parquet.ParquetWriter(self._part, table.schema)
            self._parquet.write_table(table)
        else:
            piece.to_csv(self._part, mode="a", header=not self.rows, index=False)
        self.rows += len(piece)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        if self._parquet is not None:
            self._parquet.close()
        if kind is None and self.rows:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in CSV + PARQUET:
        raise InputError(Problem(f"{path.name} is neither CSV nor Parquet", hint="name it .csv or .parquet"))
    return "parquet" if suffix in PARQUET else "csv"


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as lines:
        return max(",;\t|", key=lines.readline().count)
