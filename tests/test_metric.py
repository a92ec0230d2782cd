"""Metrics against the real scorers of scikit-learn: names, signs, tasks, directions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import get_scorer

from hpo.metric import Metric, best, infer_direction, known_metrics


def scores(name: str) -> tuple[float, float]:
    """A good and a bad model's values of a metric, as we have it."""
    direction = infer_direction(name)
    assert direction is not None
    metric = Metric(name, direction)
    if metric.tasks == ("regression",):
        x, y = make_regression(200, 4, noise=1.0, random_state=0)
        y = np.exp(y / 100)
        good, bad = PoissonRegressor(alpha=0), PoissonRegressor(alpha=1e4)
    else:
        classes = 2 if "binary" in metric.tasks else 3
        x, y = make_classification(300, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=0)
        good, bad = LogisticRegression(), LogisticRegression(C=1e-9)
    x = x - x.min()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the bad model predicts one class only, or does not converge
        values = [float(get_scorer(metric.scorer)(model.fit(x, y), x, y)) for model in (good, bad)]
    if metric.negated:
        values = [-value for value in values]
    return values[0], values[1]


@pytest.mark.parametrize("name", known_metrics())
def test_scikit_learn_knows_it_and_agrees_which_way_is_better(name: str) -> None:
    direction = infer_direction(name)
    assert direction is not None
    metric = Metric(name, direction)
    assert metric.tasks
    assert metric.scorer is not None
    # A loss is known by its plain name: scikit-learn has it negated.
    assert (
        metric.negated
        == (direction == "minimize")
        == (metric.scorer.startswith("neg_") and not name.startswith("neg_"))
    )
    assert (get_scorer(metric.scorer)._sign < 0) == metric.scorer.startswith("neg_")
    if "recall" in name or name in ("top_k_accuracy", "max_error"):
        return  # a model that says always the same can win these
    good, bad = scores(name)
    assert metric.better(good, bad), (good, bad)


def test_unknown_names() -> None:
    metric = Metric("my_loss", "minimize")
    assert (infer_direction("my_loss"), metric.scorer, metric.tasks, metric.negated) == (None, None, (), False)
    assert infer_direction("neg_roc_auc") is None
    assert Metric("neg_roc_auc", "maximize").scorer is None


def test_short_names() -> None:
    assert Metric("rmse", "minimize").scorer == "neg_root_mean_squared_error"
    assert Metric("auc", "maximize").scorer == "roc_auc"
    assert Metric("neg_log_loss", "maximize").scorer == "neg_log_loss"


def test_the_best_is_the_first_of_equals() -> None:
    assert best(Metric("a", "maximize"), [1.0, 3.0, 3.0]) == 1
    assert best(Metric("a", "minimize"), [2.0, 1.0, 1.0, 3.0]) == 1
    assert not Metric("a", "minimize").better(1.0, 1.0)
