"""A finished sweep in a few facts, and what is different in it from the one before.

Used by `hpo.delivery` for the sweep's run, and by `hpo.schedule` for its ledger and its notices: each has to say the
same, so both ask here. Made from the journal alone; plain JSON, because the next slot's sweep gets it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from hpo.journal import Journal
from hpo.metric import Metric
from hpo.phrase import duration


def digest_of(journal: Journal) -> dict[str, Any]:
    """What the next sweep of this schedule may want to know of this one."""
    facts = journal.facts()
    number = facts.get("best")
    best = journal.trials()[number] if number is not None else None
    promotion = facts.get("promotion") or {}
    previous = facts.get("previous") or {}
    return {
        "sweep": facts["id"],
        "slot": facts.get("slot"),
        "metric": facts["metrics"][0],
        "score": best.values[0] if best is not None and best.values else None,
        "params": dict(best.params) if best is not None else {},
        "trials": sum(journal.counts().values()),
        "seconds": facts.get("seconds", 0.0),
        "model": promotion.get("model"),
        "version": promotion.get("version"),
        "champion": promotion.get("version") if promotion.get("promoted") else previous.get("champion"),
        "holdout": dict(promotion.get("scores") or {}),
        "champion_holdout": dict(promotion.get("champion_scores") or {}),
        "dataset": facts.get("dataset"),
        "fingerprint": facts.get("fingerprint"),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line each: score, parameters, champion, duration. Of another metric, the score cannot be compared."""
    return [*_score(before, now), *_params(before, now), *_champion(before, now), *_duration(before, now)]


def since_last(journal: Journal) -> str | None:
    """The differences from the sweep that this one follows in its schedule, as one text; None: it is the first."""
    previous = journal.fact("previous")
    return "; ".join(differences(previous, digest_of(journal))) if previous else None


def _score(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = before.get("score"), now.get("score")
    if old is None or new is None or before["metric"] != now["metric"]:
        return
    metric = Metric(*now["metric"])
    better = "better" if metric.better(new, old) else "worse" if new != old else "the same"
    yield f"{metric.name} {old:.5g} -> {new:.5g} ({new - old:+.2g}, {better})"


def _params(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = before["params"], now["params"]
    for name in {**old, **new}:
        if not _close(old.get(name), new.get(name)):
            yield f"{name} {_show(old.get(name))} -> {_show(new.get(name))}"


def _champion(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = before.get("champion"), now.get("champion")
    if old != new:
        yield f"champion version {old or 'none'} -> {new}"
    elif new is not None:
        yield f"champion still version {new}"


def _duration(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield f"{before['trials']} trials in {duration(before['seconds'])} -> {now['trials']} in {duration(now['seconds'])}"


def _close(old: Any, new: Any) -> bool:
    return old == new or (isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=1e-3))


def _show(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
