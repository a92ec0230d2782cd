"""A look at a table that has no sweep yet: what its target makes of it, and which columns need a word.

Asked by `hpo.init`, which writes a sweep file from it. Tables, columns, targets and folds are read by the same
functions as in `hpo.data.store`, so that what is promised here is what a search will find; new is only what a person
would see at a glance: an identifier, a constant, a column that names whom a row is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.data import splits, table
from hpo.data.dataset import Column, Label
from hpo.data.target import read_target
from hpo.errors import InputError, Problem
from hpo.metric import Metric, Task
from hpo.space import Space
from hpo.sweep import Data, Sweep

_CODES = range(3, 33)  # whole numbers with so many different values may be names: a month, a district
_UNIQUE = 0.95  # of the rows have a text of their own: nothing is learned from it
_ID = re.compile(r"(^|[\W_])(?i:id|uuid|guid|key|index)$|[a-z]I[Dd]$")
_OWNER = re.compile(r"(^|[\W_])(user|customer|client|patient|person|subject|session|household|account|group)$", re.I)


@dataclass(frozen=True)
class Survey:
    """`classes` with the rows of each, in the order of their codes; empty in regression. `left_out`: why, by column.

    `asked`: the task has to be written down, because the values alone make another. `codes`: whole numbers that may be
    names; `owners`: columns whose values several rows share and that say whom these are about; `trouble`: why there are
    fewer folds than usual.
    """

    rows: int
    task: Task
    classes: tuple[tuple[Label, int], ...]
    columns: tuple[Column, ...]
    left_out: dict[str, str]
    folds: int
    asked: str = ""
    codes: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    trouble: str = ""
    notes: tuple[str, ...] = ()


def list_columns(path: Path) -> list[str]:
    """A line for each column: name, kind, different values, missing ones."""
    frame = table.read_table(path)
    lines = []
    for name, series in frame.items():
        if series.isna().all():
            lines.append((repr(str(name)), "empty", ""))
        elif (kind := table.kind_of(series)) is None:
            lines.append((repr(str(name)), "neither number nor text", ""))
        else:
            gaps = int(series.isna().sum())
            missing = f", {gaps:,} missing" if gaps else ""
            lines.append((repr(str(name)), kind[0], f"{series.nunique():,} values{missing}"))
    wide = [max(len(line[k]) for line in lines) for k in (0, 1)]
    return [f"{name:<{wide[0]}}  {kind:<{wide[1]}}  {what}".rstrip() for name, kind, what in lines]


def survey(path: Path, target: str, task: Task | None, holdout: float, folds: int) -> Survey:
    """What can be learned from the table; at most so many folds. InputError: nothing can, and what to do."""
    sweep = Sweep("survey", Space(()), (Metric("score", "maximize"),), data=Data(path, target, task=task))
    frame = table.read_table(path)
    table.check_names([str(name) for name in frame.columns], sweep)
    missing, notes = table.unlabeled(frame[target])
    frame = frame if missing is None else frame[~missing].reset_index(drop=True)
    found, classes, y, asked = _read(frame[target], sweep)
    keys = table.row_keys([str(name) for name in frame.columns], frame.__getitem__, None)
    try:
        folds, trouble = _folds(splits.Rows(y, len(classes), keys), holdout, folds)
    except InputError:
        if task is not None or not pd.api.types.is_numeric_dtype(frame[target]) or len(classes) < 3:
            raise
        asked = "some of its numbers are too rare to be classes"
        found, classes, y = read_target(frame[target], _as_regression(sweep))
        folds, trouble = _folds(splits.Rows(y, 0, keys), holdout, folds)
    left_out = _left_out(frame.drop(columns=target))
    names, chosen = [str(name) for name in frame.columns], Data(path, target, drop=tuple(left_out))
    columns, more = table.describe_columns(names, frame.__getitem__, replace(sweep, data=chosen))
    counts = np.bincount(y, minlength=len(classes)).tolist() if classes else []
    codes = [c for c in columns if c.kind == "categorical" or pd.api.types.is_integer_dtype(frame[c.name])]
    whole = [c.name for c in codes if c.kind == "numeric" and c.distinct in _CODES]
    owners = [c.name for c in codes if _is_owner(c, len(frame))]
    return Survey(
        len(frame), found, tuple(zip(classes, counts, strict=True)), columns, left_out, folds, asked,
        tuple(whole), tuple(owners), trouble, (*notes, *more),
    )  # fmt: skip


def _read(series: pd.Series[Any], sweep: Sweep) -> tuple[Task, tuple[Label, ...], NDArray[Any], str]:
    """The task and target; fractions of which there are only two are quantities all the same."""
    try:
        return (*read_target(series, sweep), "it was asked for" if sweep.data and sweep.data.task else "")
    except InputError:
        chosen = sweep.data and sweep.data.task
        if chosen or not pd.api.types.is_float_dtype(series) or series.nunique() < 2:
            raise
        return (*read_target(series, _as_regression(sweep)), "its two values are fractions")


def _as_regression(sweep: Sweep) -> Sweep:
    return replace(sweep, data=sweep.data and replace(sweep.data, task="regression"))


def _folds(rows: splits.Rows, holdout: float, folds: int) -> tuple[int, str]:
    """As many folds as rows and classes are enough for, and why not more; InputError: not even two."""
    trouble = ""
    for count in range(folds, 1, -1):
        try:
            splits.split(rows, holdout, count, seed=0)
        except InputError as error:
            trouble = trouble or error.problems[0].message
            what = error.problems[-1].message  # the classes come last: of too few rows they are what is to be changed
        else:
            return count, trouble
    hint = "more rows; or leave those of rare classes out, or put such classes together"
    raise InputError(Problem(what, "data.target", hint if rows.classes else "more rows"))


def _left_out(frame: pd.DataFrame) -> dict[str, str]:
    """The columns that no model should get, and why."""
    found = {}
    for name, series in frame.items():
        if series.isna().all():
            continue  # left out by whoever reads the table
        if (kind := table.kind_of(series)) is None:
            found[str(name)] = "neither numbers nor text: no model can use it"
        elif series.nunique(dropna=False) == 1:
            found[str(name)] = "the same in every row"
        elif _is_identifier(str(name), series, kind[0]):
            found[str(name)] = "looks like an identifier: (nearly) every row has a value of its own"
    if len(found) == len(frame.columns):
        hint = "a table with columns that say something about the target"
        raise InputError(
            Problem(
                f"no column is left to learn from: {'; '.join(f'{n!r}: {w}' for n, w in found.items())}",
                "data.path",
                hint,
            )
        )
    return found


def _is_identifier(name: str, series: pd.Series[Any], kind: str) -> bool:
    different = series.nunique()
    if kind == "categorical":
        return different >= max(20, _UNIQUE * len(series))
    if kind != "numeric" or different < max(20, len(series)) or not pd.api.types.is_integer_dtype(series):
        return False
    return bool(_ID.search(name)) or int(series.max()) - int(series.min()) == len(series) - 1


def _is_owner(column: Column, rows: int) -> bool:
    named = _ID.search(column.name) or _OWNER.search(column.name)
    return bool(named) and 10 <= column.distinct <= rows / 2
