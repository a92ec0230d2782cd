"""LightGBM and CatBoost: the library's own numbers, categories and all; stopped early, stopped by a pruner, stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hpo import objectives
from hpo.attempt import Attempt, Keep, run_attempt
from hpo.data import Dataset, holdout_frame, load
from hpo.errors import InputError
from hpo.objectives.judging import holdout_scores
from hpo.objectives.refit import refit
from hpo.predictor import Predictor
from hpo.space import Float, Space
from hpo.sweep import Sweep
from hpo.trial import Trial
from tests.data.sweeps import bundled

LIGHTGBM, CATBOOST = "lightgbm.LGBM", "catboost.CatBoost"
FIXED = {"n_estimators": 40, "early_stopping_rounds": 5}


def run(sweep: Sweep, dataset: Dataset, params: dict[str, Any], keep: Keep | None = None) -> Trial:
    attempt = Attempt(trial := Trial(0, params), threads=1, keep=keep)
    return run_attempt(objectives.build(sweep, dataset).open(), trial, attempt, sweep.metrics)


@pytest.mark.parametrize("library", [LIGHTGBM, CATBOOST])
@pytest.mark.parametrize(
    ("name", "kind", "metrics"),
    [
        ("flights", "Classifier", ("roc_auc", "log_loss", "f1")),
        ("segment", "Classifier", ("log_loss", "accuracy")),
        ("diamonds", "Regressor", ("rmse", "mae")),
    ],
)
def test_from_folds_to_a_stored_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, name: str, kind: str, metrics: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep, dataset = bundled(name, tmp_path, 700, metrics=metrics, model=library + kind, fixed=FIXED)
    before = set(tmp_path.iterdir())
    objectives.check(sweep, dataset)
    trial = run(sweep, dataset, {"learning_rate": 0.2})
    assert trial.state == "complete", trial.failure
    score = trial.scores[metrics[0]][0]
    curve = [report.value for report in trial.reports if report.fold == 0]
    assert min(abs(value - score) for value in curve) < 0.1 * score, "the curve is in the metric's sign and unit"
    assert 1 <= trial.metrics["rounds"] <= 40
    again = run(sweep, dataset, {"learning_rate": 0.2})
    assert again.scores == trial.scores
    assert set(tmp_path.iterdir()) == before, "nothing is written beside the journal"
    refit(sweep, dataset, trial, tmp_path / "model", threads=1)
    scores = holdout_scores(sweep, dataset, Predictor(tmp_path / "model"))
    assert tuple(scores) == metrics
    frame, _ = holdout_frame(dataset)
    for column in dataset.columns:
        if column.kind == "categorical":
            frame[column.name] = "never seen"
    found = Predictor(tmp_path / "model").predict(frame)
    assert set(found.tolist()) <= set(dataset.classes) if dataset.classes else np.isfinite(found).all()


def test_lightgbm_as_its_own_class_has_it(tmp_path: Path) -> None:
    """Categories by their codes, a gap as a gap, and the metric that stops it early is the sweep's alone."""
    sweep, dataset = bundled("flights", tmp_path, 900, model="lightgbm.LGBMClassifier", fixed=FIXED)
    trial = run(sweep, dataset, {"num_leaves": 7})
    arrays = load(dataset)
    expected, rounds = [], []
    for train, held in arrays.folds:
        x, y = arrays.features, arrays.target
        model = lightgbm.LGBMClassifier(
            n_estimators=40, num_leaves=7, metric="auc", random_state=7, n_jobs=1, verbosity=-1, deterministic=True,
            force_col_wise=True,
        )  # fmt: skip
        model.fit(
            x[train], y[train], eval_X=x[held], eval_y=y[held], categorical_feature=list(dataset.categorical),
            callbacks=[lightgbm.early_stopping(5, verbose=False)],
        )  # fmt: skip
        expected.append(roc_auc_score(y[held], model.predict_proba(x[held])[:, 1]))
        rounds.append(model.best_iteration_)
    assert dataset.categorical
    assert trial.scores["roc_auc"] == pytest.approx(expected, abs=1e-12)
    assert trial.metrics["rounds"] == np.mean(rounds)
    refit(sweep, dataset, trial, tmp_path / "model", threads=1)
    stored = lightgbm.Booster(model_file=tmp_path / "model" / "model.txt")
    assert stored.num_trees() == round(trial.metrics["rounds"])


@pytest.mark.parametrize("library", [LIGHTGBM, CATBOOST])
def test_a_report_answered_with_stop_ends_the_training(tmp_path: Path, library: str) -> None:
    fixed = {"n_estimators": 500, "early_stopping_rounds": 400, "learning_rate": 0.01}
    sweep, dataset = bundled("flights", tmp_path, 700, model=f"{library}Classifier", fixed=fixed)
    trial = run(sweep, dataset, {}, keep=lambda report: report.step < 5)
    assert trial.state == "pruned"
    assert [report.step for report in trial.reports] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("library", [LIGHTGBM, CATBOOST])
def test_what_the_library_does_not_know_is_said_before_the_first_trial(tmp_path: Path, library: str) -> None:
    space = Space((Float("learning_rat", 0.1, 0.2),))
    sweep, dataset = bundled("flights", tmp_path, 700, model=f"{library}Regressor", space=space)
    with pytest.raises(InputError) as caught:
        objectives.check(sweep, dataset)
    said = str(caught.value)
    assert "did you mean 'learning_rate'?" in said
    assert f"take {library}Classifier" in said


@pytest.mark.parametrize(
    ("library", "params"),
    [
        (LIGHTGBM, {"num_boost_round": 7, "lambda_l1": 0.1, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": 3}),
        (CATBOOST, {"iterations": 7, "l2_leaf_reg": 2.0, "random_state": 3, "logging_level": "Silent"}),
    ],
)
def test_the_library_s_other_names(tmp_path: Path, library: str, params: dict[str, Any]) -> None:
    """Also without early stopping: as many rounds as are asked for, whatever they are called."""
    sweep, dataset = bundled("flights", tmp_path, 700, model=f"{library}Classifier", fixed=params)
    objectives.check(sweep, dataset)
    trial = run(sweep, dataset, {})
    assert trial.state == "complete", trial.failure
    assert "rounds" not in trial.metrics
    refit(sweep, dataset, trial, tmp_path / "model", threads=1)
    if library == LIGHTGBM:
        assert lightgbm.Booster(model_file=tmp_path / "model" / "model.txt").num_trees() == 7
    else:
        import catboost

        assert catboost.CatBoost().load_model(str(tmp_path / "model" / "model.cbm")).tree_count_ == 7
