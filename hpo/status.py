"""How sweeps stand: `python -m hpo.status [SWEEP]`, from their journals alone, also while they run.

A command for people and, with --json, for scripts. It reads and never writes; whether a sweep runs is asked of its
lease, not of a file that a killed driver could not correct.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from hpo.command import run, sweeps, verb
from hpo.errors import InputError, JournalError
from hpo.journal import Journal
from hpo.lease import holder
from hpo.metric import Metric
from hpo.phrase import between, duration, say
from hpo.resume import find, journals


@verb("status", "python -m hpo.status last")
@click.argument("sweep", required=False, shell_complete=sweeps)
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
@click.option("--salvage", is_flag=True, help="Print what is intact in a damaged journal, a JSON object a trial.")
def command(sweep: str | None, folder: str, as_object: bool, salvage: bool) -> int | None:
    """Show all sweeps in this folder, or one of them (an id, its beginning, a name's latest, or last) in detail."""
    home = Path(folder)
    if salvage:
        return _salvage(find(home, sweep or "last"))
    if sweep is not None:
        facts = status(find(home, sweep))
        click.echo(json.dumps(facts, indent=2) if as_object else _detail(facts))
        return None
    found, unreadable = [], 0
    for path in journals(home):
        try:
            found.append(status(path))
        except (JournalError, InputError) as error:  # one of them does not hide the others
            click.echo(f"error: {error}", err=True)
            unreadable = error.exit_code
    if as_object:
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(_overview(found))
    else:
        click.echo(f"no sweeps under {home}; start one: python -m hpo.search --space xgb.yaml")
    return unreadable


def _salvage(path: Path) -> int:
    """As JSON lines, ready for pandas; what is lost is said on stderr."""
    with closing(Journal(path, writable=False)) as journal:
        kept, lost = journal.salvage()
    for trial in kept:
        click.echo(json.dumps({**trial.to_json(), "state": trial.state}))
    click.echo(f"{len(kept)} trials intact, {lost} damaged", err=True)
    return JournalError.exit_code if lost else 0


def status(path: Path) -> dict[str, Any]:
    """What a journal says about its sweep. `state`: running, paused, interrupted or finished."""
    with closing(Journal(path, writable=False)) as journal:
        facts, trials, unpublished = journal.facts(), journal.trials(), journal.count_unpublished()
    driver = holder(path.with_suffix(".lock"))
    state = facts["state"] if facts["state"] == "finished" else "running" if driver is not None else "interrupted"
    paused = state == "running" and (facts.get("orders") or {}).get("paused", False)
    counts = {name: sum(t.state == name for t in trials) for name in ("complete", "pruned", "failed", "running")}
    metric = Metric(*facts["metrics"][0])
    done = [trial for trial in trials if trial.state == "complete" and trial.values]
    best = max(done, key=lambda t: (metric.sign * t.values[0] if t.values else 0.0, -t.number), default=None)
    estimate = facts.get("estimate")
    if estimate is not None:  # the one that was chosen on fresh folds
        best = next((trial for trial in done if trial.number == estimate["trial"]), best)
    failures: dict[str, int] = {}
    for trial in trials:
        if trial.failure is not None:
            what = f"{trial.failure.cause}: {trial.failure.headline}"
            failures[what] = failures.get(what, 0) + 1
    return {
        "sweep": facts["id"],
        "name": facts["name"],
        "state": "paused" if paused else state,
        "driver": driver,
        "created": facts["created"],
        "seconds": facts.get("seconds", 0.0),
        "trials": counts,
        "budget": facts.get("trials"),
        "best": best and {"number": best.number, metric.name: best.values and best.values[0], "params": best.params},
        "failures": failures,
        "stopped": facts.get("stopped"),
        "follows": facts.get("follows"),
        "estimate": estimate,
        "promotion": facts.get("promotion"),
        "tracking_uri": facts.get("tracking_uri"),
        "publishing": (facts.get("sync") or {}).get("error"),
        "unpublished": unpublished if facts.get("tracking_uri") else 0,
        "refused": facts.get("refused") or {},
        "journal": str(path),
    }


def _overview(found: list[dict[str, Any]]) -> str:
    """A line each, with the columns that say something; never cut, so that `| grep` finds what is there."""
    head = ("sweep", "state", "trials", "failed", "best", "promoted", "unpublished")
    rows = []
    for facts in found:
        counts, best, promotion = facts["trials"], facts["best"], facts["promotion"] or {}
        rows.append(
            (
                facts["sweep"],
                facts["state"],
                f"{sum(counts.values()) - counts['running']}/{facts['budget']}",
                str(counts["failed"] or ""),
                f"{_value(best)[1]:.5g}" if best else "",
                f"v{promotion['version']}" if promotion.get("promoted") else "",
                str(facts["unpublished"] or ""),
            )
        )
    shown = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in shown]
    lines = zip(
        *([f"{cell:<{width}}" for cell in column] for column, width in zip(shown, widths, strict=True)), strict=True
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _value(best: dict[str, Any]) -> tuple[str, float]:
    """The metric's name and value among what `status` says about the best trial."""
    return next((name, value) for name, value in best.items() if name not in ("number", "params"))


def _detail(facts: dict[str, Any]) -> str:
    counts, best = facts["trials"], facts["best"]
    created = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts["created"]))
    lines = [f"{facts['sweep']}: {facts['state']}, begun {created}, {duration(facts['seconds'])} of search"]
    if driver := facts["driver"]:
        lines.append(f"  driver       process {driver.get('pid')} on {driver.get('host')}")
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "none yet"
    lines.append(f"  trials       {said}, of {facts['budget']}")
    lines += [f"  failed       {n} x {what}" for what, n in facts["failures"].items()]
    if facts["stopped"]:
        lines.append(f"  stopped      {facts['stopped']}")
    if facts["follows"]:
        lines.append(f"  follows      {facts['follows']}")
    if best:
        name, value = _value(best)
        lines.append(f"  best         trial {best['number']}, {name} {value:.6g}")
        lines.append(f"               {say(best['params'])}")
    if estimate := facts["estimate"]:
        lines.append(f"  fresh folds  {estimate['metric']} {estimate['value']:.6g}, {between(estimate)}")
    if promotion := facts["promotion"]:
        what = promotion.get("error") or "; ".join(promotion.get("reasons", ()))
        lines.append(f"  promotion    {'promoted' if promotion.get('promoted') else 'not promoted'}: {what}")
    lines += [f"  refused      trial {number} by the server: {why}" for number, why in facts["refused"].items()]
    if facts["publishing"]:
        lines.append(f"  publishing   {facts['publishing']}")
    if facts["unpublished"]:
        lines.append(f"  unpublished  {facts['unpublished']}; deliver: python -m hpo.sync {facts['sweep']}")
    if facts["state"] == "interrupted":
        lines.append(f"  resume       the same search command, or --resume {facts['sweep']}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(command)
