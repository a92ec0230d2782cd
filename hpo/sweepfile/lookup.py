"""What a sweep file names outside itself: its data file and its code, found without importing anything.

Called by `hpo.loader` only. A sweep file may name code but must not run any, so parents of a module are found by
walking folders, never imported; and a relative path must not lead out of the project, through links neither.
What a trial will import is the project's own code or a modelling library; anything else a person must allow.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Collection
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from hpo.errors import InputError, Problem, did_you_mean

LIBRARIES = ("catboost", "lightgbm", "sklearn", "xgboost")  # a model may come from here without a word
# and a cluster from here
CLUSTER_LIBRARIES = ("dask_cloudprovider", "dask_cuda", "dask_jobqueue", "dask_kubernetes", "dask_yarn", "distributed")


def data_file(written: str, root: Path, where: str) -> Path:
    """The absolute path of a data file; a relative one must lie inside the root."""
    path = Path(os.path.realpath(root / written))
    if not Path(written).is_absolute() and not path.is_relative_to(os.path.realpath(root)):
        hint = "write an absolute path if this is what you want"
        raise InputError(Problem(f"{written!r} leads out of {root}", where, hint))
    if not os.path.isfile(path):
        beside = sorted(os.listdir(path.parent)) if os.path.isdir(path.parent) else []
        what = "is not a file" if os.path.exists(path) else "does not exist"
        raise InputError(Problem(f"{path} {what}", where, did_you_mean(path.name, beside)))
    return path


def digest(path: Path, where: str) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(Problem(f"{path} cannot be read: {error.strerror}", where)) from error


def module_digest(module: str, root: Path, where: str, name: str, allowed: Collection[str] | None) -> str:
    """The digest of a module of the project, which must define `name`; "" for an installed module.

    Installed modules must belong to one of the `allowed` packages; None: to any.
    """
    if any(part.startswith("__") for part in (*module.split("."), name)):
        raise InputError(Problem("names that begin with __ are not allowed", where))
    top = module.partition(".")[0]
    file = _own_module(module, root, where)
    if file is None:
        if _spec(module) is None:
            raise InputError(Problem(f"there is no module {module!r}", where, _module_hint(module, root)))
        if allowed is not None and top not in allowed:
            hint = f"put your code there; or, if you trust that package: --allow-import {top}"
            raise InputError(Problem(f"{module!r} is not in {root}", where, hint))
        return ""
    if _is_installed(PathFinder.find_spec(top)) or top in sys.stdlib_module_names:
        hint = f"rename {file.name}" if "." not in module else f"rename the package {top}"
        raise InputError(Problem(f"{top!r} is also an installed module, which Python finds first", where, hint))
    try:
        names = _defined_names(file)
    except OSError as error:
        raise InputError(Problem(f"{file} cannot be read: {error.strerror}", where)) from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(Problem(f"{file} is not Python: {error}", where)) from error
    if names is not None and name not in names:
        raise InputError(Problem(f"{file} defines no {name!r}", where, did_you_mean(name, sorted(names))))
    return digest(file, where)


def function_digest(function: Callable[..., Any]) -> str:
    """The digest of the file that a function was defined in, "" when there is none (a notebook)."""
    code = getattr(function, "__code__", None)
    file = Path(code.co_filename) if code else None
    return digest(file, "objective") if file and file.is_file() else ""


def _own_module(module: str, root: Path, where: str) -> Path | None:
    """The file of a module of the project: under its root, beside its sweep files, or in a folder of it where Python
    looks (`src`); None when it has none of this name."""
    relative = Path(*module.split("."))
    home = os.path.realpath(root)
    for folder in (root, root / "search_spaces"):
        for file in (folder / f"{relative}.py", folder / relative / "__init__.py"):
            if os.path.isfile(file):
                if not Path(os.path.realpath(file)).is_relative_to(home):
                    raise InputError(Problem(f"{file} leads out of {root}", where))
                return file
    spec = _spec(module)
    if spec is None or spec.origin is None or _is_installed(spec):
        return None
    file = Path(os.path.realpath(spec.origin))
    return file if file.suffix == ".py" and file.is_relative_to(home) else None


def _is_installed(spec: ModuleSpec | None) -> bool:
    """In a `site-packages`, wherever that is: a project often holds its own environment."""
    return spec is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(spec.origin or "").parts)


def _spec(module: str) -> ModuleSpec | None:
    """Where Python would find this module; imports neither it nor its parents."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # imported already and without a spec, which only scripts are
        return None
    for name in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations)
    return spec


def _module_hint(module: str, root: Path) -> str:
    """The closest name beside the one that is not there, or where it would be looked for."""
    parent, _, last = module.rpartition(".")
    if parent and _spec(parent) is not None:
        spec = importlib.util.find_spec(parent.partition(".")[0])
        folders = (spec and spec.submodule_search_locations) or []
        inside = [str(Path(folder, *parent.split(".")[1:])) for folder in folders]
        return did_you_mean(last, (found.name for found in pkgutil.iter_modules(inside)))
    top = module.partition(".")[0]
    guess = did_you_mean(top, (found.name for found in pkgutil.iter_modules()))
    return f"{guess} install it, or put {top}.py into {root}".lstrip()


def _defined_names(file: Path) -> set[str] | None:
    """The names a module defines or imports at its top; None if only running it could tell.

    SyntaxError and ValueError as `ast.parse` has them.
    """
    names: set[str] = set()
    for statement in ast.parse(file.read_bytes()).body:
        definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for node in [statement] if definition else ast.walk(statement):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return None if names & {"*", "__getattr__"} else names
