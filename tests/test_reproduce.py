"""A trial once more: the same to the last bit here; and what differs is said, outcome and input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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
    shutil.move(home / ".hpo", home / "elsewhere")  # the run alone says enough, of a trial that was not chosen too
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


TRAIN = """
OFFSET = 1

def train(params, trial):
    for step in range(3):
        trial.report(params["x"] ** 2 + OFFSET + 3 - step, step)
    return params["x"] ** 2 + OFFSET
"""
SWEEP = """
name: code
objective: train:train
metric: {name: loss, direction: minimize}
space: {x: {float: [-5, 5]}, note: {choice: [TEXT, "1", 1]}}
search: {engine: random, trials: 2, seed: 1, workers: 1}
"""


def git(folder: Path, *command: str) -> str:
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", *who, "-C", str(folder), *command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_in_the_code_of_then(tmp_path: Path, uri: str) -> None:
    """Searched with a change that was not committed; then the code went on, and the journal went away."""
    project = tmp_path / "project"
    (project / "sweeps").mkdir(parents=True)
    (project / "sweeps" / "train.py").write_text(TRAIN)
    (project / "sweeps" / "sweep.yaml").write_text(SWEEP.replace("TEXT", "x" * 8000))  # too long for a tag
    git(tmp_path, "init", "-q", str(project))
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "then")
    (project / "sweeps" / "train.py").write_text(TRAIN.replace("OFFSET = 1", "OFFSET = 7"))

    def call(verb: str, *arguments: str, cwd: Path = project, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", f"hpo.{verb}", *arguments, "--tracking-uri", uri], cwd=cwd, text=True,
            capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    call("search", "--space", "sweeps/sweep.yaml")
    shutil.rmtree(project / ".hpo")
    runs = {run.data.tags.get("hpo.trial"): run for run in runs_of(uri, "code")}
    assert runs["0"].data.metrics["loss"] > 7
    name = runs["0"].info.run_id
    same = f"same\n  in the code that is here, which is commit {git(project, 'rev-parse', 'HEAD')[:12]} as it was"
    assert same in call("reproduce", name).stdout

    (project / "sweeps" / "train.py").write_text(TRAIN.replace("OFFSET = 1", "OFFSET = 2"))
    git(project, "commit", "-q", "-a", "-m", "now")
    before = git(project, "status", "--porcelain"), git(project, "worktree", "list")
    then = call("reproduce", name).stdout
    assert f"trial 0 of {runs['0'].data.tags['hpo.sweep']}: same\n" in then
    assert "and what was not committed, checked out of" in then
    assert "input" not in then
    assert (git(project, "status", "--porcelain"), git(project, "worktree", "list")) == before
    now = json.loads(call("reproduce", name, "--here", "--json", code=1).stdout)
    assert now["outcome"] == "different"
    assert now["scores"]["values"][0][0] == pytest.approx(now["scores"]["values"][1][0] + 5)
    assert {"commit", "uncommitted changes"} <= now["inputs"].keys()

    moved = tmp_path / "another machine"  # without the repository, and then with it under another name
    moved.mkdir()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    shutil.move(project, tmp_path / "gone")
    assert "is in no repository here" in call("reproduce", name, cwd=moved, code=2).stderr
    for found in (call("reproduce", name, cwd=clone), call("reproduce", name, "--repository", "../clone", cwd=moved)):
        assert f": same\n  in commit {git(clone, 'rev-parse', 'HEAD~')[:12]} and what was not" in found.stdout
