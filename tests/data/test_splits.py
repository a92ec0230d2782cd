"""Splits: disjoint, complete; the hold-out from the rows, the folds from the seed; groups whole, time forward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpo.data.splits import HOLDOUT, Blocks, Rows, fold_rows, split
from hpo.errors import InputError


def rows(count: int, classes: int = 2, *, groups: int = 0, times: int = 0, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, count) if classes else rng.normal(size=count)
    group = rng.integers(0, groups, count) if groups else None
    return Rows(
        target, classes, keys(count) if group is None else keys(groups)[group], group,
        rng.integers(0, times, count).astype(float) if times else None,
    )  # fmt: skip


def keys(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(8).integers(0, 2**64, count, dtype=np.uint64)


def sides(blocks: Blocks, folds: int, ordered: bool) -> list[tuple[set[int], set[int]]]:
    """Rows of the whole table, by fold."""
    kept = np.flatnonzero(blocks != HOLDOUT)
    found = (fold_rows(blocks[kept], k, ordered) for k in range(folds))
    return [(set(kept[train].tolist()), set(kept[validation].tolist())) for train, validation in found]


@settings(max_examples=25, deadline=None)
@given(st.integers(60, 200), st.integers(2, 5), st.sampled_from([0.0, 0.1, 0.2, 0.5]), st.integers(0, 2**32 - 1))
def test_every_row_is_held_out_or_validated_exactly_once(count: int, folds: int, holdout: float, seed: int) -> None:
    blocks = split(rows(count, classes=0), holdout, folds, seed)
    found = sides(blocks, folds, ordered=False)
    kept = set(np.flatnonzero(blocks != HOLDOUT).tolist())
    assert abs((count - len(kept)) - count * holdout) <= 1
    assert sorted(row for _, validation in found for row in validation) == sorted(kept)
    assert all(train == kept - validation for train, validation in found)


@pytest.mark.parametrize("table", [rows(300), rows(300, classes=0), rows(300, groups=40)])
def test_the_seed_decides_the_folds_and_never_the_holdout(table: Rows) -> None:
    one, two = split(table, 0.2, 5, 1), split(table, 0.2, 5, 2)
    assert (one == split(table, 0.2, 5, 1)).all()
    assert (one != two).any()
    assert ((one == HOLDOUT) == (two == HOLDOUT)).all()


@pytest.mark.parametrize("groups", [0, 300])
def test_more_rows_move_almost_none_into_or_out_of_the_holdout(groups: int) -> None:
    """A champion of last month's file must not have been trained on what it is judged on this month."""
    later = rows(5000, groups=groups)
    earlier = later.take(np.arange(4000))
    before, after = split(earlier, 0.2, 5, 1) == HOLDOUT, split(later, 0.2, 5, 1)[:4000] == HOLDOUT
    assert (before != after).mean() < 0.015
    order = np.random.default_rng(1).permutation(5000)
    assert ((split(later.take(order), 0.2, 5, 1) == HOLDOUT) == (split(later, 0.2, 5, 1) == HOLDOUT)[order]).all()


def test_classes_keep_their_shares() -> None:
    table = Rows(np.array([0] * 900 + [1] * 100), 2, keys(1000))
    blocks = split(table, 0.2, 4, 3)
    shares = [table.target[blocks == block].mean() for block in (HOLDOUT, 0, 1, 2, 3)]
    assert shares == pytest.approx([0.1] * 5, abs=0.01)


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("holdout", [0.05, 0.2, 0.6])
def test_groups_are_never_split(classes: int, holdout: float) -> None:
    table = rows(2000, classes, groups=60)
    assert table.groups is not None
    blocks = split(table, holdout, 4, 5)
    for group in range(60):
        assert len(set(blocks[table.groups == group].tolist())) == 1
    assert (blocks == HOLDOUT).mean() == pytest.approx(holdout, abs=0.06)


def test_time_only_goes_forward() -> None:
    table = rows(1000, times=90)
    assert table.times is not None
    blocks = split(table, 0.2, 4, 0)
    held = table.times[blocks == HOLDOUT]
    assert held.min() > table.times[blocks != HOLDOUT].max()
    for train, validation in sides(blocks, 4, ordered=True):
        assert table.times[list(train)].max() < table.times[list(validation)].min()
    sizes = [len(train) for train, _ in sides(blocks, 4, ordered=True)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize(
    ("table", "holdout", "folds", "said"),
    [
        (rows(9), 0.2, 5, "rows are too few"),
        (rows(100, groups=3), 0.2, 5, "groups are too few"),
        (Rows(np.array([0] * 95 + [1] * 5), 2, keys(100)), 0.2, 5, "rarest class has 5 rows"),
        (Rows(np.arange(200) % 26, 26, keys(200)), 0.02, 2, "less than a row a class"),
        (Rows(np.arange(100) % 2, 2, keys(100), groups=np.arange(100) % 2), 0.0, 2, "lack a whole class"),
        (rows(100, times=2), 0.2, 5, "too few different times"),
        (Rows(np.arange(100) % 2, 2, keys(100), times=np.zeros(100)), 0.2, 5, "too few different times"),
        (Rows((np.arange(100) >= 80).astype(int), 2, keys(100), times=np.arange(100.0)), 0.0, 4, "lack a whole class"),
    ],
)
def test_what_cannot_be_split_is_said_in_words(table: Rows, holdout: float, folds: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        split(table, holdout, folds, 0)
