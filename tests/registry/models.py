"""Fitted models of rising quality on one data set, for the tests of the registry and of promotions under attack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.data import Dataset, holdout_frame, prepare
from hpo.loader import build
from hpo.objectives.judging import holdout_scores
from hpo.objectives.refit import refit
from hpo.predictor import Predictor
from hpo.promotion import judge
from hpo.registry import Candidate, Champion
from hpo.sweep import Sweep
from hpo.trial import Trial
from hpo.verdict import Evidence
from tests.conftest import ROOT


@dataclass(frozen=True)
class Bench:
    """Fitted models of rising quality on one data set, to be registered again and again."""

    sweep: Sweep
    dataset: Dataset
    candidates: tuple[Candidate, ...]

    def judge(self, candidate: Candidate, champion: Champion | None) -> Evidence:
        return judge(self.sweep, self.dataset, candidate, champion)


def fitted(folder: Path, rounds: tuple[int, ...], **changes: Any) -> Bench:
    sweep = build(**{
        "name": "segment", "data": {"path": str(ROOT / "data" / "segment.parquet"), "target": "category"},
        "model": "xgboost.XGBClassifier", "fixed": {"max_depth": 2, "learning_rate": 0.3}, "metric": "log_loss",
        "validation": {"folds": 3}, "space": {"n_estimators": {"int": [1, 100]}}, **changes,
    })  # fmt: skip
    dataset = prepare(sweep, folder / "data")
    candidates = []
    for number, count in enumerate(rounds):
        model = folder / f"model-{number}"
        refit(sweep, dataset, Trial(number, {"n_estimators": count}), model, 1)
        candidates.append(Candidate(
            sweep=f"segment-{number}", trial=number, folder=model, model="segment", alias="champion",
            metric=sweep.metric, scores=holdout_scores(sweep, dataset, Predictor(model)), rows=dataset.digest,
            columns=tuple(column.name for column in dataset.columns), example=holdout_frame(dataset)[0].head(3),
            tags={"hpo.data": dataset.file_digest},
        ))  # fmt: skip
    return Bench(sweep, dataset, tuple(candidates))
