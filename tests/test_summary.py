"""The last words of a sweep, for people at any width and for scripts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpo.metric import Metric
from hpo.result import Result
from hpo.summary import as_json, summarize
from hpo.trial import Failure, Trial

AUC = Metric("roc_auc", "maximize")
BEST = Trial(
    3, {"learning_rate": 0.038046215691345, "kind": "[b]", "depth": 7}, started=1.0, finished=2.0, values=(0.732318,),
    scores={"roc_auc": (0.72, 0.73, 0.75), "log_loss": (0.4, 0.5, 0.6)},
)  # fmt: skip
PROMOTED = {
    "model": "flights", "version": "4", "alias": "champion", "promoted": True, "error": None,
    "reasons": ["hold-out roc_auc 0.7363 against the champion's 0.71", "it gains 0.0263"],
    "scores": {"roc_auc": 0.736348, "average_precision": 0.48}, "champion_scores": {"roc_auc": 0.71},
}  # fmt: skip


def result(*trials: Trial, best: Trial | None = BEST, metrics: tuple[Metric, ...] = (AUC,), **facts: Any) -> Result:
    facts.setdefault("state", "finished")
    return Result("flights-1", metrics=metrics, all_trials=trials, best=best, journal=Path("j"), seconds=65.0, **facts)


def said(found: Result, width: int = 80) -> list[str]:
    console = Console(file=(file := io.StringIO()), width=width)
    summarize(found, console)
    return file.getvalue().splitlines()


def test_scores_with_their_spread_and_parameters_stand_in_a_column() -> None:
    lines = said(result(BEST, promotion=PROMOTED))
    start = lines.index("best: trial 3")
    assert lines[start + 1 : start + 7] == [
        "  roc_auc                     0.732318  (folds 0.72 to 0.75, sd 0.015)",
        "  hold-out roc_auc            0.736348  (champion 0.71)",
        "  hold-out average_precision  0.48",
        "  learning_rate               0.0380462",
        "  kind                        [b]",
        "  depth                       7",
    ]
    assert lines[1] == "flights-1: 1 complete in 1 m 05 s"


def test_what_was_promoted_and_why() -> None:
    lines = said(result(BEST, promotion=PROMOTED))
    start = lines.index("promoted: flights version 4 is models:/flights@champion")
    assert lines[start + 2] == "  because it gains 0.0263"
    lost = {**PROMOTED, "promoted": False, "alias": "challenger", "reasons": ["it is worse"]}
    lines = said(result(BEST, promotion=lost))
    assert "not promoted: flights version 4, a challenger, is models:/flights@challenger" in lines
    assert "  because it is worse" in lines
    failed = {"model": "flights", "error": "RuntimeError: [oops]"}
    assert "not promoted: RuntimeError: [oops]" in said(result(BEST, promotion=failed))


def test_failures_are_counted_by_their_first_line() -> None:
    failed = [
        Trial(n, {}, started=0.0).failed(Failure("exception", f"ValueError: [{n % 2}]\nmore"), 1.0) for n in range(5)
    ]
    lines = said(result(*failed, best=None))
    assert lines[1:] == [
        "flights-1: 5 failed in 1 m 05 s",
        "  3 failed: ValueError: [0]",
        "  2 failed: ValueError: [1]",
        "",
        "see its report:    python -m hpo.report flights-1 --open",
    ]


def test_the_commands_that_show_the_runs_of_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours, plain = said(result(BEST, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"), 40)[-2:]
    assert ours == "compare the runs:  python -m hpo.ui flights-1"
    assert plain == "              or:  mlflow ui --backend-store-uri sqlite:///mlflow.db"
    plain = said(result(BEST, tracking_uri="sqlite:////else where/a.db"))[-1]
    assert plain.endswith("mlflow ui --backend-store-uri 'sqlite:////else where/a.db'")
    assert not any("mlflow" in line for line in said(result(BEST)))


def test_the_address_on_a_server() -> None:
    def opened(uri: str, **facts: Any) -> list[str]:
        return said(result(BEST, tracking_uri=uri, **facts), 40)[-2:]

    runs = "https://mlflow.example.org/#/experiments/7/runs?workflowType=machine_learning"
    address, plain = opened("https://me:secret@mlflow.example.org/", experiment="7")
    assert address.startswith(f"compare the runs:  {runs}&")
    assert address.endswith("orderByKey=metrics.%60roc_auc%60&orderByAsc=false")
    assert plain == "       filter by:  tags.`hpo.sweep` = 'flights-1'"
    assert opened("https://mlflow.example.org/[x]")[0] == "compare the runs:  https://mlflow.example.org/[x]"


def test_an_interrupted_one_says_how_to_go_on() -> None:
    lines = said(result(BEST, state="interrupted", signal=2), width=30)
    assert "interrupted: the same command goes on from here, or add --resume flights-1" in lines
    waited = said(result(BEST, signal=2, unpublished="stopped by the user"))
    assert not any("interrupted" in line for line in waited), "the search was over, the user only stopped waiting"
    assert "not everything is in MLflow yet: stopped by the user" in waited
    assert "  deliver it later:  python -m hpo.sync flights-1" in waited


def test_several_metrics_name_the_front() -> None:
    trials = [Trial(n, {}, started=0.0, finished=1.0, values=(float(n), float(-n))) for n in range(3)]
    lines = said(result(*trials, best=trials[2], metrics=(AUC, Metric("speed", "maximize"))))
    assert "  on the Pareto front: trials 0, 1, 2" in lines


def test_json_keeps_its_promise() -> None:
    found = json.loads(json.dumps(as_json(result(BEST, promotion=PROMOTED, tracking_uri="http://a"))))
    assert found["sweep"] == "flights-1"
    assert found["trials"] == {"complete": 1, "pruned": 0, "failed": 0, "running": 0}
    assert found["best"]["params"] == {"learning_rate": 0.038046215691345, "kind": "[b]", "depth": 7}
    assert found["best"]["values"] == {"roc_auc": 0.732318}
    assert found["best"]["folds"]["log_loss"] == [0.4, 0.5, 0.6]
    assert found["model_uri"] == "models:/flights/4"
    assert json.loads(json.dumps(as_json(result(best=None))))["best"] is None
