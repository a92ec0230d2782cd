"""Where a sweep stands: the best, counts, failures in a row, and an estimate that never is negative."""

from __future__ import annotations

import pytest

from hpo.progress import Progress
from hpo.trial import Failure, Trial
from tests.sweeps import function_sweep

SWEEP = function_sweep(search={"trials": 10})


def complete(number: int, value: float) -> Trial:
    return Trial(number, {}, started=0.0, finished=1.0 + number, values=(value,))


def failed(number: int) -> Trial:
    return Trial(number, {}, started=0.0).failed(Failure("exception", "no"), 1.0 + number)


def test_the_best_is_the_first_of_equals_whatever_comes_first() -> None:
    assert Progress(SWEEP).best is None
    progress = Progress(SWEEP)
    progress.add(complete(3, 0.5), complete(2, 0.5), complete(4, 0.5), complete(1, 0.6))
    assert progress.best is not None
    assert progress.best.number == 2
    upward = Progress(function_sweep(metric={"name": "gain", "direction": "maximize"}))
    upward.add(complete(0, 0.5), complete(1, 0.6), failed(2), Trial(3, {}))
    assert upward.best is not None
    assert upward.best.number == 1


def test_failures_in_a_row_are_counted_in_the_order_of_their_coming() -> None:
    progress = Progress(SWEEP, [complete(0, 1.0), failed(1), failed(2), Trial(3, {})])
    assert progress.failures_in_a_row == 2
    progress.add(Trial(4, {}, started=0.0, finished=1.0, pruned=True))
    assert progress.failures_in_a_row == 0
    progress.add(failed(5))
    assert progress.failures_in_a_row == 1


def test_too_many_failures_are_hopeless() -> None:
    def hopeless(*numbers: int, ended: int = 20, **limits: float) -> str | None:
        """With failures of these numbers."""
        sweep = function_sweep(limits=limits)
        return Progress(sweep, [failed(n) if n in numbers else complete(n, 1.0) for n in range(ended)]).hopeless

    assert hopeless() is None
    assert hopeless(1, 2, 3, failures=3) is None, "a success came after them"
    assert hopeless(17, 18, 19, failures=3) == "3 trials failed one after the other (limits.failures)"
    assert hopeless(*range(0, 20, 2)) is None, "half of them, and not more"
    assert hopeless(0, *range(1, 20, 2)) == "11 of 20 trials failed (limits.failure_share)"
    assert hopeless(*range(12), ended=19) is None, "too early to say"
    assert hopeless(*range(0, 20, 4), failure_share=0.2) == "5 of 20 trials failed (limits.failure_share)"
    assert hopeless(*range(19), failure_share=1.0, failures=30) is None


def test_counts_and_order() -> None:
    progress = Progress(SWEEP, [complete(0, 1.0), failed(1), Trial(2, {}), complete(3, 0.1)])
    assert +progress.counts == {"complete": 2, "failed": 1, "running": 1}
    assert [trial.number for trial in progress.unfinished] == [2]
    assert [trial.number for trial in progress.latest(5)] == [3, 1, 0]
    progress.add(complete(2, 3.0))
    assert +progress.counts == {"complete": 3, "failed": 1}
    assert not progress.unfinished


def test_the_time_left() -> None:
    assert Progress(SWEEP).seconds_left is None
    assert Progress(SWEEP, [complete(0, 1.0)], seconds=2.0).seconds_left == pytest.approx(18.0)
    timed = function_sweep(search={"trials": 10, "timeout": 5})
    assert Progress(timed, seconds=2.0).seconds_left == pytest.approx(3.0)
    assert Progress(timed, [complete(0, 1.0)], seconds=2.0).seconds_left == pytest.approx(3.0)
    assert Progress(timed, [complete(0, 1.0)], seconds=20.0).seconds_left == 0.0
    over = Progress(SWEEP, [complete(n, 1.0) for n in range(12)], seconds=6.0)
    assert over.seconds_left == 0.0, "a resumed sweep with a smaller budget"
