"""The conformance suite of searchers: replay, conditions, states, progress.

Subclassed in tests, ours and other people's; pytest collects the `test_` methods. A port is only as good as the
promises that can be checked, and a searcher that breaks the replay promise shows it nowhere else than here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from hpo.metric import Metric
from hpo.searchers.port import Searcher, SpaceExhausted
from hpo.space import Choice, Float, Int, Space
from hpo.trial import Failure, Params, Report, Trial, Value

PLAIN = Space(
    (
        Float("rate", 1e-4, 1.0, log=True),
        Float("share", 0.1, 1.0, step=0.1),
        Float("weight", -2.0, 3.0),
        Int("depth", 1, 9, step=2),
        Int("width", 1, 1000, log=True),
        Choice("kind", ("a", "b", None, 1, True, 0.5)),
        Float("one", 2.5, 2.5),
    )
)
CONDITIONAL = Space(
    (
        Float("drop", 0.0, 0.5, when={"booster": ("dart", "both")}),  # a child that stands before its parent
        Choice("booster", ("tree", "dart", "both")),
        Int("layers", 1, 4),
        Int("units", 8, 64, step=8, when={"layers": (2, 3, 4)}),
        Choice("flag", (True, False)),
        Float("alpha", 1e-3, 1.0, log=True, when={"flag": (True,)}),
    )
)
NESTED = Space(
    (
        Choice("model", ("linear", "forest", "boost")),
        Int("depth", 1, 6, when={"model": ("forest", "boost")}),
        Choice("grow", ("level", "leaf"), when={"model": ("boost",), "depth": (3, 4, 5, 6)}),
        Float("shrink", 0.0, 1.0, when={"grow": ("leaf",)}),
        Choice("penalty", ("l1", "l2", None), when={"model": ("linear",)}),
        Float("strength", 1e-3, 10.0, log=True, when={"penalty": ("l1", "l2")}),
        Choice("on", (1,)),
        Int("extra", 0, 3, when={"on": (1,), "grow": ("level", "leaf")}),
    )
)
LOSS = Metric("loss", "minimize")


class SearcherSuite:
    """The promises of `hpo.searchers.port.Searcher`, as tests.

    Subclass it, define `make`, and set `spaces` to those that the searcher can search. `seeded` is False for one
    that does not draw, `learns` for one that takes no advice from results. `trials` is the length of a run.
    """

    spaces: Sequence[Space] = (PLAIN, CONDITIONAL, NESTED)
    metrics: tuple[Metric, ...] = (LOSS,)
    trials = 24
    seeded = True
    learns = True

    def make(self, space: Space, seed: int, metrics: tuple[Metric, ...]) -> Searcher:
        """A new searcher that has been told nothing."""
        raise NotImplementedError

    def test_ask_gives_a_trial_not_yet_started(self) -> None:
        for space in self.spaces:
            trial = self.make(space, 0, self.metrics).ask(0)
            assert trial.number == 0
            assert (trial.started, trial.finished, trial.values, trial.attempt) == (None, None, None, 1)

    def test_values_are_plain_and_inside_the_space(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 0, self.metrics)
            for number in range(min(self.trials, int(min(space.count(), 1000)))):
                trial = searcher.ask(number)
                searcher.tell(_evaluated(trial, self.metrics))
                assert trial.params in space, space.check(trial.params)
                assert all(type(v) in (type(None), bool, int, float, str) for v in trial.params.values())
                assert list(trial.params) == [name for name in space.names if name in trial.params]

    def test_memo_and_params_survive_json(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 0, self.metrics)
            for trial in (searcher.ask(0), searcher.ask(1)):
                assert _through_json(trial) == trial

    def test_same_seed_same_trials(self) -> None:
        for space in self.spaces:
            assert self._run(space, seed=3) == self._run(space, seed=3)

    def test_other_seed_other_trials(self) -> None:
        if not self.seeded:
            return
        for space in self.spaces:
            assert self._run(space, seed=3) != self._run(space, seed=4), "the seed changes nothing"

    def test_resume_at_any_trial_goes_on_the_same(self) -> None:
        for space in self.spaces:
            whole = self._run(space)
            for cut in range(len(whole)):
                searcher = self.make(space, 0, self.metrics)
                for trial in whole[:cut]:
                    searcher.tell(trial)
                again = searcher.ask(cut)
                assert again.params == whole[cut].params, f"resumed at trial {cut}, another trial came"
            middle = len(whole) // 2
            assert self._run(space, history=whole[:middle]) == whole

    def test_resume_with_several_in_flight_goes_on_the_same(self) -> None:
        """What was running is announced, finished after the others, and then the sweep goes on as it would have."""
        for space in self.spaces:
            live, finished, running = self._run_in_parallel(space)
            resumed = self.make(space, 0, self.metrics)
            for trial in sorted((*finished, *running), key=lambda trial: trial.number):
                resumed.tell(_through_json(trial))
            following = len(finished) + len(running)
            try:
                expected = [live.ask(following).params]
                for trial in running:
                    live.tell(_evaluated(trial, self.metrics))
                expected.append(live.ask(following + 1).params)
            except SpaceExhausted:
                continue
            found = [resumed.ask(following).params]
            for trial in running:
                resumed.tell(_through_json(_evaluated(trial, self.metrics)))
            found.append(resumed.ask(following + 1).params)
            assert found == expected

    def test_many_in_flight_are_tolerated(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 0, self.metrics)
            asked = [searcher.ask(number) for number in range(6)]
            assert all(trial.params in space for trial in asked)
            for trial in reversed(asked):
                searcher.tell(_evaluated(trial, self.metrics))

    def test_failed_pruned_and_running_trials_are_tolerated(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 0, self.metrics)
            told: list[Trial] = []
            try:
                for number in range(self.trials):
                    trial = _fate(searcher.ask(number), self.metrics)
                    searcher.tell(trial)
                    told.append(_through_json(trial))
                following = searcher.ask(len(told)).params
            except SpaceExhausted:
                continue
            resumed = self.make(space, 0, self.metrics)
            for trial in told:
                resumed.tell(trial)
            assert resumed.ask(len(told)).params == following

    def test_a_trial_outside_the_space_does_no_harm(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 0, self.metrics)
            searcher.tell(_evaluated(Trial(0, {"stranger": 1, space.names[0]: "no such value"}), self.metrics))
            assert searcher.ask(1).params in space

    def test_the_first_trial_may_go_on(self) -> None:
        """There is nothing yet that it could be worse than."""
        searcher = self.make(self.spaces[0], 0, self.metrics)
        searcher.ask(0)
        assert searcher.keep(0, Report(0, 0.5)) is True, (
            "the first report of the first trial has nothing to lose against"
        )

    def test_it_makes_progress_on_an_easy_function(self) -> None:
        """In both directions: better than chance where it learns."""
        if not self.learns or len(self.metrics) > 1:
            return
        space = Space((Float("x", -5.0, 5.0), Float("y", -5.0, 5.0)))
        for direction in ("minimize", "maximize"):
            metric = Metric("easy", direction)
            searcher = self.make(space, 1, (metric,))
            losses = []
            for number in range(60):
                trial = searcher.ask(number)
                loss = sum((float(v or 0) - 2.0) ** 2 for v in trial.params.values())
                losses.append(loss)
                searcher.tell(replace(trial, started=0.0, finished=1.0, values=(-metric.sign * loss,)))
            assert fmean(losses[-20:]) < 0.6 * fmean(losses[:10]), f"no progress ({direction})"

    def _run(self, space: Space, seed: int = 0, history: Sequence[Trial] = ()) -> list[Trial]:
        """A serial run, each trial as the journal would give it back."""
        searcher = self.make(space, seed, self.metrics)
        trials = list(history)
        for trial in trials:
            searcher.tell(trial)
        try:
            for number in range(len(trials), self.trials):
                trials.append(_through_json(_evaluated(searcher.ask(number), self.metrics)))
                searcher.tell(trials[-1])
        except SpaceExhausted:
            pass
        return trials

    def _run_in_parallel(self, space: Space) -> tuple[Searcher, list[Trial], list[Trial]]:
        """Three in flight, finished out of order: the searcher, the finished trials, and those still running."""
        searcher = self.make(space, 0, self.metrics)
        running: list[Trial] = []
        finished: list[Trial] = []
        try:
            for number in range(self.trials):
                running.append(replace(searcher.ask(number), started=float(number)))
                if len(running) == 3:
                    done = _evaluated(running.pop(number % 3), self.metrics)
                    finished.append(replace(done, finished=number + 0.5))
                    searcher.tell(finished[-1])
        except SpaceExhausted:
            pass
        return searcher, finished, running


def _through_json(trial: Trial) -> Trial:
    return Trial.from_json(json.loads(json.dumps(trial.to_json(), allow_nan=False)))


def _evaluated(trial: Trial, metrics: tuple[Metric, ...]) -> Trial:
    """The trial with a value that depends on its parameters and on which of them are active."""
    value = _score(trial.params)
    values = tuple(value if k == 0 else (1.5 - value) ** 2 for k in range(len(metrics)))
    return replace(trial, started=float(trial.number), finished=trial.number + 0.5, values=values)


def _fate(trial: Trial, metrics: tuple[Metric, ...]) -> Trial:
    """Every third trial fails, every third one is pruned after two reports."""
    if trial.number % 3 == 1:
        return trial.failed(Failure("exception", "ValueError: no"), trial.number + 0.5)
    if trial.number % 3 == 2:
        value = _score(trial.params)
        reports = (Report(0, value), Report(1, value + 0.1))
        return replace(trial, started=float(trial.number), finished=trial.number + 0.5, pruned=True, reports=reports)
    return _evaluated(trial, metrics)


def _score(params: Params) -> float:
    def number(value: Value) -> float:
        return float(value) if isinstance(value, (int, float)) else len(str(value)) / 10

    return sum((number(value) - 0.3) ** 2 for value in params.values()) / (1 + len(params))
