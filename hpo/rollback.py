"""`python -m hpo.rollback MODEL`: the champion before the present one is champion again, at once.

A command for whoever is on call. It goes back one step in the line of champions, a second time one step further, and
never forward. An act ends when its caller has been told: killed at any line before and called again, it is the same
act, and what it prints says which of the three it was. The target's files are checked first: a rollback to a broken
model is none.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from hpo import crash
from hpo.command import run, verb

if TYPE_CHECKING:
    from hpo.registry import Event


@verb("rollback", "python -m hpo.rollback flight-delays --reason 'complaints since Monday'")
@click.argument("model")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@click.option("--alias", default="champion", metavar="NAME", help="The alias to move.", show_default=True)
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(model: str, reason: str, alias: str, tracking_uri: str | None, as_object: bool) -> int | None:
    """Make the previous champion of MODEL champion again."""
    from hpo.provenance import provenance
    from hpo.tracking import default_uri, settle_environment

    settle_environment()
    from hpo import registry
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    who = provenance()["user"] or "?"
    begun = time.perf_counter()
    with answered():
        event, whose = registry.roll_back(client, model, alias, reason, who, time.time)
        now = registry.holder(client, model, alias)
    spent = time.perf_counter() - begun
    held = registry.id_of(now) if now else None
    if as_object:
        said = {"model": model, "alias": alias, "version": event.to, "before": event.origin, "now": held}
        click.echo(json.dumps({**said, "act": event.id, "whose": whose, "seconds": round(spent, 3)}))
    else:
        for line in _lines(event, whose):
            click.echo(line)
        click.echo(f"{alias} of {model}: version {event.to} (before: {event.origin}), in {spent:.2f} s")
        if held != event.to:
            click.echo(f"meanwhile somebody has made version {held} the {alias}")
    sys.stdout.flush()  # told before it is noted: killed in between, the next call says it once more
    crash.point("telling")
    with answered():
        registry.acknowledge(client, model, event)
    return 0 if held == event.to else 1


def _lines(event: Event, whose: str) -> list[str]:
    """Nothing about an act of this call's own."""
    if whose == "new":
        return []
    what = "was interrupted, and is finished now" if whose == "finished" else "was done, but its caller was not told"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    reason = f" ({event.reason})" if event.reason else ""
    return [
        f"the rollback of {moment} by {event.who}{reason} {what}",
        "nothing more was done; the same command again goes back further",
    ]


if __name__ == "__main__":
    run(command)
