"""The MLflow server or database: how to reach it, and what its errors mean.

Used by `hpo.tracking.projection` and `hpo.sync`. Three kinds of trouble, because they are answered differently: what
may work later is tried again, what the server understood and refused is put aside with the reason, and what this
account may not do waits for a person.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import read_mlflow_creds
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hpo.errors import HpoError
from hpo.redact import redact

for _noisy in ("alembic", "mlflow"):  # a line per migration of a fresh store, hints about the stock workflow
    logging.getLogger(_noisy).setLevel(logging.WARNING)


class TrackingError(HpoError):
    exit_code = 75


class Away(TrackingError):
    """The server did not answer, or not usefully: the same call may work later."""


class Refused(TrackingError):
    """The server understood and said no: the same call will fail again."""


class Denied(TrackingError):
    """The server does not know this account, or does not let it do this: it would be no use to try again soon."""


@contextmanager
def answered() -> Iterator[None]:
    """Whatever a call to MLflow raises, as `Away`, `Refused` or `Denied`, without passwords."""
    try:
        yield
    except MlflowException as error:
        status = error.get_http_status_code()
        if status in (401, 403):
            raise Denied(_denial(status, error)) from error
        refused = 400 <= status < 500 and status not in (404, 408, 429)
        raise (Refused if refused else Away)(short_reason(error)) from error
    except (requests.RequestException, SQLAlchemyError, OSError) as error:
        raise Away(short_reason(error)) from error


def connect(uri: str) -> MlflowClient:
    """A client. A fresh SQLite store gets its schema here, by one process at a time."""
    with answered(), _alone(sqlite_file(uri)):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        return client


@contextmanager
def unhurried(seconds: int = 120) -> Iterator[None]:
    """A longer time-out, for when nothing but this call is waited for: a server passes a large model on to its
    storage before it answers."""
    before = MLFLOW_HTTP_REQUEST_TIMEOUT.get_raw()
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(seconds)
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_TIMEOUT.unset() if before is None else MLFLOW_HTTP_REQUEST_TIMEOUT.set(before)


def sqlite_file(uri: str) -> Path | None:
    """The file behind a SQLite URI, None for any other."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    return Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None


def is_missing(error: BaseException | None) -> bool:
    """The run, or the whole store with it, is gone."""
    return isinstance(error, MlflowException) and error.get_http_status_code() == 404


def short_reason(error: BaseException) -> str:
    """An engine's error as one line without passwords; MLflow puts whole stack traces into its texts."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return redact(lines[0])[:500]


def _denial(status: int, error: MlflowException) -> str:
    """Who was refused what, and where an account is set; MLflow speaks of its documentation instead."""
    account = read_mlflow_creds().username
    if status == 403:
        return f"the account {account!r} may not do this (403): {short_reason(error)}"
    known = f"does not know the account {account!r} with this password" if account else "wants an account"
    return f"the server {known} (401): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
