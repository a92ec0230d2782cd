"""What DVC knows about a file, read from its pointers without DVC: a `.dvc` beside it, or the lock of a pipeline.

Called by `hpo.data.source`. A pointer is a few lines of YAML under Git with the MD5 of the data, so lineage costs a
read of the file and no package; a file that is not what its pointer says belongs to no version, and is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


@dataclass(frozen=True)
class Pointer:
    """An output of DVC: `file` says that `target` has this MD5 (of a folder: ending in `.dir`); `inside` is the path
    of the table below the folder. `legacy`: texts were hashed with line ends of Unix (DVC before 3.0). "" in `md5`:
    not yet made.
    """

    file: Path
    target: Path
    md5: str
    size: int | None = None
    inside: str = ""
    legacy: bool = False

    def mismatch(self, path: Path) -> str | None:
        """How the file differs from its pointer, in words."""
        if not self.md5:
            return f"{self.file.name} names {path.name} as an output that was never made by its pipeline"
        expected = self.md5 if not self.md5.endswith(".dir") else self._listed()
        if expected is None:
            found = _folder_md5(self.target)
            return None if found == self.md5 else f"{self.target.name} is not what {self.file.name} says: {self.md5}"
        if not self.inside and self.size is not None and path.stat().st_size != self.size and not self.legacy:
            return f"{path.name} has {path.stat().st_size} bytes, but {self.file.name} says {self.size}"
        found = _md5(path)
        if found != expected and self.legacy:
            found = hashlib.md5(path.read_bytes().replace(b"\r\n", b"\n"), usedforsecurity=False).hexdigest()
        return None if found == expected else f"{path.name} has the MD5 {found}, but {self.file.name} says {expected}"

    def tags(self) -> dict[str, str]:
        """For MLflow: the MD5, the commit that last changed the pointer, and the tag that people gave it."""
        commit, changed = self._commit()
        names = _git(self.file.parent, "tag", "--points-at", commit, "--sort=-creatordate") if commit else ""
        name = "" if changed else names.partition("\n")[0]
        return {
            "hpo.data.version": name or self.md5, "hpo.data.md5": self.md5,
            "hpo.data.commit": "" if changed else commit,
        }  # fmt: skip

    def _commit(self) -> tuple[str, bool]:
        commit = _git(self.file.parent, "log", "-1", "--format=%H", "--", self.file.name).strip()
        return commit, bool(_git(self.file.parent, "status", "--porcelain", "--", self.file.name).strip())

    def _listed(self) -> str | None:
        """The MD5 of the table in DVC's list of the folder, if that is here."""
        for folder in self.file.parents:
            listing = folder / ".dvc" / "cache" / "files" / "md5" / self.md5[:2] / self.md5[2:]
            if listing.is_file():
                entries = json.loads(listing.read_text(encoding="utf-8"))
                return next((entry["md5"] for entry in entries if entry["relpath"] == self.inside), "")
        return None


def find_pointer(path: Path) -> Pointer | None:
    """The pointer that covers this file: its own, that of a folder above it, or a pipeline's lock."""
    for target in (path, *path.parents[:-1]):
        inside = path.relative_to(target).as_posix() if target != path else ""
        if os.path.isfile(own := target.with_name(f"{target.name}.dvc")):
            for out in _outs(own):
                if os.path.normpath(own.parent / str(out.get("path", ""))) == str(target):
                    legacy = out.get("hash") != "md5"
                    return Pointer(own, target, str(out.get("md5", "")), out.get("size"), inside, legacy)
        if target != path and os.path.isfile(target / "dvc.yaml") and (found := _of_pipeline(target, path)):
            return found
        if os.path.exists(target / ".git") or os.path.isdir(target / ".dvc"):
            break  # the top of the repository
    return None


def _of_pipeline(folder: Path, path: Path) -> Pointer | None:
    lock, pipeline = folder / "dvc.lock", folder / "dvc.yaml"
    for stage in _stages(lock):
        for out in stage.get("outs") or ():
            if (target := _covers(folder, str(out.get("path", "")), path)) is not None:
                inside = path.relative_to(target).as_posix() if target != path else ""
                legacy = out.get("hash") != "md5"
                return Pointer(lock, target, str(out.get("md5", "")), out.get("size"), inside, legacy)
    for stage in _stages(pipeline):
        base = folder / str(stage.get("wdir", "."))
        for out in stage.get("outs") or ():
            name = next(iter(out)) if isinstance(out, dict) else str(out)
            if (target := _covers(base, name, path)) is not None:
                return Pointer(pipeline, target, "")
    return None


def _covers(base: Path, name: str, path: Path) -> Path | None:
    target = Path(os.path.normpath(base / name))
    return target if name and (target == path or target in path.parents) else None


def _outs(pointer: Path) -> Iterator[dict[str, Any]]:
    content = _yaml(pointer)
    yield from (out for out in content.get("outs") or () if isinstance(out, dict))


def _stages(file: Path) -> Iterator[dict[str, Any]]:
    stages = _yaml(file).get("stages") if file.is_file() else None
    yield from (stage for stage in (stages or {}).values() if isinstance(stage, dict))


def _yaml(file: Path) -> dict[str, Any]:
    """Not DVC's after all if it cannot be read as such."""
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _folder_md5(folder: Path) -> str:
    """As DVC has it: of the JSON list of each file's MD5 and path."""
    files = sorted((path.relative_to(folder).parts, path) for path in folder.rglob("*") if path.is_file())
    entries = [{"md5": _md5(path), "relpath": "/".join(parts)} for parts, path in files]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _git(folder: Path, *command: str) -> str:
    """ "" where there is no repository, or no Git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True,
            stdin=subprocess.DEVNULL, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout
