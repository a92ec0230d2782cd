"""Dotted paths: from "package.module.Name" or "module:name" in a sweep's file to the thing itself.

Called by the estimator and the function objective. A module is looked for where Python looks, then beside the
sweep's file and in its `search_spaces/`, so that a user's own code needs no installation.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from hpo.errors import InputError, Problem, did_you_mean


def find(path: str, root: Path, where: str) -> Any:
    """Import what the path names. InputError if there is no such thing; other errors of the module stay its own."""
    for folder in map(str, (root, root / "search_spaces")):
        if folder not in sys.path:
            sys.path.append(folder)
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise InputError(Problem(f"{path!r} is no dotted path", where, "like sklearn.ensemble.RandomForestClassifier"))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not (error.name and (module_name == error.name or module_name.startswith(f"{error.name}."))):
            raise  # the module is there and lacks something itself
        hint = f"install it, or put {error.name}.py beside the sweep's file"
        raise InputError(Problem(f"there is no module {error.name!r} for {path!r}", where, hint)) from None
    for part in name.split("."):
        if not hasattr(found, part):
            names = [known for known in dir(found) if not known.startswith("_")]
            raise InputError(Problem(f"{module_name} has no {part!r}", where, did_you_mean(part, names)))
        found = getattr(found, part)
    return found
