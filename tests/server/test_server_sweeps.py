"""Whole sweeps against the team's server, as its accounts run them: faults in mid-sweep, promotion, backup.

Everything goes through the door with TLS and a password; clients know an address and an account and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient

from hpo.journal import Journal
from hpo.server.wire import Wire
from tests.chaos.figures import FULL, figure
from tests.chaos.harness import Driver, finished, the_journal, trials, wait_for_publisher
from tests.conftest import ROOT
from tests.server.stack import BUCKET, Stack
from tests.tracking.sweeps import runs_of, until

TRIALS, STEPS = 60, 50
AWAY = 20.0  # seconds, each, in the long form
OBJECTIVE = """
def train(params, trial):
    return params["x"] ** 2
"""
SMALL = """
name: strangers
objective: objective:train
metric: {name: loss, direction: minimize}
space: {x: {float: [-5, 5]}}
search: {engine: random, trials: 2, seed: 1, workers: 1}
"""
LONG = f"""
name: faults
data: {{path: segment.parquet, target: category, holdout: 0.2}}
model: xgboost.XGBClassifier
fixed: {{n_estimators: {STEPS}, verbosity: 3}}  # each trial says something, and so has a file in the bucket
metric: log_loss
validation: {{folds: 5}}
space: {{learning_rate: {{float: [0.05, 0.5], log: true}}, max_depth: {{int: [2, 4]}}}}
search: {{engine: random, trials: {TRIALS}, seed: 1, workers: 1, threads: 1, pruner: none}}
recheck: false
promote: {{alias: champion}}
"""
MODEL = """
name: team
data: {path: segment.parquet, target: category, holdout: 0.2}
model: xgboost.XGBClassifier
fixed: {n_estimators: 50}
metric: log_loss
validation: {folds: 2}
space: {learning_rate: {float: [0.05, 0.5], log: true}, max_depth: {int: [2, 4]}}
search: {engine: random, trials: 3, seed: 1, workers: 2}
promote: {alias: champion}
"""


def folder_with(place: Path, text: str) -> Path:
    place.mkdir()
    (place / "sweep.yaml").write_text(text)
    (place / "objective.py").write_text(OBJECTIVE)
    shutil.copyfile(ROOT / "data" / "segment.parquet", place / "segment.parquet")
    return place


def hpo(verb: str, folder: Path, account: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"hpo.{verb}", *arguments], cwd=folder, text=True, capture_output=True,
        env={**os.environ, **account, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}, timeout=600,
    )  # fmt: skip


@pytest.fixture
def admin(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    for name, value in stack.environment("admin", stack.secrets["HPO_ADMIN_PASSWORD"]).items():
        monkeypatch.setenv(name, value)
    return MlflowClient(stack.url, stack.url)


def test_a_sweep_outlives_its_server_its_database_and_its_bucket(
    tmp_path: Path, stack: Stack, admin: MlflowClient
) -> None:
    """XGBoost with its curves, promoted in the end, and loaded by somebody who has an account and nothing else."""
    folder = folder_with(tmp_path / "sweep", LONG)
    account = stack.account("boss", "promoter")
    driver = Driver(folder, "--space", "sweep.yaml", env=account)
    until(lambda: the_journal(folder), 120)
    path = the_journal(folder)
    assert path is not None
    away: list[tuple[float, float]] = []

    def steer(order: str) -> None:
        """Searching would be over long before publishing: it waits between the faults."""
        done = hpo("control", folder, account, "last", order)
        assert done.returncode == 0, done.stdout + done.stderr

    with closing(Journal(path, durable=False)) as journal:
        until(lambda: finished(folder) > 2, 120)
        steer("pause")
        until(lambda: len(journal.runs()) > 2, 180)

        def fault(leave: Callable[[], None], come_back: Callable[[], None], meanwhile: int) -> None:
            """Away while so many trials finish, then published again."""
            begun, since = finished(folder), time.time()
            leave()
            steer("resume")
            until(lambda: finished(folder) >= begun + meanwhile, 180)
            steer("pause")
            if FULL:
                until(lambda: time.time() > since + AWAY, 2 * AWAY)
            there = len(journal.runs())
            come_back()
            away.append((since, time.time()))
            until(lambda: len(journal.runs()) > there, 180)

        fault(stack.bucket.stop, stack.bucket.start, 12)
        fault(stack.postgres.kill, stack.postgres.start, 6)
        fault(stack.stop, stack.start, 6)
        assert finished(folder) < TRIALS, "all of it was in mid-sweep"
        steer("resume")
        driver.finish()
        wait_for_publisher(folder)
    done = hpo("sync", folder, account)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [run for run in runs_of(stack.url, "faults") if "hpo.trial" in run.data.tags]
    curves = {str(trial.number): trial.curve(STEPS) for trial in trials(folder)}
    wrong = 0
    for run in runs:
        kept = [(point.step, point.value) for point in admin.get_metric_history(run.info.run_id, "log_loss_curve")]
        files = {file.path for file in admin.list_artifacts(run.info.run_id)}
        whole = sorted(kept) == curves[run.data.tags["hpo.trial"]] and kept[-1][0] > STEPS - 3
        wrong += run.info.status != "FINISHED" or not whole or "log.txt" not in files
    numbers = {run.data.tags["hpo.trial"] for run in runs}
    lost, doubled = TRIALS - len(numbers), len(runs) - len(numbers)
    parent = next(run for run in runs_of(stack.url, "faults") if "hpo.trial" not in run.data.tags)
    files = {file.path for file in admin.list_artifacts(parent.info.run_id)}
    assert {"report.html", "sweep.yaml", "sweep.log"} <= files
    assert admin.get_registered_model("faults").aliases == {"champion": "1"}
    loaded = loads("faults", folder, stack.account("serving", "reader"))
    assert loaded.returncode == 0, loaded.stderr
    assert len(loaded.stdout.split()) == 5
    figure(
        "S9", "a sweep on the team's server: bucket away, PostgreSQL killed, MLflow restarted; nothing lost",
        f"{TRIALS} trials of XGBoost with {STEPS} rounds, {lost} lost, {doubled} doubled, {wrong} incomplete; "
        f"away {sum(b - a for a, b in away):.0f} s; trials {slower(folder, away)}; promoted and loaded",
        lost + doubled + wrong,
    )  # fmt: skip


def loads(model: str, folder: Path, account: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The champion's labels for five rows, as a client has them who knows an address and an account, and no key."""
    client = f"import mlflow, pandas; model = mlflow.pyfunc.load_model('models:/{model}@champion'); "
    client += "print(*model.predict(pandas.read_parquet('segment.parquet').head(5)))"
    knows = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "PG"))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", client], cwd=folder, text=True, capture_output=True,
        env={**knows, **account},
    )  # fmt: skip


def slower(folder: Path, away: list[tuple[float, float]]) -> str:
    """The median trial while something was away, against the others."""
    during: list[float] = []
    other: list[float] = []
    for trial in trials(folder):
        assert trial.started is not None
        (during if any(a <= trial.started < b for a, b in away) else other).append(trial.seconds)
    return f"{100 * (median(during) / median(other) - 1):+.1f} %" if during and other else "not compared"


def test_a_sweeper_registers_a_promoter_promotes_and_a_reader_loads(
    tmp_path: Path, stack: Stack, admin: MlflowClient
) -> None:
    folder = folder_with(tmp_path / "sweep", MODEL)
    nightly, boss = stack.account("nightly", "sweeper"), stack.account("boss", "promoter")
    done = hpo("search", folder, nightly, "--space", "sweep.yaml", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)["promotion"]
    assert (outcome["promoted"], outcome["error"], outcome["alias"]) == (False, None, "challenger")
    assert outcome["approve"] == "python -m hpo.promote team --version 1"
    assert "takes an account with the role 'promoter'" in outcome["reasons"][-1]
    assert outcome["approve"] in outcome["reasons"][-1]
    assert admin.get_registered_model("team").aliases == {"challenger": "1"}
    assert outcome["approve"] in hpo("status", folder, {}, "last").stdout
    assert hpo("sync", folder, nightly).returncode == 0
    assert "RUNNING" not in {run.info.status for run in runs_of(stack.url, "team")}

    verb, *arguments = outcome["approve"].removeprefix("python -m hpo.").split()
    done = hpo(verb, folder, boss, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there was no champion" in done.stdout  # the evidence is shown
    assert admin.get_registered_model("team").aliases == {"champion": "1"}
    assert len(admin.search_model_versions("name = 'team'")) == 1

    again = hpo("search", folder, nightly, "--space", "sweep.yaml", "--fresh", "--set", "search.seed=2", "--json")
    kept = json.loads(again.stdout)["promotion"]
    assert (kept["promoted"], kept["error"], kept["approve"]) == (False, None, None)  # the verdict, not the guard
    assert admin.get_registered_model("team").aliases == {"champion": "1", "challenger": "2"}

    done = hpo("promote", folder, nightly, "team", "--version", "1", "--alias", "blessed", "--reason", "mine is best")
    assert done.returncode != 0
    assert "the account 'nightly' may not do this (403)" in done.stderr
    assert "Traceback" not in done.stderr
    assert admin.get_registered_model("team").aliases == {"champion": "1", "challenger": "2"}

    bare = loads("team", folder, stack.account("serving", "reader"))
    assert bare.returncode == 0, bare.stderr
    assert len(bare.stdout.split()) == 5
    door = Wire(stack.url, "admin", stack.secrets["HPO_ADMIN_PASSWORD"])
    capable = door.get("/api/3.0/mlflow/server-info").json()
    sends = [name for name in ("multipart_downloads_enabled", "multipart_uploads_enabled") if capable[name]]
    assert sends == [], "the server sends its clients to the bucket"
    assert door.get("/api/2.0/mlflow-artifacts/presigned/1/x").status == 404
    assert stack.bucket.secret not in json.dumps(stack.account("serving", "reader"))


def test_an_account_that_the_server_does_not_know_costs_no_result(
    tmp_path: Path, stack: Stack, admin: MlflowClient
) -> None:
    folder = folder_with(tmp_path / "sweep", SMALL)
    wrong = stack.environment("nobody", "this-is-wrong")
    done = hpo("search", folder, wrong, "--space", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    why = "the server does not know the account 'nobody' with this password (401): set MLFLOW_TRACKING_USERNAME"
    assert why in done.stdout
    assert "this-is-wrong" not in done.stdout
    assert f"publishing   {why}" in hpo("status", folder, {}, "last").stdout
    assert f"not delivered to {stack.url}: {why}" in hpo("sync", folder, wrong).stdout
    done = hpo("sync", folder, stack.account("nightly", "sweeper"))
    assert done.returncode == 0, done.stdout
    assert len(runs_of(stack.url, "strangers")) == 3
    assert "publishing" not in hpo("status", folder, {}, "last").stdout


def everything(admin: MlflowClient) -> dict[str, Any]:
    """What a person could look at: all runs, and all versions with what they are called."""
    found: dict[str, Any] = {}
    for experiment in admin.search_experiments():
        for run in admin.search_runs([experiment.experiment_id], max_results=1000):
            files = sorted(file.path for file in admin.list_artifacts(run.info.run_id))
            found[run.info.run_id] = (experiment.name, run.info.status, run.data.params, run.data.metrics, files)
    for model in admin.search_registered_models():
        found[model.name] = (dict(model.aliases), [v.tags for v in admin.search_model_versions(f"name='{model.name}'")])
    return found


def test_a_restored_backup_shows_the_same_runs_and_the_same_champion(
    tmp_path: Path, stack: Stack, admin: MlflowClient
) -> None:
    """The last one here: everything is deleted in between."""
    if "team" not in {model.name for model in admin.search_registered_models()}:  # run alone
        folder = folder_with(tmp_path / "sweep", MODEL)
        done = hpo("search", folder, stack.account("boss", "promoter"), "--space", "sweep.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
    before = everything(admin)
    model = admin.get_model_version_by_alias("team", "champion")
    environment = {
        "PATH": os.pathsep.join([str(stack.postgres.programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PGHOST": "127.0.0.1", "PGPORT": str(stack.postgres.port), "PGUSER": "hpo", "PGDATABASE": "mlflow",
        "PGPASSWORD": stack.secrets["HPO_DATABASE_PASSWORD"],
        "HPO_BUCKET": f"store:{BUCKET}", "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Rclone", "RCLONE_CONFIG_STORE_ENDPOINT": stack.bucket.endpoint,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": stack.bucket.key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": stack.bucket.secret,
    }  # fmt: skip

    def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "scripts" / "server" / name, *arguments], env=environment, text=True, capture_output=True
        )

    made = script("backup", str(tmp_path / "backups"))
    assert made.returncode == 0, made.stderr
    backup = made.stdout.strip()
    assert "not empty" in script("restore", backup).stderr

    stack.stop()
    stack.postgres.run("dropdb", *stack.postgres.place, "mlflow")
    stack.postgres.run("createdb", *stack.postgres.place, "mlflow")
    stack.bucket.stop()
    shutil.rmtree(stack.bucket.folder / BUCKET)
    (stack.bucket.folder / BUCKET).mkdir()
    stack.bucket.start()
    damaged = shutil.copytree(backup, tmp_path / "damaged")
    with (damaged / "database").open("r+b") as file:
        file.seek(1000)
        file.write(b"rot")
    refused = script("restore", str(damaged))
    assert (refused.returncode, "is damaged" in refused.stderr) == (2, True)
    restored = script("restore", backup)
    assert restored.returncode == 0, restored.stderr
    stack.start()

    assert everything(admin) == before
    again = admin.get_model_version_by_alias("team", "champion")
    assert (again.version, again.tags) == (model.version, model.tags)
    text = next(file.path for file in admin.list_artifacts(model.run_id) if not file.is_dir)
    assert Path(admin.download_artifacts(model.run_id, text, str(tmp_path))).stat().st_size > 0
    built = mlflow.pyfunc.load_model("models:/team@champion")
    assert len(built.predict(pd.read_parquet(ROOT / "data" / "segment.parquet").head(3))) == 3
