"""Spaces: which values lie inside, conditions, the order of asking, counting and the grid."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.space import Choice, Float, Int, Parameter, Space
from hpo.trial import Value

# A chain of conditions, the children before their parents in the file.
DEEP = Space((
    Float("rate_drop", 0.0, 0.5, step=0.25, when={"booster": ("dart",), "depth": (2, 3)}),
    Int("depth", 1, 3, when={"booster": ("dart", "gbtree")}),
    Choice("booster", ("gbtree", "dart", "linear")),
    Choice("free", (True, None)),
))  # fmt: skip


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Float("x", 0, 1), 0.0), (Float("x", 0, 1), 1), (Float("x", 0, 1, step=0.1), 0.30000000000000004),
        (Int("x", 0, 9, step=3), 9), (Int("x", -2, 2), 0), (Choice("x", (1, "1", None)), None),
        (Choice("x", (True,)), True),
    ],
)  # fmt: skip
def test_inside(parameter: Parameter, value: Value) -> None:
    assert parameter.check(value) is None


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        (Float("x", 0, 1), 1.1, "outside [0, 1]"), (Float("x", 0, 1), True, "not a number"),
        (Float("x", 0, 1), math.nan, "not a number"), (Float("x", 0, 1), "0.5", "not a number"),
        (Float("x", 0, 1, step=0.25), 0.3, "not on the grid"), (Int("x", 0, 9), 10, "outside"),
        (Int("x", 0, 9), 1.0, "not a whole number"), (Int("x", 0, 9), False, "not a whole number"),
        (Int("x", 0, 9, step=3), 4, "not on the grid"), (Choice("x", (1, "a")), True, "not one of 1, 'a'"),
        (Choice("x", (1, "a")), 1.0, "not one of"),
    ],
)  # fmt: skip
def test_outside(parameter: Parameter, value: Value, words: str) -> None:
    assert words in (parameter.check(value) or "")


def test_parents_are_asked_first_and_the_file_keeps_its_order() -> None:
    assert [p.name for p in DEEP.walk] == ["booster", "free", "depth", "rate_drop"]
    answers: dict[str, Value] = {"booster": "dart", "depth": 3, "rate_drop": 0.25, "free": None}
    assert list(DEEP.sample(lambda p: answers[p.name])) == ["rate_drop", "depth", "booster", "free"]
    assert DEEP.sample(lambda p: {**answers, "depth": 1}[p.name]) == {"depth": 1, "booster": "dart", "free": None}
    assert DEEP.sample(lambda p: {**answers, "booster": "linear"}[p.name]) == {"booster": "linear", "free": None}


def test_what_is_wrong_is_said_in_words() -> None:
    assert DEEP.check({"booster": "dart", "depth": 1, "free": True}) == ()
    assert DEEP.check({"booster": "linear", "depth": 9, "frre": 1}) == (
        "frre: not a parameter of the space (did you mean 'free'?)",
        "free: missing",
        "depth: only allowed when booster is 'dart' or 'gbtree'",
    )
    assert {"booster": "linear", "free": None} in DEEP
    assert {"booster": "dart", "free": None} not in DEEP
    assert 3 not in DEEP


def test_a_cycle_is_an_error() -> None:
    with pytest.raises(ValueError, match="cycle: a, b"):
        _ = Space((Choice("a", (1,), {"b": (1,)}), Choice("b", (1,), {"a": (1,)}))).walk


def test_counting() -> None:
    # free 2 x (linear 1 + gbtree 3 + dart (depth 1: 1, depths 2 and 3: 3 each))
    assert DEEP.count() == 2 * (1 + 3 + 1 + 3 + 3)
    assert DEEP.count(limit=10) == math.inf
    assert Space((Int("a", 1, 10, step=4), Choice("b", (1, 2)))).count() == 6
    assert Space((Float("a", 0, 1), Choice("b", (1, 2)))).count() == math.inf
    assert Space((Float("a", 0.5, 0.5), Choice("b", (1, 2)))).count() == 2
    assert Space(tuple(Int(f"p{i}", 0, 9) for i in range(400))).count() == 10**400


def test_the_grid_is_every_set_once_and_inside() -> None:
    points = list(DEEP.grid())
    assert len(points) == DEEP.count() == len({tuple(sorted(p.items(), key=str)) for p in points})
    assert all(point in DEEP for point in points)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    parameters: list[Parameter] = []
    for i in range(draw(st.integers(1, 6))):
        when: dict[str, tuple[Value, ...]] = {}
        parents = [p for p in parameters if not isinstance(p, Float)]
        if draw(st.booleans()) and parents:
            parent = draw(st.sampled_from(parents))
            values: list[Value] = list(parent.grid())
            when = {parent.name: tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=2)))}
        low = draw(st.integers(-5, 5))
        kind = draw(st.sampled_from(["float", "int", "choice"]))
        if kind == "float":
            step = draw(st.none() | st.sampled_from([0.1, 0.3, 1.0]))
            parameters.append(Float(f"p{i}", low, low + draw(st.integers(0, 4)), step=step, when=when))
        elif kind == "int":
            step_of_int = draw(st.integers(1, 3))
            parameters.append(Int(f"p{i}", low, low + draw(st.integers(0, 4)), step=step_of_int, when=when))
        else:
            parameters.append(Choice(f"p{i}", tuple(draw(st.permutations(["a", 1, None])))[:2], when))
    return Space(tuple(draw(st.permutations(parameters))))


@settings(deadline=None)
@given(spaces(), st.randoms(use_true_random=False))
def test_whatever_is_sampled_lies_inside(space: Space, rng: random.Random) -> None:
    def suggest(parameter: Parameter) -> Value:
        if parameter.size < math.inf:
            return rng.choice(list(parameter.grid()))
        assert isinstance(parameter, Float)
        return rng.uniform(parameter.low, parameter.high)

    params = space.sample(suggest)
    assert space.check(params) == ()
    assert list(params) == [name for name in space.names if name in params]
    if space.count(limit=2000) < math.inf:
        assert len(list(space.grid())) == space.count(limit=2000)
