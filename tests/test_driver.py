"""The loop in virtual time: who waits for whom, and what is known when a trial is asked for."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hpo import searchers
from hpo.driver import drive
from hpo.interrupts import Interrupts
from hpo.journal import Journal
from hpo.progress import Progress
from hpo.searchers import Searcher, SpaceExhausted
from hpo.testing import Simulated, VirtualClock
from hpo.trial import Report, Trial
from tests.sweeps import function_sweep


class Slow:
    """A searcher that takes its time, and notes how many results it knew at each ask."""

    def __init__(self, searcher: Searcher, clock: VirtualClock, seconds: float, size: int = 10**6) -> None:
        self._searcher = searcher
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._results = 0
        self.knew: list[int] = []

    def ask(self, number: int) -> Trial:
        if number >= self._size:
            raise SpaceExhausted
        assert number == len(self.knew), "in the order of their numbers, none left out"
        self._clock.skip(self._seconds)
        self.knew.append(self._results)
        return self._searcher.ask(number)

    def tell(self, trial: Trial) -> None:
        self._results += trial.state == "complete"
        self._searcher.tell(trial)

    def keep(self, number: int, report: Report) -> bool:
        return True


def search(folder: Path, slots: int, ask: float, trial: float, trials: int, size: int = 10**6) -> tuple[Slow, Journal]:
    """So many trials of so many seconds; the journal says what came of them."""
    clock = VirtualClock(own=lambda: 0.0)
    sweep = function_sweep(search={"trials": trials})
    slow = Slow(searchers.build(sweep), clock, ask, size)
    executor = Simulated(clock, slots, lambda t: trial, lambda t: float(t.number))
    journal = Journal.create(folder / "one.journal", {})
    drive(journal, slow, executor, Progress(sweep), Interrupts(), lambda progress: None, clock)
    return slow, journal


def busy_share(trials: list[Trial], slots: int) -> float:
    """Of the slots' time between the first start and the last."""
    first, last = (pick(t.started or 0.0 for t in trials) for pick in (min, max))
    return sum(min(t.finished or 0.0, last) - (t.started or 0.0) for t in trials) / (slots * (last - first))


def test_no_slot_waits_for_a_searcher_that_is_fast_enough(tmp_path: Path) -> None:
    slow, journal = search(tmp_path, slots=8, ask=1.0, trial=10.0, trials=200)
    with closing(journal):
        trials = journal.trials()
    assert [trial.state for trial in trials] == ["complete"] * 200
    later = [trial for trial in trials if trial.number >= 16]  # before, nobody can know how long an ask takes
    assert busy_share(later, 8) > 0.95
    assert slow.knew == sorted(slow.knew)


def test_one_slot_asks_after_it_was_told(tmp_path: Path) -> None:
    slow, journal = search(tmp_path, slots=1, ask=1.0, trial=0.1, trials=20)
    journal.close()
    assert slow.knew == list(range(20))


def test_nothing_is_asked_early_where_it_would_not_pay(tmp_path: Path) -> None:
    slow, journal = search(tmp_path, slots=2, ask=0.01, trial=60.0, trials=20)
    journal.close()
    assert slow.knew[-1] == 18, "with two slots, all but the other one's trial are known"


@pytest.mark.parametrize("size", [1, 9, 17, 18])
def test_what_was_asked_before_the_space_was_used_up_is_run(tmp_path: Path, size: int) -> None:
    _, journal = search(tmp_path, slots=4, ask=1.0, trial=2.0, trials=100, size=size)
    with closing(journal):
        assert [trial.state for trial in journal.trials()] == ["complete"] * size


def test_a_budget_is_met_exactly_although_trials_are_asked_for_early(tmp_path: Path) -> None:
    slow, journal = search(tmp_path, slots=4, ask=1.0, trial=2.0, trials=19)
    with closing(journal):
        assert len(journal.trials()) == 19
    assert len(slow.knew) == 19


def test_results_that_come_at_once_and_the_starts_after_them_are_one_commit(tmp_path: Path) -> None:
    _, journal = search(tmp_path, slots=4, ask=0.0, trial=2.0, trials=40)
    with closing(journal):
        revisions = {entry.revision for entry in journal.unpublished()}
    assert len(revisions) == 10


def test_a_sweep_ends_in_virtual_time(tmp_path: Path) -> None:
    clock = VirtualClock(own=lambda: 0.0)
    sweep = function_sweep(search={"trials": 10**6, "timeout": 3600.0})
    executor = Simulated(clock, 10, lambda trial: 60.0, lambda trial: 1.0)
    progress = Progress(sweep)
    with closing(Journal.create(tmp_path / "one.journal", {})) as journal:
        drive(journal, searchers.build(sweep), executor, progress, Interrupts(), lambda progress: None, clock)
    assert len(progress.trials) == 600
    assert progress.seconds == pytest.approx(3600.0)
