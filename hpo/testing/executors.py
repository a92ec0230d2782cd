"""The conformance suite of executors: every way in which a trial can end, and what must be left standing.

Subclassed by the tests of each executor, ours and other people's; pytest collects the `test_` methods. The program that
the trials run is part of it, so that all executors are judged by the same crashes.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo.attempt import Attempt, Evaluate, Objective, Outcome
from hpo.executors.port import Executor, KeepTrial
from hpo.trial import Params, Pruned, Report, Trial


class Program:
    """An objective that does what the trial's parameter `do` says: every way in which a trial can end."""

    def open(self) -> Evaluate:
        return perform


def perform(attempt: Attempt) -> Outcome:
    """What `Program` evaluates. Module level, so that any executor can send it anywhere."""
    x = float(attempt.params.get("x") or 0.0)
    do = attempt.params["do"]
    return x if do == "return" else _DEEDS[str(do)](attempt, x)


def _report(attempt: Attempt, x: float) -> Outcome:
    for step in range(5):
        attempt.report(x + step, step)
        if attempt.should_prune():
            raise Pruned
    return x


def _raise(attempt: Attempt, x: float) -> Outcome:
    raise ValueError("no luck with these")


def _sys_exit(attempt: Attempt, x: float) -> Outcome:
    raise SystemExit(4)


def _die_by(number: int) -> Callable[[Attempt, float], Outcome]:
    def die(attempt: Attempt, x: float) -> Outcome:
        os.kill(os.getpid(), number)
        time.sleep(600)
        return x

    return die


def _hang(attempt: Attempt, x: float) -> Outcome:
    time.sleep(600)
    return x


def _hang_deaf(attempt: Attempt, x: float) -> Outcome:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _hang(attempt, x)


def _memory(attempt: Attempt, x: float) -> Outcome:
    return float(len([bytearray(2**26) for _ in range(1024)]))  # 64 GiB


def _print(attempt: Attempt, x: float) -> Outcome:
    print("said by the trial")
    return x


_DEEDS: dict[str, Callable[[Attempt, float], Outcome]] = {
    "report": _report,
    "raise": _raise,
    "nan": lambda attempt, x: math.nan,
    "none": lambda attempt, x: None,
    "sys.exit": _sys_exit,
    "exit": lambda attempt, x: os._exit(3),
    "segfault": _die_by(signal.SIGSEGV),
    "abort": _die_by(signal.SIGABRT),
    "killed": _die_by(signal.SIGKILL),
    "hang": _hang,
    "hang deaf": _hang_deaf,
    "memory": _memory,
    "print": _print,
}


def _ok(x: float) -> Params:
    return {"do": "return", "x": x}


class ExecutorSuite:
    """What every executor promises; subclass it as a pytest class and give it `make`.

    An executor whose trials run in this process sets `isolated = False`: it cannot survive a crash.
    """

    isolated = True

    def make(self, objective: Objective, folder: Path, **limits: Any) -> Executor:
        """An executor with two slots (one if not isolated); `limits`: deadline (s), memory (bytes), two_way."""
        raise NotImplementedError

    def run(self, executor: Executor, *params: Params, keep: KeepTrial | None = None) -> dict[int, Trial]:
        """All of them, as the loop does it, by number."""
        left, done = [Trial(n, p, started=time.time()) for n, p in enumerate(params)], list[Trial]()
        while left or executor.busy:
            while left and executor.free:
                executor.submit(left.pop(0))
            done += executor.wait(keep, timeout=0.2)
        assert len(done) == len(params), "each trial comes back exactly once"
        return {trial.number: trial for trial in done}

    def test_every_trial_comes_back_once(self, tmp_path: Path) -> None:
        with closing(self.make(Program(), tmp_path)) as executor:
            slots = executor.free
            done = self.run(executor, *[_ok(x) for x in range(7)])
            assert {n: t.values for n, t in done.items()} == {n: (float(n),) for n in range(7)}
            assert executor.free == slots
            assert executor.busy == 0
            assert not executor.wait(timeout=0.01)

    @pytest.mark.parametrize(
        ("do", "cause"), [("raise", "exception"), ("nan", "not finite"), ("none", "not finite"), ("sys.exit", "exit")]
    )
    def test_a_bad_trial_costs_itself(self, tmp_path: Path, do: str, cause: str) -> None:
        with closing(self.make(Program(), tmp_path)) as executor:
            done = self.run(executor, _ok(1), {"do": do}, _ok(2))
        assert [done[n].state for n in range(3)] == ["complete", "failed", "complete"]
        assert done[1].failure is not None
        assert done[1].failure.cause == cause
        assert not done[1].failure.transient

    @pytest.mark.parametrize(
        ("do", "cause", "says", "transient"),
        [
            ("exit", "exit", "code 3", False),
            ("segfault", "signal", "SIGSEGV", False),
            ("abort", "signal", "SIGABRT", False),
            ("killed", "signal", "SIGKILL", True),
        ],
    )
    def test_a_crash_costs_its_trial_only(
        self, tmp_path: Path, do: str, cause: str, says: str, transient: bool
    ) -> None:
        if not self.isolated:
            return
        with closing(self.make(Program(), tmp_path)) as executor:
            done = self.run(executor, _ok(1), {"do": do}, *[_ok(2)] * 4)
        assert [done[n].state for n in range(6)] == ["complete", "failed", *["complete"] * 4]
        failure = done[1].failure
        assert failure is not None
        assert (failure.cause, failure.transient) == (cause, transient)
        assert says in failure.message

    @pytest.mark.parametrize("do", ["hang", "hang deaf"])
    def test_a_deadline_is_kept(self, tmp_path: Path, do: str) -> None:
        if not self.isolated:
            return
        with closing(self.make(Program(), tmp_path, deadline=0.5)) as executor:
            done = self.run(executor, {"do": do}, _ok(1), _ok(2))
        assert done[0].failure is not None
        assert done[0].failure.cause == "timeout"
        assert "0.5 s" in done[0].failure.message
        assert [done[1].state, done[2].state] == ["complete", "complete"]

    def test_a_memory_cap_is_kept(self, tmp_path: Path) -> None:
        if not self.isolated:
            return
        with closing(self.make(Program(), tmp_path, memory=512 * 2**20)) as executor:
            done = self.run(executor, {"do": "memory"}, *[_ok(1)] * 3)
        assert done[0].failure is not None
        assert done[0].failure.cause == "memory"
        assert [done[n].state for n in (1, 2, 3)] == ["complete"] * 3

    def test_reports_are_answered(self, tmp_path: Path) -> None:
        asked: list[tuple[int, int]] = []

        def keep(number: int, report: Report) -> bool:
            asked.append((number, report.step))
            return number == 0 or report.step < 2

        with closing(self.make(Program(), tmp_path, two_way=True)) as executor:
            done = self.run(executor, {"do": "report", "x": 1}, {"do": "report", "x": 2}, keep=keep)
        assert [done[0].state, done[1].state] == ["complete", "pruned"]
        assert sorted(asked) == [*((0, step) for step in range(5)), *((1, step) for step in range(3))]
        assert [report.step for report in done[1].reports] == [0, 1, 2]

    def test_reports_are_kept_when_nobody_asks(self, tmp_path: Path) -> None:
        with closing(self.make(Program(), tmp_path)) as executor:
            done = self.run(executor, {"do": "report", "x": 1})
        assert [report.value for report in done[0].reports] == [1.0, 2.0, 3.0, 4.0, 5.0]

    def test_what_a_trial_prints_is_kept_with_it(self, tmp_path: Path) -> None:
        if not self.isolated:
            return
        with closing(self.make(Program(), tmp_path)) as executor:
            self.run(executor, _ok(0), {"do": "print"}, _ok(0))
        assert [path.name for path in (tmp_path / "trials").iterdir()] == ["0001"]
        assert (tmp_path / "trials" / "0001" / "log.txt").read_text() == "said by the trial\n"

    def test_close_ends_running_trials(self, tmp_path: Path) -> None:
        if not self.isolated:
            return
        before = set(psutil.Process().children())
        executor = self.make(Program(), tmp_path)
        executor.submit(Trial(0, {"do": "hang"}, started=time.time()))
        assert list(executor.wait(timeout=0.1)) == []
        executor.close()
        assert set(psutil.Process().children()) <= before
