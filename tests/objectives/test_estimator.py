"""Any estimator: scores as scikit-learn's own, nothing leaks, names reach where they should."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hpo import objectives
from hpo.attempt import Attempt, Keep, run_attempt
from hpo.data import Dataset, load
from hpo.errors import InputError
from hpo.objectives.estimator import make_estimator
from hpo.space import Choice, Float, Int, Space
from hpo.sweep import Sweep
from hpo.trial import Trial
from tests.data.sweeps import bundled

LOGISTIC = "sklearn.linear_model.LogisticRegression"
FOREST = "sklearn.ensemble.RandomForestClassifier"
HIST = "sklearn.ensemble.HistGradientBoostingClassifier"


def run(sweep: Sweep, dataset: Dataset, params: dict[str, Any], keep: Keep | None = None) -> Trial:
    attempt = Attempt(trial := Trial(0, params), threads=1, keep=keep)
    return run_attempt(objectives.build(sweep, dataset).open(), trial, attempt, sweep.metrics)


@pytest.mark.parametrize(
    ("name", "model", "metric", "fixed", "params"),
    [
        ("flights", LOGISTIC, "roc_auc", {"max_iter": 500}, {"C": 0.1, "preprocess__num__impute__strategy": "mean"}),
        ("flights", FOREST, "log_loss", {"n_estimators": 10}, {"min_samples_leaf": 5}),
        ("flights", HIST, "average_precision", {"max_iter": 10}, {"learning_rate": 0.2}),
        ("flights", "sklearn.naive_bayes.GaussianNB", "f1", {}, {}),
        ("flights", "sklearn.svm.LinearSVC", "accuracy", {"max_iter": 5000, "C": 0.001}, {}),
        ("flights", "xgboost.XGBRFClassifier", "roc_auc", {"n_estimators": 5}, {"max_depth": 3}),
        ("diamonds", "sklearn.linear_model.Ridge", "rmse", {}, {"alpha": 2.0}),
        ("diamonds", "sklearn.ensemble.HistGradientBoostingRegressor", "mae", {"max_iter": 10}, {}),
        ("segment", "sklearn.neighbors.KNeighborsClassifier", "f1_macro", {}, {"n_neighbors": 3}),
    ],
)
@pytest.mark.filterwarnings("ignore:`XGBRFClassifier` is deprecated")  # since XGBoost 3.4
def test_scores_equal_cross_val_score(
    tmp_path: Path, name: str, model: str, metric: str, fixed: dict[str, Any], params: dict[str, Any]
) -> None:
    sweep, dataset = bundled(name, tmp_path, 700, metrics=(metric,), model=model, fixed=fixed)
    objectives.check(sweep, dataset)
    trial = run(sweep, dataset, params)
    assert trial.state == "complete", trial.failure
    arrays = load(dataset)
    estimator = make_estimator(sweep, dataset, params, threads=1)
    x, y = arrays.features, arrays.target
    scores = cross_val_score(estimator, x, y, cv=arrays.folds, scoring=sweep.metric.scorer, error_score="raise")
    assert trial.scores[metric] == pytest.approx(-scores if sweep.metric.negated else scores, abs=1e-9)
    assert trial.metrics["fit_seconds"] > 0


def test_several_metrics_from_one_fit(tmp_path: Path) -> None:
    names = ("roc_auc", "log_loss", "f1", "neg_brier_score")
    sweep, dataset = bundled("flights", tmp_path, 700, metrics=names, model=FOREST, fixed={"n_estimators": 5})
    trial = run(sweep, dataset, {})
    assert tuple(trial.scores) == names
    assert trial.scores["log_loss"][0] > 0 > trial.scores["neg_brier_score"][0]
    assert trial.values == pytest.approx([np.mean(trial.scores["roc_auc"])])


class Spy(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Remembers what it was fitted on."""

    seen: list[np.ndarray[Any, Any]] = []  # noqa: RUF012  (shared on purpose)

    def fit(self, X: Any, y: Any) -> Spy:
        Spy.seen.append(np.array(X))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X), dtype=int)


def test_validation_rows_change_nothing_in_training(tmp_path: Path) -> None:
    """Make one fold's validation rows absurd: all that is fitted on the other rows stays the same."""
    model = f"{__name__}.Spy"
    sweep, dataset = bundled("flights", tmp_path, 600, metrics=("accuracy",), model=model)
    Spy.seen.clear()
    run(sweep, dataset, {})
    path = dataset.folder / "features.npy"
    arrays = load(dataset)
    changed = np.array(arrays.features)
    absurd = arrays.folds[1][1]
    changed[absurd] = np.where(np.isnan(changed[absurd]), 1e6, np.nan)
    np.save(path, changed)
    run(sweep, dataset, {})
    before, after = Spy.seen[:3], Spy.seen[3:]
    np.testing.assert_array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0]), "the test can tell"


def test_seed_and_threads_are_set_unless_the_user_did(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 600, model=FOREST)
    found = make_estimator(sweep, dataset, {}, threads=3).get_params()
    assert (found["model__random_state"], found["model__n_jobs"]) == (7, 3)
    found = make_estimator(sweep, dataset, {"random_state": 1, "n_jobs": 2}, threads=3).get_params()
    assert (found["model__random_state"], found["model__n_jobs"]) == (1, 2)


def test_missing_numbers_stay_for_a_model_that_reads_them(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 600, model=FOREST)
    steps = make_estimator(sweep, dataset, {}, 1)["preprocess"].transformers[0][1]
    assert steps["impute"] == "passthrough"
    asked = make_estimator(sweep, dataset, {"preprocess__num__impute__strategy": "mean"}, 1)
    assert asked["preprocess"].transformers[0][1]["impute"].strategy == "mean"


def test_a_column_with_more_categories_than_bins_is_read_as_numbers(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 2000, model=HIST)
    wide = [k for k in dataset.categorical if len(dataset.columns[k].categories) > 20]
    assert make_estimator(sweep, dataset, {}, 1).categorical_features == list(dataset.categorical)
    narrow = make_estimator(sweep, dataset, {"max_bins": 20}, 1).categorical_features
    assert narrow == [k for k in dataset.categorical if k not in wide]
    assert run(sweep, dataset, {"max_bins": 20, "max_iter": 3}).state == "complete"


def pipeline() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def test_a_pipeline_of_the_users_own(tmp_path: Path) -> None:
    space = Space((Float("logisticregression__C", 0.1, 1.0),))
    model = f"{__name__}:pipeline"
    sweep, dataset = bundled("segment", tmp_path, 600, metrics=("accuracy",), model=model, space=space)
    objectives.check(sweep, dataset)
    trial = run(sweep, dataset, {"logisticregression__C": 0.5})
    assert trial.state == "complete", trial.failure


def test_a_model_beside_the_sweeps_file(tmp_path: Path) -> None:
    (tmp_path / "my_own_models.py").write_text(
        "from sklearn.ensemble import HistGradientBoostingClassifier\n"
        "def small(): return HistGradientBoostingClassifier(max_iter=3)\n"
    )
    sweep, dataset = bundled("flights", tmp_path, 600, model="my_own_models.small", root=tmp_path)
    assert run(sweep, dataset, {}).state == "complete"
    assert isinstance(clone(make_estimator(sweep, dataset, {}, 1)), HistGradientBoostingClassifier)


def test_stop_after_a_fold(tmp_path: Path) -> None:
    sweep, dataset = bundled("flights", tmp_path, 600, model=LOGISTIC, fixed={"max_iter": 500})
    trial = run(sweep, dataset, {}, keep=lambda report: False)
    assert (trial.state, len(trial.scores["roc_auc"])) == ("pruned", 1)


@pytest.mark.parametrize(
    ("model", "names", "said"),
    [
        (FOREST, ("n_estimator",), "did you mean 'n_estimators'"),
        (LOGISTIC, ("preprocess__num__imputer__strategy",), "imputer"),
        (LOGISTIC, ("preproces__num",), "preproces__num"),
        (HIST, ("preprocess__num__impute__strategy",), "no parameter"),
        ("sklearn.ensemble.RandomForrest", (), "did you mean 'RandomForest"),
        ("sklearn.ensembel.RandomForestClassifier", (), "no module 'sklearn.ensembel'"),
        ("RandomForest", (), "no dotted path"),
        ("sklearn.linear_model.Ridge", (), "take a classifier"),
        ("sklearn.ensemble.VotingClassifier", (), "without arguments"),
        ("collections.Counter", (), "no estimator"),
        ("sklearn.svm.LinearSVC", (), "roc_auc needs probabilities"),
    ],
)
def test_what_would_fail_every_trial_is_said_before(
    tmp_path: Path, model: str, names: tuple[str, ...], said: str
) -> None:
    space = Space(tuple(Int(name, 1, 2) for name in names))
    sweep, dataset = bundled("flights", tmp_path, 600, model=model, space=space)
    with pytest.raises(InputError, match=said):
        objectives.check(sweep, dataset)


def test_a_parameter_that_needs_another_ones_value(tmp_path: Path) -> None:
    """`passthrough` has no parameters of its own: checked beside the values that switch it on."""
    scale = Choice("preprocess__num__scale", ("passthrough", None))
    space = Space(
        (Choice("fit_intercept", (False, True)), scale, Float("C", 0.1, 1.0, when={"fit_intercept": (True,)}))
    )
    sweep, dataset = bundled("flights", tmp_path, 600, model=LOGISTIC, space=space)
    wrong = Space((*space.parameters, Float("oops", 0.0, 1.0, when={"fit_intercept": (True,)})))
    with pytest.raises(InputError, match="oops"):
        objectives.check(dataclasses.replace(sweep, space=wrong), dataset)
    objectives.check(sweep, dataset)
