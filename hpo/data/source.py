"""Where the table comes from: a file of the project, an older version of it, an object store, a web server, a database.

Called by `hpo.loader` when a sweep is loaded, so that its identity rests on the bytes and not on the address. Each
kind of source has an adapter that is imported only when a sweep names one; what is fetched lies in a local cache
under its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from hpo.data.address import refuse_password
from hpo.data.cache import Cache, Fetched
from hpo.data.lineage import Pointer, find_pointer
from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.sweep import Data, Origin


def is_remote(data: Data) -> bool:
    """It is no file of the project as it lies there now."""
    return "://" in str(str(data.path)) or data.rev is not None or data.repo is not None


def fetch(data: Data, root: Path, folder: Path) -> Data:
    """With the path and digest of the bytes, fetched into the cache in `folder` unless they are there.

    A sweep that says their digest gets those bytes, without a network if they are in the cache. InputError: what is
    wrong, under `data.…`.
    """
    written, cache = str(data.path), Cache(folder)
    kind = _kind(data)
    suffix = ".parquet" if kind == "sql" else PurePosixPath(urlsplit(written).path).suffix.lower()
    refuse_password((data.repo or "") if kind == "dvc" else written, f"data.{'repo' if kind == 'dvc' else 'path'}")
    if (here := cache.find(data.digest or None, suffix)) is not None:
        found = Fetched(here, data.digest, {})
    else:
        found = _adapter(kind)(data, root, cache, suffix)
    if data.digest and data.digest != found.digest:
        what = f"the bytes are no longer those of data.digest: their SHA-256 is {found.digest}"
        raise InputError(Problem(what, "data.digest", "leave it out to take what is there now"))
    return replace(data, path=found.path, digest=found.digest, origin=_origin(kind, data, root, found))


def local(data: Data, path: Path, digest: str, allow_dirty: bool) -> Data:
    """A file of the project: what it is under DVC, and that it is what DVC's pointer says."""
    if data.digest and data.digest != digest:
        raise InputError(Problem(f"{path.name} has another SHA-256: {digest}", "data.digest"))
    pointer = find_pointer(path)
    tags: dict[str, str] = {}
    if pointer is not None:
        tags = {name: text for name, text in pointer.tags().items() if text}
        if trouble := pointer.mismatch(path):
            if not allow_dirty:
                hint = f"`dvc add {path.name}` keeps the change, `dvc checkout` undoes it; or --allow-dirty-data"
                raise InputError(Problem(trouble, "data.path", hint))
            tags = {"hpo.data.dirty": "true", "hpo.data.pointer": pointer.md5}
    origin = Origin("dvc" if pointer else "local", str(data.path), path.stem, _named(tags, digest))
    return replace(data, path=path, digest=digest, origin=origin)


def missing(path: Path) -> Pointer | None:
    """The pointer of a file that was not fetched from DVC's store yet."""
    return None if os.path.isfile(path) else find_pointer(path)


def _kind(data: Data) -> str:
    if "://" not in str(data.path):
        return "dvc"
    return "sql" if data.query is not None else str(data.path).partition("://")[0]


def _adapter(kind: str) -> Callable[[Data, Path, Cache, str], Fetched]:
    if kind == "dvc":
        try:
            from hpo.data.dvc import read_version
        except ImportError as error:
            if not (error.name or "").startswith("dvc"):
                raise
            hint = "pip install 'hpo[dvc]'"
            raise InputError(
                Problem("an older version is read by DVC, which is not installed", "data.rev", hint)
            ) from None
        return read_version
    if kind == "sql":
        from hpo.data.sql import read_query

        return read_query
    from hpo.data.remote import read_remote

    return read_remote


def _origin(kind: str, data: Data, root: Path, found: Fetched) -> Origin:
    source = redact(str(data.path))
    if kind == "dvc" and data.repo is not None:
        source = f"{redact(data.repo)}:{source}"
    parts = urlsplit(str(data.path))
    name = (data.query and f"query-{_short(data.query)}") or PurePosixPath(parts.path).stem
    return Origin(kind, source, name, _named(found.tags, found.digest))


def _named(tags: Mapping[str, str], digest: str) -> dict[str, str]:
    """`hpo.data.version` is what people call it: a tag or branch, DVC's md5, the server's version; else the SHA-256."""
    dirty = "hpo.data.dirty" in tags
    known = None if dirty else tags.get("hpo.data.version") or tags.get("hpo.data.md5")
    return {"hpo.data": digest, **tags, "hpo.data.version": known or digest}


def _short(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]
