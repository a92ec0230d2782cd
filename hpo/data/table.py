"""The user's table: read, checked, and its columns understood.

Called by `hpo.data.store` when a data set is prepared for the first time. Nothing is guessed twice: what is
decided here about a column is stored, and `hpo.predictor.encode` follows it in training and in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from hpo.data.dataset import Column, Kind
from hpo.errors import InputError, Problem, did_you_mean
from hpo.predictor import category_key, encode, parse_dates
from hpo.sweep import Data, Sweep, Validation

CSV = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
# Tried in this order: where a column could be either, the month stands first.
_DATE_FORMATS = ("ISO8601", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
_ENOUGH = 0.95  # of the texts in a column must be dates for it to be a date column; the rest is missing


def read_table(path: Path) -> pd.DataFrame:
    """The whole file as pandas reads it; InputError in words when that cannot be."""
    refuse_missing(path)
    suffix = path.suffix.lower()
    if suffix not in CSV + PARQUET:
        raise InputError(Problem(f"{path.name} is neither CSV nor Parquet", "data.path", "convert it to one of them"))
    with readable(path):
        frame = _read_csv(path) if suffix in CSV else _read_parquet(path)
    if frame.empty:
        raise InputError(Problem(f"{path.name} holds no rows", "data.path"))
    return frame


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """InputError for what pandas and pyarrow say about a file that they cannot read."""
    try:
        yield
    except pd.errors.EmptyDataError:
        raise InputError(Problem(f"{path.name} is empty", "data.path")) from None
    except (ValueError, OSError, pd.errors.ParserError) as error:  # pyarrow's errors are ValueErrors or OSErrors
        raise InputError(Problem(f"{path.name} cannot be read: {str(error).strip()[:300]}", "data.path")) from None


def refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InputError(Problem(f"there is no file {path}", "data.path", "the path is relative to the sweep's file"))


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep=separator(path), low_memory=False, encoding="utf-8-sig")


def separator(path: Path) -> str:
    """The most frequent one in a CSV file's first line. InputError: a column is named twice."""
    with path.open(encoding="utf-8-sig") as lines:
        first = lines.readline()
    found = max(",;\t|", key=first.count)
    header = pd.read_csv(path, sep=found, header=None, nrows=1, dtype=str, encoding="utf-8-sig").iloc[0]
    _refuse_duplicates(path, [str(name) for name in header.dropna()])
    return found


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    _refuse_duplicates(path, pyarrow.parquet.read_schema(path).names)
    frame = pd.read_parquet(path)
    frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    return frame.rename(columns=str)


def _refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(Problem(
            f"{path.name} has more than one column named {', '.join(map(repr, double))}", "data.path",
            "rename them: a column is known by its name",
        ))  # fmt: skip


def check_names(columns: Sequence[str], sweep: Sweep) -> None:
    """Every column that the sweep names is there, and each has one role; all problems at once."""
    data, validation = _data(sweep), sweep.validation
    named = [
        ("data.target", data.target),
        ("validation.groups", validation.groups),
        ("validation.time", validation.time),
    ]
    named += [("data.drop", name) for name in data.drop] + [("data.categorical", name) for name in data.categorical]
    problems = [
        Problem(f"there is no column {name!r}", where, _hint(name, columns))
        for where, name in named if name is not None and name not in columns
    ]  # fmt: skip
    if validation.groups is not None and validation.time is not None:
        problems.append(Problem("either groups or time, not both", "validation", "remove one of the two"))
    for where, name in named[1:]:
        if name == data.target and where != "data.categorical":
            problems.append(Problem(f"the target {name!r} cannot be used here", where))
    if problems:
        raise InputError(*problems)


def _hint(name: str, columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
    guess = did_you_mean(name, columns)
    return f"{guess}  columns: {shown}" if guess.startswith("did you mean") else f"columns: {shown}"


def describe_columns(
    names: Sequence[str], column: Callable[[str], pd.Series[Any]], sweep: Sweep
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The features among the columns, and notes on what was left out. `column(name)`: the rows not held out."""
    data, validation = _data(sweep), sweep.validation
    not_features = {data.target, validation.groups, validation.time, *data.drop}
    columns: list[Column] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for name in (name for name in names if name not in not_features):
        series = column(name)
        if series.isna().all():
            notes.append(f"column {name!r} has no value in any row: left out")
            continue
        if (kind := kind_of(series, forced=name in data.categorical)) is None:
            problems.append(Problem(
                f"column {name!r} holds {types.infer_dtype(series)} values, which no model can use", "data.path",
                f"leave it out with `drop: [{name}]`, or convert it",
            ))  # fmt: skip
            continue
        columns.append(_column(series, name, *kind))
        notes += _notes(series, columns[-1])
    if not columns and not problems:
        problems.append(Problem("no feature is left beside the target", "data"))
    if problems:
        raise InputError(*problems)
    return tuple(columns), tuple(notes)


def kind_of(series: pd.Series[Any], forced: bool = False) -> tuple[Kind, str | None] | None:
    """The kind and, for dates in text, the format; None for what cannot be a feature."""
    known = series.dropna()
    what = types.infer_dtype(known)
    if forced or isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical", None
    if what == "boolean":
        return "boolean", None
    if what in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "numeric", None
    if what in ("datetime64", "datetime", "date"):
        return "date", None
    if what in ("string", "mixed-integer", "mixed"):
        scalars = known.map(lambda value: isinstance(value, (str, bool, int, float)))
        if not scalars.all():
            return None
        format = date_format(known) if what == "string" else None
        return ("date", format) if format else ("categorical", None)
    return None


def date_format(texts: pd.Series[Any]) -> str | None:
    """The format that reads all the texts, or nearly all; None if they are no dates."""
    different = pd.Series(texts.unique()).astype(object)
    head = different.iloc[:100]
    shares = {format: float(parse_dates(head, format).notna().mean()) for format in _DATE_FORMATS}
    if max(shares.values()) < _ENOUGH or head.str.fullmatch(r"\d{1,6}").any():
        return None
    full = {f: float(parse_dates(different, f).notna().mean()) for f, share in shares.items() if share >= _ENOUGH}
    best = max(full, key=lambda format: full[format])  # the first of equals
    return best if full[best] >= _ENOUGH else None


def _column(series: pd.Series[Any], name: str, kind: Kind, format: str | None) -> Column:
    if kind == "categorical":
        categories = tuple(sorted({category_key(value) for value in series.dropna().unique()}))
        return Column(name, kind, categories, missing=int(series.isna().sum()), distinct=len(categories))
    numbers = encode(series.to_frame(name), [{"name": name, "kind": kind, "format": format}])[:, 0]
    known = numbers[~np.isnan(numbers)]
    return Column(
        name, kind, format=format, missing=len(numbers) - len(known), distinct=len(np.unique(known)),
        low=float(known.min()) if len(known) else None, high=float(known.max()) if len(known) else None,
    )  # fmt: skip


def _notes(series: pd.Series[Any], column: Column) -> Iterable[str]:
    if unread := column.missing - int(series.isna().sum()):
        what = "dates that cannot be read" if column.kind == "date" else "values that are not finite"
        yield f"column {column.name!r}: {unread} {what} count as missing"


def unlabeled(target: pd.Series[Any]) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """The rows whose target is missing, if there are any, and a note of how many they are."""
    missing = target.isna().to_numpy()
    if missing.all():
        hint = "take another column as the target, or a table in which it is known"
        raise InputError(Problem(f"the target {target.name!r} has no value in any row", "data.target", hint))
    if not missing.any():
        return None, ()
    return missing, (f"{int(missing.sum())} rows without a target were left out",)


def groups_and_times(
    column: Callable[[str], pd.Series[Any]], validation: Validation
) -> tuple[NDArray[np.intp] | None, NDArray[np.float64] | None]:
    """The group number and the moment of each row, where the sweep names such columns."""
    groups, times = None, None
    if validation.groups is not None:
        groups, _ = pd.factorize(column(validation.groups))
        if gaps := int((groups < 0).sum()):
            raise InputError(Problem(
                f"column {validation.groups!r} is missing in {gaps} rows", "validation.groups", "each row needs a group"
            ))  # fmt: skip
    if validation.time is not None:
        times = _order_key(column(validation.time), "validation.time")
    return groups, times


def row_keys(names: Sequence[str], column: Callable[[str], pd.Series[Any]], groups: str | None) -> NDArray[np.uint64]:
    """A number for each row that depends on nothing but its content, or its group: on neither its place nor its
    neighbors. Numbers are hashed as float32, so that a CSV and a Parquet file of the same table agree. The same as
    `pd.util.hash_pandas_object` of all columns, which would need them all at once."""
    chosen = [groups] if groups is not None else names
    keys: Any = np.uint64(0x345678)
    factor = np.uint64(1000003)
    with np.errstate(over="ignore"):
        for place, name in enumerate(chosen):
            series = column(name)
            plain = series.astype("float32") if pd.api.types.is_numeric_dtype(series) else series.astype(str)
            hashes = pd.util.hash_pandas_object(plain, index=False).to_numpy(dtype=np.uint64)
            keys = (keys ^ hashes) * factor
            factor += np.uint64(82520 + 2 * (len(chosen) - place))
    return np.asarray(keys + np.uint64(97531), dtype=np.uint64)


def _order_key(series: pd.Series[Any], where: str) -> NDArray[np.float64]:
    """A time column as numbers that can be compared; InputError if it has no order or gaps."""
    name = str(series.name)
    known = kind_of(series) if series.notna().any() else None
    kind, format = known or (None, None)
    if kind not in ("numeric", "date"):
        raise InputError(Problem(f"column {name!r} holds neither dates nor numbers", where, "time needs an order"))
    key = encode(series.to_frame(name), [{"name": name, "kind": kind, "format": format}])[:, 0]
    if gaps := int(np.isnan(key).sum()):
        raise InputError(Problem(f"column {name!r} is missing in {gaps} rows", where, "fill it in, or drop the rows"))
    return key


def _data(sweep: Sweep) -> Data:
    if sweep.data is None:
        raise ValueError("a sweep without data has no table")
    return sweep.data
