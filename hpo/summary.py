"""The last words of a sweep: what was found, how sure that is, what was promoted and why, and where to look.

Printed by the `search` command for people, or given as one JSON object for scripts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from hpo.display import duration
from hpo.result import Result
from hpo.trial import Trial


def summarize(result: Result, console: Console) -> None:
    """For a person: short, and every next step is a command that can be pasted."""
    counts = _counts(result)
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    console.print(f"\n[bold]{result.id}[/]: {said or 'no trials'} in {duration(result.seconds)}", highlight=False)
    for error, n in _failures(result).items():
        console.print(f"  [red]{n} failed:[/] ", end="")
        console.print(error, markup=False, highlight=False)
    if result.best is not None:
        _print_best(result, result.best, console)
    if result.promotion:
        _print_promotion(result.promotion, console)
    if result.signal is not None:
        console.print(
            f"\n[yellow]interrupted[/]: the same command, or [bold]--resume {result.id}[/], goes on from here"
        )
    if result.unpublished:
        console.print("\n[yellow]not everything is in MLflow yet:[/] ", end="")
        console.print(result.unpublished, markup=False, highlight=False)
        console.print(f"  deliver it later:  python -m hpo.sync {result.id}", highlight=False)
    if result.tracking_uri is not None:
        console.print(f"\ncompare the runs:  {_look(result)}", highlight=False, soft_wrap=True, markup=False)


def as_json(result: Result) -> dict[str, Any]:
    """For scripts; the keys are a promise."""
    best = result.best
    return {
        "sweep": result.id,
        "state": result.state,
        "resumed": result.resumed,
        "trials": _counts(result),
        "seconds": round(result.seconds, 3),
        "best": best
        and {
            "number": best.number,
            "params": dict(best.params),
            "values": dict(zip((m.name for m in result.metrics), best.values or (), strict=True)),
            "folds": {name: list(folds) for name, folds in best.scores.items()},
        },
        "promotion": result.promotion,
        "model_uri": result.model_uri,
        "tracking_uri": result.tracking_uri,
        "unpublished": result.unpublished,
        "journal": str(result.journal),
    }


def _print_best(result: Result, best: Trial, console: Console) -> None:
    console.print(f"\n[bold]best: trial {best.number}[/]", highlight=False)
    for metric, value in zip(result.metrics, best.values or (), strict=True):
        folds = best.scores.get(metric.name, ())
        spread = (
            f"  (folds {min(folds):.5g} to {max(folds):.5g}, sd {statistics.stdev(folds):.2g})"
            if len(folds) > 1
            else ""
        )
        console.print(f"  {metric.name:<24} [green]{value:.6g}[/]{spread}", highlight=False)
    for name, chosen in best.params.items():
        console.print(f"  {name:<24} {chosen}", markup=False, highlight=False)
    if len(result.metrics) > 1:
        numbers = ", ".join(str(trial.number) for trial in result.pareto_front)
        console.print(f"  on the Pareto front: trials {numbers}", highlight=False)


def _print_promotion(promotion: Mapping[str, Any], console: Console) -> None:
    for name, value in (promotion.get("scores") or {}).items():
        champion = (promotion.get("champion_scores") or {}).get(name)
        beside = "" if champion is None else f"  (champion: {champion:.6g})"
        console.print(f"  {'hold-out ' + name:<24} [green]{value:.6g}[/]{beside}", highlight=False)
    if promotion.get("error"):
        console.print("\n[red]not promoted:[/] ", end="")
        console.print(str(promotion["error"]), markup=False, highlight=False)
        return
    what = "promoted" if promotion.get("promoted") else "kept as challenger"
    color = "green" if promotion.get("promoted") else "yellow"
    console.print(
        f"\n[bold {color}]{what}[/]: {promotion.get('model')} version {promotion.get('version')}"
        f" is models:/{promotion.get('model')}@{promotion.get('alias')}",
        highlight=False,
    )
    for reason in promotion.get("reasons", ()):
        console.print(f"  because {reason}", markup=False, highlight=False)


def _counts(result: Result) -> dict[str, int]:
    states = [trial.state for trial in result.all_trials]
    return {state: states.count(state) for state in ("complete", "pruned", "failed", "running")}


def _failures(result: Result) -> dict[str, int]:
    """The failures by their first line, the most frequent first, at most three kinds."""
    lines = [t.failure.message.splitlines()[0] for t in result.all_trials if t.failure and t.failure.message]
    ranked = sorted(set(lines), key=lines.count, reverse=True)
    return {line: lines.count(line) for line in ranked[:3]}


def _look(result: Result) -> str:
    """The command, or the address, that shows this sweep in the stock MLflow UI."""
    uri = result.tracking_uri or ""
    if uri.startswith("sqlite:"):
        return f"mlflow ui --backend-store-uri {uri}   (search: tags.`hpo.sweep` = '{result.id}')"
    return f"{uri}   (search: tags.`hpo.sweep` = '{result.id}')"
