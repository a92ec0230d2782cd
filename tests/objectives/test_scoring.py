"""Scores from known predictions equal scikit-learn's from the estimator itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer

from hpo.metric import Metric, infer_direction, known_metrics
from hpo.objectives.scoring import needs_probabilities, predict, score


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_known_metric(task: str) -> None:
    x, y = load_diabetes(return_X_y=True) if task == "regression" else load_iris(return_X_y=True)
    if task == "binary":
        x, y = x[50:], y[50:] - 1
    half = np.arange(len(y)) % 2 == 0
    model = (Ridge() if task == "regression" else RandomForestClassifier(10, random_state=0)).fit(x[half], y[half])
    metrics = [Metric(name, infer_direction(name) or "maximize") for name in known_metrics()]
    metrics = [metric for metric in metrics if task in metric.tasks]
    assert len(metrics) > 20
    classes = 0 if task == "regression" else len(np.unique(y))
    found = score(metrics, predict(metrics, model, x[~half], classes), y[~half])
    for metric in metrics:
        own = get_scorer(metric.scorer)(model, x[~half], y[~half])
        assert found[metric.name] == pytest.approx(-own if metric.negated else own, abs=1e-9), metric.name
        assert found[metric.name] >= 0 or metric.name.startswith(("neg_", "d2_", "r2", "matthews", "mcc", "explained"))


def test_probabilities_are_asked_for_only_where_a_metric_needs_them() -> None:
    asking = {
        name for name in ("accuracy", "f1", "log_loss", "roc_auc") if needs_probabilities(Metric(name, "maximize"))
    }
    assert asking == {"log_loss", "roc_auc"}
    with pytest.raises(ValueError, match="not one of scikit-learn's"):
        needs_probabilities(Metric("profit", "maximize"))
