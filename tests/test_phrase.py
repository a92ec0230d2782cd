"""Words for people: times, parameters."""

from __future__ import annotations

import pytest

from hpo.phrase import duration, say


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (12.4, "12 s"), (59.6, "1 m 00 s"), (200, "3 m 20 s"), (7500, "2 h 05 m")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_parameters_in_a_line() -> None:
    assert say({"a": 0.000123456, "b": 3, "c": "x", "d": None, "e": True}) == "a=0.0001235 b=3 c=x d=None e=True"
