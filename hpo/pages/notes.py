"""Descriptions in Markdown, for the top of a run's page in MLflow: of a sweep, and of the trial that it chose.

Called by `hpo.labels`. The same numbers as in the report, in as few lines as somebody reads who came by; nothing in it
changes with the clock, so that the same sweep, delivered twice, says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hpo.pages import words
from hpo.pages.view import View, said, value
from hpo.phrase import between
from hpo.redact import redact
from hpo.trial import Trial

PARAMETERS = 40


def of_sweep(view: View) -> str:
    facts = view.facts
    _, headline = words.headline(view)
    reasons = [f"- {_plain(reason)}" for reason in (facts.get("promotion") or {}).get("reasons") or ()]
    parts = [f"**{_plain(headline)}**", "\n".join(reasons)]
    parts.append(_table(["", "", ""], [[name, f"**{number}**", note] for name, number, note in words.figures(view)]))
    if view.best is not None:
        parts += [f"Parameters of trial {view.best.number}:", _parameters(view, view.best)]
    parts.append("Charts: the artifact `report.html`. The best trials have a tag `hpo.rank`, from 01 on.")
    parts.append(f"```\n{words.commands(view)}\n```")
    return "\n\n".join(filter(None, parts))


def of_trial(view: View, trial: Trial, rank: str | None) -> str:
    """Of the one that was chosen."""
    promotion, metric = view.facts.get("promotion") or {}, view.metrics[0]
    chosen = "chosen" if view.state == "finished" else "the best so far"
    place = f", number {int(rank)} of {len(view.complete)} complete trials" if rank else ""
    parts = [f"**Trial {trial.number} is {chosen}**: {metric.name} {value(trial, 0):.6g}{place}."]
    if estimate := view.facts.get("estimate"):
        parts.append(f"On fresh folds: {_plain(estimate['metric'])} {estimate['value']:.6g}, {between(estimate, 5)}.")
    if promotion.get("version"):
        became = f"it is the {promotion['alias']}" if promotion.get("promoted") else "it stays a challenger"
        parts.append(f"Refitted as `{_plain(promotion['model'])}` version {promotion['version']}: {became}.")
    parts.append(_parameters(view, trial))
    return "\n\n".join(parts)


def _parameters(view: View, trial: Trial) -> str:
    first = view.baseline if view.baseline is not trial else None
    rows = [
        [name, f"**{said(chosen)}**", *([said(first.params[name]) if name in first.params else "off"] if first else [])]
        for name, chosen in [*trial.params.items()][:PARAMETERS]
    ]
    return _table(["parameter", f"trial {trial.number}", *([view.baseline_name] if first else [])], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[*map(_plain, head)], ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    bold = re.fullmatch(r"\*\*(.*)\*\*", text, re.S)
    return f"**{_plain(bold[1])}**" if bold else _plain(text)


def _plain(text: object) -> str:
    """In one line, without what Markdown or HTML would make of it."""
    line = redact(" ".join(str(text).split()))
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", line)
