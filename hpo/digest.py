"""SHA-256 of the files of a model: what was staged is what is uploaded, registered, and later loaded.

Used by `hpo.promotion` for the staged model and by `hpo.registry` for what it registers and downloads. A model folder
is a program, and readers of binary models crash on bad bytes, so all of it is compared before any byte is parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

Digests = Mapping[str, str]


def digests(folder: Path) -> dict[str, str]:
    """Path below the folder -> SHA-256, for every file; a link has none that a file could have."""
    return {
        path.relative_to(folder).as_posix(): "link" if path.is_symlink() else _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def difference(folder: Path, expected: Digests) -> str | None:
    """How the folder's files differ from the expected ones, in words; None if they are the same."""
    found = digests(folder)
    for what, names in (
        ("missing", expected.keys() - found.keys()),
        ("unknown", found.keys() - expected.keys()),
        ("changed", {name for name in expected.keys() & found.keys() if found[name] != expected[name]}),
    ):
        if names:
            return f"{what}: {', '.join(sorted(names)[:5])}"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
