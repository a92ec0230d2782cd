"""`python -m hpo.ui [SWEEP]`: look at the runs in MLflow's own UI, on this machine and for nobody else.

A command. It starts the local preset of `hpo.server` on the store that sweeps write into, prints the address of the
sweep's experiment, filtered on that sweep, opens it and stays until Ctrl-C. Where `MLFLOW_TRACKING_URI` names a server,
that one is opened and nothing is started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click

from hpo.command import run, sweeps, verb
from hpo.errors import HpoError, InputError, Problem
from hpo.journal import Journal
from hpo.metric import Metric
from hpo.redact import redact
from hpo.resume import find
from hpo.server.wire import Wire
from hpo.tracking import default_uri, page

PORTS = range(5000, 5020)  # the first of these that is free


@verb("ui", "python -m hpo.ui last")
@click.argument("sweep", required=False, shell_complete=sweeps)
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--port", type=int, metavar="N", help="Default: the first free one from 5000 on.")
@click.option("--open/--no-open", "opens", default=True, help="Open a browser.", show_default=True)
def command(sweep: str | None, folder: str, port: int | None, opens: bool) -> int | None:
    """Show all sweeps, or one of them (an id, its beginning, a name's latest, or last), in MLflow's UI."""
    facts: dict[str, Any] = {}
    uri = default_uri()
    if sweep is not None:
        with closing(Journal(find(Path(folder), sweep), writable=False)) as journal:
            facts = journal.facts()
            uri = os.environ.get("MLFLOW_TRACKING_URI") or facts.get("tracking_uri") or uri
    if uri.startswith(("http://", "https://")):
        wire = Wire.from_environment(uri)
        _show(_page(wire, wire.url, facts), opens)
        return None
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # takes the server along, see below
    process, address = _start(uri, _port(port))
    try:
        _show(_page(Wire(address), address, facts), opens)
        click.echo("Ctrl-C stops it", err=True)
        return process.wait()
    except KeyboardInterrupt:
        return None
    finally:
        _stop(process)


def _page(wire: Wire, server: str, facts: Mapping[str, Any]) -> str:
    """The address of the sweep whose journal has these facts; without any, that of all experiments."""
    if not facts:
        return f"{server.rstrip('/')}/#/experiments"
    name, identifier = facts["name"], facts["id"]
    try:
        answer = wire.get("/api/2.0/mlflow/experiments/get-by-name", experiment_name=name)
    except OSError as error:
        raise InputError(Problem(f"{redact(wire.url)} does not answer: {error}", "MLFLOW_TRACKING_URI")) from error
    if answer.status in (401, 403):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise InputError(Problem(f"{redact(wire.url)} does not let this account see {name!r}", hint=hint))
    if answer.status != 200:
        hint = f"deliver it: python -m hpo.sync {identifier}"
        raise InputError(Problem(f"{redact(wire.url)} has no experiment {name!r} yet", hint=hint))
    return page(server, answer.json()["experiment"]["experiment_id"], identifier, Metric(*facts["metrics"][0]))


def _start(uri: str, port: int) -> tuple[subprocess.Popen[bytes], str]:
    from hpo.server.launch import start, wait
    from hpo.server.settings import read

    if not uri.startswith("sqlite:///"):
        hint = "start a server on it: python -m hpo.server"
        raise InputError(Problem(f"{redact(uri)} is neither a server nor a SQLite store", "MLFLOW_TRACKING_URI", hint))
    store = Path(unquote(uri.removeprefix("sqlite:///"))).absolute()
    settings = read(None, port=port, folder=store.parent, database=f"sqlite:///{store}")
    log = store.parent / ".hpo" / "ui.log"
    log.parent.mkdir(exist_ok=True)
    click.echo(f"starting MLflow's server on {store.name}, which takes some seconds", err=True)
    process = start(settings, {}, log)
    try:
        if wait(process, settings.address):
            return process, settings.address
    except BaseException:
        _stop(process)
        raise
    _stop(process)
    raise HpoError(f"MLflow's server does not start, see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def _port(wanted: int | None) -> int:
    for port in PORTS if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was in use a moment ago is free
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InputError(Problem("somebody else listens there" if wanted else "no port is free", "--port"))


def _show(address: str, opens: bool) -> None:
    click.echo(address)
    if opens:
        webbrowser.open(address)


if __name__ == "__main__":
    run(command)
