"""Errors: their words and exit codes."""

from __future__ import annotations

import pytest

from hpo.errors import HeldError, HpoError, InputError, JournalError, NoModelError, Problem, did_you_mean


def test_every_problem_is_said_with_its_place_and_hint() -> None:
    error = InputError(Problem("is wrong", "a.yaml:1:2", "do this"), "that too")
    assert str(error) == "a.yaml:1:2: is wrong\n    do this\nthat too"
    assert error.problems[1] == Problem("that too")


def test_a_key_that_is_its_own_place_is_said_once() -> None:
    assert str(Problem("search.trials: 0 is out of range", "search.trials")) == "search.trials: 0 is out of range"


@pytest.mark.parametrize(("kind", "code"), [(InputError, 2), (NoModelError, 3), (HeldError, 4), (JournalError, 74)])
def test_exit_codes(kind: type[HpoError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, HpoError)


def test_did_you_mean() -> None:
    assert did_you_mean("max_dept", ["max_depth", "eta"]) == "did you mean 'max_depth'?"
    assert did_you_mean("zzz", ["a", "b"]) == "one of: a, b"
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", map(str, range(100, 200))) == ""
