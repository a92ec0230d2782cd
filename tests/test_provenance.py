"""Where results come from: right in a repository, harmless outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hpo.provenance import provenance


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
        "remote": "https://example.org/models.git",
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


def test_it_imports_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from hpo.provenance import provenance; provenance();"
        "print({'mlflow', 'numpy', 'pandas', 'xgboost', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
