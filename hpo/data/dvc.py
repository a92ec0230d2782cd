"""An older version of a table, or one of another repository: `data: {path, rev, repo, remote}`, read by DVC.

Imported by `hpo.data.source` when a sweep names a `rev` or a `repo`; needs the extra `dvc`. The repository's present
settings say where the remotes are, not those of the old revision; nothing in the working tree is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

os.environ.setdefault("DVC_NO_ANALYTICS", "1")

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import CloneError, RevError

from hpo.data.address import expand
from hpo.data.cache import Cache, Fetched
from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.sweep import Data

_ADDRESS = re.compile(r"^(https://|ssh://|git@[\w.-]+:)[^\s-]")


def read_version(data: Data, root: Path, cache: Cache, suffix: str) -> Fetched:
    """The table as it was at `rev`, by DVC's pointer or from Git itself. InputError: no such revision, file or
    remote."""
    repo, path = _place(data, root)
    where = "data.rev" if data.rev else "data.repo"
    try:
        settings = _remotes(repo) if os.path.isdir(repo) else {}
        files = DVCFileSystem(repo, rev=data.rev, remote=data.remote, config=settings)
        about = files.info(path)
        commit = files.repo.get_rev()
        md5 = str((about.get("dvc_info") or {}).get("md5") or "")
        key = ("dvc", repo, path, md5 or commit)
        digest = cache.recall(*key)
        here = cache.find(digest, suffix)
        if here is None or digest is None:
            with files.open(path, "rb") as source:
                here, digest = cache.keep(lambda file: shutil.copyfileobj(source, file, 2**20), suffix, *key)
    except FileNotFoundError as error:
        what = f"there is no {path} at {data.rev or 'the tip'}: {_said(error)}"
        hint = "is it pushed there, and committed at that revision?"
        raise InputError(Problem(what, where, hint)) from None
    except RevError as error:
        raise InputError(Problem(_said(error), "data.rev", "`git fetch --tags` brings the latest ones")) from None
    except (CloneError, DvcException, OSError) as error:
        raise InputError(Problem(f"DVC cannot read it: {_said(error)}", where)) from None
    tags = {"hpo.data.version": data.rev or md5, "hpo.data.md5": md5, "hpo.data.commit": commit}
    return Fetched(here, digest, {name: text for name, text in tags.items() if text})


def _place(data: Data, root: Path) -> tuple[str, str]:
    """The repository, and the path in it: of this project's own from the file's folder, of another from its top."""
    written = str(data.path)
    if data.repo is not None:
        if _ADDRESS.match(data.repo):
            return expand(data.repo, "data.repo"), written
        repo = os.path.realpath(root / data.repo)
        if data.repo.startswith("-") or "::" in data.repo or not os.path.isdir(repo):
            hint = "a folder, https://…, ssh://… or git@host:…"
            raise InputError(Problem(f"{redact(data.repo)} is no repository", "data.repo", hint))
        return repo, written
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise InputError(Problem(f"{root} is in no Git repository", "data.rev", "name it with data.repo"))
    top = os.path.realpath(done.stdout.strip())
    path = os.path.realpath(root / written)
    if not Path(path).is_relative_to(top):
        raise InputError(Problem(f"{written!r} leads out of {top}", "data.path"))
    return top, os.path.relpath(path, top)


def _remotes(repo: str) -> dict[str, Any]:
    now = Repo(repo, uninitialized=True)
    try:
        remotes = {name: dict(settings) for name, settings in now.config["remote"].items()}
        return {"remote": remotes} if remotes else {}
    finally:
        now.close()


def _said(error: Exception) -> str:
    cause = error.__cause__ if str(error) in ("", "SCM error") and error.__cause__ else error
    return redact(" ".join(str(cause).split()))[:300] or type(error).__name__
