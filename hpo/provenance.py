"""Where a sweep's results come from: the code, the machine, the packages, the command.

Called by `hpo.session` at each start of a search; `hpo.tracking` shows it on the parent run. Cheap (a few calls of
Git, no engine imported) and never a reason to fail: what cannot be found out is left out.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.redact import redact

_VARIABLES = re.compile(
    r"CI|CONDA_DEFAULT_ENV|CUDA_VISIBLE_DEVICES|GITHUB_(REPOSITORY|RUN_ID|SHA)|HOSTNAME|JOB_NAME|KMP_\w+|LANG|LC_ALL|"
    r"MKL_NUM_THREADS|MLFLOW_(EXPERIMENT_ID|RUN_ID|TRACKING_URI)|NUMEXPR_NUM_THREADS|NVIDIA_VISIBLE_DEVICES|OMP_\w+|"
    r"OPENBLAS_NUM_THREADS|PYTHONHASHSEED|PYTHONPATH|SLURM_(CLUSTER_NAME|CPUS_ON_NODE|JOB_ID|JOB_NAME|NODELIST)|TZ|"
    r"VIRTUAL_ENV"
)
_IMAGES = ("CONTAINER_IMAGE", "CI_JOB_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
_LARGEST = 2_000  # changed lines of a file; more are data, or made by a program
_WHOLE = 512 * 2**10  # characters of a patch
# Files that hold secrets by custom are not for a tracking server, whatever stands in them.
_SECRET_FILES = ("**/.env*", "**/*.pem", "**/*.key", "**/*.p12", "**/*.pfx", "**/id_rsa*", "**/.netrc", "**/.pgpass")


def provenance(folder: Path | None = None, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """A plain dict, ready for JSON: `git` {commit, branch, dirty, remote, top} if `folder` is in a repository,
    `user`, `host`, `python`, `platform`, `cpu`, `cpus`, `memory` (bytes), `gpus`, `image` of the container, `variables`
    (some, by name), `packages` {name: version}, `command`, `folder`, and `project_run` if `mlflow run` started us.

    `folder` is the working folder and `argv` this process's own unless given.
    """
    return {
        "git": _git(folder or Path.cwd()),
        "user": _user(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "memory": _memory(),
        "gpus": _gpus(),
        "image": _image(),
        "variables": {name: redact(text) for name, text in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)},
        "packages": packages(),
        "folder": str(folder or Path.cwd()),
        "command": redact(shlex.join(_command() if argv is None else argv)),
        "project_run": os.environ.get("MLFLOW_RUN_ID"),
    }


def packages() -> dict[str, str]:
    """Every installed distribution and its version, by the names of their folders: reading each one's metadata takes a
    hundred times as long."""
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        for entry in Path(place or ".").glob("*.dist-info"):
            name, _, version = entry.name.removesuffix(".dist-info").partition("-")
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)  # the first one is imported
    return dict(sorted(found.items()))


def requirements() -> str:
    """The installed distributions, a line each, as pip reads them."""
    return "".join(f"{name}=={version}\n" for name, version in packages().items())


def patch(folder: Path | None = None) -> str:
    """What the working tree's tracked files have that the last commit has not; "" if nothing, or without a repository.

    Left out, and named at the top: binary files, those with very many changed lines, and those that hold secrets by
    custom. Cut after half a million characters.
    """
    safe = ("--no-ext-diff", "--no-textconv", "--no-color")  # the user's settings may name programs to run
    top = top_of(folder or Path.cwd())
    if top is None:
        return ""
    folder = top
    secret = [f":(exclude,glob,icase){pattern}" for pattern in _SECRET_FILES]
    counted = _run(folder, "diff", *safe, "--numstat", "-z", "--no-renames", "HEAD", "--", ".") or ""
    allowed = _run(folder, "diff", *safe, "--name-only", "-z", "--no-renames", "HEAD", "--", ".", *secret) or ""
    kept: list[str] = []
    left: list[str] = []
    for line in filter(None, counted.split("\0")):
        added, removed, name = line.split("\t", 2)
        small = added != "-" and int(added) + int(removed) <= _LARGEST
        (kept if small and name in allowed.split("\0") else left).append(name)
    text = _run(folder, "--literal-pathspecs", "diff", *safe, "--no-renames", "HEAD", "--", *kept) if kept else ""
    head = "".join(f"# left out: {name}\n" for name in left)
    return redact(head + (text or ""))[:_WHOLE]


def top_of(folder: Path) -> Path | None:
    """The top of the working tree that a folder is in; None outside of a repository."""
    said = _run(folder, "rev-parse", "--show-toplevel")
    return None if said is None else Path(said.rstrip("\n"))


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
        "top": str(top_of(folder)),
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


def _processor() -> str | None:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _gpus() -> list[str]:
    """NVIDIA's, by the driver's own files: asking `nvidia-smi` takes a second."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            lines = dict(line.split(":", 1) for line in file.read_text(encoding="utf-8").splitlines() if ":" in line)
            found.append(lines.get("Model", "unknown").strip())
    return found


def _image() -> str | None:
    """The container's image, where its engine or its administrator tells; Docker alone does not."""
    with suppress(OSError):
        if told := re.search(r'^image="(.+)"$', Path("/run/.containerenv").read_text(encoding="utf-8"), re.M):
            return told[1]
    return next((found for name in _IMAGES if (found := os.environ.get(name))), None)
