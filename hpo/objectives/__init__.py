"""Objectives: what a trial runs. A model from the sweep's file, cross-validated, or the user's own function.

The verbs call `check` (before the first trial) and `build`. Each adapter imports its engine at its top, so it is
imported only by whoever opens or checks an objective that needs it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from hpo.attempt import Attempt, Evaluate, Objective, Outcome
from hpo.data import Dataset, Source, here
from hpo.errors import InputError, Problem, did_you_mean
from hpo.sweep import Sweep
from hpo.trial import FRESH

# Those with a path of their own.
XGBOOST = ("xgboost.XGBClassifier", "xgboost.XGBRegressor")
BOOSTED = ("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", "catboost.CatBoostClassifier",
           "catboost.CatBoostRegressor")  # fmt: skip


@dataclass(frozen=True)
class ModelObjective:
    """A model on a data set: small, picklable, without a row of data and without the engine.

    `source`: where a host gets the prepared data that does not share our disk.
    """

    sweep: Sweep
    dataset: Dataset
    source: Source | None = None

    @property
    def imports(self) -> tuple[str, ...]:
        return imports(self.sweep)

    def open(self) -> Evaluate:
        """Checked here, where the engine is imported anyway: a misspelled parameter would fail every trial."""
        dataset = here(self.dataset, self.source)
        check(self.sweep, dataset)
        opened = {0: _open(self.sweep, dataset)}

        def evaluate(attempt: Attempt) -> Outcome:
            """A trial of a later round has other folds and another seed; one such set is kept at a time."""
            round = attempt.number // FRESH
            if round not in opened:
                seed = zlib.crc32(f"{self.sweep.search.seed} fresh {round}".encode())
                sweep = replace(self.sweep, search=replace(self.sweep.search, seed=seed))
                opened.clear()
                opened[round] = _open(sweep, replace(dataset, repeat=round))
            return opened[round](attempt)

        return evaluate


def _open(sweep: Sweep, dataset: Dataset) -> Evaluate:
    if sweep.model in XGBOOST:
        from hpo.objectives.xgboost import open_xgboost

        return open_xgboost(sweep, dataset)
    if sweep.model in BOOSTED:
        from hpo.objectives.boosted import open_boosted

        return open_boosted(sweep, dataset)
    from hpo.objectives.estimator import open_estimator

    return open_estimator(sweep, dataset)


def imports(sweep: Sweep) -> tuple[str, ...]:
    """The modules of a model's engine; never the user's own, which might start a thread or connect to something.
    Nothing where trials use a graphics processor: what has met CUDA cannot be forked."""
    if sweep.model is None or sweep.resources.gpus or "device" in {*sweep.fixed, *sweep.space.names}:
        return ()
    if sweep.model in XGBOOST:
        return ("hpo.objectives.xgboost",)
    if sweep.model in BOOSTED:
        return ("hpo.objectives.boosted",)
    module = sweep.model.rpartition(".")[0]
    return ("hpo.objectives.estimator", *([module] if module.startswith("sklearn.") else []))


def build(sweep: Sweep, dataset: Dataset | None, source: Source | None = None) -> Objective:
    """What an executor sends to its workers; no engine is imported until one of them opens it."""
    if sweep.objective is not None:
        from hpo.objectives.function import FunctionObjective

        return FunctionObjective.of(sweep)
    if sweep.model is None or dataset is None:
        raise ValueError("a sweep has an objective, or a model with data")
    check_slices(sweep, dataset)
    return ModelObjective(sweep, dataset, source)


def check_slices(sweep: Sweep, dataset: Dataset) -> None:
    """The columns that the promotion looks at one by one are there: at the end of a search it is late to say so."""
    assert sweep.data is not None
    columns = [column.name for column in dataset.columns]
    others = [*sweep.data.drop, sweep.validation.groups, sweep.validation.time]
    problems = [
        Problem(f"there is no column {wanted.by!r}", "promote.slices", did_you_mean(wanted.by, columns))
        for wanted in (sweep.promote.slices if sweep.promote else ()) if wanted.by not in (*columns, *others)
    ]  # fmt: skip
    if problems:
        raise InputError(*problems)


def check(sweep: Sweep, dataset: Dataset | None) -> None:
    """InputError for what would make every trial fail: no such model, not its task, no such parameter."""
    if sweep.objective is not None:
        from hpo.objectives.function import check_function

        check_function(sweep)
    elif sweep.model is not None and dataset is not None:
        if sweep.model in XGBOOST:
            from hpo.objectives.xgboost import check_xgboost

            check_xgboost(sweep, dataset)
        elif sweep.model in BOOSTED:
            from hpo.objectives.boosted import check_boosted

            check_boosted(sweep, dataset)
        else:
            from hpo.objectives.estimator import check_estimator

            check_estimator(sweep, dataset)
