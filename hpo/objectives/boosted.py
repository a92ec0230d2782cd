"""LightGBM and CatBoost: categories as they are, early stopping by the sweep's own metric, a curve for the pruners.

Opened by `hpo.objectives` in a worker; `refit` asks for the final model. Parameters go to the libraries' own
scikit-learn classes and mean what they mean there. Ours is only what table and sweep decide: categorical columns, seed,
threads, silence, and that nothing is written beside the journal. Each library is imported where it is asked for.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Mapping
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpo.attempt import Attempt, Evaluate
from hpo.data import Dataset, load
from hpo.errors import InputError, Problem, did_you_mean
from hpo.objectives.folds import cross_validate, fold_order, is_reported
from hpo.objectives.scoring import Predicted, PredictedClasses, PredictedNumbers, score
from hpo.predictor import catboost_rows
from hpo.sweep import Sweep
from hpo.trial import Pruned, Trial

Part = tuple[NDArray[Any], NDArray[Any]]  # features, target
Tell = Callable[[int, float], bool]  # (rounds done, the library's value) -> go on?
# Per scorer, the libraries' names for two classes or numbers, and for more classes; and from their value to ours.
_EVALUATIONS: dict[str, tuple[tuple[str, str] | None, tuple[str, str] | None, Callable[[float], float]]] = {
    "roc_auc": (("auc", "AUC"), None, float),
    "average_precision": (("average_precision", "PRAUC"), None, float),
    "neg_log_loss": (("binary_logloss", "Logloss"), ("multi_logloss", "MultiClass"), float),
    "neg_root_mean_squared_error": (("rmse", "RMSE"), None, float),
    "neg_mean_absolute_error": (("l1", "MAE"), None, float),
    "neg_mean_absolute_percentage_error": (("mape", "MAPE"), None, float),
}


class Given(NamedTuple):
    """What one trial asks for: parameters without `rounds` and `patience`, which have many names."""

    params: Mapping[str, Any]
    rounds: int | None
    patience: int | None


class LightGBM:
    """`lightgbm.LGBMClassifier` and `LGBMRegressor`. Categories are codes; a missing one is NaN."""

    evaluation = 0  # its column in the table above

    def __init__(self, name: str, dataset: Dataset) -> None:
        import lightgbm
        from lightgbm.basic import _ConfigAliases

        self._library = lightgbm
        self._class = getattr(lightgbm, name)
        self._columns = list(dataset.categorical)
        self._aliases = _ConfigAliases.get
        signature = inspect.signature(self._class.__init__).parameters
        self.known = {*signature, *self._aliases(*_ConfigAliases._get_all_param_aliases())} - {"self", "kwargs"}
        self.metric, self.rounds = self._aliases("metric"), self._aliases("num_iterations") | {"n_estimators"}
        self.patience = self._aliases("early_stopping_round")

    def make(self, given: Given, seed: int, threads: int, evaluation: str | None) -> Any:
        """With its rows read in one fixed way, so that the same trial gives the same trees again."""
        ours = {
            "random_state": ("seed", seed), "n_jobs": ("num_threads", threads), "verbosity": ("verbosity", -1),
            "deterministic": ("deterministic", True), "force_col_wise": ("force_row_wise", True),
        }  # fmt: skip
        said = set(given.params)
        params: dict[str, Any] = {}
        params |= {name: value for name, (word, value) in ours.items() if not said & {name, *self._aliases(word)}}
        params |= {"metric": evaluation} if evaluation else {}
        params |= {"n_estimators": given.rounds} if given.rounds is not None else {}
        return self._class(**params, **given.params)

    def fit(self, model: Any, train: Part, validation: Part | None, patience: int | None, tell: Tell) -> int:
        """How many rounds are best; as many as there are, without a validation part."""
        judged: dict[str, Any] = {}
        callbacks = []
        if validation is not None:
            newer = "eval_X" in inspect.signature(model.fit).parameters  # LightGBM 4.7 warns of the other name
            judged = {"eval_X": validation[0], "eval_y": validation[1]} if newer else {"eval_set": [validation]}
            stop = self._library.early_stopping(patience, first_metric_only=True, verbose=False)

            def after_round(env: Any) -> None:
                if not tell(env.iteration + 1, float(env.evaluation_result_list[0][2])):
                    raise Pruned

            callbacks = [after_round, stop]
        model.fit(*train, **judged, callbacks=callbacks, categorical_feature=self._columns or "auto")
        return int(model.best_iteration_ or model.n_iter_)

    def rows(self, features: NDArray[Any]) -> Any:
        return features

    def save(self, model: Any, folder: Any) -> Any:
        written = folder / "model.txt"
        model.booster_.save_model(written)
        return written


class CatBoost:
    """`catboost.CatBoostClassifier` and `CatBoostRegressor`. Categories are whole numbers, which it hashes."""

    evaluation = 1
    rounds = frozenset({"iterations", "n_estimators", "num_boost_round", "num_trees"})
    patience = frozenset({"early_stopping_rounds"})
    metric = frozenset({"eval_metric"})

    def __init__(self, name: str, dataset: Dataset) -> None:
        import catboost

        self._class = getattr(catboost, name)
        self._columns = list(dataset.categorical)
        self.known = {*inspect.signature(self._class.__init__).parameters} - {"self"}

    def make(self, given: Given, seed: int, threads: int, evaluation: str | None) -> Any:
        ours: dict[str, Any] = {"thread_count": threads, "allow_writing_files": False, "cat_features": self._columns}
        said = set(given.params)
        ours |= {} if said & {"random_state"} else {"random_seed": seed}
        ours |= {} if said & {"verbose", "silent", "logging_level"} else {"verbose": False}
        ours |= {"eval_metric": evaluation} if evaluation else {}
        ours |= {"iterations": given.rounds} if given.rounds is not None else {}
        return self._class(**{**ours, **given.params})

    def fit(self, model: Any, train: Part, validation: Part | None, patience: int | None, tell: Tell) -> int:
        rows = (self.rows(train[0]), train[1])
        if validation is None:
            model.fit(*rows)
            return int(model.tree_count_)

        class Telling:
            def after_iteration(self, info: Any) -> bool:
                value = next(iter(info.metrics["validation"].values()))[-1]
                return tell(info.iteration, float(value))

        model.fit(
            *rows, eval_set=(self.rows(validation[0]), validation[1]), early_stopping_rounds=patience,
            callbacks=[Telling()],
        )  # fmt: skip
        return int(model.tree_count_)  # it has cut off what came after the best round

    def rows(self, features: NDArray[Any]) -> Any:
        return catboost_rows(features, self._columns)

    def save(self, model: Any, folder: Any) -> Any:
        written = folder / "model.cbm"
        model.save_model(written)
        return written


def library(sweep: Sweep, dataset: Dataset) -> LightGBM | CatBoost:
    package, _, name = (sweep.model or "").partition(".")
    try:
        return (LightGBM if package == "lightgbm" else CatBoost)(name, dataset)
    except ImportError as error:
        raise InputError(
            Problem(f"{sweep.model} cannot be imported: {error}", "model", f"pip install {package}")
        ) from None


def open_boosted(sweep: Sweep, dataset: Dataset) -> Evaluate:
    """Map the data; the result runs one trial."""
    arrays = load(dataset)
    found = library(sweep, dataset)
    metrics = (*sweep.metrics, *sweep.extra_metrics)

    def evaluate(attempt: Attempt) -> dict[str, float]:
        given = read(found, {**sweep.fixed, **attempt.params})
        evaluation, convert = curve(found, sweep, dataset, given)
        rounds: list[int] = []
        spent = 0.0

        def run_fold(fold: int) -> dict[str, float]:
            nonlocal spent
            parts = [(arrays.features[rows], arrays.target[rows]) for rows in arrays.folds[fold]]

            def tell(done: int, value: float) -> bool:
                if convert is None or not is_reported(done):
                    return True
                attempt.report(convert(value), step=done - 1, fold=fold)
                return not attempt.should_prune()

            model = found.make(given, sweep.search.seed, attempt.threads, evaluation)
            begun = time.perf_counter()
            best = found.fit(model, parts[0], parts[1] if given.patience else None, given.patience, tell)
            spent += time.perf_counter() - begun
            attempt.log_metric("fit_seconds", spent)
            if attempt.should_prune():
                raise Pruned
            if given.patience:
                rounds.append(best)
                attempt.log_metric("rounds", fmean(rounds))
            return score(metrics, _predicted(model, found.rows(parts[1][0]), dataset), parts[1][1])

        return cross_validate(attempt, metrics, fold_order(sweep, dataset.folds, attempt.number), run_fold)

    return evaluate


def refit_boosted(sweep: Sweep, dataset: Dataset, trial: Trial, threads: int, folder: Any) -> Any:
    """The path of the final model: as many rounds as the folds stopped at on average, where they stopped early."""
    arrays = load(dataset)
    found = library(sweep, dataset)
    given = read(found, {**sweep.fixed, **trial.params})
    if given.patience and "rounds" in trial.metrics:
        given = given._replace(rounds=round(trial.metrics["rounds"]))
    model = found.make(given, sweep.search.seed, threads, None)
    found.fit(model, (arrays.features, arrays.target), None, None, lambda done, value: True)
    return found.save(model, folder)


def check_boosted(sweep: Sweep, dataset: Dataset) -> None:
    """The library is there, every name of the space and of `fixed` is a parameter, the model suits the task."""
    found = library(sweep, dataset)
    problems = [
        Problem(f"{sweep.model} has no parameter {name!r}", f"space.{name}", did_you_mean(name, found.known))
        for name in (*sweep.fixed, *sweep.space.names) if name not in found.known
    ]  # fmt: skip
    kind = (sweep.model or "").removesuffix("Regressor").removesuffix("Classifier")
    if str(sweep.model).endswith("Classifier") != dataset.classifies:
        other = f"{kind}{'Classifier' if dataset.classifies else 'Regressor'}"
        problems.append(Problem(f"the task is {dataset.task}, {sweep.model} is not for it", "model", f"take {other}"))
    if problems:
        raise InputError(*problems)


def read(found: LightGBM | CatBoost, given: Mapping[str, Any]) -> Given:
    """The rounds and the patience, by whichever of their names."""

    def take(names: Collection[str]) -> int | None:
        return next((int(given[name]) for name in given if name in names and given[name] is not None), None)

    rest = {name: value for name, value in given.items() if name not in {*found.rounds, *found.patience}}
    return Given(rest, take(found.rounds), take(found.patience) or None)


def curve(
    found: LightGBM | CatBoost, sweep: Sweep, dataset: Dataset, given: Given
) -> tuple[str | None, Callable[[float], float] | None]:
    """The library's name of the sweep's first metric and how to read it; not where a person chose another one."""
    two, more, convert = _EVALUATIONS.get(sweep.metric.scorer or "", (None, None, float))
    names = more if len(dataset.classes) > 2 else two
    if names is None or not given.patience or set(given.params) & set(found.metric):
        return None, None
    sign = -1.0 if sweep.metric.name.startswith("neg_") else 1.0
    return names[found.evaluation], lambda value: sign * convert(value)


def _predicted(model: Any, rows: Any, dataset: Dataset) -> Predicted:
    if not dataset.classifies:
        return PredictedNumbers(np.asarray(model.predict(rows)))
    labels = np.asarray(model.predict(rows)).ravel().astype(int)
    return PredictedClasses(labels, np.asarray(model.predict_proba(rows)), len(dataset.classes))
