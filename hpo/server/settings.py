"""What a server is to be: one small YAML file or flags, checked, all problems at once.

Made by the `server` and `ui` commands, read by `launch.py`. Secrets are no settings: a file is copied and mailed and a
command line is seen by everybody on the machine, so they come from the environment or from files of their own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from hpo.errors import InputError, Problem, did_you_mean
from hpo.sweepfile.document import Document

SECRETS = {
    "HPO_DATABASE_PASSWORD": "the password of the database",
    "HPO_ADMIN_PASSWORD": "the administrator's first password, at least 12 characters",
    "HPO_SECRET_KEY": "a random text that signs forms, at least 32 characters, the same on every server",
    "AWS_ACCESS_KEY_ID": "the key of the bucket",
    "AWS_SECRET_ACCESS_KEY": "the secret of the bucket",
}
_SHORTEST = {"HPO_ADMIN_PASSWORD": 12, "HPO_SECRET_KEY": 32}
_MAKE_ONE = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


@dataclass(frozen=True)
class Settings:
    """`folder` is where a local server keeps its data, and any server its configuration.

    `public` is the address that clients use: of the proxy, if there is one in front. `database` and `artifacts` are
    where runs and files are kept; without them, SQLite and `mlartifacts` in the folder.
    """

    preset: Literal["local", "team"] = "local"
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 0  # 0: one for SQLite, else four
    public: str | None = None
    database: str | None = None
    artifacts: str | None = None
    s3_endpoint: str | None = None
    admin: str = "admin"
    folder: Path = Path()

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def read(path: Path | None, **given: Any) -> Settings:
    """The settings in a file, with what is given instead; raises InputError with everything that is wrong."""
    document = Document({}, "the flags") if path is None else Document.read(path, str(path))
    flags = {key: value for key, value in given.items() if value is not None}
    values = {**document.data, **flags}
    problems: list[Problem] = []

    def wrong(key: str, message: str, hint: str = "") -> None:
        where = f"--{key.replace('_', '-')}" if key in flags or key not in document.data else document.where((key,))
        problems.append(Problem(message, where, hint))

    known = {field.name: field for field in fields(Settings)}
    problems += [
        Problem(f"unknown key {key!r}", document.where((key,), key=True), did_you_mean(key, known))
        for key in values.keys() - known.keys()
    ]
    kept = {key: value for key, value in values.items() if key in known and value is not None}
    for key, value in kept.items():
        if key in ("port", "workers"):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
                wrong(key, f"must be a whole number, not {value!r}")
        elif not isinstance(value, (str, Path)) or re.search(r"[\s,]|^$", str(value)):
            wrong(key, f"must be a text without spaces and commas, not {value!r}")
        elif key in ("host", "public") and re.search(r"[*?]|\[(?!.*:.*\])", str(value)):
            wrong(key, f"must be a name in full, without wildcards, not {value!r}")
    if (preset := kept.get("preset", "local")) not in ("local", "team"):
        wrong("preset", f"unknown preset {preset!r}", did_you_mean(preset, ("local", "team")))
    if problems:
        raise InputError(*problems)
    settings = Settings(**{**kept, "folder": Path(kept.get("folder", ".")).absolute()})
    (_check_local if settings.preset == "local" else _check_team)(settings, wrong)
    if problems:
        raise InputError(*problems)
    return replace(settings, workers=settings.workers or (4 if settings.preset == "team" else 1))


def secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of `SECRETS` that there are: `NAME`, or the content of the file that `NAME_FILE` names."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name in SECRETS:
        if file := environment.get(f"{name}_FILE"):
            try:
                found[name] = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(f"{file} cannot be read: {error}", f"{name}_FILE"))
        elif value := environment.get(name):
            found[name] = value
    for name in ("HPO_ADMIN_PASSWORD", "HPO_SECRET_KEY"):
        if not any(name in problem.where for problem in problems) and len(found.get(name, "")) < _SHORTEST[name]:
            state = "is too short" if name in found else "is not set"
            problems.append(Problem(f"{name} {state}: {SECRETS[name]}", hint=f"or {name}_FILE=FILE; {_MAKE_ONE}"))
    if problems:
        raise InputError(*problems)
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_local(settings: Settings, wrong: Any) -> None:
    if not is_loopback(settings.host):
        hint = "to share it, use the team preset: accounts, and a proxy with TLS in front"
        wrong("host", f"the local preset asks nobody for a password, so it cannot listen on {settings.host}", hint)
    if settings.public is not None:
        wrong("public", "only the team preset is for others to reach")
    if settings.database is not None:
        _check_database(settings, wrong, "sqlite", "postgresql")
    if settings.artifacts is not None and "://" in settings.artifacts:
        wrong("artifacts", "the local preset keeps files in a folder", "or use the team preset")


def _check_team(settings: Settings, wrong: Any) -> None:
    if settings.public is None:
        wrong("public", "is missing", "the address that clients use, such as https://mlflow.example.com")
    else:
        url = urlsplit(settings.public)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or url.username:
            wrong("public", f"{settings.public} is not an address of the form https://HOST[:PORT]")
        elif url.scheme == "http" and not is_loopback(url.hostname):
            wrong("public", "passwords would travel in the clear", "https://, with a proxy that speaks TLS in front")
    if settings.database is None:
        wrong("database", "is missing", "such as postgresql+psycopg://mlflow@HOST:5432/mlflow")
    else:
        _check_database(settings, wrong, "postgresql")
    if settings.artifacts is None:
        wrong("artifacts", "is missing", "such as s3://BUCKET/artifacts")
    elif not re.match(r"s3://[^/]|/", settings.artifacts):
        wrong("artifacts", f"{settings.artifacts} is neither s3://BUCKET nor an absolute path")


def _check_database(settings: Settings, wrong: Any, *kinds: str) -> None:
    url = urlsplit(settings.database or "")
    if url.password:
        wrong("database", "holds a password, which others can read here", "put it into HPO_DATABASE_PASSWORD")
    if url.scheme.partition("+")[0] not in kinds:
        wrong("database", f"is not an address of {' or '.join(kinds)}")
