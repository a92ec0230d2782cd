"""Pruning: a wrapper that lets any searcher stop a running trial that has no prospect.

Built by `hpo.searchers.build` when the sweep names a pruner; `hpo.plan` asks `never_fires`. A wrapper, because the
rules are the same for every engine, and because Optuna's pruners need Optuna's trials.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hpo.errors import InputError, Problem, did_you_mean
from hpo.metric import Metric
from hpo.searchers.port import Searcher
from hpo.searchers.racing import Race
from hpo.searchers.rules import (
    Halving,
    Hyperband,
    Patience,
    Percentile,
    Point,
    Rule,
    Wilcoxon,
)
from hpo.searchers.terms import Check, check_options
from hpo.trial import Report, Trial


class Pruning:
    """Asks and tells the searcher, and answers reports by the rule.

    `fold_scores` says what the outer series is: scores of folds, judged by their mean so far, because one fold
    is not comparable with another; otherwise a function's own curve, judged by its best value so far.
    """

    def __init__(self, searcher: Searcher, rule: Rule, metric: Metric, *, fold_scores: bool) -> None:
        self._searcher = searcher
        self._rule = rule
        self._sign = metric.sign
        self._fold_scores = fold_scores
        self._running: dict[int, _Course] = {}

    def ask(self, number: int) -> Trial:
        return self._searcher.ask(number)

    def tell(self, trial: Trial) -> None:
        self._searcher.tell(self._completed(trial) if trial.state == "pruned" else trial)
        if trial.state == "running":
            return
        self._running.pop(trial.number, None)
        course = _Course(trial.number, self._sign, self._fold_scores)
        reports: Iterable[Report] = () if trial.state == "failed" else trial.reports
        points = [course.point(report) for report in reports]
        self._rule.learn(trial.number, points, self._sign * trial.values[0] if trial.values else None)

    def keep(self, number: int, report: Report) -> bool:
        course = self._running.get(number)
        if course is None or course.repeats(report):  # again from the start: another attempt after a lost worker
            if course is not None:
                self._rule.learn(number, (), None)
            course = self._running[number] = _Course(number, self._sign, self._fold_scores)
        return self._rule.keep(course.point(report)) and self._searcher.keep(number, report)

    def _completed(self, trial: Trial) -> Trial:
        """A stopped trial as it would have ended, where the rule can tell: so every searcher learns from it."""
        if not isinstance(self._rule, Race):
            return trial
        course = _Course(trial.number, self._sign, self._fold_scores)
        whole = self._rule.whole([course.point(report) for report in trial.reports])
        if whole is None:
            return trial
        value, times = whole
        finished = (trial.started or 0.0) + trial.seconds * times
        memo = {**trial.memo, "noise": times}  # the variance of so many times fewer folds
        return replace(trial, pruned=False, values=(self._sign * value,), finished=finished, memo=memo)


def completed(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    """The trials of a cross-validated sweep that have a value, and the stopped ones as they would have ended, compared
    with the best one on the same folds; by number."""
    race = Race()
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: trial.pruned):
        course = _Course(trial.number, metric.sign, fold_scores=True)
        points = [course.point(report) for report in trial.reports]
        if trial.state == "complete" and trial.values:
            race.learn(trial.number, points, metric.sign * trial.values[0])
            found.append(trial)
        elif trial.state == "pruned" and (whole := race.whole(points)) is not None:
            finished = (trial.started or 0.0) + trial.seconds * whole[1]
            found.append(replace(trial, pruned=False, values=(metric.sign * whole[0],), finished=finished))
    return sorted(found, key=lambda trial: trial.number)


class _Course:
    """A trial's reports so far, condensed into the next point."""

    def __init__(self, number: int, sign: float, fold_scores: bool) -> None:
        self._number = number
        self._sign = sign
        self._fold_scores = fold_scores
        self._last: dict[int | None, int] = {}
        self._best: dict[int | None, float] = {}
        self._scores: list[float] = []

    def repeats(self, report: Report) -> bool:
        return report.step <= self._last.get(report.fold, report.step - 1)

    def point(self, report: Report) -> Point:
        series, value = report.fold, self._sign * report.value
        self._last[series] = report.step
        first = next(iter(self._last)) == series
        if series is None and self._fold_scores:
            self._scores.append(value)
            mean = sum(self._scores) / len(self._scores)
            return Point(self._number, series, report.step, mean, mean, value, curve=False, first=first)
        best = self._best[series] = max(value, self._best.get(series, value))
        return Point(self._number, series, report.step, value, best, value, curve=True, first=first)


def make_rule(name: str, options: Mapping[str, Any]) -> Rule:
    """A rule by its name. Raises InputError for an unknown name, an unknown option or a value out of range."""
    if name not in _RULES:
        hint = did_you_mean(name, _RULES)
        raise InputError(Problem(f"there is no pruner {name!r}", "search.pruner", hint))
    make, checks = _RULES[name]
    check_options("search.pruner", name, options, checks)
    rule: Rule = make(**options)
    return rule


def never_fires(
    name: str, options: Mapping[str, Any], *, folds: int | None, trials: int, has_curve: bool
) -> str | None:
    """Why this pruner can stop no trial of such a sweep; None if it can.

    `folds` is None for a function, which `has_curve` if it reports. Stopping at the last fold saves nothing and
    does not count.
    """
    make, _ = _RULES[name]
    given = {k: p.default for k, p in inspect.signature(make).parameters.items()} | dict(options)
    judged = (folds or 1) - 1
    if not has_curve and judged < 1:
        return f"{name} judges reports on the way, and there are none"
    if name in ("median", "percentile"):
        return (
            f"the first {given['n_startup']} of {trials} trials are never judged"
            if trials <= given["n_startup"]
            else None
        )
    if name == "patience":
        return None if has_curve else "patience judges curves, and fold scores are none"
    if name == "race":
        return "race compares fold scores, and a function has none" if folds is None else None
    if name == "wilcoxon":
        if folds is None:
            return None
        needed = next(n for n in range(1, 1000) if 0.5**n < given["p_threshold"])
        needed = max(needed, given["n_startup"])
        return None if judged >= needed else f"it takes {needed} folds to be sure, and {judged} can be saved from"
    if not has_curve and given["min_resource"] > judged:
        return f"min_resource is {given['min_resource']}, and a trial can stop after {judged} folds at most"
    if trials < 2:
        return f"{name} compares trials, and there is only one"
    return None


def _whole(low: int) -> Check:
    def check(value: Any) -> str | None:
        fine = isinstance(value, int) and not isinstance(value, bool) and value >= low
        return None if fine else f"a whole number, at least {low}"

    return check


def _between(low: float, high: float) -> Check:
    def check(value: Any) -> str | None:
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and low < value < high
        return None if fine else f"a number between {low:g} and {high:g}"

    return check


def _not_negative(value: Any) -> str | None:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return None if fine else "a number, at least 0"


def _yes_or_no(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


_START = {"n_startup": _whole(0), "warmup": _whole(0)}
_RUNGS = {"min_resource": _whole(1), "eta": _whole(2)}
_RULES: dict[str, tuple[Any, dict[str, Check]]] = {
    "median": (partial(Percentile, 50.0), _START),
    "percentile": (Percentile, {"percentile": _between(0, 100), **_START}),
    "halving": (Halving, _RUNGS),
    "hyperband": (Hyperband, {"max_resource": _whole(1), **_RUNGS}),
    "wilcoxon": (Wilcoxon, {"p_threshold": _between(0, 1), "n_startup": _whole(2)}),
    "race": (Race, {"risk": _between(0, 0.5), "n_startup": _whole(1), "rounds": _yes_or_no}),
    "patience": (Patience, {"n": _whole(1), "min_delta": _not_negative}),
}
