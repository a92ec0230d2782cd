"""Times, parameters, intervals and what became of a trial, in few words.

Called by whatever a person reads: the display, the summary, `hpo.status`, `hpo.compare`, notebooks, reports. Apart from
the display, since that brings a terminal's library, which a report or a notebook has no use for.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from hpo.metric import Metric
from hpo.trial import Params, Trial


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 m 20 s, 2 h 05 m."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} m" if hours else f"{minutes} m {rest:02} s" if minutes else f"{rest} s"


def between(found: Mapping[str, Any], digits: int = 6, confidence: float = 0.95) -> str:
    """`low` to `high` with their two-sided level: each end by itself holds with the confidence, there or given."""
    both = 2 * found.get("confidence", confidence) - 1
    return f"{100 * both:.3g} % interval {found['low']:.{digits}g} to {found['high']:.{digits}g}"


def say(params: Params) -> str:
    """Parameters in one line, numbers short enough to compare."""
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def values(trial: Trial, metrics: tuple[Metric, ...]) -> str:
    """What the trial is worth; as far as it is known, where it was stopped."""
    if trial.values is None:
        if folds := trial.scores.get(metrics[0].name):  # not to be compared with the mean of all
            return f"{fmean(folds):.5g} after {len(folds)} fold{'s' if len(folds) > 1 else ''}"
        last = trial.reports[-1].value if trial.reports else None
        return "–" if last is None else f"at {last:.5g}"
    return "  ".join(f"{metric.name} {value:.5g}" for metric, value in zip(metrics, trial.values, strict=True))


def outcome(trial: Trial, metrics: tuple[Metric, ...]) -> str:
    """The values of a trial, or why it has none."""
    return trial.failure.headline if trial.failure else values(trial, metrics)
