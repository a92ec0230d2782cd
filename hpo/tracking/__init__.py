"""Tracking: MLflow as a projection of the journal. The driver may import this file, so it imports no engine.

`projection.py` publishes, `layout.py` says what goes where, `server.py` knows the server; these three import
mlflow, and only `hpo.sync` imports them.
"""

from __future__ import annotations

import os
from pathlib import Path

from hpo.errors import InputError, Problem
from hpo.redact import HIDDEN, redact


def default_uri(folder: Path | None = None) -> str:
    """`MLFLOW_TRACKING_URI`, else `mlflow.db` in the folder (default: the working folder), absolute."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder or Path.cwd()).absolute() / 'mlflow.db'}"


def with_password(kept: str) -> str:
    """The URI that a journal keeps without its password, with the one in `MLFLOW_TRACKING_URI`."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if HIDDEN not in kept:
        return kept
    if redact(given) != kept:
        hint = "set MLFLOW_TRACKING_URI to the whole address"
        raise InputError(Problem(f"the password for {kept} is in no journal", hint=hint))
    return given
