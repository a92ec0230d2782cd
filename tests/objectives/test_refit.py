"""The final model: trained on what is not held out, stored without a pickle, judged through what serves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.metrics import log_loss, roc_auc_score

from hpo.data import holdout_frame, load
from hpo.objectives.judging import holdout_scores
from hpo.objectives.refit import refit
from hpo.predictor import Predictor, encode
from hpo.trial import Trial
from tests.data.sweeps import bundled

MODELS = [
    ("flights", "xgboost.XGBClassifier", {"n_estimators": 10, "booster": "dart"}, ("roc_auc", "log_loss", "f1")),
    ("flights", "sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5}, ("roc_auc",)),
    ("flights", "sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}, ("roc_auc",)),
    ("flights", "sklearn.linear_model.LogisticRegression", {"max_iter": 500}, ("log_loss", "accuracy")),
    ("flights", "sklearn.svm.LinearSVC", {"C": 0.001, "max_iter": 5000}, ("accuracy", "f1")),
    ("segment", "xgboost.XGBClassifier", {"n_estimators": 5}, ("log_loss", "f1_macro")),
    ("segment", "sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 5}, ("roc_auc_ovr",)),
    ("segment", "sklearn.neural_network.MLPClassifier", {"max_iter": 200, "tol": 0.05}, ("accuracy",)),
    ("segment", "sklearn.neighbors.KNeighborsClassifier", {"p": 1}, ("accuracy",)),
    ("diamonds", "xgboost.XGBRegressor", {"n_estimators": 10}, ("rmse", "r2")),
    ("diamonds", "sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 5, "loss": "huber"}, ("mae",)),
    ("diamonds", "sklearn.linear_model.ElasticNet", {}, ("mae",)),
]


@pytest.mark.parametrize(("name", "model", "params", "metrics"), MODELS)
def test_every_kind_of_model_is_stored_read_and_judged(
    tmp_path: Path, name: str, model: str, params: dict[str, Any], metrics: tuple[str, ...]
) -> None:
    sweep, dataset = bundled(name, tmp_path, 800, metrics=metrics, model=model)
    refit(sweep, dataset, Trial(0, params), tmp_path / "model", threads=1)
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".ubj", ".skops", ".json", ".py"}
    predictor = Predictor(tmp_path / "model")
    scores = holdout_scores(sweep, dataset, predictor)
    assert tuple(scores) == metrics
    assert all(np.isfinite(value) for value in scores.values())
    frame, _ = holdout_frame(dataset)
    if dataset.classes:
        assert set(predictor.predict(frame).tolist()) <= set(dataset.classes)


def test_the_hold_out_score_is_that_of_the_model(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 1000, metrics=("roc_auc", "log_loss"))
    refit(sweep, dataset, Trial(0, {"n_estimators": 12, "max_bin": 64}), tmp_path / "model", threads=1)
    scores = holdout_scores(sweep, dataset, Predictor(tmp_path / "model"))
    arrays = load(dataset)
    columns = json.loads((tmp_path / "model" / "columns.json").read_text())["columns"]
    kinds = ["c" if column["kind"] == "categorical" else "q" for column in columns]
    model = xgboost.XGBClassifier(
        n_estimators=12, max_bin=64, random_state=7, n_jobs=1, enable_categorical=True, feature_types=kinds
    )
    model.fit(arrays.features, arrays.target)
    frame, target = holdout_frame(dataset)
    shares = model.predict_proba(encode(frame, columns))
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(target, shares[:, 1]), abs=1e-9)
    assert scores["log_loss"] == pytest.approx(log_loss(target, shares), abs=1e-6)


def test_xgboost_refits_to_the_same_bytes(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 1000)
    trial = Trial(0, {"n_estimators": 20, "subsample": 0.6, "colsample_bytree": 0.5})
    for name in ("once", "again"):
        refit(sweep, dataset, trial, tmp_path / name, threads=2)
    once, again = ((tmp_path / name / "model.ubj").read_bytes() for name in ("once", "again"))
    assert once == again


@pytest.mark.parametrize(("metrics", "trees"), [({"rounds": 7.6}, 8), ({}, 50)])
def test_as_many_rounds_as_the_folds_stopped_at(tmp_path: Path, metrics: dict[str, float], trees: int) -> None:
    fixed = {"n_estimators": 50, "early_stopping_rounds": 5}
    sweep, dataset = bundled("flights", tmp_path, 600, fixed=fixed)
    refit(sweep, dataset, Trial(0, {}, metrics=metrics), tmp_path / "model", threads=1)
    assert xgboost.Booster(model_file=tmp_path / "model" / "model.ubj").num_boosted_rounds() == trees
