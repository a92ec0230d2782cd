"""What a search ran with, kept with each of its starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

import hpo
from hpo.session import begin
from tests.tracking.sweeps import runs_of


def loss(params: dict[str, float], trial: object) -> float:
    print("trying", params["x"])
    return params["x"]


def sweep_of(trials: int) -> hpo.Sweep:
    return hpo.build(
        name="kept", objective=loss, metric={"name": "loss", "direction": "minimize"}, space={"x": {"float": [0, 1]}},
        search={"trials": trials, "engine": "random", "workers": 1},
    )  # fmt: skip


def test_each_start_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        monkeypatch.setenv("OMP_NUM_THREADS", str(number))
        assert begin(sweep_of(3), tmp_path)["session"] == number
        place = tmp_path / "sessions" / str(number)
        kept = json.loads((place / "provenance.json").read_text())
        assert kept["variables"]["OMP_NUM_THREADS"] == str(number)
        assert "\nnumpy==" in (place / "requirements.txt").read_text()
        resolved = json.loads((place / "sweep.resolved.json").read_text())
        assert (resolved["search"]["trials"], resolved["search"]["engine"]) == (3, "random")
        assert resolved["limits"]["retries"] == 1  # a default
    assert json.loads((tmp_path / "sessions" / "1" / "provenance.json").read_text())["session"] == 1


def test_it_is_all_on_the_run(tmp_path: Path, uri: str) -> None:
    result = hpo.run(sweep_of(2), folder=tmp_path / ".hpo", tracking=uri)
    assert result.unpublished is None
    assert {"system/cpu_seconds", "system/peak_memory_mb"} <= result.all_trials[0].metrics.keys()
    client = MlflowClient(uri)
    runs = {run.data.tags.get("hpo.trial", "parent"): run for run in runs_of(uri, "kept")}
    files = {file.path for file in client.list_artifacts(runs["parent"].info.run_id, "sessions/1")}
    assert {Path(path).name for path in files} >= {"provenance.json", "requirements.txt", "sweep.resolved.json"}
    log = Path(client.download_artifacts(runs["parent"].info.run_id, "sweep.log", str(tmp_path))).read_text()
    assert " trial 1 complete " in log
    said = Path(client.download_artifacts(runs["1"].info.run_id, "log.txt", str(tmp_path))).read_text()
    assert said == f"trying {result.all_trials[1].params['x']}\n"
    assert runs["0"].data.metrics["system/peak_memory_mb"] > 1
