"""A local store of fetched tables: each file is named by the SHA-256 of its bytes.

Used by `hpo.data.source` and its adapters. What was fetched once is not fetched again while its source says that it
is the same; a file whose bytes changed here is not what its name says, so it is thrown away and fetched anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Fetched(NamedTuple):
    """A file in the cache; `tags` say which state of its source it is."""

    path: Path
    digest: str
    tags: Mapping[str, str]


class Cache:
    """`keys/` notes what a source and its state (ETag, DVC's md5, …) were last known to hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def recall(self, *key: object) -> str | None:
        """The digest noted for this source in this state."""
        try:
            return self._note(key).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def find(self, digest: str | None, suffix: str) -> Path | None:
        """The file of this digest, if it is here and whole."""
        path = self._folder / f"{digest}{suffix}"
        if digest is None or not path.is_file():
            return None
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                return path
        path.unlink()
        return None

    def keep(self, write: Callable[[BinaryIO], object], suffix: str, *key: object) -> tuple[Path, str]:
        """Store what `write` writes; its path and digest. A crash leaves at most a hidden file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".incoming-", dir=self._folder)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                write(file)
                file.flush()
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            path = self._folder / f"{digest}{suffix}"
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        note = self._note(key)
        note.parent.mkdir(exist_ok=True)
        note.write_text(digest, encoding="ascii")
        return path, digest

    def _note(self, key: tuple[object, ...]) -> Path:
        return self._folder / "keys" / hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()
