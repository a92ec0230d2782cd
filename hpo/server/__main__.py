"""`python -m hpo.server`: start an MLflow server safely, check one, give people accounts on one.

A command for whoever runs the team's server, and for a laptop. It becomes the server: the process that is started is
the one that a service manager or container watches and stops.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from hpo.command import run, verb
from hpo.errors import InputError, Problem


@verb("start", "python -m hpo.server --preset local")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="All of the below, as YAML.")
@click.option("--preset", metavar="NAME", help="local (this machine only, no accounts; the default) or team.")
@click.option("--host", metavar="HOST", help="Listen here; the default is 127.0.0.1.")
@click.option("--port", type=int, metavar="N", help="The default is 5000.")
@click.option("--workers", type=int, metavar="N", help="Processes of about 250 MB; four for a team, else one.")
@click.option("--public", metavar="URL", help="The address that clients use, with TLS: https://mlflow.example.com.")
@click.option("--database", metavar="URL", help="postgresql+psycopg://USER@HOST/NAME, without a password.")
@click.option("--artifacts", metavar="PLACE", help="s3://BUCKET/PREFIX, or a folder. Clients need no key to it.")
@click.option("--s3-endpoint", metavar="URL", help="Of a bucket that is not at AWS.")
@click.option("--admin", metavar="NAME", help="The first administrator's name; the default is admin.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="Where a local server keeps its data.")
def start(config: Path | None, **given: Any) -> None:
    """Start an MLflow server. Secrets come by environment, never on the command line: HPO_ADMIN_PASSWORD,
    HPO_SECRET_KEY, HPO_DATABASE_PASSWORD, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or each as NAME_FILE=FILE.
    """
    from hpo.server.launch import command, environment
    from hpo.server.settings import read, secrets

    settings = read(config, **given)
    found = secrets(os.environ) if settings.preset == "team" else {}
    _need(settings.preset)
    settings.folder.mkdir(parents=True, exist_ok=True)
    child = environment(settings, found, os.environ)
    reached = f", for clients at {settings.public}" if settings.public else ""
    click.echo(f"MLflow, preset {settings.preset}, at {settings.address}{reached}", err=True)
    os.chdir(settings.folder)
    os.execve((arguments := command(settings))[0], arguments, child)


def _need(preset: str) -> None:
    """What the team preset is made of, before MLflow says it in a hundred lines."""
    from importlib.util import find_spec

    missing = [name for name in ("flask_wtf", "psycopg", "boto3") if preset == "team" and find_spec(name) is None]
    if missing:
        raise InputError(Problem(f"the team preset needs {', '.join(missing)}", hint="pip install 'hpo[server]'"))


@verb("check", "python -m hpo.server check https://mlflow.example.com")
@click.argument("url")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def check(url: str, as_object: bool) -> int:
    """Probe a running server from outside and say what to fix. Changes nothing there.

    With an ordinary account in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD it also looks at what accounts may
    do. The exit code is 1 if anything was found.
    """
    from hpo.server.check import findings
    from hpo.server.wire import Wire

    report = findings(Wire.from_environment(_address(url)))
    if as_object:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        click.echo(report)
    return 1 if report.found else 0


@verb("account", "python -m hpo.server account https://mlflow.example.com nightly --role sweeper")
@click.argument("url")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(["reader", "sweeper", "promoter"]), help="What it may do.")
@click.option("--password-file", type=click.Path(path_type=Path), metavar="FILE", help="Else one is made, shown once.")
def account(url: str, name: str, role: str, password_file: Path | None) -> None:
    """Make the account NAME, or change its role. Asks as the administrator in MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD.

    A reader sees runs and loads models. A sweeper logs runs and registers versions. Only a promoter moves `champion`.
    """
    from hpo.server.accounts import give
    from hpo.server.wire import Wire

    try:
        given = password_file and password_file.read_text(encoding="utf-8").strip()
        made = give(Wire.from_environment(_address(url)), name, role, given or None)
    except OSError as error:
        raise InputError(Problem(f"{error.filename or url}: {error.strerror or error}")) from error
    click.echo(f"{name} is a {role}", err=True)
    if made is not None:
        click.echo(f"its password, which is kept nowhere: {made}", err=False)


def _address(url: str) -> str:
    from urllib.parse import urlsplit

    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname or place.password:
        raise InputError(Problem(f"{url!r} is not an address of the form https://HOST[:PORT]"))
    return url.rstrip("/")


class _Start(click.Group):
    """Without a word, or with options alone, it starts the server."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named else ["start", *args])


command = _Start(
    "server",
    {"start": start, "check": check, "account": account},
    help="Start an MLflow server safely (the default), check one, give accounts on one.",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: python -m hpo.server --preset local",
)

if __name__ == "__main__":
    run(command)
