"""Any scikit-learn estimator, cross-validated; what it needs of its input is fitted inside each fold.

Opened by `hpo.objectives` in a worker. An estimator that reads categories itself gets the matrix as
it is; any other stands behind imputing, scaling and one-hot encoding in one Pipeline, so nothing leaks and the
steps can be tuned by name: `preprocess__num__impute__strategy`, plain names reach the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from hpo.attempt import Attempt, Evaluate
from hpo.data import Dataset, load
from hpo.errors import InputError, Problem, did_you_mean
from hpo.objectives.dotted import find
from hpo.objectives.folds import cross_validate, fold_order
from hpo.objectives.scoring import needs_probabilities, predict, score
from hpo.space import Choice, Parameter
from hpo.sweep import Sweep

_RARE = 5  # a category with fewer rows than this in the training part shares a column with its like
_WIDE = 1000  # more columns than this are kept sparse; fewer are dense, on which trees grow 30 times faster
_IMPUTE = "preprocess__num__impute__"


def open_estimator(sweep: Sweep, dataset: Dataset) -> Evaluate:
    """Map the data; the result runs one trial."""
    arrays = load(dataset)
    metrics = (*sweep.metrics, *sweep.extra_metrics)

    def evaluate(attempt: Attempt) -> dict[str, float]:
        estimator = make_estimator(sweep, dataset, attempt.params, attempt.threads)
        spent = 0.0

        def run_fold(fold: int) -> dict[str, float]:
            nonlocal spent
            train, validation = arrays.folds[fold]
            begun = time.perf_counter()
            fitted = clone(estimator).fit(arrays.features[train], arrays.target[train])
            spent += time.perf_counter() - begun
            attempt.log_metric("fit_seconds", spent)
            predicted = predict(metrics, fitted, arrays.features[validation], len(dataset.classes))
            return score(metrics, predicted, arrays.target[validation])

        return cross_validate(attempt, metrics, fold_order(sweep, dataset.folds, attempt.number), run_fold)

    return evaluate


def make_estimator(sweep: Sweep, dataset: Dataset, params: Mapping[str, Any], threads: int) -> Any:
    """The unfitted estimator for these parameters over the sweep's fixed ones; InputError for an unknown name."""
    given = {**sweep.fixed, **params}
    model = _instance(sweep)
    if isinstance(model, Pipeline):  # the user's own: it gets the matrix as it is
        return _settle(_set(model, given), given, sweep.search.seed, threads)
    inside = {name: value for name, value in given.items() if not name.startswith("preprocess__")}
    model = _settle(_set(model, inside), inside, sweep.search.seed, threads)
    imputed = any(name.startswith(_IMPUTE) for name in given)
    model = _with_categories(model, dataset, given) if _reads_categories(model) else _piped(model, dataset, imputed)
    return _set(model, {name: value for name, value in given.items() if name not in inside})


def check_estimator(sweep: Sweep, dataset: Dataset) -> None:
    """Every name of the space and of `fixed` is a parameter, the model suits the task and its metrics."""
    model = _instance(sweep)
    suits = is_classifier(model) if dataset.classifies else is_regressor(model)
    if not suits:
        other = "classifier" if dataset.classifies else "regressor"
        raise InputError(
            Problem(
                f"{sweep.model} is no {other}, but the task is {dataset.task}",
                "model",
                f"take a {other}, or set data.task",
            )
        )
    for turn in range(max((len(p.values) for p in sweep.space.parameters if isinstance(p, Choice)), default=1)):
        # Each choice in its turn, so that conditional parameters are met beside the value that they need.
        params = sweep.space.sample(partial(_some_value, turn))
        estimator = make_estimator(sweep, dataset, params, threads=1)
    if not hasattr(estimator, "predict_proba"):
        asking = [m.name for m in (*sweep.metrics, *sweep.extra_metrics) if needs_probabilities(m)]
        if asking:
            raise InputError(Problem(
                f"{', '.join(asking)} needs probabilities, and {sweep.model} has none with these parameters", "metric",
                "a metric of the labels, like f1 or accuracy, or a model with predict_proba",
            ))  # fmt: skip


def _some_value(turn: int, parameter: Parameter) -> Any:
    return parameter.values[turn % len(parameter.values)] if isinstance(parameter, Choice) else parameter.low


def _instance(sweep: Sweep) -> Any:
    """The model with its defaults: from a class, or from a function of the user that makes one."""
    factory = find(sweep.model or "", sweep.root, "model")
    trusted = sweep.code_digest or sweep.allowed is None or (sweep.model or "").partition(".")[0] in sweep.allowed
    if not trusted and not isinstance(factory, type):  # a library's function: who knows what calling it does
        raise InputError(Problem(f"{sweep.model} is not a class", "model", "name an estimator's class"))
    try:
        model = factory()
    except TypeError as error:
        raise InputError(Problem(
            f"{sweep.model} cannot be made without arguments: {error}", "model",
            "name a function of yours that makes it: `model: my_module.make_model`",
        )) from None  # fmt: skip
    if not all(hasattr(model, method) for method in ("fit", "predict", "get_params", "set_params")):
        raise InputError(Problem(f"{sweep.model} is no estimator: it cannot fit and predict", "model"))
    return model


def _set(estimator: Any, params: Mapping[str, Any]) -> Any:
    if not params:
        return estimator
    known = estimator.get_params(deep=True)
    problems = [
        Problem(f"{type(estimator).__name__} has no parameter {name!r}", f"space.{name}", did_you_mean(name, known))
        for name in params
        if name not in known and name.split("__")[0] not in known
    ]
    if problems:
        raise InputError(*problems)
    try:
        return estimator.set_params(**params)
    except (ValueError, AttributeError) as error:  # scikit-learn names the step that does not know a nested name
        raise InputError(Problem(str(error), "space", did_you_mean(next(iter(params)), known))) from None


def _settle(estimator: Any, given: Mapping[str, Any], seed: int, threads: int) -> Any:
    """Seed and threads, in the estimator and inside it, wherever it takes them and the user said nothing."""
    params = estimator.get_params(deep=True)
    settled = {}
    for name, value in params.items():
        owner, _, short = name.rpartition("__")
        if value is not None or name in given:
            continue
        if short == "random_state":
            settled[name] = seed
        # In LogisticRegression, `n_jobs` has no effect any more, and warns.
        elif short == "n_jobs" and not isinstance(params.get(owner, estimator), LogisticRegression):
            settled[name] = threads
    return estimator.set_params(**settled)


def _reads_categories(model: Any) -> bool:
    """HistGradientBoosting*, and what is built like it."""
    return "categorical_features" in model.get_params() and bool(get_tags(model).input_tags.allow_nan)


def _with_categories(model: Any, dataset: Dataset, given: Mapping[str, Any]) -> Any:
    """Name the categorical columns; one with more categories than bins is read as the numbers of its codes."""
    if "categorical_features" in given:
        return model
    native = [k for k in dataset.categorical if len(dataset.columns[k].categories) <= model.max_bins]
    return model.set_params(categorical_features=native or None)


def _piped(model: Any, dataset: Dataset, imputed: bool) -> Pipeline:
    """The model behind its preprocessing; missing numbers stay for a model that reads them, unless asked for."""
    tags = get_tags(model).input_tags
    categorical = list(dataset.categorical)
    numeric = [k for k in range(len(dataset.columns)) if k not in dataset.categorical]
    impute: Any = "passthrough"
    if imputed or not tags.allow_nan:
        impute = SimpleImputer(strategy="median", keep_empty_features=True)
    wide = sum(len(dataset.columns[k].categories) for k in categorical) > _WIDE
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=_RARE, sparse_output=wide and bool(tags.sparse)
    )
    preprocess = ColumnTransformer([
        ("num", Pipeline([("impute", impute), ("scale", StandardScaler())]), numeric),
        ("cat", encode, categorical),
    ])  # fmt: skip
    return Pipeline([("preprocess", preprocess), ("model", model)])
