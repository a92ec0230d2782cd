"""Tracking: MLflow as a projection of the journal. The driver may import this file, so it imports no engine.

`projection.py` publishes, `layout.py` says what goes where, `server.py` knows the server; these three import
mlflow, and only `hpo.sync` imports them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from hpo.errors import InputError, Problem
from hpo.metric import Metric
from hpo.redact import HIDDEN, redact

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the client's own retries create runs twice
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


COMMAND = "hpo.command"  # the tag by which a search is steered; see `hpo.wishes`
RECORD = "hpo.record"  # a run's tag, or where that would be too long its file: the trial, for `hpo.reproduce`


def settle_environment() -> None:
    """How we use MLflow's client, unless the user has said otherwise; before it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def default_uri(folder: Path | None = None) -> str:
    """`MLFLOW_TRACKING_URI`, else `mlflow.db` in the folder (default: the working folder), absolute."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder or Path.cwd()).absolute() / 'mlflow.db'}"


def page(server: str, experiment: str, sweep: str, metric: Metric) -> str:
    """The address of a sweep in the UI of an MLflow server: its runs alone, the best on top.

    Without the workflow the UI opens as one for chats and traces, where no run is to be seen.
    """
    chosen = quote(f"tags.`hpo.sweep` = '{sweep}'")
    column = quote(f"metrics.`{metric.name}`")
    order = f"orderByKey={column}&orderByAsc={str(metric.direction == 'minimize').lower()}"
    public = re.sub(r"//[^/@]*@", "//", server.rstrip("/"))
    runs = f"{public}/#/experiments/{experiment}/runs"
    return f"{runs}?workflowType=machine_learning&searchFilter={chosen}&{order}"


def with_password(kept: str) -> str:
    """The URI that a journal keeps without its password, with the one in `MLFLOW_TRACKING_URI`."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if HIDDEN not in kept:
        return kept
    if redact(given) != kept:
        hint = "set MLFLOW_TRACKING_URI to the whole address"
        raise InputError(Problem(f"the password for {kept} is in no journal", hint=hint))
    return given
