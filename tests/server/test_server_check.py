"""`hpo.server check`: nothing on the team preset, and each of the misconfigurations that were planted on real servers.

One server has what MLflow's flags allow and no accounts; one has accounts as MLflow ships them; the rest are doors:
nginx configurations in front of a good server, wrong as people get them wrong.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from hpo.server.__main__ import command
from hpo.server.accounts import give
from hpo.server.check import CHECKS, Report, findings
from hpo.server.launch import wait
from hpo.server.wire import Wire
from tests.chaos.figures import figure
from tests.conftest import free_port
from tests.server.stack import Proxy, Stack


class Stock:
    """`mlflow server` without our preset."""

    def __init__(self, folder: Path, *arguments: str, host: str = "127.0.0.1", **env: str) -> None:
        folder.mkdir()
        port = free_port()
        self.url = f"http://{host}:{port}"
        self._log = folder / "log"
        place = ["--host", host, "--port", str(port), "--workers", "1"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *place, *arguments], cwd=folder,
                env={**os.environ, "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db", **env},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> str:
        assert wait(self._process, self.url), self._log.read_text()
        return self.url

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two servers that are not kept well. One is everybody's, on an address of the machine that others reach, if it
    has one; one has accounts, and rights as MLflow ships them."""
    addresses = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family.name == "AF_INET"]
    outside = next((address for address in addresses if not address.startswith("127.")), "127.0.0.1")
    folder = tmp_path_factory.mktemp("stock")
    everybodys = Stock(
        folder / "open", "--allowed-hosts", "*", "--cors-allowed-origins", "*", "--x-frame-options", "NONE",
        host=outside, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="true",
    )  # fmt: skip
    shared = Stock(
        folder / "shared", "--app-name", "basic-auth", MLFLOW_AUTH_ADMIN_USERNAME="admin",
        MLFLOW_AUTH_ADMIN_PASSWORD="of-the-administrator", MLFLOW_FLASK_SERVER_SECRET_KEY="anything",
    )  # fmt: skip
    try:
        yield everybodys.wait(), shared.wait()
    finally:
        everybodys.stop()
        shared.stop()


def found(report: Report) -> set[str]:
    return {finding.check for finding in report.found}


def as_account(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Wire:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Wire.from_environment(environment["MLFLOW_TRACKING_URI"])


def test_nothing_is_found_on_the_team_preset(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    as_account(monkeypatch, stack.account("looks", "reader"))
    done = CliRunner().invoke(command, ["check", stack.url, "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["found"], report["skipped"]) == (0, [], [])
    assert sorted(report["passed"]) == sorted(CHECKS)


def test_a_stranger_finds_nothing_either_and_says_what_was_not_seen(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(stack.tls / "fullchain.pem"))
    report = findings(Wire(stack.url))
    assert report.found == ()
    assert "promotion (needs an account)" in report.skipped


def test_all_that_was_planted_is_found(
    stack: Stack, stock: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_server, shared_server = stock
    planted = {"anonymous", "hosts", "origins", "jobs", "body", "framing"}
    report = findings(Wire(open_server))
    missed = (planted | ({"transport"} if "127.0.0.1" not in open_server else set())) - found(report)
    count = len(planted) + ("127.0.0.1" not in open_server)

    give(Wire(shared_server, "admin", "of-the-administrator"), "guest", "reader", "of-the-guest-himself")
    missed |= {"permissions", "promotion", "body"} - found(
        findings(Wire(shared_server, "guest", "of-the-guest-himself"))
    )
    count += 3

    door = Proxy(tmp_path / "door", stack.mlflow_port, stack.tls)
    written = tmp_path / "door" / "door.conf"
    text = written.read_text()
    for right, wrong in (
        ("return 403;\n}\n\nserver", "location / { proxy_pass http://mlflow; }\n}\n\nserver"),  # answers to any name …
        ("proxy_set_header Host $http_host", f"proxy_set_header Host localhost:{stack.proxy.port}"),  # … as to its own
        ("location = /health", "location = /version { return 200 2.9.2; }\n    location = /health"),
        ("if ($foreign) { return 403; }", "add_header Access-Control-Allow-Origin * always;"),
        ("add_header Strict-Transport-Security", "add_header X-Nothing"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    text = text.replace(
        "ssl default_server;", f"ssl default_server;\n    proxy_set_header Host localhost:{stack.proxy.port};"
    )
    written.write_text(text)
    wire = as_account(monkeypatch, {**stack.account("looks", "reader"), "MLFLOW_TRACKING_URI": door.url})
    door.start()
    try:
        report = findings(wire)
    finally:
        door.stop()
    missed |= {"version", "hosts", "origins", "transport"} - found(report)
    count += 4
    figure(
        "S7 planted", "hpo.server check finds each planted misconfiguration, and nothing on the team preset",
        f"{count - len(missed)} of {count} found", len(missed),
    )  # fmt: skip


def test_a_wrong_password_is_the_users_input(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    as_account(monkeypatch, stack.environment("nobody", "knows"))
    done = CliRunner().invoke(command, ["check", stack.url])
    assert done.exit_code == 2
    assert "does not know 'nobody'" in done.stderr


def test_a_certificate_that_nobody_vouches_for_is_refused(stack: Stack) -> None:
    done = CliRunner().invoke(command, ["check", stack.url], env={"MLFLOW_TRACKING_SERVER_CERT_PATH": ""})
    assert done.exit_code == 2
    assert "the certificate is not trusted" in done.stderr


def test_nobody_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["check", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 2
    assert "nobody answers" in done.stderr
