"""The whole policy, asked without a model, a server or a number that had to be measured."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hpo.verdict import Evidence, Gate, Interval, verdict

NAN = float("nan")
SURE = Evidence(
    "roc_auc", 500, 0.95, method="DeLong's test", challenger=Interval(0.85, 0.82, 0.88),
    champion=Interval(0.8, 0.77, 0.83), gain=Interval(0.05, 0.02, 0.08), champion_version="3",
)  # fmt: skip
WORSE = replace(SURE, gain=Interval(-0.05, -0.08, -0.02))
UNSURE = replace(SURE, gain=Interval(0.01, -0.01, 0.03))
FIRST = replace(SURE, champion=None, gain=None, champion_version=None)
LOST = replace(FIRST, champion_version="3", unscorable="its files are gone")
FLOOR = Gate("floor", "hold-out roc_auc", 0.85, 0.8)
SLOW = Gate("latency", "seconds to predict one row", 0.2, 0.1, at_most=True)


@pytest.mark.parametrize(
    ("evidence", "promoted", "said"),
    [
        (SURE, True, "it gains 0.05, surely more than 0.02 at confidence 0.95 (DeLong's test)"),
        (UNSURE, False, "a gain is not shown"),
        (WORSE, False, "it is worse by 0.05"),
        (replace(SURE, gain=Interval(0.0, 0.0, 0.0)), False, "it is no better"),
        (replace(SURE, min_gain=0.02), False, "more than 0.02 is not shown"),
        (replace(SURE, min_gain=0.019), True, "it gains"),
        (FIRST, True, "there was no champion"),
        (replace(FIRST, gates=(SLOW,)), False, "seconds to predict one row 0.2 is not at most 0.1"),
        (replace(SURE, gates=(FLOOR, SLOW)), False, "seconds to predict one row 0.2 is not at most 0.1"),
        (replace(SURE, gates=(FLOOR,)), True, "it gains"),
        (replace(SURE, gates=(replace(FLOOR, value=NAN),)), False, "hold-out roc_auc nan is not at least 0.8"),
        (replace(SURE, challenger=None), False, "held no rows out"),
        (replace(SURE, challenger=Interval(NAN, NAN, NAN)), False, "roc_auc is nan"),
        (replace(FIRST, challenger=Interval(float("inf"), 0, 0)), False, "roc_auc is inf"),
        (replace(SURE, gain=None), False, "not known"),
        (replace(SURE, gain=Interval(0.1, NAN, NAN)), False, "not known"),
        (replace(SURE, gain=Interval(0.1, -float("inf"), 1.0)), False, "not known"),
        (LOST, False, "cannot be scored on these rows: its files are gone"),
        (replace(LOST, gates=(FLOOR,)), False, "it stays until a person decides"),
        (replace(LOST, gates=(FLOOR,), when_unscorable="floor"), True, "when_unscorable: floor, and hold-out"),
        (replace(LOST, gates=(FLOOR, SLOW), when_unscorable="floor"), False, "it stays until a person decides"),
        (replace(LOST, gates=(), when_unscorable="floor"), False, "it stays until a person decides"),
    ],
)
def test_verdict(evidence: Evidence, promoted: bool, said: str) -> None:
    judged = verdict(evidence)
    assert judged.promote is promoted
    assert said in "; ".join(judged.reasons)


def test_nothing_unknown_ever_promotes() -> None:
    """Whatever is taken away from sufficient evidence against a champion, the champion stays."""
    blanks: dict[str, Any] = {"challenger": None, "champion": None, "gain": None, "unscorable": "unknown"}
    for name, blank in blanks.items():
        assert not verdict(replace(SURE, **{name: blank})).promote, name


def test_evidence_survives_json() -> None:
    evidence = replace(SURE, gates=(FLOOR, SLOW), scores={"roc_auc": 0.85})
    kept = json.loads(json.dumps(evidence.to_json()))
    assert [gate["passed"] for gate in kept["gates"]] == [True, False]
    assert Evidence.from_json(kept) == evidence
    assert Evidence.from_json(json.loads(json.dumps(FIRST.to_json()))) == FIRST
