"""From settings to a running `mlflow server`: its whole environment and its short command line.

Called by the `server` and `ui` commands. MLflow's defaults are made for trying it out: nobody needs a password, any
name that begins like a private address is a good host, jobs run in the server, telemetry is on. All that matters is
said here, and what the caller's environment says about MLflow is not inherited, so that no stray variable loosens it.
Secrets go by environment alone; the addresses hold none, since MLflow prints them.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from hpo.server.settings import Settings

START_UP = 180.0  # seconds that a server may take on a busy machine
GUARD = "hpo.server.guard:authenticate"


def command(settings: Settings) -> list[str]:
    """What everybody on the machine can see: no address and no secret."""
    mode = ["--app-name", "basic-auth"] if settings.preset == "team" else []
    place = ["--host", settings.host, "--port", str(settings.port), "--workers", str(settings.workers)]
    return [sys.executable, "-m", "mlflow", "server", *place, *mode]


def environment(settings: Settings, secrets: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """The server's environment. Writes the configuration of its accounts into the folder; no secret is in it."""
    kept = {k: v for k, v in inherited.items() if not k.lstrip("_").startswith(("MLFLOW_", "HPO_"))}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    kept |= {
        "PYTHONPATH": path,  # the guard is found wherever hpo was
        "MLFLOW_BACKEND_STORE_URI": settings.database or f"sqlite:///{settings.folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts or str(settings.folder / "mlartifacts"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts(settings)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if "HPO_DATABASE_PASSWORD" in secrets:
        kept["PGPASSWORD"] = secrets["HPO_DATABASE_PASSWORD"]
    kept |= {name: secrets[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if name in secrets}
    if settings.s3_endpoint:
        kept["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint
    if settings.preset == "team":
        kept |= {
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": str(settings.public).rstrip("/"),
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
            "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^(mlflow-artifacts|models|runs):/",
            "MLFLOW_AUTH_CONFIG_PATH": str(_accounts(settings, kept["MLFLOW_BACKEND_STORE_URI"])),
            "MLFLOW_AUTH_ADMIN_USERNAME": settings.admin,
            "MLFLOW_AUTH_ADMIN_PASSWORD": secrets["HPO_ADMIN_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets["HPO_SECRET_KEY"],
        }
    return kept


def hosts(settings: Settings) -> list[str]:
    """The Host headers that are right, each in full: MLflow compares them with the port, and `*` would match dots."""
    names = {settings.host, "localhost"} if settings.preset == "local" else {settings.host}
    found = {f"[{name}]:{settings.port}" if ":" in name else f"{name}:{settings.port}" for name in names}
    if settings.public is not None:
        url = urlsplit(settings.public)
        found.add(url.netloc)
        if url.port is None:
            found.add(f"{url.netloc}:{443 if url.scheme == 'https' else 80}")
    return sorted(found - {f"0.0.0.0:{settings.port}", f"[::]:{settings.port}"})


def start(settings: Settings, secrets: Mapping[str, str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """The server as a child of ours, in a group of its own; what it says goes to the log, else to stderr."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    child = environment(settings, secrets, os.environ)
    out = None if log is None else log.open("ab")
    try:
        return subprocess.Popen(
            command(settings), env=child, cwd=settings.folder, stdin=subprocess.DEVNULL,
            stdout=out or sys.stderr, stderr=out or sys.stderr, start_new_session=True,
        )  # fmt: skip
    finally:
        if out is not None:
            out.close()


def answers(address: str) -> bool:
    """Whether the server at this address says that it is well."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait(process: subprocess.Popen[bytes], address: str, patience: float = START_UP) -> bool:
    """Until it answers; False if it ended, or never did."""
    until = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < until:
        if answers(address):
            return True
        time.sleep(0.2)
    return False


def _accounts(settings: Settings, database: str) -> Path:
    """MLflow's file about accounts: nobody may do anything that was not granted, and the guard asks for more."""
    config = configparser.ConfigParser(interpolation=None)
    config["mlflow"] = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": database.replace("%", "%%"),  # MLflow reads it with interpolation
        "authorization_function": GUARD,
        "grant_default_workspace_access": "false",
        "auth_cache_ttl_seconds": "30",  # a hash per request otherwise; so long an old password still opens
    }
    path = settings.folder / "accounts.ini"
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    return path
