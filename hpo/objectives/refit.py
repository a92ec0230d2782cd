"""The final model: the chosen trial's parameters, trained on every row that is not held out.

Called once at the end of a sweep, and by `hpo.reproduce`. What is written is free of pickle and whole in itself
(`hpo.predictor` is in the folder), and the hold-out is scored through the same file that will serve it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo import predictor as served
from hpo.data import Dataset, load
from hpo.objectives import BOOSTED, XGBOOST
from hpo.sweep import Sweep
from hpo.trial import Trial


def refit(sweep: Sweep, dataset: Dataset, trial: Trial, folder: Path, threads: int) -> None:
    """Write the model (see `hpo.predictor.FILES`), `columns.json` and `predictor.py` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = load(dataset)
    features, target = arrays.features, arrays.target
    if sweep.model in XGBOOST:
        written = folder / "model.ubj"
        _refit_xgboost(sweep, dataset, trial, threads, features, target).save_model(written)
    elif sweep.model in BOOSTED:
        from hpo.objectives.boosted import refit_boosted

        written = refit_boosted(sweep, dataset, trial, threads, folder)
    else:
        import skops.io

        from hpo.objectives.estimator import make_estimator

        fitted = make_estimator(sweep, dataset, trial.params, threads).fit(features, target)
        written = folder / "model.skops"
        skops.io.dump(fitted, written)
    about = {
        "target": dataset.target, "task": dataset.task, "classes": dataset.classes,
        "sha256": hashlib.sha256(written.read_bytes()).hexdigest(),
        "columns": [
            {key: value for key, value in asdict(column).items() if key in ("name", "kind", "categories", "format")}
            for column in dataset.columns
        ],
    }  # fmt: skip
    (folder / "columns.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
    shutil.copyfile(Path(served.__file__), folder / "predictor.py")


def _refit_xgboost(
    sweep: Sweep, dataset: Dataset, trial: Trial, threads: int, features: Any, target: Any
) -> Any:  # fmt: skip
    """As many rounds as the folds stopped at on average, where they stopped early."""
    import numpy as np
    import xgboost

    from hpo.objectives.matrices import about_columns, bin_rows, make_matrix, width, worker_budget
    from hpo.objectives.xgboost import make_plan

    plan = make_plan(sweep, dataset, trial.params, threads)
    rounds = round(trial.metrics.get("rounds", plan.rounds)) if plan.patience else plan.rounds
    about = about_columns(dataset)
    host = plan.params.get("device", "cpu") == "cpu"
    if host and plan.bins is not None and width(plan.bins) * features.size > worker_budget(threads):
        rows, home = np.arange(len(target)), dataset.folder.parent
        matrix = bin_rows(features, target, rows, about, plan.bins, threads, home=home)
    else:
        matrix = make_matrix(features, target, about, plan.bins, threads)  # a map: XGBoost reads it where it lies
    return xgboost.train(dict(plan.params), matrix, rounds, verbose_eval=False)
