"""The tutorial on versions of data (docs/data.md): its commands, run as they stand, with the real Git and DVC."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from tests.conftest import ROOT
from tests.tracking.sweeps import runs_of


def test_the_tutorial_on_versions_of_data(tmp_path: Path, migrated: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    found = re.search(r"## Two versions.*?```sh\n(.*?)```", page, re.S)
    assert found is not None
    (tmp_path / "mlflow.db").write_bytes(migrated.read_bytes())
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    done = subprocess.run(
        ["bash", "-euc", found[1]], cwd=tmp_path, capture_output=True, text=True,
        env={
            **os.environ, **dict.fromkeys(names, "ada@example.org"), "HPO": str(ROOT), "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused: the file is not what its pointer says" in done.stdout
    assert "flights.parquet.dvc says" in done.stderr

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = sorted(runs_of(uri, "flights"), key=lambda run: run.info.start_time)
    parents = [run for run in runs if "hpo.trial" not in run.data.tags]
    assert [run.data.tags["hpo.data.version"] for run in parents] == ["v1", "v2", "v1"]
    first, second, again = (run.data.tags["hpo.data"] for run in parents)
    assert first == again != second
    assert len({run.data.tags["hpo.git.dirty"] for run in parents} & {"false"}) == 1

    client = MlflowClient(uri, uri)
    of_v1 = client.search_runs([parents[0].info.experiment_id], "tags.`hpo.data.version` = 'v1'")
    assert len(of_v1) == 2 * (1 + 3)
    inputs = [input for run in of_v1 for input in run.inputs.dataset_inputs]
    assert {tag.value for input in inputs for tag in input.tags if tag.key == "hpo.data.version"} == {"v1"}
    versions = client.search_model_versions("name = 'flights'", order_by=["creation_timestamp ASC"])
    assert sorted(v.tags["hpo.data.version"] for v in versions) == ["v1", "v1", "v2"]
    assert mlflow.data.get_source(inputs[0].dataset).uri == "data/flights.parquet"
