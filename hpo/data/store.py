"""The store: a table prepared once, kept as memory-mapped arrays, and found again by what it was made from.

`prepare` is called by the verbs, `load` by objectives in each worker, `holdout_frame` by who judges the final
model. Written to a temporary name and renamed, so that a folder is whole or not there. The held-out rows lie in
a file of their own that `load` never opens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hpo.data.dataset import Column, Dataset
from hpo.sweep import Sweep

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hpo.data.columns import Table

_FORMAT = 4  # part of the digest: raise it when what is stored changes
_BLOCK = 1 << 20  # values that are in memory at a time


@dataclass(frozen=True)
class Arrays:
    """Read-only maps of the rows that are not held out: `features` (rows, columns) float64, `target` (rows,)."""

    features: NDArray[np.float64]
    target: NDArray[Any]
    folds: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]


def prepare(sweep: Sweep, root: Path) -> Dataset:
    """The sweep's data set under `root/<digest>/`, made when it is not there. InputError: what is wrong with it."""
    if sweep.data is None:
        raise ValueError("this sweep has no data")
    file_digest = sweep.data.digest or _digest_file(sweep.data.path)
    digest = _digest(sweep, file_digest)
    folder = root.resolve() / digest
    if not (folder / "meta.json").exists():
        _write(sweep, folder, digest, file_digest)
    row = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Dataset.from_json({**row, "folder": folder})


def load(dataset: Dataset) -> Arrays:
    """Map the arrays; pages are shared by all workers of a machine, and nothing is read until it is used.

    Fresh folds are drawn here: by the workers that look at the best trials again, and not while a user waits for the
    first one.
    """
    import numpy as np

    from hpo.data.splits import Rows, fold_rows, split_again

    # As plain arrays over the map: what is cut out of them is then plain memory, not a subclass.
    features, target, blocks, bonds = (
        np.asarray(np.load(dataset.folder / f"{name}.npy", mmap_mode="r"))
        for name in ("features", "target", "blocks", "bonds")
    )
    if dataset.repeat:
        groups, times = (None, bonds) if dataset.ordered else (bonds if len(bonds) else None, None)
        rows = Rows(target, len(dataset.classes), groups=groups, times=times)
        blocks = split_again(rows, blocks, dataset.folds, dataset.seed, dataset.repeat)
    folds = tuple(fold_rows(blocks, k, dataset.ordered) for k in range(dataset.folds))
    return Arrays(features, target, folds)


def holdout_frame(dataset: Dataset) -> tuple[pd.DataFrame, NDArray[Any]]:
    """The held-out rows with the columns as the file has them, and their target (class codes or numbers)."""
    if not dataset.holdout_rows:
        raise ValueError("this data set has no hold-out")
    import numpy as np
    import pandas as pd

    return pd.read_parquet(dataset.folder / "holdout.parquet"), np.load(dataset.folder / "holdout.npy")


def _digest(sweep: Sweep, file_digest: str) -> str:
    """What the stored arrays depend on. The metric is there because it may decide the task."""
    assert sweep.data is not None
    data, validation = sweep.data, sweep.validation
    metrics = [m.name for m in (*sweep.metrics, *sweep.extra_metrics)]
    parts = [
        _FORMAT, file_digest, data.target, data.holdout, data.task, sorted(data.drop), sorted(data.categorical),
        validation.folds, validation.groups, validation.time, sweep.search.seed, metrics,
    ]  # fmt: skip
    return hashlib.md5(json.dumps(parts).encode(), usedforsecurity=False).hexdigest()


def _digest_file(path: Path) -> str:
    from hpo.data.table import refuse_missing

    refuse_missing(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(sweep: Sweep, folder: Path, digest: str, file_digest: str) -> None:
    """Make the folder whole under another name, then rename it; a rival that was faster wins."""
    temporary = folder.with_name(f".{digest}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        dataset = _fill(sweep, temporary, digest, file_digest)
        (temporary / "meta.json").write_text(json.dumps(dataset.to_json(), ensure_ascii=False), encoding="utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "meta.json").exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(sweep: Sweep, folder: Path, digest: str, file_digest: str) -> Dataset:
    """The table is read by columns, some of them more than once: a large one is at no time in memory as a whole."""
    import numpy as np
    import pandas as pd

    from hpo.data import splits, table, target
    from hpo.data.columns import open_table

    assert sweep.data is not None
    data, validation = sweep.data, sweep.validation
    with TemporaryDirectory(dir=folder) as scratch:
        found = open_table(data.path, Path(scratch))
        table.check_names(found.names, sweep)
        labels = found.column(data.target)
        missing, notes = table.unlabeled(labels)
        if missing is not None:
            found, labels = found.without(missing), labels[~missing].reset_index(drop=True)
        task, classes, y = target.read_target(labels, sweep)
        target.check_metrics(task, (*sweep.metrics, *sweep.extra_metrics))
        keys = table.row_keys(found.names, found.column, validation.groups)
        groups, times = table.groups_and_times(found.column, validation)
        rows = splits.Rows(y, len(classes), keys, groups, times)
        blocks = splits.split(rows, data.holdout, validation.folds, sweep.search.seed)
        kept, held = blocks != splits.HOLDOUT, blocks == splits.HOLDOUT
        columns, more = table.describe_columns(found.names, lambda name: found.column(name)[kept], sweep)
        _save_features(found, kept, columns, Path(scratch), folder)
        if held.any():
            rest = {name: found.column(name)[held] for name in found.names if name != data.target}
            pd.DataFrame(rest).reset_index(drop=True).to_parquet(folder / "holdout.parquet")
            np.save(folder / "holdout.npy", y[held])
    np.save(folder / "target.npy", y[kept])
    np.save(folder / "blocks.npy", blocks[kept])
    bonds = times if times is not None else groups  # what other folds go by
    np.save(folder / "bonds.npy", np.empty(0) if bonds is None else bonds[kept])
    return Dataset(
        folder, digest, file_digest, data.target, task, classes, columns, rows=int(kept.sum()),
        holdout_rows=int(held.sum()), folds=validation.folds, ordered=validation.time is not None,
        balance=target.balance(task, classes, y[kept]), notes=(*notes, *more), seed=sweep.search.seed,
    )  # fmt: skip


def _save_features(
    found: Table, kept: NDArray[np.bool_], columns: Sequence[Column], scratch: Path, folder: Path
) -> None:  # fmt: skip
    """`features.npy` as numpy would save it: the columns one after the other in a file, and from there the rows."""
    import numpy as np

    from hpo.predictor import encode

    rows = int(kept.sum())
    with (scratch / "columns").open("wb") as file:
        for column in columns:
            encode(found.column(column.name)[kept].to_frame(column.name), [asdict(column)]).tofile(file)
    with (folder / "features.npy").open("wb") as file:
        shape = (rows, len(columns))
        header = {"descr": np.dtype(np.float64).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, _BLOCK // len(columns))
        for begin in range(0, rows, step):
            block = np.empty((min(step, rows - begin), len(columns)))
            for k in range(len(columns)):
                at = 8 * (k * rows + begin)
                block[:, k] = np.fromfile(scratch / "columns", count=len(block), offset=at)
            block.tofile(file)
