"""Prepared data by content address: put into a store once by the driver, fetched once by each host that has none.

`publish` is called by `hpo.search` when the sweep names a store, `here` by an objective in its worker. Not through the
engine of a cluster: a scheduler is no file server, and 32 workers of one host need one copy to map, not 32. The digests
travel with the objective, so a store is trusted with nothing; the held-out rows never get there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.data.dataset import Dataset
from hpo.errors import InputError, Problem
from hpo.lease import Lease
from hpo.redact import redact

FILES = ("features.npy", "target.npy", "blocks.npy", "bonds.npy")
PATIENCE = 3600.0  # seconds that a worker waits for another one of its host to fetch


@dataclass(frozen=True)
class Source:
    """An address as fsspec reads it, and the SHA-256 of each file there."""

    address: str
    digests: Mapping[str, str]


def publish(dataset: Dataset | None, store: str | None, root: Path) -> Source | None:
    """The data set in the store, put there unless it is; InputError when that cannot be. Relative to `root`."""
    if dataset is None or store is None:
        return None
    home = store.rstrip("/") if "://" in store else str((root / store).resolve())
    source = Source(f"{home}/{dataset.digest}", {name: _digest(dataset.folder / name) for name in FILES})
    whole = f"{source.address}/whole"  # written last
    try:
        files = _files(whole)
        if not files.exists(whole):
            files.makedirs(source.address, exist_ok=True)
            for name in FILES:
                files.put_file(str(dataset.folder / name), f"{source.address}/{name}")
            files.pipe_file(whole, b"")
    except (OSError, ValueError, ImportError) as error:
        raise InputError(Problem(redact(f"{store} cannot be written: {error}"), "executor.store")) from error
    return source


def here(dataset: Dataset, source: Source | None, cache: Path | None = None) -> Dataset:
    """The data set on this host: where the driver wrote it, or a verified copy in the cache."""
    if (dataset.folder / "meta.json").exists():
        return dataset
    if source is None:
        hint = "share the driver's folder with the workers, or name a store that both reach: executor.store"
        raise InputError(Problem(f"{dataset.folder} is not on this host", "executor.store", hint))
    home = cache or Path(os.environ.get("HPO_CACHE") or Path.home() / ".cache" / "hpo")
    folder = home / dataset.digest
    with Lease(home / f"{dataset.digest}.lock", f"fetching {dataset.digest}", patience=PATIENCE):
        if not folder.exists():
            _fetch(source, folder)
    return replace(dataset, folder=folder)


def _fetch(source: Source, folder: Path) -> None:
    """All or nothing: the folder has its name only once every file is what the driver had."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        files = _files(source.address)
        for name, digest in source.digests.items():
            files.get_file(f"{source.address}/{name}", str(temporary / name))
            if _digest(temporary / name) != digest:
                what = redact(f"{source.address}/{name} is not what was put there")
                raise InputError(Problem(what, "executor.store"))
        temporary.rename(folder)
    except (OSError, ValueError, ImportError) as error:
        what = redact(f"{source.address} cannot be fetched: {error}")
        raise InputError(Problem(what, "executor.store")) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(address: str) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(address)[0]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
