"""Real MLflow for the tests: a migrated SQLite store, made once and copied, and one server for the whole run.

Migrating a fresh store takes seconds and a server tens of seconds, so both are made only when a test asks.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
START_UP = 180.0  # seconds that a server may take on a busy machine

os.environ.update(
    MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    MLFLOW_HTTP_REQUEST_TIMEOUT="5",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
)

# Begun by `nohup` or a shell's `&`: what the tests start hears its signals all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


def pytest_configure(config: pytest.Config) -> None:
    """What mlflow 3.17 provokes by itself, from SQLAlchemy 2.1, pandas 3 and its own chat models, and one hint."""
    for ours in (
        "ignore:The ``noload`` loader strategy:DeprecationWarning",
        "ignore:Operation with range is deprecated:DeprecationWarning",
        "ignore:.*Any type hint is inferred as AnyType:UserWarning",
        "ignore:.*An input example was not provided:UserWarning",
    ):
        config.addinivalue_line("filterwarnings", ours)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its schema; to be copied, not used."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    code = f"from hpo.tracking.server import connect; connect('sqlite:///{path}')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    return path


@pytest.fixture
def uri(migrated: Path, tmp_path: Path) -> str:
    """A store of the test's own, in its temporary folder."""
    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


class Server:
    """`mlflow server` on a store, by default the SQLite `database` that its files lie beside; can be taken away and
    brought back on the same port."""

    def __init__(self, database: Path, port: int, store: str | None = None) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self._arguments = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", store or f"sqlite:///{database}", "--workers", "1"),
            *("--artifacts-destination", str(database.parent / "artifacts")),
        ]
        self._log = database.parent / "server.log"
        self.folder = database.parent
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + START_UP
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.2)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def log(self) -> str:
        """What it wrote, a line for each request."""
        return self._log.read_text()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: a test uses names of its own, and starts it again if it stopped it."""
    database = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copyfile(migrated, database)
    server = Server(database, free_port())
    yield server
    server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
