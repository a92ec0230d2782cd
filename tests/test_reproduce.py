"""A trial once more: the same to the last bit here; and what differs is said, outcome and input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

import hpo
from hpo.reproduce import command
from tests.conftest import ROOT
from tests.tracking.sweeps import runs_of


@pytest.fixture
def home(tmp_path: Path, uri: str) -> Path:
    """A sweep of XGBoost that was searched, published and promoted."""
    table = pd.read_parquet(ROOT / "data" / "segment.parquet")
    table.iloc[:900].to_parquet(tmp_path / "segment.parquet")
    sweep = hpo.build(**{
        "name": "segment", "data": {"path": str(tmp_path / "segment.parquet"), "target": "category"},
        "model": "xgboost.XGBClassifier", "metric": "log_loss", "validation": {"folds": 3},
        "space": {"n_estimators": {"int": [3, 9]}, "subsample": {"float": [0.5, 0.9]}},
        "search": {"engine": "random", "trials": 3, "seed": 1, "workers": 1, "threads": 1, "pruner": "none"},
        "recheck": False,
    })  # fmt: skip
    result = hpo.run(sweep, folder=tmp_path / ".hpo", tracking=uri)
    assert result.promotion is not None
    assert result.promotion["promoted"], result.promotion
    return tmp_path


def test_the_same_and_what_makes_it_different(home: Path, uri: str) -> None:
    def say(what: str, code: int = 0) -> Result:
        done = CliRunner().invoke(command, [what, "--folder", str(home / ".hpo"), "--tracking-uri", uri, "--json"])
        assert done.exit_code == code, done.output
        return done

    def told(what: str, code: int = 0) -> Any:
        return json.loads(say(what, code).output)

    champion = told("segment@champion")
    assert (champion["outcome"], champion["scores"], champion["files"]) == ("same", {}, {})  # model.ubj byte by byte
    assert "data" not in champion["inputs"]
    runs = {run.data.tags.get("hpo.trial"): run.info.run_id for run in runs_of(uri, "segment")}
    other = next(number for number in ("0", "1", "2") if int(number) != champion["trial"])
    assert told(runs[None])["trial"] == champion["trial"]
    assert (told(runs[other])["outcome"], told(runs[other])["trial"]) == ("same", int(other))

    table = pd.read_parquet(home / "segment.parquet")
    table.iloc[1:].to_parquet(home / "segment.parquet")
    changed = told("segment/1", code=1)
    assert changed["outcome"] == "different"
    assert "log_loss" in changed["scores"]
    assert "model.ubj" in changed["files"]
    assert changed["inputs"]["data"][0] != changed["inputs"]["data"][1]
    assert "there is no model" in say("segment/9", code=2).output
    assert len(MlflowClient(uri, uri).search_model_versions("name = 'segment'")) == 1
