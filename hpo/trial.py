"""A trial: one set of parameters, and all that is known about what came of it.

Every part receives trials and returns trials; the journal keeps them as JSON. Frozen, and its state is
derived from the facts, so that no part can disagree with another about what happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Any, Literal

Value = None | bool | int | float | str
Params = Mapping[str, Value]
State = Literal["running", "complete", "pruned", "failed"]
FRESH = 1_000_000  # a trial of round r on fresh folds has its number + r * FRESH; a sweep has fewer trials than this
Cause = Literal["exception", "timeout", "memory", "signal", "exit", "not finite", "lost"]


class Pruned(Exception):
    """Raised inside an objective that was told to stop early; what it reported so far is kept."""


@dataclass(frozen=True, slots=True)
class Report:
    """A value on the way, in the direction of the sweep's first metric.

    `fold` is None for the outer series: one score per finished fold (step = the fold), or whatever a
    function reports. Inside a fold, `step` is the boosting round, epoch or iteration.
    """

    step: int
    value: float
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial has no value. `transient`: the parameters are not to blame, another attempt may work."""

    cause: Cause
    message: str
    traceback: str = ""
    transient: bool = False

    @property
    def headline(self) -> str:
        """The message's first line."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Trial:
    """`values` holds one value per metric of the sweep, in the metric's own sign and unit.

    `scores` holds the fold scores by metric (extra metrics too), `metrics` any other number worth logging, `memo` what
    the searcher must see again on replay, how far to `trust` a trial of other data, and the `noise` of a stopped one's
    value, in units of a whole trial's. `folds` says which folds the scores belong to; left out, they are those of the
    first ones. `worker` says where it ran: a slot of this machine, or
    a cluster's worker and its slot. Times are seconds since the epoch.
    """

    number: int
    params: Params
    attempt: int = 1
    started: float | None = None
    finished: float | None = None
    values: tuple[float, ...] | None = None
    pruned: bool = False
    failure: Failure | None = None
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    reports: tuple[Report, ...] = ()
    artifacts: tuple[str, ...] = ()
    memo: Mapping[str, Any] = field(default_factory=dict)
    folds: tuple[int, ...] = ()
    worker: str = ""

    @property
    def state(self) -> State:
        if self.failure is not None:
            return "failed"
        if self.finished is None:
            return "running"
        return "pruned" if self.pruned else "complete"

    @property
    def seconds(self) -> float:
        return (self.finished or 0.0) - (self.started or 0.0) if self.finished else 0.0

    def curve(self, most: int) -> list[tuple[int, float]]:
        """(step, the mean over the folds that have this step), at most so many; of a function, whatever it reported."""
        steps: dict[int, list[float]] = defaultdict(list)
        inner = any(report.fold is not None for report in self.reports)
        for report in self.reports:
            if (report.fold is not None) == inner:
                steps[report.step].append(report.value)
        curve = [(step, fsum(values) / len(values)) for step, values in sorted(steps.items())]
        if len(curve) <= most:
            return curve
        return [curve[round(i * (len(curve) - 1) / (most - 1))] for i in range(most)]

    def again(self) -> Trial:
        """The next attempt at the same parameters; nothing of the lost one is kept."""
        return Trial(self.number, self.params, attempt=self.attempt + 1, memo=self.memo)

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults: a journal row stays small."""
        row: dict[str, Any] = {"number": self.number, "params": dict(self.params)}
        if self.attempt != 1:
            row["attempt"] = self.attempt
        for name in ("started", "finished", "metrics", "artifacts", "memo", "folds", "worker"):
            if value := getattr(self, name):
                row[name] = value
        if self.values is not None:
            row["values"] = self.values
        if self.pruned:
            row["pruned"] = True
        if self.scores:
            row["scores"] = dict(self.scores)
        if self.reports:
            row["reports"] = [(r.step, r.value, r.fold) for r in self.reports]
        if self.failure:
            row["failure"] = [
                self.failure.cause,
                self.failure.message,
                self.failure.traceback,
                self.failure.transient,
            ]
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Trial:
        values = row.get("values")
        return cls(
            number=row["number"],
            params=row["params"],
            attempt=row.get("attempt", 1),
            started=row.get("started"),
            finished=row.get("finished"),
            values=None if values is None else tuple(values),
            pruned=row.get("pruned", False),
            failure=Failure(*row["failure"]) if "failure" in row else None,
            scores={name: tuple(folds) for name, folds in row.get("scores", {}).items()},
            metrics=row.get("metrics", {}),
            reports=tuple(Report(*report) for report in row.get("reports", ())),
            artifacts=tuple(row.get("artifacts", ())),
            memo=row.get("memo", {}),
            folds=tuple(row.get("folds", ())),
            worker=row.get("worker", ""),
        )

    def failed(self, failure: Failure, finished: float) -> Trial:
        finished = max(finished, self.started or finished)
        return replace(self, failure=failure, values=None, pruned=False, finished=finished)
