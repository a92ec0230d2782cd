"""`python -m hpo.compare SWEEP SWEEP`: what one sweep gained over another, significantly or not, side by side.

A command that only reads journals, for whoever has changed a space, a model or the data and wants to know whether it
was worth it. The last line is the answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.command import columns, run, sweeps, verb
from hpo.contest import Gain, gain
from hpo.errors import InputError, Problem
from hpo.journal import Journal
from hpo.phrase import between, duration
from hpo.resume import find

if TYPE_CHECKING:
    from hpo.pages.view import View

FEWEST = 20  # complete trials, to tell which parameters mattered
Row = tuple[str, str, str]


@verb("compare", "python -m hpo.compare flight-delays-20261122 last")
@click.argument("first", metavar="SWEEP", shell_complete=sweeps)
@click.argument("second", metavar="SWEEP", shell_complete=sweeps)
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(first: str, second: str, folder: str, as_object: bool) -> None:
    """Compare two sweeps (an id, its beginning, a name's latest, or last): the second with the first."""
    paths = [find(Path(folder), name) for name in (first, second)]
    if paths[0] == paths[1]:
        raise InputError(Problem(f"{paths[0].stem} is one sweep, not two", hint="python -m hpo.status lists them"))
    a, b = (_view(path) for path in paths)
    found = gain(a, b)
    if as_object:
        click.echo(json.dumps({"sweeps": [_as_json(a), _as_json(b)], **_gain_json(found)}))
        return
    color = False if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" else None
    for line in _lines(a, b, columns()):
        click.echo(line, color=color)
    click.echo()
    click.echo(click.style(_verdict(found), bold=True, fg=_color(found)), color=color)
    if isinstance(found, Gain):
        click.echo(f"  {found.method}", color=color)


def _view(path: Path) -> View:
    from hpo.pages.view import View  # brings numpy

    with closing(Journal(path, writable=False)) as journal:
        facts = journal.facts()
        return View(facts, journal.trials(), facts["state"], path.with_suffix(""))


def _lines(a: View, b: View, width: int | None) -> Iterator[str]:
    for letter, view in (("A", a), ("B", b)):
        yield _cut(f"{letter}  {view.facts['id']}", width)
    yield ""
    rows = [("", "A", "B"), *_rows(a, b)]
    sizes = [max(len(row[k]) for row in rows) for k in range(3)]
    if width is not None and sum(sizes) + 4 > width:
        sizes[0] = min(sizes[0], max(12, width // 3))
        left = width - sizes[0] - 4
        sizes[1] = max(left - sizes[2], min(sizes[1], left // 2))
        sizes[2] = left - sizes[1]
    for row in rows:
        cells = [_cut(cell, size) for cell, size in zip(row, sizes, strict=True)]
        yield "  ".join(f"{cell:<{size}}" for cell, size in zip(cells, sizes, strict=True)).rstrip()


def _cut(text: str, size: int | None) -> str:
    return text if size is None or len(text) <= size else f"{text[: size - 1]}…"


def _rows(a: View, b: View) -> Iterator[Row]:
    told = [_told(a), _told(b)]
    for name in dict.fromkeys([*told[0], *told[1]]):
        yield name, told[0].get(name, "-"), told[1].get(name, "-")
    names = dict.fromkeys(name for view in (a, b) if view.best for name in view.best.params)
    for name in names:
        yield name, _param(a, name), _param(b, name)
    shares = [importance(view) for view in (a, b)]
    for name in sorted({**shares[0], **shares[1]}, key=lambda name: -sum(share.get(name, 0) for share in shares)):
        said = [f"{share[name]:.0%}" if name in share else "-" for share in shares]
        yield f"importance of {name}", said[0], said[1]


def _told(view: View) -> dict[str, str]:
    """Scores, trials and time of one sweep, by what they are called."""
    facts, metric = view.facts, view.metrics[0].name
    counts = {state: sum(t.state == state for t in view.trials) for state in ("complete", "pruned", "failed")}
    told = {
        "state": view.state,
        "trials": ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "none",
        "time": duration(facts.get("seconds") or 0.0),
    }
    if view.best is not None and view.best.values:
        told[f"{metric}, in the search"] = f"{view.best.values[0]:.6g} (trial {view.best.number})"
    if estimate := facts.get("estimate"):
        told[f"{metric}, fresh folds"] = f"{estimate['value']:.6g} [{estimate['low']:.6g}, {estimate['high']:.6g}]"
    if mine := ((facts.get("promotion") or {}).get("evidence") or {}).get("challenger"):
        told[f"{metric}, hold-out"] = f"{mine['value']:.6g} [{mine['low']:.6g}, {mine['high']:.6g}]"
    return told


def _param(view: View, name: str) -> str:
    value = view.best.params.get(name) if view.best else None
    if view.best is None or name not in view.best.params:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def importance(view: View) -> dict[str, float]:
    """Of the first metric; empty where there are too few trials to tell."""
    if len(view.complete) < FEWEST:
        return {}
    from hpo.searchers.importance import importance  # brings Optuna

    return importance(view.space, view.metrics[0], 0, view.complete)


def _verdict(found: Gain | str) -> str:
    if isinstance(found, str):
        return f"nothing to compare: {found}"
    by, low, high = found.interval.value, found.interval.low, found.interval.high
    better = f"{'B' if by >= 0 else 'A'} is better by {abs(by):.4g} {found.metric}"
    if not found.known:
        return better
    ends = dict(zip(("low", "high"), (low, high) if by >= 0 else (-high, -low), strict=True))
    sure = "significant" if found.significant else "not significant"
    return f"{better}, {between(ends, 4)}: {sure}"


def _color(found: Gain | str) -> str | None:
    return "green" if isinstance(found, Gain) and found.significant else "yellow"


def _as_json(view: View) -> dict[str, Any]:
    facts, best = view.facts, view.best
    evidence = (facts.get("promotion") or {}).get("evidence") or {}
    return {
        "sweep": facts["id"], "state": view.state, "trials": len(view.trials), "seconds": facts.get("seconds"),
        "metric": view.metrics[0].name, "best": best and {"number": best.number, "values": best.values,
        "params": dict(best.params)}, "estimate": facts.get("estimate"), "holdout": evidence.get("challenger"),
        "importance": importance(view),
    }  # fmt: skip


def _gain_json(found: Gain | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"gain": None, "why": found}
    span: Sequence[float | None] = (found.interval.low, found.interval.high) if found.known else (None, None)
    return {
        "gain": {"metric": found.metric, "value": found.interval.value, "low": span[0], "high": span[1],
                 "significant": found.significant, "method": found.method}
    }  # fmt: skip


if __name__ == "__main__":
    run(command)
