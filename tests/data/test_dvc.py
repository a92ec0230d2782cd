"""Older versions of a table, read by the real DVC from a real repository and its remote."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_remote import loaded

TABLES = {v: b"a,late\n" + b"".join(b"%d,%d\n" % (n, n % 2) for n in range(40 + v)) for v in (1, 2)}
NOW = {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def shell(folder: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(command, shell=True, cwd=folder, check=True, env=NOW, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of `data/t.csv`, tagged v1 and v2, pushed to a remote; a folder under DVC; a table in Git itself."""
    folder = tmp_path_factory.mktemp("dvc") / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "parts").mkdir()
    (folder / "parts" / "t.csv").write_bytes(TABLES[1])
    (folder / "small.csv").write_bytes(TABLES[1])
    shell(
        folder, "git init -q -b main", "git config user.email ada@example.org", "git config user.name ada",
        "dvc init -q", "dvc remote add -q -d store ../remote",
    )  # fmt: skip
    for version, content in TABLES.items():
        (folder / "data" / "t.csv").write_bytes(content)
        shell(
            folder, "dvc add -q data/t.csv parts", "git add -A", f"git commit -q -m v{version}", f"git tag v{version}"
        )
        shell(folder, "dvc push -q")
    shell(folder, "git rm -q --cached small.csv", "git commit -q -m 'no table in Git any more'")
    return folder


def digest(version: int) -> str:
    return hashlib.sha256(TABLES[version]).hexdigest()


def tags(found: dict[str, Any]) -> dict[str, str]:
    told: dict[str, str] = found["origin"]["tags"]
    return told


def commit(folder: Path, rev: str) -> str:
    return subprocess.run(["git", "rev-parse", rev], cwd=folder, capture_output=True, text=True).stdout.strip()


def test_pointers_that_dvc_wrote_are_read_without_it(repository: Path) -> None:
    now = loaded(repository, "path: data/t.csv")
    assert now["digest"] == digest(2)
    assert tags(now) == {
        "hpo.data": digest(2), "hpo.data.version": "v2", "hpo.data.md5": hashlib.md5(TABLES[2]).hexdigest(),
        "hpo.data.commit": commit(repository, "v2"),
    }  # fmt: skip
    inside = tags(loaded(repository, "path: parts/t.csv"))
    assert inside["hpo.data.md5"].endswith(".dir")
    assert inside["hpo.data.version"] == "v1"  # unchanged since
    shutil.move(repository / ".dvc" / "cache", repository / "aside")
    try:
        assert tags(loaded(repository, "path: parts/t.csv")) == inside  # the digest of a folder, as DVC makes it
    finally:
        shutil.move(repository / "aside", repository / ".dvc" / "cache")


def test_an_older_version(repository: Path, tmp_path: Path) -> None:
    found = loaded(repository, "path: data/t.csv, rev: v1")
    assert found["digest"] == digest(1)
    assert tags(found)["hpo.data.version"] == "v1"
    assert tags(found)["hpo.data.commit"] == commit(repository, "v1")
    assert (repository / "data" / "t.csv").read_bytes() == TABLES[2]  # the working tree is left alone
    in_git = loaded(repository, "path: small.csv, rev: v2")
    assert in_git["digest"] == digest(1)
    elsewhere = loaded(tmp_path, f"path: data/t.csv, repo: '{repository}', rev: v1, remote: store")
    assert elsewhere["digest"] == digest(1)
    assert tags(elsewhere)["hpo.data.version"] == "v1"


def test_a_version_comes_from_the_remote(repository: Path, tmp_path: Path) -> None:
    """A clone has neither cache nor data."""
    shutil.copytree(repository.parent / "remote", tmp_path / "remote")
    shell(tmp_path, f"git clone -q {repository} clone")
    assert "dvc pull t.csv" in loaded(tmp_path / "clone", "path: data/t.csv")["error"]
    assert loaded(tmp_path / "clone", "path: data/t.csv, rev: v1")["digest"] == digest(1)


def test_mistakes(repository: Path, tmp_path: Path) -> None:
    assert "nope" in loaded(repository, "path: data/t.csv, rev: nope")["error"]
    assert "there is no none.csv at v1" in loaded(repository, "path: none.csv, rev: v1")["error"]
    assert "is in no Git repository" in loaded(tmp_path, "path: data/t.csv, rev: v1")["error"]
    assert "is no repository" in loaded(tmp_path, "path: t.csv, repo: 'ext::sh -c true', rev: v1")["error"]
    said = loaded(tmp_path, "path: t.csv, repo: 'https://ada:s3cret@127.0.0.1/x', rev: v1")["error"]
    assert "a password stands in the address" in said
    assert "s3cret" not in said
    said = loaded(tmp_path, "path: t.csv, repo: 'https://ada:${HPO_GIT}@127.0.0.1:9/x', rev: v1")["error"]
    assert "the variable HPO_GIT is not set" in said
    said = loaded(tmp_path, "path: t.csv, repo: 'https://ada:${HPO_GIT}@127.0.0.1:9/x', rev: v1", HPO_GIT="s3cret")
    assert "DVC cannot read it" in said["error"]
    assert "s3cret" not in said["error"]
