"""The gallery: each bundled space searches a small part of its table, and each model it ends in is stored and read.

Few rows and trials: whether it runs as it stands, not how good it is. Each choice of each space is met by
`objectives.check`. What needs PyTorch is skipped where that is not installed: it is larger than all the rest of the
tests' environment, so `scripts/install torch` brings it, and `.ci/run` does so when all else has passed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

import hpo
from hpo import objectives
from hpo.data import prepare
from hpo.objectives.refit import refit
from hpo.predictor import Predictor
from tests.conftest import ROOT

SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml"))
SHORT = {"n_estimators": 30, "max_iter": 30, "iterations": 30, "epochs": 2, "rows": 500}  # by the names of `fixed`


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.filterwarnings("ignore:The max_iter was reached")  # we have made it short
def test_a_space_of_the_gallery_runs(tmp_path: Path, name: str) -> None:
    whole = hpo.load(name)
    if str(whole.objective).startswith("torch_") and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: scripts/install torch brings it")
    given = ["search.trials=3", "search.workers=1", "recheck=false", "validation.folds=3"] if whole.data else []
    given += [f"fixed.{key}={value}" for key, value in SHORT.items() if key in whole.fixed]
    if whole.data is not None:
        table = pd.read_parquet(whole.data.path)
        path = tmp_path / "table.parquet"
        table.iloc[:: len(table) // 600].to_parquet(path)
        given.append(f"data.path={path}")
    sweep = hpo.load(name, [*given, "search.trials=3"])
    result = hpo.run(sweep, folder=tmp_path / ".hpo", tracking=None, executor="inline")
    states = {trial.state for trial in result.all_trials}
    assert len(result.all_trials) == 3
    assert states <= {"complete", "pruned"}, [trial.failure for trial in result.all_trials]
    assert result.best is not None
    if sweep.data is None:
        return
    dataset = prepare(sweep, tmp_path / ".hpo" / "data")
    objectives.check(sweep, dataset)
    refit(sweep, dataset, result.best, tmp_path / "model", threads=1)
    assert len(Predictor(tmp_path / "model").predict(table.head(10))) == 10


def test_the_page_has_them_all() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert [name for name in SPACES if f"`{name}.yaml`" not in page] == []
