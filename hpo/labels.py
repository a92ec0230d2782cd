"""What a sweep's runs say about themselves in MLflow's own UI: a rank on the best trials, and descriptions in Markdown.

Called by `hpo.delivery`, now and then while a sweep runs and at its end. What is written is noted in the journal: the
same is not sent twice, a trial that is not among the best any more is told so, and a description that a person has
written or changed is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from hpo.journal import PARENT, Journal
from hpo.pages import notes
from hpo.pages.view import View, value
from hpo.tracking.projection import Projection

RANKED = 20  # trials; a request each
RANK, NOTE = "hpo.rank", "mlflow.note.content"  # the second one is MLflow's own


def label(journal: Journal, projection: Projection, view: View) -> None:
    """Bring tags and descriptions up to date. May raise TrackingError, and may then be called again."""
    noted = journal.fact("labels") or {}
    known: dict[str, dict[str, str]] = noted["marks"] if noted.get("run") == projection.parent else {}
    begun = json.dumps(known)
    wanted = _wanted(view)
    try:
        for number in sorted({*map(int, known), *wanted}):
            _bring(projection, number, wanted.get(number, {}), known)
    finally:  # what was said is not said again: where every fifth request is lost, twenty in a row never come through
        if json.dumps(known) != begun:
            journal.record(labels={"run": projection.parent, "marks": known})


def _bring(projection: Projection, number: int, now: Mapping[str, str], known: dict[str, dict[str, str]]) -> None:
    """The tags of one run, and `known` with them."""
    before = known.get(str(number), {})
    marks = {name: _mark(text) for name, text in now.items()}
    news = {name: now.get(name, "") for name in {*before, *now} if before.get(name) != marks.get(name)}
    if NOTE in news and not _ours(projection.tag(number, NOTE), before.get(NOTE)):
        del news[NOTE]
    if news:
        projection.label(number, news)
    if marks:
        known[str(number)] = marks
    else:
        known.pop(str(number), None)


def _wanted(view: View) -> dict[int, dict[str, str]]:
    ranks = _ranks(view)
    found = {number: {RANK: rank} for number, rank in ranks.items()}
    if (best := view.best) is not None and len(view.metrics) == 1:
        found.setdefault(best.number, {})[NOTE] = notes.of_trial(view, best, ranks.get(best.number))
    return {PARENT: {NOTE: notes.of_sweep(view)}, **found}


def _ranks(view: View) -> dict[int, str]:
    """By the first metric, in two digits, as MLflow sorts tags as text; of several metrics, those that nothing beats
    in all of them are all first."""
    if len(view.metrics) > 1:
        return {trial.number: "01" for trial in view.front[:RANKED]}
    sign = view.metrics[0].sign
    ranked = sorted(view.complete, key=lambda trial: (-sign * value(trial, 0), trial.number))[:RANKED]
    return {trial.number: f"{rank:02}" for rank, trial in enumerate(ranked, 1)}


def _ours(present: str | None, mark: str | None) -> bool:
    return not present or _mark(present) == mark


def _mark(text: str) -> str:
    """A rank as it is, a description by its digest."""
    return text if len(text) < 8 else hashlib.sha256(text.encode()).hexdigest()[:16]
