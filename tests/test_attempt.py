"""An attempt records everything, and turns whatever an objective does into a trial."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.attempt import Attempt, run_attempt
from hpo.metric import Metric
from hpo.trial import Pruned, Report, Trial

AUC = Metric("auc", "maximize")
COST = Metric("cost", "minimize")
TRIAL = Trial(4, {"x": 2})


def do(evaluate: Callable[[Attempt], Any], *metrics: Metric, **options: Any) -> Trial:
    attempt = Attempt(TRIAL, **options)
    return run_attempt(evaluate, TRIAL, attempt, metrics or (AUC,))


@pytest.mark.parametrize("outcome", [0.5, {"auc": 0.5, "other": 3}, [0.5], (0.5,)])
def test_a_value_in_any_form(outcome: Any) -> None:
    trial = do(lambda attempt: outcome)
    assert trial.state == "complete"
    assert trial.values == (0.5,)


def test_several_metrics_by_name_or_order() -> None:
    assert do(lambda a: {"cost": 2, "auc": 1}, AUC, COST).values == (1.0, 2.0)
    assert do(lambda a: (1, 2), AUC, COST).values == (1.0, 2.0)


@pytest.mark.parametrize(
    "outcome", [math.nan, math.inf, None, "0.5", "x", [], [1, 2], {"cost": 1.0}, {}, [None], object()]
)
def test_what_is_not_a_finite_number_fails(outcome: Any) -> None:
    trial = do(lambda attempt: outcome)
    assert trial.state == "failed"
    assert trial.failure is not None
    assert trial.failure.cause == "not finite"
    assert trial.values is None


def test_an_exception_keeps_what_was_recorded_and_starts_at_the_users_frame() -> None:
    def evaluate(attempt: Attempt) -> float:
        attempt.report(0.1, 0)
        attempt.score("auc", 0.3, 0)
        attempt.log_metric("seconds", 3)
        raise ValueError("no luck")

    trial = do(evaluate)
    assert trial.failure is not None
    assert trial.failure.cause == "exception"
    assert trial.failure.message == "ValueError: no luck"
    assert "in evaluate" in trial.failure.traceback
    assert "run_attempt" not in trial.failure.traceback
    assert not trial.failure.transient
    assert trial.reports == (Report(0, 0.1),)
    assert trial.scores == {"auc": (0.3,)}
    assert trial.metrics == {"seconds": 3.0}


@pytest.mark.parametrize(
    ("error", "cause"),
    [(MemoryError(), "memory"), (RuntimeError("std::bad_alloc"), "memory"), (SystemExit(3), "exit")],
)
def test_causes_are_told_apart(error: BaseException, cause: str) -> None:
    def evaluate(attempt: Attempt) -> float:
        raise error

    failure = do(evaluate).failure
    assert failure is not None
    assert failure.cause == cause


def test_pruning_stops_and_keeps_the_reports() -> None:
    def evaluate(attempt: Attempt) -> float:
        for step in range(10):
            attempt.report(step / 10, step)
            if attempt.should_prune():
                raise Pruned
        return 1.0

    trial = do(evaluate, keep=lambda report: report.step < 3)
    assert trial.state == "pruned"
    assert [report.step for report in trial.reports] == [0, 1, 2, 3]
    assert do(evaluate).state == "complete"


def test_a_report_that_is_not_finite_says_nothing() -> None:
    asked: list[Report] = []

    def evaluate(attempt: Attempt) -> float:
        attempt.report(math.nan, 0)
        attempt.report(1.0, 1, fold=2)
        return 1.0

    def keep(report: Report) -> bool:
        asked.append(report)
        return True

    trial = do(evaluate, keep=keep)
    assert trial.reports == tuple(asked) == (Report(1, 1.0, 2),)


def test_artifacts_stay_inside_the_trials_folder(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("a")
    folder = tmp_path / "trial"

    def evaluate(attempt: Attempt) -> float:
        attempt.log_artifact(source)
        attempt.log_text("b", "notes/b.txt")
        attempt.log_text("c", "../c.txt")
        return 1.0

    trial = do(evaluate, folder=folder)
    assert trial.failure is not None
    assert "leaves the trial's folder" in trial.failure.message
    assert trial.artifacts == ("a.txt", "notes/b.txt")
    assert (folder / "a.txt").read_text() == "a"
    assert (folder / "notes" / "b.txt").read_text() == "b"
    assert not (tmp_path / "c.txt").exists()


def test_it_never_ends_before_it_starts() -> None:
    ticks = iter([100.0, 97.5])  # a clock that was set back
    trial = run_attempt(lambda a: 1.0, TRIAL, Attempt(TRIAL), (AUC,), clock=lambda: next(ticks))
    assert trial.started is not None
    assert trial.finished is not None
    assert trial.finished >= trial.started


def test_ctrl_c_is_not_a_result() -> None:
    def evaluate(attempt: Attempt) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(evaluate)
    assert sys.exc_info()[0] is None
