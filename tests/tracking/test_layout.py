"""What a trial is called in MLflow: a fold keeps its number, however few folds there are and in what order."""

from __future__ import annotations

from hpo.tracking.layout import numbers
from hpo.trial import Report, Trial


def test_a_fold_is_the_step_that_it_is() -> None:
    stopped = Trial(
        1, {}, started=0.0, finished=1.0, pruned=True, folds=(1, 4), scores={"auc": (0.7, 0.8)},
        reports=(Report(4, 0.8), Report(1, 0.7)),
    )  # fmt: skip
    said = numbers(stopped, ["auc"])
    assert [(value, step) for name, value, step in said if name == "auc_fold"] == [(0.7, 1), (0.8, 4)]
    assert "auc" not in {name for name, _, _ in said}, "a part of the folds is no score"


def test_without_numbers_the_folds_are_the_first_ones() -> None:
    whole = Trial(1, {}, started=0.0, finished=1.0, values=(0.75,), scores={"auc": (0.7, 0.8)})
    said = numbers(whole, ["auc"])
    assert [(value, step) for name, value, step in said if name == "auc_fold"] == [(0.7, 0), (0.8, 1)]
    assert ("auc", 0.75, 0) in said
