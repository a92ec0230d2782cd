"""Where results come from: right in a repository, harmless outside."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hpo.provenance import packages, patch, provenance, requirements


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path) -> None:
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "train.py").write_text("print(1)\n", encoding="utf-8")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "first")


def test_a_clean_repository(tmp_path: Path) -> None:
    repository(tmp_path)
    git(tmp_path, "remote", "add", "origin", "https://ada:s3cret@example.org/models.git")
    (tmp_path / "untracked.txt").write_text("", encoding="utf-8")
    found = provenance(tmp_path)["git"]
    assert found == {
        "commit": git(tmp_path, "rev-parse", "HEAD"), "branch": "trunk", "dirty": False,
        "remote": "https://example.org/models.git", "top": str(tmp_path.resolve()),
    }  # fmt: skip


def test_a_dirty_and_detached_one(tmp_path: Path) -> None:
    repository(tmp_path)
    git(tmp_path, "checkout", "-q", "--detach")
    (tmp_path / "train.py").write_text("print(2)\n", encoding="utf-8")
    found = provenance(tmp_path)["git"]
    assert found["dirty"]
    assert "branch" not in found


def test_outside_and_before_the_first_commit(tmp_path: Path) -> None:
    assert provenance(tmp_path)["git"] == {}
    git(tmp_path, "init", "-q")
    assert provenance(tmp_path)["git"] == {}
    assert provenance(tmp_path / "nowhere")["git"] == {}


def test_machine_packages_and_command(tmp_path: Path) -> None:
    found = provenance(tmp_path, ["hpo", "search", "--tracking-uri", "http://ada:s3cret@host"])
    assert json.loads(json.dumps(found)) == found
    assert found["command"] == "hpo search --tracking-uri http://ada:***@host"
    assert {"mlflow", "xgboost", "numpy"} <= found["packages"].keys()
    assert found["cpus"] > 0
    assert found["memory"] > 2**20
    assert found["cpu"]


def test_some_variables_are_told_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:s3cret@host")
    monkeypatch.setenv("MY_OWN", "private")
    told = provenance(tmp_path)["variables"]
    assert (told["OMP_NUM_THREADS"], told["MLFLOW_TRACKING_URI"]) == ("3", "http://ada:***@host")
    assert "MY_OWN" not in told


def test_the_image_is_what_whoever_started_us_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_IMAGE", "registry.example.org/train:7")
    if not Path("/run/.containerenv").exists():  # Podman's own word comes first
        assert provenance(tmp_path)["image"] == "registry.example.org/train:7"


def test_requirements_are_what_is_installed() -> None:
    found = packages()
    assert {name: found[name] for name in ("mlflow", "scikit-learn", "ruamel-yaml")} == {
        name: version(name) for name in ("mlflow", "scikit-learn", "ruamel-yaml")
    }
    assert f"numpy=={version('numpy')}\n" in requirements()


def test_the_patch_is_what_is_not_committed(tmp_path: Path) -> None:
    repository(tmp_path)
    tracked = {".env": "A=1\n", "deploy/key.pem": "k\n", "logo.bin": "\0\1", "table.csv": "a\n", "src/model.py": "x\n"}
    for name, text in tracked.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "add", "-f", ".")
    git(tmp_path, "commit", "-q", "-m", "more")
    assert patch(tmp_path) == ""
    for name in tracked:
        (tmp_path / name).write_text("\0\2" if name == "logo.bin" else "changed\n" * 3, encoding="utf-8")
    (tmp_path / "table.csv").write_text("row\n" * 5000, encoding="utf-8")
    (tmp_path / "train.py").write_text("print(1)\nlogin(password='hunter22')\n", encoding="utf-8")
    (tmp_path / "untracked.py").write_text("not mine to show\n", encoding="utf-8")
    text = patch(tmp_path / "src")  # all of the repository, from wherever in it
    left = [line.removeprefix("# left out: ") for line in text.splitlines() if line.startswith("# left out: ")]
    assert sorted(left) == [".env", "deploy/key.pem", "logo.bin", "table.csv"]
    assert "+login(password='***')" in text
    assert "A=1" not in text
    assert "not mine" not in text
    git(tmp_path, "checkout", "-q", ".")
    clean = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
    subprocess.run(["git", "apply"], input=clean, cwd=tmp_path, check=True, text=True)
    assert (tmp_path / "src" / "model.py").read_text() == "changed\n" * 3


def test_a_patch_runs_no_program_of_the_repository(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / ".gitattributes").write_text("*.py diff=evil\n", encoding="utf-8")
    for setting in ("diff.external", "diff.evil.command", "diff.evil.textconv"):
        git(tmp_path, "config", setting, f"touch {tmp_path}/executed;")
    (tmp_path / "train.py").write_text("print(2)\n", encoding="utf-8")
    assert "+print(2)" in patch(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_it_imports_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from hpo.provenance import provenance; provenance();"
        "print({'mlflow', 'numpy', 'pandas', 'xgboost', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
