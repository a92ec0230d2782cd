"""A race in a whole sweep on real data: resumed it is the same, the best has run every fold, the others know theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpo.searchers.terms import standing
from hpo.space import Float, Int, Space
from hpo.sweep import Named, Search
from tests.data.sweeps import bundled
from tests.sweeps import inline, same

SPACE = Space((Int("max_depth", 1, 12), Int("min_samples_leaf", 1, 60, log=True), Float("max_features", 0.1, 1.0)))


def test_a_race_on_real_data(tmp_path: Path) -> None:
    sweep, _ = bundled(
        "segment", tmp_path, 600, metrics=("accuracy",), model="sklearn.tree.DecisionTreeClassifier", space=SPACE,
        search=Search(sampler=Named("tpe"), trials=24, workers=1, seed=3),
    )  # fmt: skip
    sweep = replace(sweep, promote=None)
    whole = inline(tmp_path / "whole", sweep)
    inline(tmp_path / "cut", half := replace(sweep, search=replace(sweep.search, trials=9)))
    assert half.identity == sweep.identity
    resumed = inline(tmp_path / "cut", sweep, resume="last")
    assert same(resumed.all_trials, whole.all_trials)
    stopped = [trial for trial in whole.all_trials if trial.state == "pruned"]
    assert stopped
    for trial in stopped:
        ran = [report.step for report in trial.reports if report.fold is None]
        assert sorted(ran) == [*trial.folds] or trial.folds == ()
        assert len(trial.scores["accuracy"]) == len(ran) < 3
        assert standing(trial, sweep.metric) is not None
    assert whole.best is not None
    assert len(whole.best.scores["accuracy"]) == 3
    full = inline(tmp_path / "full", replace(sweep, search=replace(sweep.search, pruner=Named("none"))))
    folds = sum(len(trial.scores["accuracy"]) for trial in whole.all_trials)
    assert folds < sum(len(trial.scores["accuracy"]) for trial in full.all_trials)
