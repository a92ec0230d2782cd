"""What the final model does: contributions, shuffled columns, calibration and residuals, against what they mean."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from hpo.data import holdout_frame
from hpo.objectives.explaining import Found, explain
from hpo.objectives.matrices import about_columns
from hpo.objectives.refit import refit
from hpo.predictor import Predictor, encode
from hpo.trial import Trial
from tests.data.sweeps import bundled


def explained(folder: Path, name: str, model: str, params: dict[str, Any], **keys: Any) -> tuple[Any, Found]:
    sweep, dataset = bundled(name, folder, 800, model=model, **keys)
    refit(sweep, dataset, Trial(0, params), folder / "model", threads=1)
    found = explain(sweep, dataset, Predictor(folder / "model"), folder / "model", threads=1)
    return dataset, json.loads(json.dumps(found, allow_nan=False))


def test_boosted_trees_say_what_moved_each_answer(tmp_path: Path) -> None:
    dataset, found = explained(tmp_path, "flights", "xgboost.XGBClassifier", {"n_estimators": 10}, metrics=("roc_auc",))
    frame, target = holdout_frame(dataset)
    matrix = encode(frame, [asdict(column) for column in dataset.columns])
    booster = xgboost.Booster(model_file=str(tmp_path / "model" / "model.ubj"))
    moved = booster.predict(xgboost.DMatrix(matrix, **about_columns(dataset)), pred_contribs=True)[:, :-1]
    sizes = dict(zip((column.name for column in dataset.columns), abs(moved).mean(axis=0), strict=True))
    features = found["importance"]["features"]
    assert {feature["name"]: feature["value"] for feature in features} == pytest.approx(sizes, rel=1e-3)
    assert features[0]["value"] == max(feature["value"] for feature in features)
    kinds = {column.name: column.kind for column in dataset.columns}
    for feature in features[:12]:
        places = [place for _, place in feature["points"] if place is not None]
        assert bool(places) is (kinds[feature["name"]] != "categorical")
        assert all(0 <= place <= 1 for place in places)
    (calibration,) = found["calibration"]
    assert (calibration["class"], sum(calibration["rows"])) == (str(dataset.classes[1]), len(target))
    assert np.average(calibration["came"], weights=calibration["rows"]) == pytest.approx(target.mean(), abs=1e-3)
    assert calibration["said"] == sorted(calibration["said"])
    assert all(
        low <= came <= high for low, came, high in zip(*(calibration[k] for k in ("low", "came", "high")), strict=True)
    )
    assert [sum(row) for row in found["confusion"]["counts"]] == np.bincount(target).tolist()


def test_several_classes_without_probabilities(tmp_path: Path) -> None:
    dataset, found = explained(
        tmp_path, "segment", "sklearn.svm.LinearSVC", {"C": 0.001, "max_iter": 5000}, metrics=("accuracy",)
    )
    assert "calibration" not in found
    assert len(found["confusion"]["classes"]) == found["confusion"]["of"] == len(dataset.classes)
    assert found["importance"]["method"] == "permutation"


def test_only_what_a_model_uses_is_missed(tmp_path: Path) -> None:
    stump = {"max_depth": 1}
    dataset, found = explained(tmp_path, "diamonds", "sklearn.tree.DecisionTreeRegressor", stump, metrics=("rmse",))
    first, *rest = found["importance"]["features"]
    assert first["value"] > 0, "an error that grows is a loss, too"
    assert [feature["value"] for feature in rest] == [0.0] * (len(dataset.columns) - 1)
    frame, target = holdout_frame(dataset)
    off = target - Predictor(tmp_path / "model").predict(frame)
    assert found["residuals"]["mean"] == pytest.approx(off.mean(), rel=1e-3)
    assert found["residuals"]["spread"]["50%"] == pytest.approx(np.median(abs(off)), rel=1e-3)
    assert len({*found["residuals"]["said"]}) == 2, "a stump says two things"


def test_without_held_out_rows_there_is_nothing_to_say(tmp_path: Path) -> None:
    _, found = explained(
        tmp_path, "segment", "xgboost.XGBClassifier", {"n_estimators": 2}, metrics=("log_loss",), data={"holdout": 0.0}
    )
    assert found == {}
