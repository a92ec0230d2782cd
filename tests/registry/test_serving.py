"""The champion behind `mlflow models serve`, a real process: raw rows as JSON in, labels and probabilities out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from hpo.predictor import Predictor
from hpo.registry import promote
from tests.conftest import ROOT, START_UP, free_port
from tests.registry.models import fitted


def post(port: int, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["predictions"]


def test_the_champion_is_served(tmp_path: Path, uri: str) -> None:
    data = {"path": str(ROOT / "data" / "flights.parquet"), "target": "late"}
    bench = fitted(tmp_path, (5,), name="flights", data=data, metric="roc_auc", fixed={"max_depth": 3})
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("flights", (tmp_path / "mlruns").as_uri())
    promote(client, experiment, client.create_run(experiment).info.run_id, bench.candidates[0], bench.judge)
    rows = pd.read_parquet(ROOT / "data" / "flights.parquet").drop(columns="late").head(4)
    records = json.loads(rows.to_json(orient="records", date_format="iso"))
    records.append({**records[0], "carrier": "never seen"})
    records.append({**records[0], "carrier": None})
    port = free_port()
    command = ["models", "serve", "-m", "models:/segment@champion", "--env-manager", "local", "-p", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow starts uvicorn by its name
    log = (tmp_path / "serve.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command, "-h", "127.0.0.1", "-w", "1"], cwd=tmp_path, stdout=log, stderr=log,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_REGISTRY_URI": uri, "PATH": path},
        start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + START_UP
        while True:
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < until, "the model is not served"
            try:
                labels = post(port, {"dataframe_records": records})
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        both = post(port, {"dataframe_records": records, "params": {"output": "both"}})
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()
    here = Predictor(bench.candidates[0].folder)
    frame = pd.DataFrame(records)
    assert labels == here.predict(frame).tolist() == [row["label"] for row in both]
    expected = here.predict(frame, {"output": "probability"})[1]
    for row, chance in zip(both, expected, strict=True):
        assert abs(row["probability_1"] - chance) < 1e-6
    assert both[4]["probability_1"] == both[5]["probability_1"], "a category never seen counts as missing"
