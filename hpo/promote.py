"""`python -m hpo.promote MODEL [--version N]`: a person makes a version the champion, and says why.

A command for whoever approves what `approve: manual` left as challenger, or knows better than a verdict. It shows the
evidence that the version was judged by, checks its files, and writes the move into the history before it makes it. It
works while sweeps run: they see it and judge again.
"""

from __future__ import annotations

import json
import time

import click

from hpo.command import run, verb


@verb("promote", "python -m hpo.promote flight-delays --version 4 --reason 'agreed in review'")
@click.argument("model")
@click.option("--version", metavar="N", help="The version; by default the challenger.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@click.option("--alias", default="champion", metavar="NAME", help="The alias to move.", show_default=True)
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(
    model: str, version: str | None, reason: str, alias: str, tracking_uri: str | None, as_object: bool
) -> int | None:
    """Make a version of MODEL the champion, whatever its verdict was."""
    from hpo.provenance import provenance
    from hpo.tracking import default_uri, settle_environment

    settle_environment()
    from hpo import registry
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    who = provenance()["user"] or "?"
    with answered():
        chosen = registry.choose(client, model, version)
        evidence = registry.evidence_of(chosen)
        if not as_object:
            _show(registry.id_of(chosen), chosen.tags, evidence.lines() if evidence else [])
            before = registry.holder(client, model, alias)
            rival = registry.id_of(before) if before else None
            if evidence and rival not in (None, evidence.champion_version, registry.id_of(chosen)):
                against = f"version {evidence.champion_version}" if evidence.champion_version else "no champion"
                click.echo(f"  note     it was judged against {against}; the {alias} is version {rival} now")
        moved = registry.promote_by_hand(client, model, alias, chosen, reason, who, time.time)
        now = registry.holder(client, model, alias)
    held = registry.id_of(now) if now else None
    if as_object:
        said = {"model": model, "alias": alias, "version": registry.id_of(chosen), "moved": moved is not None}
        shown = evidence.to_json() if evidence else None
        click.echo(json.dumps({**said, "before": moved and moved.origin, "now": held, "evidence": shown}))
    elif moved is None:
        click.echo(f"it is the {alias} already")
    else:
        click.echo(f"{alias} of {model}: version {moved.to} (before: {moved.origin or 'none'})")
        if held != moved.to:
            click.echo(f"meanwhile somebody has made version {held} the {alias}")
    return 0 if moved is None or held == moved.to else 1


def _show(version: str, tags: dict[str, str], lines: list[str]) -> None:
    click.echo(f"version {version}, from sweep {tags.get('hpo.sweep', '?')}, trial {tags.get('hpo.trial', '?')}")
    for line in lines or ["it was registered without evidence"]:
        click.echo(f"  {line}")
    if said := tags.get("hpo.verdict"):
        click.echo(f"  verdict  {said}")


if __name__ == "__main__":
    run(command)
