"""`python -m hpo.ui`: a server of one's own on the store of the sweeps, safely, and the right page of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import hpo.sync
from hpo.server.check import findings
from hpo.server.wire import Wire
from hpo.ui import command
from tests.conftest import ROOT, Server, free_port
from tests.tracking.sweeps import finished, journal_of


def test_it_prints_the_page_of_the_sweep_serves_it_and_ends_with_ctrl_c(tmp_path: Path, uri: str) -> None:
    (tmp_path / ".hpo").mkdir()
    journal = journal_of(tmp_path / ".hpo", uri, map(finished, range(2)))
    assert hpo.sync.deliver(journal.path) is None
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo.ui", "last", "--no-open", "--port", str(port)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        sweep = "tags.%60hpo.sweep%60%20%3D%20%27flights-1%27"
        assert re.fullmatch(rf"http://127.0.0.1:{port}/#/experiments/\d+/runs\?.*searchFilter={sweep}&.*\n", line), line
        server = Wire(f"http://127.0.0.1:{port}")
        found = {finding.check for finding in findings(server).found}
        assert found == {"anonymous", "body"}  # nobody else reaches it: no name but its own, no page but its own
        assert server.ask("GET", "/", Host="10.attacker.example").status == 403
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    with pytest.raises(ConnectionRefusedError):
        server.get("/health")


def test_a_server_that_runs_already_is_opened(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = journal_of(tmp_path, server.uri, [finished(0)], id="opened-1", name="opened")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    arguments = ["opened-1", "--folder", str(tmp_path), "--no-open"]
    done = CliRunner().invoke(command, arguments)
    assert (done.exit_code, "hpo.sync opened-1" in done.stderr) == (2, True), "it is not there yet"
    assert hpo.sync.deliver(journal.path) is None
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{server.uri}/#/experiments/")


def test_a_port_that_is_taken(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    done = CliRunner().invoke(command, ["--no-open", "--port", server.uri.rpartition(":")[2]])
    assert done.exit_code == 2
    assert "--port: somebody else listens there" in done.stderr
