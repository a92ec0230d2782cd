"""The log of a sweep, told from its journal: a line for its start, for each trial that ended, and for its end.

Used by `hpo.tracking.projection`, which keeps it with the sweep's run. The journal is the record of events, so a
sweep that was killed and resumed ten times has one log without gaps, whatever its terminals showed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo.redact import redact
from hpo.trial import Trial

_LINES = 5_000  # of trials: the first and the last ones


def story(facts: Mapping[str, Any], trials: Iterable[Trial], end: str, publishing: str = "") -> str:
    """The whole text; `trials` in the order in which they ended, `publishing` is the log of the process that
    published."""
    made = facts.get("provenance") or {}
    lines = [f"{_moment(facts.get('created'))} sweep {facts['id']} begins: {made.get('command', '')}".rstrip(": ")]
    names = [name for name, _ in facts["metrics"]]
    told = [f"{_moment(trial.finished)} {_line(trial, names)}" for trial in trials]
    if len(told) > _LINES:
        half = _LINES // 2
        told[half:-half] = [f"… {len(told) - 2 * half} trials left out …"]
    lines += [*told, end]
    if publishing:
        lines += ["", "--- what the publishing process wrote", publishing[-100_000:]]
    return redact("\n".join(lines) + "\n")


def _line(trial: Trial, names: Sequence[str]) -> str:
    head = f"trial {trial.number} {trial.state} after {trial.seconds:.3g} s"
    if trial.attempt > 1:
        head += f" (attempt {trial.attempt})"
    if trial.failure is not None:
        return f"{head}: {trial.failure.cause}: {trial.failure.headline}"
    values = zip(names, trial.values or (), strict=False)
    return f"{head}: {', '.join(f'{name} {value:.6g}' for name, value in values)}".rstrip(": ")


def _moment(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
