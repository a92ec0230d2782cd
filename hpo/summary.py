"""The last words of a sweep: what was found, how sure that is, what was promoted and why, and where to look.

Printed by the `search` command for people, or given as one JSON object for scripts.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import stdev
from typing import Any

from rich.console import Console
from rich.markup import escape

from hpo.phrase import between, duration
from hpo.redact import redact
from hpo.result import Result
from hpo.tracking import page
from hpo.trial import Trial


def summarize(result: Result, console: Console) -> None:
    """For a person: short, and every next step is a command that can be pasted."""
    say = partial(console.print, highlight=False, soft_wrap=True)  # a command that is cut in two cannot be pasted
    said = ", ".join(f"{n} {state}" for state, n in _counts(result).items() if n)
    say(f"\n[bold]{escape(result.id)}[/]: {said or 'no trials'} in {duration(result.seconds)}")
    for error, n in _failures(result).items():
        say(f"  [red]{n} failed:[/] {escape(error)}")
    if result.stopped and result.state == "finished":
        say(f"  [red]stopped:[/] {escape(result.stopped)}")
    if result.best is not None:
        _say_best(result, result.best, say)
    if result.promotion:
        _say_promotion(result.promotion, say)
    if result.state == "interrupted":
        say(f"\n[yellow]interrupted[/]: the same command goes on from here, or add [bold]--resume {result.id}[/]")
    if result.unpublished:
        say(f"\n[yellow]not everything is in MLflow yet[/]: {escape(result.unpublished)}")
        say(f"  deliver it later:  python -m hpo.sync {result.id}")
    say(f"\nsee its report:    python -m hpo.report {result.id} --open")
    if result.tracking_uri is not None:
        for line in _look(result, redact(result.tracking_uri)):
            say(escape(line))


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
        "estimate": result.estimate,
        "promotion": result.promotion,
        "model_uri": result.model_uri,
        "tracking_uri": result.tracking_uri and redact(result.tracking_uri),
        "stopped": result.stopped,
        "unpublished": result.unpublished,
        "journal": str(result.journal),
    }


def _say_best(result: Result, best: Trial, say: Callable[[str], None]) -> None:
    """Scores, those on the hold-out beside the champion's, and the parameters, all in one column."""
    promotion = result.promotion or {}
    rows: list[tuple[str, str]] = []
    for metric, value in zip(result.metrics, best.values or (), strict=True):
        folds = best.scores.get(metric.name, ())
        spread = f"  (folds {min(folds):.5g} to {max(folds):.5g}, sd {stdev(folds):.2g})" if len(folds) > 1 else ""
        rows.append((metric.name, f"[green]{value:.6g}[/]{spread}"))
    if estimate := result.estimate:
        label = f"{estimate['metric']}, fresh folds"
        rows.append((label, f"[green]{estimate['value']:.6g}[/]  ({between(estimate)})"))
        if estimate["raw_trial"] != best.number:
            rows.append(("  passed", f"trial {estimate['raw_trial']}, {estimate['raw']:.6g} in the search"))
    for name, value in (promotion.get("scores") or {}).items():
        champion = (promotion.get("champion_scores") or {}).get(name)
        beside = "" if champion is None else f"  (champion {champion:.6g})"
        evidence = promotion.get("evidence") or {}
        if evidence.get("challenger") and name == evidence["metric"]:
            beside = f"  ({between(evidence['challenger'], confidence=evidence['confidence'])}){beside}"
        rows.append((f"hold-out {name}", f"[green]{value:.6g}[/]{beside}"))
    for name, chosen in best.params.items():
        rows.append((name, f"{chosen:.6g}" if isinstance(chosen, float) else escape(str(chosen))))
    width = max(len(name) for name, _ in rows)
    say(f"\n[bold]best: trial {best.number}[/]")
    for name, text in rows:
        say(f"  {escape(f'{name:<{width}}')}  {text}")
    if len(result.metrics) > 1:
        say(f"  on the Pareto front: trials {', '.join(str(trial.number) for trial in result.pareto_front)}")


def _say_promotion(promotion: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if promotion.get("error"):
        say(f"\n[red]not promoted[/]: {escape(str(promotion['error']))}")
        return
    name = f"{promotion['model']} version {promotion['version']}"
    what = f"[green]promoted[/]: {name}" if promotion["promoted"] else f"[yellow]not promoted[/]: {name}, a challenger,"
    say(f"\n[bold]{what}[/] is models:/{promotion['model']}@{promotion['alias']}")
    for reason in promotion["reasons"]:
        say(f"  because {escape(reason)}")


def _counts(result: Result) -> dict[str, int]:
    states = [trial.state for trial in result.all_trials]
    return {state: states.count(state) for state in ("complete", "pruned", "failed", "running")}


def _failures(result: Result) -> dict[str, int]:
    """The failures by their first line, the most frequent first, at most three kinds."""
    lines = Counter(trial.failure.headline for trial in result.all_trials if trial.failure)
    return dict(lines.most_common(3))


def _look(result: Result, uri: str) -> list[str]:
    """Where the runs are in the stock MLflow UI: an address, or for a local store the commands that serve it."""
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        store = f"sqlite:///{path.name}" if path.parent == Path.cwd() else uri  # short for a store of this folder
        plain = f"mlflow ui --backend-store-uri {shlex.quote(store)}"
        return [f"compare the runs:  python -m hpo.ui {result.id}", f"              or:  {plain}"]
    if result.experiment is not None and uri.startswith("http"):
        uri = page(uri, result.experiment, result.id, result.metrics[0])
    return [f"compare the runs:  {uri}", f"       filter by:  tags.`hpo.sweep` = '{result.id}'"]
