"""The conformance suite must catch searchers that break their promises; each test here is one broken searcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from hpo.metric import Metric
from hpo.searchers.random import RandomSearcher
from hpo.space import Space
from hpo.testing import SearcherSuite
from hpo.trial import Report, Trial


@dataclass
class Broken:
    """A random searcher with a flaw to be added by subclasses."""

    space: Space
    seed: int
    told: list[Trial] = field(default_factory=list)

    def ask(self, number: int) -> Trial:
        return RandomSearcher(self.space, self.seed).ask(number)

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def keep(self, number: int, report: Report) -> bool:
        return True


class IgnoresTheSeed(Broken):
    def ask(self, number: int) -> Trial:
        return RandomSearcher(self.space, 0).ask(number)


class DrawsFromNowhere(Broken):
    def ask(self, number: int) -> Trial:
        return RandomSearcher(self.space, Random().getrandbits(32)).ask(number)


class CountsItsAsks(Broken):
    """Deterministic, yet a resumed one begins again."""

    asked = 0

    def ask(self, number: int) -> Trial:
        self.asked += 1
        return replace(RandomSearcher(self.space, self.seed).ask(self.asked), number=number)


class LeavesTheSpace(Broken):
    def ask(self, number: int) -> Trial:
        trial = super().ask(number)
        first = self.space.walk[0].name
        return replace(trial, params={**trial.params, first: 1e9})


class FillsInactiveParameters(Broken):
    def ask(self, number: int) -> Trial:
        trial = super().ask(number)
        return replace(trial, params={**dict.fromkeys(self.space.names, None), **trial.params})


class GivesForeignNumbers(Broken):
    def ask(self, number: int) -> Trial:
        class Fancy(float):
            pass

        trial = super().ask(number)
        return replace(trial, params={k: Fancy(v) if type(v) is float else v for k, v in trial.params.items()})


class KeepsATupleInTheMemo(Broken):
    def ask(self, number: int) -> Trial:
        return replace(super().ask(number), memo={"seen": (1, 2)})


class CannotBearFailures(Broken):
    def tell(self, trial: Trial) -> None:
        assert trial.values is not None


class StopsEveryTrial(Broken):
    def keep(self, number: int, report: Report) -> bool:
        return False


class Starts(Broken):
    def ask(self, number: int) -> Trial:
        return replace(super().ask(number), started=1.0)


def outcome(make: Callable[..., Any], **settings: Any) -> list[str]:
    """The tests of the suite that fail."""

    class Suite(SearcherSuite):
        def make(self, space: Space, seed: int, metrics: tuple[Metric, ...]) -> Any:
            return make(space, seed)

    suite = Suite()
    for name, value in settings.items():
        setattr(suite, name, value)
    failed = []
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                getattr(suite, name)()
            except Exception:
                failed.append(name)
    return failed


def test_a_sound_searcher_passes() -> None:
    assert outcome(RandomSearcher, learns=False) == []


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (IgnoresTheSeed, "test_other_seed_other_trials"),
        (DrawsFromNowhere, "test_same_seed_same_trials"),
        (CountsItsAsks, "test_resume_at_any_trial_goes_on_the_same"),
        (LeavesTheSpace, "test_values_are_plain_and_inside_the_space"),
        (FillsInactiveParameters, "test_values_are_plain_and_inside_the_space"),
        (GivesForeignNumbers, "test_values_are_plain_and_inside_the_space"),
        (KeepsATupleInTheMemo, "test_memo_and_params_survive_json"),
        (CannotBearFailures, "test_failed_pruned_and_running_trials_are_tolerated"),
        (StopsEveryTrial, "test_the_first_trial_may_go_on"),
        (Starts, "test_ask_gives_a_trial_not_yet_started"),
        (Broken, "test_it_makes_progress_on_an_easy_function"),
    ],
)
def test_a_broken_searcher_is_caught(broken: type[Broken], caught_by: str) -> None:
    assert caught_by in outcome(broken, learns=True)
