"""What is different in a data set from the one before: rows, schema, and the columns whose values have drifted.

Asked by `hpo.schedule` when a slot's data changed, for a person who wants to know why the score did. The statistics are
the plain ones: Kolmogorov-Smirnov for numbers, the distance between the shares for categories. Large samples make
any difference significant, so a drift has to be both: beyond chance, and at least `TELLING` in size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpo.data.dataset import Column, Dataset
from hpo.data.store import load

CHANCE = 0.01  # how often data that have not changed may be said to have drifted, over all columns together
TELLING = 0.1  # of at most 1: the largest difference between the two distribution functions, or half that of the shares
NAMED = 8  # columns at most that are named
_BINS = 20

Numbers = NDArray[np.float64]


class Drift(NamedTuple):
    """`statistic` from 0 (the same) to 1 (nothing in common), `p` of no change, `weight` from 0 to 1: what the column
    tells about the target by itself (correlation ratio)."""

    name: str
    statistic: float
    p: float
    weight: float
    what: str


def changes(before: Dataset, now: Dataset) -> list[str]:
    """A line each, the most important first; none for data that are the same."""
    lines = [*_size(before, now), *_schema(before, now)]
    if not (before.folder / "meta.json").exists():
        return [*lines, "drift was not looked for: the data of last time are not on this machine any more"]
    drifted, telling = drifts(before, now)
    named = [drift for drift in drifted if drift.weight > 0][:NAMED]
    lines += [
        f"{d.name} has drifted: {d.what} {d.statistic:.2f}, p {d.p:.1g}"
        + ("" if d.name == now.target else f"; it tells {d.weight:.0%} of {now.target} by itself")
        for d in named
    ]
    if rest := len(drifted) - len(named):
        lines.append(f"{rest} more of {telling} columns have drifted, which tell less about {now.target}")
    return lines


def drifts(before: Dataset, now: Dataset) -> tuple[list[Drift], int]:
    """The columns that both have and that have drifted, the target among them; of how many. Dates only ever go on."""
    old, new = load(before), load(now)
    places = {(column.name, column.kind): k for k, column in enumerate(before.columns) if column.kind != "date"}
    shared = [
        (column, places[key], k)
        for k, column in enumerate(now.columns)
        if (key := (column.name, column.kind)) in places
    ]
    found: list[Drift] = []
    for column, i, k in shared:
        left, right = old.features[:, i], new.features[:, k]
        weight = correlation_ratio(right, new.target.astype(np.float64), now, column.kind == "categorical")
        if column.kind == "categorical":
            names = before.columns[i].categories, column.categories
            found.append(
                Drift(column.name, *_shares(_names(left, names[0]), _names(right, names[1])), weight, "shares by")
            )
        else:
            found.append(Drift(column.name, *kolmogorov_smirnov(left, right), weight, "KS"))
            gaps = np.isnan(left).astype(str), np.isnan(right).astype(str)
            found.append(Drift(column.name, *_shares(*gaps), weight, "share of missing values by"))
    if before.task == now.task == "regression":
        found.append(Drift(now.target, *kolmogorov_smirnov(old.target, new.target), 1.0, "KS"))
    elif before.classifies and now.classifies:
        classes = [np.asarray([str(c) for c in d.classes])[a.target] for d, a in ((before, old), (now, new))]
        found.append(Drift(now.target, *_shares(*classes), 1.0, "shares by"))
    real = [drift for drift in found if drift.statistic >= TELLING and drift.p * len(found) < CHANCE]
    worst: dict[str, Drift] = {}
    for drift in sorted(real, key=lambda drift: -drift.statistic):
        worst.setdefault(drift.name, drift)
    return sorted(worst.values(), key=lambda drift: -drift.statistic * drift.weight), len(shared) + 1


def kolmogorov_smirnov(left: Numbers, right: Numbers) -> tuple[float, float]:
    """The largest gap between the two empirical distribution functions, and its asymptotic p; NaN is no value."""
    from scipy.special import kolmogorov

    left, right = np.sort(left[~np.isnan(left)]), np.sort(right[~np.isnan(right)])
    if not len(left) or not len(right):
        return 0.0, 1.0
    points = np.concatenate([left, right])
    gaps = np.searchsorted(left, points, "right") / len(left) - np.searchsorted(right, points, "right") / len(right)
    statistic = float(np.abs(gaps).max())
    return statistic, float(kolmogorov(np.sqrt(len(left) * len(right) / (len(left) + len(right))) * statistic))


def _shares(left: NDArray[np.str_], right: NDArray[np.str_]) -> tuple[float, float]:
    """Half the sum of the differences between the shares (total variation), and the p of Pearson's chi-squared."""
    from scipy.special import chdtrc

    names, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    counts = np.stack([np.bincount(part, minlength=len(names)) for part in np.split(codes, [len(left)])])
    if len(names) < 2 or not counts.sum(axis=1).all():
        return 0.0, 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    p = float(chdtrc(len(names) - 1, ((counts - expected) ** 2 / expected).sum()))
    return float(np.abs(counts[0] / len(left) - counts[1] / len(right)).sum() / 2), p


def correlation_ratio(values: Numbers, target: Numbers, dataset: Dataset, categorical: bool) -> float:
    """The share of the target's variance that lies between the column's categories, or its bins of equal size; for
    several classes, of the class that it tells most about. 0 where chance would tell as much."""
    known = ~np.isnan(values)
    codes = np.full(len(values), -1)
    if categorical:
        codes[known] = values[known].astype(int)
    elif known.any():
        codes[known] = np.searchsorted(np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1]), values[known])
    _, codes = np.unique(codes, return_inverse=True)
    sizes = np.bincount(codes)
    targets = [target == code for code in range(len(dataset.classes))] if len(dataset.classes) > 2 else [target]
    best = 0.0
    for one in targets:
        y = one.astype(np.float64)
        total = ((y - y.mean()) ** 2).sum()
        means = np.bincount(codes, weights=y) / sizes
        best = max(best, float((sizes * (means - y.mean()) ** 2).sum() / total) if total else 0.0)
    chance = (len(sizes) - 1) / max(1, len(values) - 1)
    return best if best > 3 * chance else 0.0


def _names(codes: Numbers, categories: tuple[str, ...]) -> NDArray[np.str_]:
    """Codes of two data sets that have different lists can only be compared by name."""
    names = np.asarray([*categories, "(missing)"])
    found: NDArray[np.str_] = names[np.where(np.isnan(codes), len(categories), codes).astype(int)]
    return found


def _size(before: Dataset, now: Dataset) -> Iterator[str]:
    old, new = before.rows + before.holdout_rows, now.rows + now.holdout_rows
    if old != new:
        yield f"rows: {old:,} -> {new:,} ({new - old:+,})"
    elif before.file_digest != now.file_digest:
        yield f"rows: {new:,} as before, with other content"


def _schema(before: Dataset, now: Dataset) -> Iterator[str]:
    old, new = ({column.name: column for column in dataset.columns} for dataset in (before, now))
    for name in new.keys() - old.keys():
        yield f"new column {name} ({new[name].kind})"
    for name in old.keys() - new.keys():
        yield f"column {name} is gone"
    for name, column in new.items():
        if name in old and old[name].kind != column.kind:
            yield f"column {name}: {old[name].kind} -> {column.kind}"
        elif name in old:
            yield from _range(old[name], column)
    if before.classes != now.classes:
        yield f"classes of {now.target}: {', '.join(map(str, before.classes))} -> {', '.join(map(str, now.classes))}"


def _range(old: Column, new: Column) -> Iterator[str]:
    if old.kind == "categorical" and (added := sorted({*new.categories} - {*old.categories})):
        yield f"column {new.name}: {len(added)} new categories ({', '.join(added[:5])}{', …' if added[5:] else ''})"
    if new.kind == "date" and None not in (old.high, new.high) and old.high != new.high:
        yield f"column {new.name}: up to {_day(old.high)} -> {_day(new.high)}"


def _day(days: float | None) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days or 0.0):%Y-%m-%d}"
