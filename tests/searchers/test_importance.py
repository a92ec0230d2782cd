"""The parameter that decides has the greatest share, also where it is switched on and off, and in either direction."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hpo.metric import Metric
from hpo.searchers.importance import importance
from hpo.space import Choice, Float, Int, Space
from hpo.trial import Trial

SPACE = Space((
    Float("rate", 1e-4, 1.0, log=True),
    Int("depth", 2, 12, step=2),
    Choice("kind", ("a", "b", None)),
    Float("drop", 0.0, 0.5, when={"kind": ("b",)}),
    Float("always", 1.0, 1.0),
))  # fmt: skip


def trials(decides: str, sign: float) -> list[Trial]:
    draw = random.Random(5)
    found = []
    for number in range(60):
        params: dict[str, Any] = {"rate": 10 ** draw.uniform(-4, 0), "depth": draw.randrange(2, 13, 2), "always": 1.0}
        params |= {"kind": draw.choice(["a", "b", None])}
        if params["kind"] == "b":
            params["drop"] = draw.uniform(0, 0.5)
        good = {"depth": -abs(params["depth"] - 6), "kind": 9 * (params["kind"] is None)}[decides]
        value = sign * (good + draw.gauss(0, 0.2))
        found.append(Trial(number, params, started=1.0, finished=2.0, values=(0.0, value)))
    return found


@pytest.mark.parametrize("decides", ["depth", "kind"])
@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_what_decides_comes_first(decides: str, direction: str, sign: float) -> None:
    metric = Metric("score", "maximize" if direction == "maximize" else "minimize")
    shares = importance(SPACE, metric, 1, trials(decides, sign))
    assert next(iter(shares)) == decides
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == {"rate", "depth", "kind", "drop"}


def test_trials_of_another_space_and_those_without_a_value_say_nothing() -> None:
    other = [Trial(k, {"rate": 5.0}, started=1.0, finished=2.0, values=(1.0, 1.0)) for k in range(30)]
    assert importance(SPACE, Metric("score", "maximize"), 1, [*other, Trial(30, {"rate": 0.1})]) == {}
