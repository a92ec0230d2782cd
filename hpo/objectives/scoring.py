"""Scores: scikit-learn's scorers over one set of predictions, in each metric's own sign and unit.

Called by the objectives for each fold and by `refit` for the hold-out, so that both mean the same. Each kind of
prediction is computed once, however many metrics are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from hpo.metric import Metric


class PredictedClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Known predictions in the shape of a fitted classifier, which is what a scorer accepts.

    `labels` are class codes, `probabilities` (rows, classes), or None where no metric asks for them.
    """

    def __init__(self, labels: NDArray[Any], probabilities: NDArray[Any] | None, classes: int) -> None:
        self.labels = labels
        self.probabilities = probabilities
        self.classes_ = np.arange(classes)

    def predict(self, X: object) -> NDArray[Any]:
        return self.labels

    def predict_proba(self, X: object) -> NDArray[Any]:
        if self.probabilities is None:
            raise ValueError("these predictions hold no probabilities")
        return self.probabilities


class PredictedNumbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Known predictions in the shape of a fitted regressor."""

    def __init__(self, numbers: NDArray[Any]) -> None:
        self.numbers = numbers

    def predict(self, X: object) -> NDArray[Any]:
        return self.numbers


Predicted = PredictedClasses | PredictedNumbers


def predict(metrics: Sequence[Metric], estimator: Any, features: NDArray[Any], classes: int) -> Predicted:
    """What a fitted estimator says about these rows, as far as the metrics need it.

    Probabilities even where scikit-learn would take the decision function: they are what is served and judged.
    """
    labels = np.asarray(estimator.predict(features))
    if not classes:
        return PredictedNumbers(labels)
    asked = any(map(needs_probabilities, metrics))
    return PredictedClasses(labels, np.asarray(estimator.predict_proba(features)) if asked else None, classes)


def score(metrics: Sequence[Metric], predicted: Predicted, target: NDArray[Any]) -> dict[str, float]:
    """The value of each metric."""
    sign = {True: -1.0, False: 1.0}
    return {m.name: sign[m.negated] * float(get_scorer(_scorer(m))(predicted, None, target)) for m in metrics}


def needs_probabilities(metric: Metric) -> bool:
    """True unless the scorer is satisfied with labels."""
    return bool(get_scorer(_scorer(metric))._response_method != "predict")


def _scorer(metric: Metric) -> str:
    if metric.scorer is None:
        raise ValueError(f"{metric.name} is not one of scikit-learn's metrics")
    return metric.scorer
