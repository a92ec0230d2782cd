"""The code as it was: a commit and what was not committed then, in a folder of its own.

Used by `hpo.reproduce`. The user's working tree and repository stay untouched: a clone that borrows their objects has
every commit that is still there, whichever branch it was on, and leaves nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.errors import InputError, Problem
from hpo.provenance import patch, top_of

TIMEOUT = 600.0  # seconds for a clone over the network
_LEFT_OUT = "# left out: "  # how `hpo.provenance.patch` names files whose changes it did not keep


@dataclass(frozen=True)
class Tree:
    """`root` and `folder` are the sweep file's project and the working folder of then, inside `top`."""

    top: Path
    root: Path
    folder: Path
    said: str
    left_out: tuple[str, ...] = ()

    def path(self, ours: Path) -> str:
        """`PYTHONPATH` for this tree: what Python finds in `ours`, the repository as it is now, is found here."""
        entries = [Path(os.path.realpath(entry or ".")) for entry in sys.path]
        inside = [self.top / entry.relative_to(ours) for entry in entries if entry.is_relative_to(ours)]
        given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        outside = [entry for entry in given if not Path(os.path.realpath(entry)).is_relative_to(ours)]
        return os.pathsep.join([*(str(entry) for entry in inside if entry.is_dir()), *outside])


def repository(made: Mapping[str, Any], root: Path) -> Path | None:
    """Where the commit is, on this machine: the project's repository, that of the record, or the one we are in."""
    commit = made["git"].get("commit")
    for place in (root, Path(made["git"].get("top") or root), Path.cwd()):
        top = top_of(place) if place.is_dir() else None
        if top is not None and commit and _git(top, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            return top
    return None


def equals(made: Mapping[str, Any], top: Path) -> bool:
    """The working tree holds the commit and the uncommitted changes of then, and no others."""
    head = _git(top, "rev-parse", "HEAD").stdout.strip()
    return head == made["git"]["commit"] and made.get("patch") == patch(top)


def check_out(made: Mapping[str, Any], source: Path | str, before: Path, scratch: Path) -> Tree:
    """The commit out of a repository (a folder or an address), changed as it was when its top was `before`.
    InputError: that cannot be done."""
    commit, tree = str(made["git"]["commit"]), scratch / "tree"
    borrow = ["--shared"] if isinstance(source, Path) else []
    place = os.fspath(source)
    _do(f"{place} cannot be cloned", scratch, "clone", "--quiet", "--no-checkout", *borrow, "--", place, str(tree))
    _do(f"{place} has no commit {commit[:12]}", tree, "checkout", "--quiet", "--detach", commit)
    changes = made.get("patch") or ""
    left_out = [line.removeprefix(_LEFT_OUT) for line in changes.splitlines() if line.startswith(_LEFT_OUT)]
    if made.get("patch") is None and made["git"].get("dirty"):
        left_out = ["all: they were not recorded"]
    if "diff --git" in changes:
        file = scratch / "source.patch"
        file.write_text(changes, encoding="utf-8")
        _do("the uncommitted changes cannot be applied", tree, "apply", "--whitespace=nowarn", str(file))
    folder = _moved(Path(made.get("folder") or before), before, tree)
    with_changes = " and what was not committed" if "diff --git" in changes else ""
    said = f"commit {commit[:12]}{with_changes}, checked out of {place}"
    return Tree(
        tree, _moved(Path(made["root"]), before, tree), folder if folder.is_dir() else tree, said, tuple(left_out)
    )


def _moved(path: Path, before: Path, tree: Path) -> Path:
    """The same place in the tree; what lies outside of the repository stays where it is."""
    path = Path(os.path.realpath(path))
    return tree / path.relative_to(before) if path.is_relative_to(before) else path


def _do(trouble: str, folder: Path, *command: str) -> None:
    done = _git(folder, *command)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["git said nothing"])[0]
        raise InputError(Problem(f"{trouble}: {said}", hint="--here runs with the code that is here now"))


def _git(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Never asks for a password, runs no hook."""
    return subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-C", str(folder), *command],
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
