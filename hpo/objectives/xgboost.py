"""XGBClassifier and XGBRegressor by a shorter way: the same numbers, the binning done once.

Opened by `hpo.objectives` in a worker. The parameters go through XGBoost's own scikit-learn class,
so that they mean exactly what they mean there; then `xgboost.train` runs on matrices that outlive the trial.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from hpo.attempt import Attempt, Evaluate
from hpo.data import Dataset, load
from hpo.errors import InputError, Problem, did_you_mean
from hpo.metric import Metric
from hpo.objectives.folds import cross_validate, fold_order, is_reported
from hpo.objectives.matrices import DEFAULT_BINS, Matrices, worker_budget
from hpo.objectives.scoring import Predicted, PredictedClasses, PredictedNumbers, score
from hpo.predictor import labels_of, probabilities_of
from hpo.sweep import Sweep
from hpo.trial import Pruned

# What XGBoost's scikit-learn class takes beyond its signature, and hands on to the booster.
_NATIVE = (
    "alpha", "lambda", "eta", "min_split_loss", "seed_per_iteration", "sample_type",
    "normalize_type", "rate_drop", "one_drop", "skip_drop", "feature_selector", "top_k", "updater", "refresh_leaf",
    "process_type", "max_cached_hist_node", "tweedie_variance_power", "huber_slope", "quantile_alpha",
    "aft_loss_distribution", "aft_loss_distribution_scale",
)  # fmt: skip
_PART = "validation"  # what XGBoost is told to call the rows that a fold is judged on
# The table decides these.
_OURS = ("missing", "feature_types", "feature_weights", "callbacks", "kwargs", "self")
# XGBoost's name for a metric of ours, for binary or regression and for more classes, and from its value to ours.
_EVALUATIONS: dict[str, tuple[str | None, str | None, Callable[[float], float]]] = {
    "roc_auc": ("auc", None, float), "average_precision": ("aucpr", None, float),
    "roc_auc_ovr_weighted": ("auc", "auc", float),
    "accuracy": ("error", "merror", lambda error: 1.0 - error), "neg_log_loss": ("logloss", "mlogloss", float),
    "neg_root_mean_squared_error": ("rmse", None, float), "neg_mean_squared_error": ("rmse", None, lambda r: r * r),
    "neg_mean_absolute_error": ("mae", None, float), "neg_mean_absolute_percentage_error": ("mape", None, float),
    "neg_root_mean_squared_log_error": ("rmsle", None, float),
}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """XGBoost's name for the sweep's first metric, and from its value to ours."""

    name: str
    convert: Callable[[float], float]


@dataclass(frozen=True)
class Plan:
    """What one trial asks of `xgboost.train`. `bins` None: the booster reads values that are not binned."""

    params: Mapping[str, Any]
    rounds: int
    patience: int | None
    bins: int | None
    curve: Evaluation | None


def open_xgboost(sweep: Sweep, dataset: Dataset) -> Evaluate:
    """Map the data and keep the matrices for as long as the worker lives; the result runs one trial."""
    arrays = load(dataset)
    cap = sweep.limits.memory or sweep.resources.memory
    matrices = Matrices(dataset, arrays, cap and worker_budget(1, cap))
    metrics = (*sweep.metrics, *sweep.extra_metrics)

    def evaluate(attempt: Attempt) -> dict[str, float]:
        plan = make_plan(sweep, dataset, attempt.params, attempt.threads)
        rounds: list[int] = []
        spent = 0.0

        def run_fold(fold: int) -> dict[str, float]:
            nonlocal spent
            device = str(plan.params.get("device", "cpu"))
            training, validation = matrices.pair(fold, plan.bins, attempt.threads, device)
            begun = time.perf_counter()
            booster, raw = _fit(plan, training, validation, attempt, fold)
            spent += time.perf_counter() - begun
            attempt.log_metric("fit_seconds", spent)
            if plan.patience:
                rounds.append(booster.best_iteration + 1)
                attempt.log_metric("rounds", fmean(rounds))
            return score(metrics, _predicted(raw, dataset), arrays.target[arrays.folds[fold][1]])

        return cross_validate(attempt, metrics, fold_order(sweep, dataset.folds, attempt.number), run_fold)

    return evaluate


def make_plan(sweep: Sweep, dataset: Dataset, params: Mapping[str, Any], threads: int) -> Plan:
    """The sweep's fixed parameters and these, as XGBoost's scikit-learn class would hand them to the booster."""
    given: dict[str, Any] = {
        "random_state": sweep.search.seed, "n_jobs": threads, "verbosity": 0, **sweep.fixed, **params,
        "enable_categorical": True,
    }  # fmt: skip
    model = _class_of(sweep)(**given)
    native = {name: value for name, value in model.get_xgb_params().items() if value is not None}
    if len(dataset.classes) > 2:
        native |= {"objective": "multi:softprob", "num_class": len(dataset.classes)}
    curve = evaluation(sweep.metric, len(dataset.classes))
    asked = native.pop("eval_metric", None)
    names = [asked] if isinstance(asked, str) else list(asked or ())
    if curve is not None and curve.name not in names:
        names.insert(0, curve.name)  # XGBoost stops early by the last one: the user's, if there is any
    binned = native.get("tree_method") in (None, "auto", "hist") and native.get("booster") != "gblinear"
    return Plan(
        params=native | ({"eval_metric": names} if names else {}),
        rounds=model.get_num_boosting_rounds(),
        patience=model.early_stopping_rounds,
        bins=(model.max_bin or DEFAULT_BINS) if binned else None,
        curve=curve,
    )


def evaluation(metric: Metric, classes: int) -> Evaluation | None:
    """None where XGBoost does not know the metric: then there is no curve."""
    two, more, convert = _EVALUATIONS.get(metric.scorer or "", (None, None, float))
    name = more if classes > 2 else two
    sign = -1.0 if metric.name.startswith("neg_") else 1.0
    return Evaluation(name, lambda value: sign * convert(value)) if name else None


def _fit(
    plan: Plan, training: xgboost.DMatrix, validation: xgboost.DMatrix, attempt: Attempt, fold: int
) -> tuple[xgboost.Booster, NDArray[np.float32]]:
    """The booster, and what it predicts for the validation part."""
    watch = _Watch(plan, validation, attempt, fold)
    booster = xgboost.train(
        dict(plan.params), training, plan.rounds,
        evals=[(validation, _PART)] if plan.patience else [], early_stopping_rounds=plan.patience,
        callbacks=[watch], verbose_eval=False,
    )  # fmt: skip
    if attempt.should_prune():
        raise Pruned
    return booster, watch.predicted


class _Watch(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Reports the metric at the curve's rounds, stops the training when a report is answered with "stop", and predicts.

    The prediction is made before `xgboost.train` returns, which forgets what the curve's evaluations have summed up of
    the trees so far: afterwards every tree would be walked a second time.
    """

    predicted: NDArray[np.float32]

    def __init__(self, plan: Plan, validation: xgboost.DMatrix, attempt: Attempt, fold: int) -> None:
        super().__init__()
        self._plan = plan
        self._validation = validation
        self._attempt = attempt
        self._fold = fold

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        curve = self._plan.curve
        if curve is None or not is_reported(epoch + 1):
            return False
        if evals_log:
            value = evals_log[_PART][curve.name][-1]
        else:  # without early stopping nobody else evaluates: only the curve's rounds cost anything
            text = model.eval_set([(self._validation, _PART)], epoch)
            value = dict(part.rsplit(":", 1) for part in text.split()[1:])[f"{_PART}-{curve.name}"]
        self._attempt.report(curve.convert(float(value)), step=epoch, fold=self._fold)
        return self._attempt.should_prune()

    def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
        if not self._attempt.should_prune():
            rounds = model.best_iteration + 1 if self._plan.patience else 0  # 0: all
            self.predicted = model.predict(self._validation, iteration_range=(0, rounds))
        return model


def _predicted(raw: np.ndarray, dataset: Dataset) -> Predicted:
    if dataset.classifies:
        return PredictedClasses(labels_of(raw), probabilities_of(raw), len(dataset.classes))
    return PredictedNumbers(raw)


def check_xgboost(sweep: Sweep, dataset: Dataset) -> None:
    """Every name of the space and of `fixed` is a parameter, and the model suits the task."""
    known = [*inspect.signature(xgboost.XGBModel.__init__).parameters, *_NATIVE]
    known = [name for name in known if name not in _OURS]
    problems = [
        Problem(f"XGBoost has no parameter {name!r}", f"space.{name}", did_you_mean(name, known))
        for name in (*sweep.fixed, *sweep.space.names) if name not in known
    ]  # fmt: skip
    if (sweep.model == "xgboost.XGBClassifier") != dataset.classifies:
        other = "xgboost.XGBClassifier" if dataset.classifies else "xgboost.XGBRegressor"
        problems.append(Problem(f"the task is {dataset.task}, {sweep.model} is not for it", "model", f"take {other}"))
    if problems:
        raise InputError(*problems)


def _class_of(sweep: Sweep) -> Any:
    return xgboost.XGBClassifier if sweep.model == "xgboost.XGBClassifier" else xgboost.XGBRegressor
