"""What compose.yaml promises, held by reading it: there is no container engine where the tests run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hpo.server.settings import SECRETS, read
from tests.conftest import ROOT

FOLDER = ROOT / "scripts" / "server"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(FOLDER / "compose.yaml"))


def test_only_the_proxy_is_reached_and_the_others_reach_nobody(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert [n for n, service in compose["services"].items() if set(service["networks"]) != {"inside"}] == ["proxy"]


def test_every_service_is_watched_and_has_no_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cap_drop"] == ["ALL"], name
        assert not {"privileged", "network_mode", "pid"} & service.keys(), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        image = service["image"]
        assert "build" in service or (":" in image and not image.endswith(":latest")), f"{name}: which version?"


def test_secrets_are_files_and_nowhere_else(compose: dict[str, Any]) -> None:
    named = {secret for service in compose["services"].values() for secret in service.get("secrets", ())}
    assert named == set(compose["secrets"])
    assert {f"./secrets/{name}" for name in named} == {entry["file"] for entry in compose["secrets"].values()}
    mlflow = compose["services"]["mlflow"]
    given = {k.removesuffix("_FILE"): v for k, v in mlflow["environment"].items() if k.endswith("_FILE")}
    assert set(given) == set(SECRETS)
    assert {path.removeprefix("/run/secrets/") for path in given.values()} == set(mlflow["secrets"])
    made = re.search(r"for name in ([\w ]+);", (FOLDER / "README.md").read_text())
    assert made is not None
    assert set(made[1].split()) == named, "README makes them all"


def test_the_flags_are_those_of_the_server(compose: dict[str, Any], tmp_path: Path) -> None:
    values: dict[str, Any] = {}
    for flag in compose["services"]["mlflow"]["command"]:
        name, _, value = flag.removeprefix("--").partition("=")
        value = re.sub(r"\$\{HPO_HOST[^}]*\}", "mlflow.example.com", value)
        values[name.replace("-", "_")] = re.sub(r"\$\{HPO_\w+:-(.*)\}", r"\1", value)
    values["workers"] = int(values["workers"])
    settings = read(None, preset="team", folder=tmp_path, **values)
    assert settings.public == "https://mlflow.example.com"
    entry = next(line for line in (FOLDER / "Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT"))
    assert '"-m", "hpo.server", "--preset", "team"' in entry


def test_the_door_is_given_all_that_it_asks_for(compose: dict[str, Any]) -> None:
    wanted = set(re.findall(r"\$\{(HPO_\w+)\}", (FOLDER / "nginx.conf").read_text()))
    assert wanted == {name for name in compose["services"]["proxy"]["environment"] if name.startswith("HPO_")}
    mounted = [volume.split(":")[0] for volume in compose["services"]["proxy"]["volumes"] if volume.startswith("./")]
    assert [path for path in mounted if not (FOLDER / path).exists()] == []


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_scripts_say_what_they_need(script: str, tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run([FOLDER / script], capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/bin"})
    assert (done.returncode, "usage" in done.stderr) == (2, True)
    done = subprocess.run([FOLDER / script, "x"], capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/bin"})
    assert "PGDATABASE" in done.stderr
    assert list(tmp_path.iterdir()) == []
