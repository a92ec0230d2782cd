"""The record of a promotion, from facts as a journal holds them."""

from __future__ import annotations

import json
from typing import Any

from hpo.card import LIMIT, card, record
from hpo.trial import Trial
from hpo.verdict import Evidence, Gate, Interval

EVIDENCE = Evidence(
    "roc_auc", 500, 0.95, method="DeLong's test", challenger=Interval(0.85, 0.82, 0.88),
    champion=Interval(0.8, 0.77, 0.83), gain=Interval(0.05, 0.02, 0.08), champion_version="3",
    gates=(Gate("slice", "carrier = AA", 0.1, 0.0, about="120 rows, 0.9 against 0.8"),),
)  # fmt: skip
OUTCOME = {
    "model": "delays", "version": "4", "promoted": True, "reasons": ("it gains 0.05",),
    "scores": {"roc_auc": 0.85, "log_loss": 0.4}, "evidence": EVIDENCE.to_json(),
}  # fmt: skip
FACTS: dict[str, Any] = {
    "id": "delays-1", "name": "delays", "identity": "1d", "engine": "optuna", "metrics": [["roc_auc", "maximize"]],
    "seconds": 9.0, "judged": 1_790_000_000.0, "document": {"data": {"path": "/data/flights.parquet"}, "model": "a.B"},
    "dataset": {"file_digest": "abc", "digest": "d", "target": "late", "task": "binary", "rows": 80, "folds": 5,
                "holdout_rows": 20, "balance": {}, "columns": [{"name": "carrier", "kind": "categorical"}]},
    "provenance": {"user": "ada", "git": {"commit": "c0ffee", "dirty": True}, "packages": {"numpy": "2"}},
    "estimate": {"value": 0.86, "low": 0.84, "high": 0.88}, "model": {"sha256": {"model.ubj": "12"}, "threads": 2},
}  # fmt: skip
TRIAL = Trial(7, {"max_depth": 3}, started=1.0, finished=2.0, values=(0.9,), scores={"roc_auc": (0.88, 0.92)})


def test_a_card_tells_what_a_reader_asks_for() -> None:
    made = json.loads(json.dumps(record(FACTS, TRIAL, {"complete": 9, "failed": 1}, OUTCOME)))
    text = card(made)
    for said in (
        "# delays, version 4", "**Promoted** on 2026-09-21", "by sweep `delays-1`", "- it gains 0.05",
        "| best of the search", "| on fresh folds | 0.86 | 90 % interval 0.84 to 0.88 |",
        "| held-out rows | 0.85 | 90 % interval 0.82 to 0.88 |",
        "log_loss 0.4", "SHA-256 `abc`", "commit `c0ffee`, with uncommitted changes",
        "optuna: 9 complete, 1 failed. Chosen: trial 7", "- `max_depth`: 3",
        'load_model("models:/delays/4")', 'params={"output": "probability"}', "python -m hpo.reproduce delays/4",
        "- carrier = AA: holds (120 rows, 0.9 against 0.8)",
    ):  # fmt: skip
        assert said in text, said
    assert Trial.from_json(made["trial"]) == TRIAL


def test_a_card_fits_and_drops_whole_sections() -> None:
    many = [{**EVIDENCE.to_json()["gates"][0], "name": f"carrier = {k}"} for k in range(200)]
    long = {**OUTCOME, "evidence": {**EVIDENCE.to_json(), "gates": many}}
    text = card(record(FACTS, TRIAL, {}, long))
    assert len(text) <= LIMIT
    assert "## Gates" not in text
    assert "## Use" in text


def test_a_model_without_a_hold_out_has_a_card() -> None:
    blank = {**OUTCOME, "promoted": False, "evidence": None, "scores": {}}
    text = card(record({**FACTS, "estimate": None, "provenance": None}, TRIAL, {}, blank))
    assert "**Kept as challenger**" in text
    assert "held-out rows |" not in text
