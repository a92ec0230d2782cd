"""A search that is steered while it runs: each order is carried out once, and a resumed sweep goes the same way."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

import hpo
from hpo.attempt import Attempt
from hpo.journal import Journal
from hpo.orders import Orders, answer, parse
from hpo.progress import Progress
from tests.sweeps import function_sweep, inline, loss

GIVEN = {3: 'enqueue {"x": 1.25, "kind": "b"}', 4: "pause", 5: "extend 4", 6: 'enqueue {"x": -2.0, "kind": "b"}'}


def the_journal(folder: Path) -> Path:
    return next(folder.glob("*.journal"))


class Person:
    """Gives each order once so many trials have begun; `dies` in the middle of that one."""

    def __init__(self, folder: Path, orders: dict[int, str], dies: int | None = None) -> None:
        self._folder, self._left, self._dies = folder, dict(orders), dies

    def __call__(self, progress: Progress) -> None:
        begun = len(progress.trials)
        if (words := self._left.pop(begun, None)) is not None:
            orders = Orders(the_journal(self._folder))
            orders.put(parse(words, "ada"))
            if words == "pause":
                orders.put(parse("resume", "ada"))
        if begun == self._dies:
            raise RuntimeError("killed")


@pytest.mark.parametrize(
    "search",
    [{"engine": "random"}, {"engine": "optuna", "sampler": {"name": "tpe", "n_startup_trials": 2}},
     {"engine": "optuna", "sampler": "cmaes"}, {"engine": "hyperopt", "sampler": "tpe"}],
    ids=["random", "tpe", "cmaes", "hyperopt"],
)  # fmt: skip
def test_a_resumed_sweep_goes_where_the_uninterrupted_one_went(tmp_path: Path, search: dict[str, object]) -> None:
    space = {"x": {"float": [-5, 5]}, "kind": {"choice": ["a", "b"]}}
    sweep = function_sweep(space=space, search={"trials": 8, **search})
    whole = inline(tmp_path / "whole", sweep, show=Person(tmp_path / "whole", GIVEN))
    assert len(whole.all_trials) == 12  # 8, and 4 more
    tried = [dict(trial.params) for trial in whole.all_trials]
    assert tried[3] == {"x": 1.25, "kind": "b"}
    assert tried[6] == {"x": -2.0, "kind": "b"}
    for dies in (3, 5, 6, 9):  # with the order given and not taken, taken and not begun, and long after it
        folder = tmp_path / str(dies)
        person = Person(folder, GIVEN, dies)
        with pytest.raises(RuntimeError, match="killed"):
            inline(folder, sweep, show=person)
        person._dies = None
        resumed = inline(folder, sweep, show=person)
        assert resumed.resumed
        assert [dict(trial.params) for trial in resumed.all_trials] == tried, dies


def test_stop_ends_it_and_the_next_run_goes_on(tmp_path: Path) -> None:
    sweep = function_sweep()
    result = inline(tmp_path, sweep, show=Person(tmp_path, {3: "stop"}))
    assert (len(result.all_trials), result.state, result.stopped) == (3, "finished", "stopped by ada")
    orders = Orders(the_journal(tmp_path))
    orders.put(parse("extend 2", "ada"))  # for the next run
    more = inline(tmp_path, sweep, resume=result.id)
    assert (len(more.all_trials), more.stopped) == (10, None)
    with closing(Journal(the_journal(tmp_path), writable=False)) as journal:
        assert journal.fact("trials") == 10
        said = answer(journal, 2)
        assert said is not None
        assert (said.done, said.text) == (True, "the budget is 10 trials now")


def endless(params: dict[str, float], trial: Attempt) -> float:
    """The first one never ends, and says so only where it is asked to."""
    for step in range(10_000 * (trial.number == 0)):
        time.sleep(0.02)
        trial.report(step, step)
        if trial.should_prune():
            raise hpo.Pruned
    return loss(params, trial)


@pytest.mark.parametrize("pruner", ["median", "none"])
def test_a_trial_is_stopped_by_its_report_or_by_force(tmp_path: Path, pruner: str) -> None:
    sweep = function_sweep(endless, search={"trials": 3, "pruner": pruner, "workers": 2})
    given: list[int] = []

    def show(progress: Progress) -> None:
        """Again until it is taken: a worker that still imports its engine cannot be stopped."""
        if progress.counts["complete"] == 2 and progress.trials[0].state == "running":
            given.append(Orders(the_journal(tmp_path)).put(parse("prune 0", "ada")))

    result = hpo.run(sweep, folder=tmp_path, tracking=None, show=show)
    assert [trial.state for trial in result.all_trials] == ["pruned", "complete", "complete"]
    assert result.all_trials[0].failure is None
    assert given
    if pruner == "median":
        assert result.all_trials[0].reports


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    def ask(words: str, when: int) -> str:
        folder = tmp_path / words
        inline(folder, function_sweep(), show=Person(folder, {when: words}))
        with closing(Journal(the_journal(folder), writable=False)) as journal:
            return str(answer(journal, 1))

    assert ask("resume", 3) == "refused: it was not paused"
    assert ask("prune 1", 3) == "refused: trial 1 is complete"
    assert ask("prune 70", 3) == "refused: there is no trial 70"


def test_the_time_of_a_pause_is_not_search_time(tmp_path: Path) -> None:
    woken = Waker(tmp_path)
    result = inline(tmp_path, function_sweep(search={"trials": 3, "timeout": 60}), show=woken)
    assert len(result.all_trials) == 3
    assert woken.rested > 1.0
    assert result.seconds < woken.rested


class Waker:
    """Pauses after the first trial, and goes on a second later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._since: float | None = None
        self.rested = 0.0

    def __call__(self, progress: Progress) -> None:
        if self._since is None and progress.counts["complete"] == 1:
            self._since = time.monotonic()
            self._give("pause")
        elif self._since is not None and not self.rested and time.monotonic() > self._since + 1.0:
            assert progress.paused
            assert progress.counts["running"] == 0
            self.rested = time.monotonic() - self._since
            self._give("resume")

    def _give(self, words: str) -> None:
        Orders(the_journal(self._folder)).put(parse(words, "ada"))
