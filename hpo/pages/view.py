"""A sweep as its report sees it: facts, trials, and what follows from both.

Made from the journal alone by `hpo.pages`; read by the charts and the text beside it. The space comes from the meaning
that the journal keeps, so that a report needs neither the sweep's file nor its code, nor its data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo.metric import Metric
from hpo.metric import best as best_of
from hpo.space import Choice, Float, Int, Parameter, Space
from hpo.trial import Trial, Value


@dataclass(frozen=True)
class View:
    """`state`: running, interrupted or finished. `folder`: the sweep's files, those of a trial in `trials/0007/`."""

    facts: Mapping[str, Any]
    trials: Sequence[Trial]
    state: str
    folder: Path | None = None

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(Metric(*metric) for metric in self.facts["metrics"])

    @cached_property
    def complete(self) -> tuple[Trial, ...]:
        done = [trial for trial in self.trials if trial.state == "complete" and trial.values]
        return tuple(sorted(done, key=lambda trial: (trial.finished or 0.0, trial.number)))

    @cached_property
    def best(self) -> Trial | None:
        """The one that was chosen, or the best so far."""
        number = (self.facts.get("estimate") or {}).get("trial", self.facts.get("best"))
        chosen = next((trial for trial in self.complete if trial.number == number), None)
        return chosen or self.leader(0)

    def leader(self, index: int) -> Trial | None:
        """The best complete trial in one of the metrics."""
        if not self.complete:
            return None
        return self.complete[best_of(self.metrics[index], [value(trial, index) for trial in self.complete])]

    @cached_property
    def defaults(self) -> Trial | None:
        """The trial of the library's defaults, if it has a result; the search notes what they are, and a trial that an
        evolved sweep carries over is known by them, whatever its number."""
        known = self.facts.get("defaults")
        return next((trial for trial in self.complete if known and dict(trial.params) == known), None)

    @cached_property
    def baseline(self) -> Trial | None:
        """What results are compared with: the library's defaults, else the first trial, if it has a result."""
        first = min(self.trials, key=lambda trial: trial.number, default=None)
        return self.defaults or (first if first is not None and first in self.complete else None)

    @property
    def baseline_name(self) -> str:
        return "the library's defaults" if self.defaults is not None else "first trial"

    @cached_property
    def front(self) -> tuple[Trial, ...]:
        """The complete trials that no other beats in every metric."""
        signs = [metric.sign for metric in self.metrics]
        points = [[sign * v for sign, v in zip(signs, t.values or (), strict=True)] for t in self.complete]
        return tuple(
            trial
            for trial, mine in zip(self.complete, points, strict=True)
            if not any(o != mine and all(a >= b for a, b in zip(o, mine, strict=True)) for o in points)
        )

    @cached_property
    def space(self) -> Space:
        """As the journal's meaning describes it; a parameter that it does not describe, from the values it had."""
        meaning = self.facts.get("meaning") or {}
        names = dict.fromkeys(name for trial in self.trials for name in trial.params)
        told = {key.removeprefix("space."): json.loads(text) for key, text in meaning.items() if _describes(key)}
        return Space(tuple(self._parameter(name, told.get(name)) for name in {**dict.fromkeys(told), **names}))

    def _parameter(self, name: str, shape: Mapping[str, Any] | None) -> Parameter:
        if shape is None:
            seen: list[Value] = [trial.params[name] for trial in self.trials if name in trial.params]
            numbers = [v for v in seen if isinstance(v, (int, float)) and not isinstance(v, bool)]
            if len(numbers) == len(seen):
                return Float(name, float(min(numbers)), float(max(numbers)))
            return Choice(name, tuple({json.dumps(v): v for v in seen}.values()))
        when = {parent: tuple(values) for parent, values in shape.get("when", {}).items()}
        if "choice" in shape:
            return Choice(name, tuple(shape["choice"]), when=when)
        low, high = shape["int"] if "int" in shape else shape["float"]
        log = shape.get("log", False)
        if "int" in shape:
            return Int(name, low, high, log=log, step=shape.get("step", 1), when=when)
        return Float(name, low, high, log=log, step=shape.get("step"), when=when)


def _describes(key: str) -> bool:
    return key.startswith("space.")


def value(trial: Trial, index: int) -> float:
    """A complete trial's value of one metric."""
    assert trial.values is not None
    return trial.values[index]


def short(number: float) -> float:
    """Six digits: more than a chart shows, and a third of the bytes."""
    return float(f"{number:.6g}")


def said(value: Value) -> str:
    """A parameter's value for a person."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
