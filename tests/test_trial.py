"""Trials: the state follows from the facts, and JSON keeps all of them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.trial import Failure, Report, Trial

numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(min_size=1, max_size=5)
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(max_size=9)
trials = st.builds(
    Trial,
    number=st.integers(0, 10**6),
    params=st.dictionaries(names, values, max_size=4),
    attempt=st.integers(1, 5),
    started=st.none() | st.floats(1, 2e9),
    finished=st.none() | st.floats(1, 2e9),
    values=st.none() | st.lists(numbers, min_size=1, max_size=3).map(tuple),
    pruned=st.booleans(),
    failure=st.none() | st.builds(Failure, st.just("timeout"), st.text(), st.text(), st.booleans()),
    scores=st.dictionaries(names, st.lists(numbers, max_size=3).map(tuple), max_size=2),
    metrics=st.dictionaries(names, numbers, max_size=2),
    reports=st.lists(st.builds(Report, st.integers(0, 99), numbers, st.none() | st.integers(0, 9))).map(tuple),
    artifacts=st.lists(names, max_size=2).map(tuple),
    memo=st.dictionaries(names, st.integers(), max_size=2),
)


@settings(deadline=None)
@given(trials)
def test_json_keeps_everything(trial: Trial) -> None:
    again = Trial.from_json(json.loads(json.dumps(trial.to_json(), allow_nan=False)))
    assert again == trial
    assert {k: type(v) for k, v in again.params.items()} == {k: type(v) for k, v in trial.params.items()}


def test_a_small_trial_is_a_small_row() -> None:
    assert Trial(3, {"x": 1}).to_json() == {"number": 3, "params": {"x": 1}}


def test_the_state_follows_from_the_facts() -> None:
    running = Trial(0, {}, started=1.0)
    assert (Trial(0, {}).state, running.state, running.seconds) == ("running", "running", 0.0)
    assert Trial(0, {}, started=1.0, finished=3.5, values=(1.0,)).state == "complete"
    assert Trial(0, {}, started=1.0, finished=3.5).seconds == 2.5
    pruned = Trial(0, {}, finished=2.0, pruned=True, values=(1.0,))
    assert pruned.state == "pruned"
    failed = pruned.failed(Failure("exception", "boom"), 4.0)
    assert (failed.state, failed.values, failed.finished) == ("failed", None, 4.0)


def test_another_attempt_keeps_the_parameters_and_what_the_searcher_must_see() -> None:
    lost = Trial(4, {"x": 1}, started=1.0, metrics={"m": 1.0}, memo={"told": [1]}).failed(Failure("lost", ""), 2.0)
    assert lost.again() == Trial(4, {"x": 1}, attempt=2, memo={"told": [1]})
