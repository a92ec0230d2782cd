"""The splits: the locked hold-out first, from what the rows hold, then the folds, from the sweep's seed.

Called by `hpo.data.store`, once per data set, and again where fresh folds are wanted. The result is one number a row:
-1 for the hold-out, else the block. Fold k is validated on block k and trained on all others; in the order of time,
validated on block k + 1 and trained on the blocks before it.

The hold-out does not follow the seed, and a row's side does not follow its place in the file: a champion of another
sweep, or of last month's shorter file, must not have been trained on the rows that it is judged on now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import model_selection

from hpo.errors import InputError, Problem

Blocks = NDArray[np.int16]
HOLDOUT = -1


@dataclass(frozen=True)
class Rows:
    """What a split may depend on: `target` (class codes when `classes` > 0), and groups or times, one a row.

    `keys` are numbers made from a row's content (its group's, where there are groups), see `table.row_keys`; a hold-out
    goes by them, folds do not.
    """

    target: NDArray[Any]
    classes: int
    keys: NDArray[np.uint64] | None = None
    groups: NDArray[Any] | None = None
    times: NDArray[np.float64] | None = None

    def take(self, index: NDArray[np.intp]) -> Rows:
        keys = None if self.keys is None else self.keys[index]
        groups = None if self.groups is None else self.groups[index]
        times = None if self.times is None else self.times[index]
        return Rows(self.target[index], self.classes, keys, groups, times)


def split(rows: Rows, holdout: float, folds: int, seed: int) -> Blocks:
    """One block number a row. InputError: too few rows, groups, times or members of a class."""
    _check_counts(rows, holdout, folds)
    blocks = np.full(len(rows.target), HOLDOUT, dtype=np.int16)
    kept = np.arange(len(rows.target), dtype=np.intp)
    if holdout > 0:
        kept = np.setdiff1d(kept, _holdout(rows, holdout))
        if len(kept) < 2 * (folds + 1):  # only where most rows share their last moment
            raise InputError(Problem("too few different times for the hold-out", "validation.time", "a finer column"))
    if rows.times is not None:
        blocks[kept] = _expanding(rows.times[kept], folds)
    else:
        rest = rows.take(kept)
        for k, (_, validation) in enumerate(_splitter(rest, folds, seed).split(kept, rest.target, rest.groups)):
            blocks[kept[validation]] = k
    _check_classes(rows, blocks, folds)
    return blocks


def split_again(rows: Rows, blocks: Blocks, folds: int, seed: int, repeat: int) -> Blocks:
    """Other folds of rows that are not held out, for each repeat (from 1) from a seed of its own.

    In the order of time the borders move: what comes before a random first part is only trained on. Where no other
    split has every class in every fold, the folds stay.
    """
    for attempt in range(20):
        fresh = _fresh(rows, folds, np.random.default_rng([seed, repeat - 1, attempt]))
        if fresh is not None:
            return fresh
    return blocks


def _fresh(rows: Rows, folds: int, dice: np.random.Generator) -> Blocks | None:
    blocks = np.empty(len(rows.target), dtype=np.int16)
    try:
        if rows.times is not None:
            blocks[:] = _expanding(rows.times, folds, skip=int(dice.uniform() * len(blocks) / (folds + 1)))
        else:
            splitter = _splitter(rows, folds, int(dice.integers(2**31)))
            for k, (_, validation) in enumerate(splitter.split(rows.target, rows.target, rows.groups)):
                blocks[validation] = k
        _check_classes(rows, blocks, folds)
    except InputError:
        return None
    return blocks


def fold_rows(blocks: Blocks, fold: int, ordered: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows that fold k is trained and validated on, among those that are not held out, in file order."""
    if ordered:
        return np.flatnonzero(blocks <= fold), np.flatnonzero(blocks == fold + 1)
    return np.flatnonzero(blocks != fold), np.flatnonzero(blocks == fold)


def _holdout(rows: Rows, share: float) -> NDArray[np.intp]:
    """The latest part; or the groups, or the rows of each class, with the lowest keys."""
    assert rows.keys is not None
    if rows.times is not None:
        first = min(round(len(rows.times) * (1 - share)), len(rows.times) - 1)
        return np.flatnonzero(rows.times >= np.sort(rows.times)[first])
    if rows.groups is not None:
        _, first_rows, inside, sizes = np.unique(
            rows.groups, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(rows.keys[first_rows], kind="stable")
        reached = np.cumsum(sizes[order])[:-1]  # not all of them
        wanted = int(np.argmin(np.abs(reached - share * len(rows.target)))) + 1
        place = np.argsort(order)[inside]  # of each row's group among the groups
        if rows.classes:  # as many more as it takes to have every class
            wanted = max(wanted, *(int(place[rows.target == label].min()) + 1 for label in range(rows.classes)))
        return np.flatnonzero(place < min(wanted, len(reached)))
    held = []
    for label in range(rows.classes) if rows.classes else [None]:
        members = np.arange(len(rows.target)) if label is None else np.flatnonzero(rows.target == label)
        order = np.argsort(rows.keys[members], kind="stable")
        held.append(members[order[: max(1, round(share * len(members)))]])
    return np.sort(np.concatenate(held))


def _splitter(rows: Rows, folds: int, seed: int) -> Any:
    if rows.groups is not None:
        grouped = model_selection.StratifiedGroupKFold if rows.classes else model_selection.GroupKFold
        return grouped(folds, shuffle=True, random_state=seed)
    plain = model_selection.StratifiedKFold if rows.classes else model_selection.KFold
    return plain(folds, shuffle=True, random_state=seed)


def _expanding(times: NDArray[np.float64], folds: int, skip: int = 0) -> Blocks:
    """scikit-learn's TimeSeriesSplit after the first `skip` rows, with rows of the same moment in the same block."""
    order = np.argsort(times, kind="stable")
    block = np.zeros(len(times), dtype=np.int16)
    for k, (_, validation) in enumerate(model_selection.TimeSeriesSplit(folds).split(order[skip:]), 1):
        block[skip + validation] = k
    moments = times[order]
    block = block[np.searchsorted(moments, moments)]  # the block of the first row of that moment
    if len(np.unique(block)) < folds + 1:
        raise InputError(Problem(
            f"too few different times for {folds} folds", "validation.time", "fewer folds, or a finer time column"
        ))  # fmt: skip
    blocks = np.empty_like(block)
    blocks[order] = block
    return blocks


def _rarest(rows: Rows) -> int:
    return int(np.bincount(rows.target, minlength=rows.classes).min()) if rows.classes else len(rows.target)


def _check_counts(rows: Rows, holdout: float, folds: int) -> None:
    what = f"{folds} folds and a hold-out of {holdout:g}" if holdout else f"{folds} folds"
    blocks = folds + (rows.times is not None)
    least = math.ceil(blocks / (1 - holdout) - 1e-9) + (holdout > 0)  # of whatever each block needs one of
    problems = []
    if (have := len(rows.target)) < 2 * least:
        problems.append(Problem(f"{have} rows are too few for {what}", "validation.folds", f"{2 * least} are enough"))
    elif rows.classes > 1 and 0 < have * holdout < rows.classes:
        problems.append(Problem(f"a hold-out of {holdout:g} has less than a row a class", "data.holdout", "enlarge it"))
    if rows.groups is not None and (have := len(np.unique(rows.groups))) < folds + (holdout > 0):
        problems.append(Problem(f"{have} groups are too few for {what}", "validation.groups", "fewer folds"))
    if rows.classes and (have := _rarest(rows)) < least:
        problems.append(Problem(
            f"the rarest class has {have} row{'s' * (have != 1)}: {what} need {least}", "data.target",
            "fewer folds, or leave the rows of that class out",
        ))  # fmt: skip
    if problems:
        raise InputError(*problems)


def _check_classes(rows: Rows, blocks: Blocks, folds: int) -> None:
    """Every class stands on both sides of every fold, and in the hold-out: else no score means anything."""
    if not rows.classes:
        return
    kept = blocks[blocks != HOLDOUT]
    target = rows.target[blocks != HOLDOUT]
    sides = [(f"fold {k}", side) for k in range(folds) for side in fold_rows(kept, k, rows.times is not None)]
    for name, side in sides:
        if len(np.unique(target[side])) < rows.classes:
            raise InputError(Problem(
                f"{name} would lack a whole class", "validation",
                "fewer folds, or groups and times that do not follow the target",
            ))  # fmt: skip
    held = rows.target[blocks == HOLDOUT]
    if len(held) and len(np.unique(held)) < rows.classes:
        raise InputError(Problem("the hold-out would lack a whole class", "data.holdout", "a larger hold-out"))
