"""`python -m hpo.history MODEL`: who was champion from when to when, and why it changed.

A command that only reads. The history is written by every promotion and rollback into the registered model's own tags,
one that nobody rewrites for each; what was moved past it, in the MLflow UI, is said as such.
"""

from __future__ import annotations

import json
import textwrap
import time
from typing import TYPE_CHECKING, Any

import click

from hpo.command import columns, run, verb

if TYPE_CHECKING:
    from hpo.registry import Reign


@verb("history", "python -m hpo.history flight-delays")
@click.argument("model")
@click.option("--alias", default="champion", metavar="NAME", help="Whose history.", show_default=True)
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(model: str, alias: str, tracking_uri: str | None, as_object: bool) -> int | None:
    """Print who was champion of MODEL from when to when, the oldest first."""
    from hpo.errors import InputError, Problem
    from hpo.tracking import default_uri, settle_environment

    settle_environment()
    from hpo import registry
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    with answered():
        known = registry.events(client, model, alias)
        now = registry.holder(client, model, alias)
        previous = registry.holder(client, model, f"previous-{alias}")
        challenger = registry.holder(client, model, registry.CHALLENGER)
    held = {
        name: registry.id_of(version) if version else None
        for name, version in ((alias, now), (f"previous-{alias}", previous), (registry.CHALLENGER, challenger))
    }
    if not known and now is None:
        raise InputError(Problem(f"{model!r} has no history and no {alias}", hint="is this the right --tracking-uri?"))
    found = registry.reigns(known)
    if as_object:
        click.echo(json.dumps({"model": model, "aliases": held, "reigns": [_as_json(reign) for reign in found]}))
        return None
    for line in _lines(found, columns()):
        click.echo(line)
    if found and found[-1].version != held[alias]:
        click.echo(f"the {alias} is version {held[alias]} now: somebody has moved the alias past hpo")
    if known and not known[-1].done:
        click.echo("the last move was interrupted; the next promotion or rollback finishes it")
    click.echo("now: " + ", ".join(f"{name} {version or 'none'}" for name, version in held.items()))
    return None


def _lines(found: list[Reign], columns: int | None) -> list[str]:
    """A table; where it is wider than the terminal, who and why stand under their rows."""
    rows = [("version", "from", "to", "by", "who", "why")]
    for reign in found:
        event = reign.event
        until = "now" if reign.until is None else _moment(reign.until)
        who = event.who.removeprefix("sweep ")
        rows.append((reign.version, _moment(reign.since), until, event.why, who, event.reason or "-"))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    table = ["  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    if columns is None or max(map(len, table)) < columns:
        return table
    lines = []
    for row in rows:
        lines.append("  ".join(f"{cell:<{w}}" for cell, w in zip(row[:4], widths, strict=False)).rstrip())
        lines += textwrap.wrap(f"{row[4]}: {row[5]}", columns - 1, initial_indent="    ", subsequent_indent="    ")
    return lines


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _as_json(reign: Reign) -> dict[str, Any]:
    event = reign.event
    return {
        "version": reign.version, "from": reign.since, "to": reign.until, "before": event.origin, "by": event.why,
        "who": event.who, "reason": event.reason,
    }  # fmt: skip


if __name__ == "__main__":
    run(command)
