"""A metric: its name, which way is better, and which scikit-learn scorer computes it.

Used by the loader (to infer the direction without importing scikit-learn), by the objectives (to score) and
by the registry (to compare). scikit-learn negates its losses so that greater is always better; people do not
think in negative seconds, so a loss is known here by its plain name (`log_loss`, `rmse`) and minimised, while
the scorer's own name (`neg_log_loss`) works too and is maximised, as scikit-learn has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]
Task = Literal["binary", "multiclass", "regression"]

_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_SCORES: dict[str, tuple[Task, ...]] = {
    "accuracy": _CLASSES, "balanced_accuracy": _CLASSES, "top_k_accuracy": ("multiclass",),
    "average_precision": _CLASSES, "roc_auc": ("binary",), "roc_auc_ovr": _CLASSES, "roc_auc_ovo": _CLASSES,
    "roc_auc_ovr_weighted": _CLASSES, "roc_auc_ovo_weighted": _CLASSES, "matthews_corrcoef": _CLASSES,
    "d2_log_loss_score": _CLASSES, "d2_brier_score": _CLASSES,
    "f1": ("binary",), "precision": ("binary",), "recall": ("binary",), "jaccard": ("binary",),
    **{f"{name}_{mean}": _CLASSES for name in ("f1", "precision", "recall", "jaccard")
       for mean in ("macro", "micro", "weighted")},
    "r2": ("regression",), "explained_variance": ("regression",), "d2_absolute_error_score": ("regression",),
}  # fmt: skip
_LOSSES: dict[str, tuple[Task, ...]] = {
    "log_loss": _CLASSES, "brier_score": _CLASSES,
    **dict.fromkeys((
        "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error",
        "median_absolute_error", "max_error", "mean_squared_log_error", "root_mean_squared_log_error",
        "mean_poisson_deviance", "mean_gamma_deviance"), ("regression",)),
}  # fmt: skip
_SHORT = {
    "mae": "mean_absolute_error", "mse": "mean_squared_error", "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error", "medae": "median_absolute_error", "auc": "roc_auc",
    "msle": "mean_squared_log_error", "rmsle": "root_mean_squared_log_error", "logloss": "log_loss",
    "mcc": "matthews_corrcoef",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """`scorer` and `tasks` are empty for a name that only a function objective can know."""

    name: str
    direction: Direction

    @property
    def sign(self) -> float:
        """+1 where greater is better, so that sign * value can always be compared with `>`."""
        return 1.0 if self.direction == "maximize" else -1.0

    @property
    def scorer(self) -> str | None:
        """The scikit-learn scorer's name; where the metric is a loss the scorer returns its negative."""
        full = _SHORT.get(self.name, self.name)
        if full in _LOSSES:
            return f"neg_{full}"
        return full if full in _SCORES or full.removeprefix("neg_") in _LOSSES else None

    @property
    def negated(self) -> bool:
        """True where this metric is the scorer's result times -1."""
        return self.scorer is not None and not self.name.startswith("neg_") and self.direction == "minimize"

    @property
    def tasks(self) -> tuple[Task, ...]:
        full = _SHORT.get(self.name, self.name).removeprefix("neg_")
        return _SCORES.get(full) or _LOSSES.get(full) or ()

    def better(self, a: float, b: float) -> bool:
        return self.sign * a > self.sign * b


def known_metrics() -> tuple[str, ...]:
    return (*_SCORES, *_LOSSES, *_SHORT, *(f"neg_{name}" for name in _LOSSES))


def infer_direction(name: str) -> Direction | None:
    """The direction of a metric known by name, None for any other."""
    if name.startswith("neg_") and name.removeprefix("neg_") in _LOSSES:
        return "maximize"
    full = _SHORT.get(name, name)
    return "minimize" if full in _LOSSES else "maximize" if full in _SCORES else None


def best(metric: Metric, values: Sequence[float]) -> int:
    """The index of the best value; the first of equals, so that a replay chooses the same."""
    return max(range(len(values)), key=lambda i: (metric.sign * values[i], -i))
