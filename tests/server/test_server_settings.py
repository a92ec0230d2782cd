"""What a server's file and flags may say, and where its secrets come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import InputError
from hpo.server.launch import command, environment, hosts
from hpo.server.settings import read, secrets

TEAM = {
    "preset": "team",
    "public": "https://mlflow.example.com",
    "database": "postgresql+psycopg://mlflow@db:5432/mlflow",
    "artifacts": "s3://bucket/artifacts",
}
SECRETS = {"HPO_ADMIN_PASSWORD": "a" * 20, "HPO_SECRET_KEY": "s" * 40, "HPO_DATABASE_PASSWORD": "d-secret-of-the-base"}


def wrong(**given: object) -> str:
    with pytest.raises(InputError) as error:
        read(None, **given)
    return str(error.value)


def test_the_local_preset_needs_nothing(tmp_path: Path) -> None:
    settings = read(None, folder=tmp_path)
    assert (settings.preset, settings.address, settings.workers) == ("local", "http://127.0.0.1:5000", 1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "mlflow.example.com", "::"])
def test_the_local_preset_is_for_this_machine(host: str) -> None:
    assert "asks nobody for a password" in wrong(host=host)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"public": None}, "--public: is missing"),
        ({"database": None}, "--database: is missing"),
        ({"artifacts": None}, "--artifacts: is missing"),
        ({"public": "http://mlflow.example.com"}, "in the clear"),
        ({"public": "https://*.example.com"}, "without wildcards"),
        ({"public": "https://a.example.com,https://b.example.com"}, "without spaces and commas"),
        ({"public": "https://ada:secret@mlflow.example.com"}, "not an address"),
        ({"database": "postgresql://mlflow:hunter2@db/mlflow"}, "HPO_DATABASE_PASSWORD"),
        ({"database": "sqlite:///mlflow.db"}, "not an address of postgresql"),
        ({"artifacts": "ftp://here"}, "neither s3://BUCKET nor an absolute path"),
        ({"preset": "teem"}, "did you mean 'team'?"),
        ({"workers": "many"}, "whole number"),
    ],
)
def test_a_team_is_told_what_is_wrong(change: dict[str, object], said: str) -> None:
    assert said in wrong(**{**TEAM, **change})


def test_all_that_is_wrong_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("preset: team\nprot: 5001\ndatabase: mysql://x@y/z\nport: [1]\n")
    with pytest.raises(InputError) as error:
        read(file)
    assert f"{file}:2:1: unknown key 'prot'\n    did you mean 'port'?" in str(error.value)
    assert f"{file}:4:7: must be a whole number" in str(error.value)


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("port: 5001\nworkers: 2\n")
    settings = read(file, port=5002)
    assert (settings.port, settings.workers) == (5002, 2)


def test_secrets_come_from_the_environment_or_from_files_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "admin"
    file.write_text("of-a-file-of-its-own\n")
    given = {"HPO_ADMIN_PASSWORD_FILE": str(file), "HPO_SECRET_KEY": "s" * 40}
    assert secrets(given) == {"HPO_ADMIN_PASSWORD": "of-a-file-of-its-own", "HPO_SECRET_KEY": "s" * 40}
    with pytest.raises(InputError) as error:
        secrets({"HPO_ADMIN_PASSWORD": "short", "HPO_SECRET_KEY_FILE": str(tmp_path / "none")})
    assert "HPO_ADMIN_PASSWORD is too short" in str(error.value)
    assert "HPO_SECRET_KEY_FILE" in str(error.value)
    assert len(error.value.problems) == 2


def test_no_secret_is_in_the_arguments_in_an_address_or_in_a_file(tmp_path: Path) -> None:
    settings = read(None, **TEAM, folder=tmp_path)
    child = environment(settings, SECRETS, {})
    said = " ".join([*command(settings), child["MLFLOW_BACKEND_STORE_URI"], child["MLFLOW_ARTIFACTS_DESTINATION"]])
    written = " ".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert [secret for secret in SECRETS.values() if secret in said + written] == []
    assert child["PGPASSWORD"] == SECRETS["HPO_DATABASE_PASSWORD"]


def test_nothing_that_the_environment_says_about_mlflow_is_inherited(tmp_path: Path) -> None:
    stray = {
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true",
        "MLFLOW_EXPOSE_PROMETHEUS": "/tmp",
        "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
        "HPO_ADMIN_PASSWORD": SECRETS["HPO_ADMIN_PASSWORD"],
        "PATH": "/bin",
    }
    child = environment(read(None, folder=tmp_path), {}, stray)
    assert child["PATH"] == "/bin"
    assert child["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert child["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5000,localhost:5000"
    assert not {*stray, "MLFLOW_AUTH_ADMIN_PASSWORD"} & child.keys() - {
        "PATH", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_SERVER_ALLOWED_HOSTS",
    }  # fmt: skip


def test_good_hosts_are_named_in_full() -> None:
    assert hosts(read(None, **TEAM)) == ["127.0.0.1:5000", "mlflow.example.com", "mlflow.example.com:443"]
    assert hosts(read(None, **{**TEAM, "host": "0.0.0.0", "public": "https://localhost:8443"})) == ["localhost:8443"]
    assert hosts(read(None, host="::1")) == ["[::1]:5000", "localhost:5000"]
