"""The best trials again after the search: on other folds, recorded as they come, and without a held-out row."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo.data import Dataset, load
from hpo.journal import Journal
from hpo.trial import FRESH
from tests.conftest import ROOT
from tests.data.sweeps import bundled
from tests.sweeps import function_sweep, inline

SWEEP: dict[str, Any] = {
    "name": "segment", "data": {"path": str(ROOT / "data" / "segment.parquet"), "target": "category"},
    "model": "sklearn.tree.DecisionTreeClassifier", "metric": "accuracy", "validation": {"folds": 3},
    "space": {"max_depth": {"int": [2, 12]}, "min_samples_leaf": {"int": [1, 30]}}, "recheck": {"top": 3, "rounds": 2},
    "search": {"engine": "random", "trials": 6, "seed": 1, "workers": 1},
}  # fmt: skip


def facts(folder: Path) -> dict[str, Any]:
    [path] = folder.glob("*.journal")
    with closing(Journal(path)) as journal:
        return journal.facts()


def test_the_best_are_scored_again_and_one_is_chosen(tmp_path: Path) -> None:
    result = inline(tmp_path, hpo.build(**SWEEP))
    estimate = result.estimate
    assert estimate is not None
    assert result.best is not None
    ranked = sorted(result.all_trials, key=lambda t: -(t.values or (0.0,))[0])
    found = facts(tmp_path)
    assert found["recheck"]["trials"] == [t.number for t in ranked[:3]]
    assert found["best"] == estimate["trial"] == result.best.number
    assert (estimate["raw_trial"], estimate["raw"]) == (ranked[0].number, (ranked[0].values or (0.0,))[0])
    scores = {(r["trial"], r["round"]): r["scores"]["accuracy"] for r in found["recheck"]["results"]}
    mine = [score for (number, _), folds in sorted(scores.items()) if number == estimate["trial"] for score in folds]
    assert estimate["value"] == pytest.approx(float(np.mean(mine)))
    assert estimate["low"] < estimate["value"] < estimate["high"]
    first = result.best.scores["accuracy"]
    assert scores[result.best.number, 1] != list(first) != scores[result.best.number, 2], "other folds, another seed"


def test_no_row_that_is_held_out_is_needed_before_the_end(tmp_path: Path) -> None:
    """The files are gone before the first trial, and nobody misses them; the journal notes no opening."""
    sweep = hpo.build(**SWEEP)
    dataset = hpo.data.prepare(sweep, tmp_path / "data")
    assert dataset.holdout_rows
    for file in dataset.folder.glob("holdout.*"):
        file.unlink()
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert result.estimate is not None
    assert {t.state for t in result.all_trials} <= {"complete", "pruned"}
    assert "holdout" not in facts(tmp_path)


def test_a_resume_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies after the third evaluation; what was recorded is not run again, and the end is the same."""
    straight = inline(tmp_path / "straight", hpo.build(**SWEEP))
    ran: list[int] = []
    from hpo.executors.inline import Inline

    submit = Inline.submit

    class DiedError(BaseException):
        pass

    def counted(self: Inline, trial: Any) -> None:
        if trial.number >= FRESH:
            ran.append(trial.number)
            if len(ran) == 4:
                raise DiedError
        submit(self, trial)

    monkeypatch.setattr(Inline, "submit", counted)
    with pytest.raises(DiedError):
        inline(tmp_path / "killed", hpo.build(**SWEEP))
    again = inline(tmp_path / "killed", hpo.build(**SWEEP))
    assert again.resumed
    assert len(ran) == len(set(ran)) + 1, "only the one that was running"
    assert again.estimate == straight.estimate


@pytest.mark.parametrize("keys", [{"recheck": False}, {"search": {**SWEEP["search"], "trials": 1}}])
def test_where_there_is_nothing_to_choose_the_best_stays(tmp_path: Path, keys: dict[str, Any]) -> None:
    result = inline(tmp_path, hpo.build(**{**SWEEP, **keys}))
    assert (result.estimate, result.best is not None) == (None, True)
    assert "recheck" not in facts(tmp_path)


def test_a_function_owns_its_data_and_is_not_asked_again(tmp_path: Path) -> None:
    assert inline(tmp_path, function_sweep()).estimate is None


def blocks(dataset: Dataset, repeat: int) -> list[list[int]]:
    from dataclasses import replace

    return [validation.tolist() for _, validation in load(replace(dataset, repeat=repeat)).folds]


@pytest.mark.parametrize("how", [{}, {"groups": "date"}, {"time": "date"}])
def test_fresh_folds_are_other_folds_of_the_same_rows(tmp_path: Path, how: dict[str, str]) -> None:
    from hpo.sweep import Validation

    _, dataset = bundled("flights", tmp_path, 1500, validation=Validation(3, **how))
    several = [blocks(dataset, repeat) for repeat in range(4)]
    assert len({str(folds) for folds in several}) == 4
    if "time" not in how:
        for folds in several:
            assert sorted(row for fold in folds for row in fold) == [*range(dataset.rows)]
