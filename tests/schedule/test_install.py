"""`install` and `uninstall` in a home of their own, with a crontab program that keeps its lines in a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpo.loader import load_schedule
from hpo.schedule.install import without
from hpo.sweepfile.document import Document
from tests.schedule.toy import call, project


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "crontab").write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat {tmp_path}/tab; else cat > {tmp_path}/tab; fi\n'
    )
    (programs / "crontab").chmod(0o755)
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "PATH": f"{programs}:{os.environ['PATH']}"}


def test_systemd_units_come_and_go(tmp_path: Path, home: dict[str, str]) -> None:
    folder = project(tmp_path / "my project")
    said = call(folder, "install", "--systemd", "toy.yaml", env=home)
    assert said.returncode == 0, said.stderr
    units = tmp_path / ".config" / "systemd" / "user"
    assert sorted(path.name for path in units.iterdir()) == [
        "hpo-schedule-my-project.service", "hpo-schedule-my-project.timer",
    ]  # fmt: skip
    assert "systemctl --user enable --now hpo-schedule-my-project.timer" in said.stdout
    (units / "hpo-schedule-my-project.service").write_text("[Unit]\n# somebody's own\n")
    said = call(folder, "uninstall", "--systemd", env=home)
    assert said.returncode == 0
    assert [path.name for path in units.iterdir()] == ["hpo-schedule-my-project.service"]


def test_a_crontab_keeps_the_lines_of_others(tmp_path: Path, home: dict[str, str]) -> None:
    folder, tab = project(tmp_path / "p"), tmp_path / "tab"
    tab.write_text("MAILTO=ada\n0 5 * * * backup\n")
    for _ in range(2):  # again replaces it
        assert call(folder, "install", "--cron", "toy.yaml", env=home).returncode == 0
        lines = tab.read_text().splitlines()
        assert lines[:2] == ["MAILTO=ada", "0 5 * * * backup"]
        assert len(lines) == 5
        assert "hpo.schedule tick toy.yaml" in lines[3]
    assert call(folder, "uninstall", "--cron", env=home).returncode == 0
    assert tab.read_text() == "MAILTO=ada\n0 5 * * * backup\n"


def test_a_workflow_is_written_and_is_yaml(tmp_path: Path, home: dict[str, str]) -> None:
    folder = project(tmp_path / "p")
    assert call(folder, "install", "--github", "toy.yaml", env=home).returncode == 0
    path = folder / ".github" / "workflows" / "hpo-schedule.yml"
    made = Document.read(path, "workflow").data
    assert [row["cron"] for row in made["on"]["schedule"]] == ["0 1,2 * * *"]
    assert "for pause in" in made["jobs"]["tick"]["steps"][-1]["run"]
    assert call(folder, "uninstall", "--github", env=home).returncode == 0
    assert not path.exists()


def test_kubernetes_is_printed_and_wants_an_image(tmp_path: Path, home: dict[str, str]) -> None:
    folder = project(tmp_path / "p")
    (folder / "two.yaml").write_text((folder / "toy.yaml").read_text().replace("name: toy", "name: two"))
    said = call(folder, "install", "--k8s", "--image", "example/hpo:1", "toy.yaml", "two.yaml", env=home)
    documents = said.stdout.split("---\n")
    assert len(documents) == 2
    for number, name in enumerate(("toy", "two")):
        (tmp_path / "made.yaml").write_text(documents[number])
        made = Document.read(tmp_path / "made.yaml", "made").data
        assert made["metadata"]["name"] == f"hpo-{name}"
        assert made["spec"]["timeZone"] == "Europe/Berlin"
    assert "needs an image" in call(folder, "install", "--k8s", "toy.yaml", env=home).stderr


def test_what_is_printed_is_not_written(tmp_path: Path, home: dict[str, str]) -> None:
    folder = project(tmp_path / "p")
    for kind in ("--systemd", "--cron", "--github"):
        assert "hpo.schedule tick toy.yaml" in call(folder, "install", kind, "--print", "toy.yaml", env=home).stdout
    assert not (tmp_path / ".config").exists()
    assert not (tmp_path / "tab").exists()
    assert not (folder / ".github").exists()
    assert call(folder, "install", "toy.yaml", env=home).returncode == 2


def test_what_is_between_the_marks_goes() -> None:
    assert without("a\nbegin\nx\nend\nb\nbegin\ny\nend\n", ("begin", "end")) == "a\nb\n"


def test_a_schedule_is_read_without_what_its_file_names(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    (folder / "toy_objective.py").unlink()
    name, recurrence = load_schedule(folder / "toy.yaml")
    assert recurrence is not None
    assert (name, recurrence.cron, recurrence.budget.trials) == ("toy", "0 3 * * *", 3)
