"""Whose account a request is made with, in the order of MLflow's clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.server.wire import Wire


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    return tmp_path


def test_nobody() -> None:
    assert Wire.from_environment("https://mlflow.example.com/") == Wire("https://mlflow.example.com")


def test_the_account_in_the_address_is_not_sent_as_its_host() -> None:
    wire = Wire.from_environment("https://ada:se%40cret@mlflow.example.com:8443/prefix/")
    assert wire == Wire("https://mlflow.example.com:8443/prefix", "ada", "se@cret")


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".mlflow").mkdir()
    text = "[mlflow]\nmlflow_tracking_username = file\nmlflow_tracking_password = 100%\n"
    (home / ".mlflow" / "credentials").write_text(text)
    assert Wire.from_environment("http://here") == Wire("http://here", "file", "100%")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hers")
    assert Wire.from_environment("http://here") == Wire("http://here", "ada", "hers")
