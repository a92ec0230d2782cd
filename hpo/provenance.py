"""Where a sweep's results come from: the code, the machine, the packages, the command.

Called once by the driver when it creates a journal; `hpo.tracking` shows it on the parent run. Cheap (two git
calls, no engine imported) and never a reason to fail: what cannot be found out is left out.
"""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hpo.redact import redact

_PACKAGES = (
    "hpo",
    "hyperopt",
    "mlflow",
    "numpy",
    "optuna",
    "pandas",
    "scikit-learn",
    "scipy",
    "skops",
    "xgboost",
)


def provenance(folder: Path | None = None, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """A plain dict, ready for JSON: `git` {commit, branch, dirty, remote} if `folder` is in a repository,
    `user`, `host`, `python`, `platform`, `cpus`, `memory` (bytes), `packages` {name: version}, `command`, and
    `project_run` if `mlflow run` started us.

    `folder` is the working folder and `argv` this process's own unless given.
    """
    return {
        "git": _git(folder or Path.cwd()),
        "user": _user(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory": _memory(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "command": redact(shlex.join(_command() if argv is None else argv)),
        "project_run": os.environ.get("MLFLOW_RUN_ID"),
    }


def _git(folder: Path) -> dict[str, Any]:
    """Empty outside a repository, and before its first commit."""
    status = _run(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return {}
    head = dict(line[2:].split(" ", 1) for line in status.splitlines() if line.startswith("# branch."))
    if head.get("branch.oid", "(initial)") == "(initial)":
        return {}
    found: dict[str, Any] = {
        "commit": head["branch.oid"],
        "dirty": any(not line.startswith("#") for line in status.splitlines()),
    }
    if (branch := head.get("branch.head")) != "(detached)":
        found["branch"] = branch
    if remote := _run(folder, "config", "--get", "remote.origin.url"):
        found["remote"] = _without_credentials(remote.strip())
    return found


def _without_credentials(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url  # scp-like, git@host:path: a user, never a password
    host, slash, path = rest.partition("/")
    return redact(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def _run(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command],
            capture_output=True, text=True, timeout=5, check=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def _command() -> list[str]:
    """As a person would type it again: `python -m hpo.search …`, where `sys.argv` has the module's file."""
    return [Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]] if sys.orig_argv else sys.argv


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user id without a name
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
