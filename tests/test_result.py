"""What `hpo.run` returns: best, front, table, model URI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo.metric import Metric
from hpo.result import Result
from hpo.trial import Failure, Trial

LOSS, GAIN = Metric("loss", "minimize"), Metric("gain", "maximize")


def result(*trials: Trial, metrics: tuple[Metric, ...] = (LOSS,), **facts: Any) -> Result:
    facts.setdefault("best", None)
    return Result("id", "finished", metrics, trials, journal=Path("j"), seconds=1.0, **facts)


def done(number: int, *values: float) -> Trial:
    return Trial(number, {"x": number}, started=1.0, finished=3.0, values=values)


def test_nothing_is_best_of_nothing() -> None:
    empty = result()
    assert (empty.best_params, empty.best_value, empty.model_uri, empty.pareto_front) == ({}, None, None, ())
    assert len(empty.trials) == 0


def test_the_front_of_one_metric_is_its_best_values() -> None:
    assert [t.number for t in result(done(0, 2.0), done(1, 1.0), done(2, 1.0)).pareto_front] == [1, 2]


def test_the_front_knows_directions_and_leaves_out_what_is_not_complete() -> None:
    trials = (done(0, 1.0, 1.0), done(1, 2.0, 2.0), done(2, 2.0, 1.0), done(3, 3.0, 1.9), Trial(4, {}))
    front = result(*trials, metrics=(LOSS, GAIN)).pareto_front
    assert [trial.number for trial in front] == [0, 1]


def test_the_table_has_a_row_for_each_trial() -> None:
    failed = Trial(1, {"x": 5, "y": "b"}, started=1.0).failed(Failure("exception", "ValueError: no"), 2.0)
    extra = Trial(2, {"x": 7}, started=1.0, finished=2.0, values=(0.5,), metrics={"accuracy": 0.9})
    table = result(done(0, 0.25), failed, extra).trials
    assert list(table["state"]) == ["complete", "failed", "complete"]
    assert list(table["params_x"]) == [0, 5, 7]
    assert table["loss"].isna().tolist() == [False, True, False]
    assert table["accuracy"].tolist()[2] == 0.9
    assert table["error"].tolist()[1] == "ValueError: no"
    assert table["seconds"].tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("promotion", "uri"),
    [
        ({"model": "m", "version": "3", "alias": "champion", "error": None}, "models:/m/3"),
        ({"model": "m", "version": None, "error": "the server said no"}, None),
    ],
)
def test_the_model_uri_is_that_of_the_version(promotion: dict[str, Any], uri: str | None) -> None:
    assert result(promotion=promotion).model_uri == uri
