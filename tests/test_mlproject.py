"""The project file: what a person types who knows MLflow Projects and nothing of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.tracking.sweeps import runs_of


def test_mlflow_run_searches_from_a_clone(tmp_path: Path, migrated: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("hpo", "search_spaces", "data"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "MLproject", clone / "MLproject")
    shutil.copyfile(migrated, clone / "mlflow.db")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "run", ".", "-P", "space=xgb.yaml", "-P", "trials=2"),
            *("-P", "set=fixed.n_estimators=10", "-P", "workers=1", "--env-manager", "local"),
        ],
        cwd=clone, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    runs = runs_of(f"sqlite:///{clone / 'mlflow.db'}", "flight-delays")
    (parent,) = (run for run in runs if "hpo.trial" not in run.data.tags)
    assert len(runs) == 3
    assert (parent.info.status, parent.data.tags["hpo.state"]) == ("FINISHED", "finished")
    assert parent.data.tags["hpo.model"] == "models:/flight-delays@champion"
    (started,) = runs_of(f"sqlite:///{clone / 'mlflow.db'}", "Default")  # the run that `mlflow run` keeps of itself
    assert parent.data.tags["hpo.project_run"] == started.info.run_id
