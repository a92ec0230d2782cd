"""Where a table comes from: files under DVC, databases, the cache; each mistake with its place and a hint."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from hpo.data import prepare
from hpo.data.cache import Cache
from hpo.data.lineage import find_pointer
from hpo.errors import InputError
from hpo.loader import build, from_document, load
from hpo.sweep import Data, Sweep
from tests.chaos.postgres import Postgres

FILE = """\
name: tiny
data: {DATA}
model: sklearn.linear_model.LogisticRegression
metric: roc_auc
space: {C: {float: [0.1, 9]}}
"""
TABLE = "a,late\n" + "".join(f"{n},{n % 2}\n" for n in range(40))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(data: str) -> Path:
    path = Path("tiny.yaml")
    path.write_text(FILE.replace("{DATA}", "{target: late, " + data + "}"))
    return path


def table(data: str) -> Data:
    found = load(write(data)).data
    assert found is not None
    assert found.origin is not None
    return found


def refused(data: str) -> str:
    with pytest.raises(InputError) as caught:
        load(write(data))
    (problem,) = caught.value.problems
    assert problem.where.startswith("tiny.yaml:2:")
    return str(problem)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def pointer(file: Path, path: str, text: str, more: str = "  hash: md5\n") -> None:
    file.write_text(f"outs:\n- md5: {md5(text)}\n  size: {len(text)}\n{more}  path: {path}\n")


# Files of the project.


def test_a_plain_file_is_known_by_its_digest(project: Path) -> None:
    found = table("path: data/t.csv")
    digest = hashlib.sha256(TABLE.encode()).hexdigest()
    assert (found.path, found.digest) == (project / "data" / "t.csv", digest)
    assert found.origin is not None
    assert (found.origin.kind, found.origin.source, found.origin.name) == ("local", "data/t.csv", "t")
    assert found.origin.tags == {"hpo.data": digest, "hpo.data.version": digest}
    assert table(f"path: data/t.csv, digest: {digest}").digest == digest
    assert f"has another SHA-256: {digest}" in refused(f"path: data/t.csv, digest: {'f' * 64}")


def test_a_pointer_beside_the_file_is_its_version(project: Path) -> None:
    pointer(project / "data" / "t.csv.dvc", "t.csv", TABLE)
    origin = table("path: data/t.csv").origin
    assert origin is not None
    assert origin.kind == "dvc"
    assert origin.tags["hpo.data.version"] == origin.tags["hpo.data.md5"] == md5(TABLE)
    assert "hpo.data.commit" not in origin.tags  # no repository


@pytest.mark.parametrize("same_size", [True, False])
def test_a_changed_file_is_refused_unless_allowed(project: Path, same_size: bool) -> None:
    pointer(project / "data" / "t.csv.dvc", "t.csv", TABLE)
    changed = TABLE.replace("39,1", "39,0") if same_size else TABLE + "40,0\n"
    (project / "data" / "t.csv").write_text(changed)
    said = refused("path: data/t.csv")
    assert (f"has the MD5 {md5(changed)}, but t.csv.dvc says {md5(TABLE)}" in said) is same_size
    assert "--allow-dirty-data" in said
    sweep = load("tiny.yaml", allow_dirty_data=True)
    assert sweep.data is not None
    assert sweep.data.origin is not None
    assert sweep.data.origin.tags == {
        "hpo.data": hashlib.sha256(changed.encode()).hexdigest(), "hpo.data.dirty": "true",
        "hpo.data.pointer": md5(TABLE), "hpo.data.version": sweep.data.digest,
    }  # fmt: skip
    assert build(allow_dirty_data=True, **sweep.document).data == sweep.data
    again = from_document(sweep.document, sweep.root, prepared=sweep.data.digest)  # as for a promotion, much later
    assert again.identity == sweep.identity


def test_a_pointer_of_dvc_2_ignores_line_ends(project: Path) -> None:
    pointer(project / "data" / "t.csv.dvc", "t.csv", TABLE, more="")
    (project / "data" / "t.csv").write_bytes(TABLE.replace("\n", "\r\n").encode())
    assert table("path: data/t.csv").digest


def test_a_file_that_was_not_pulled(project: Path) -> None:
    pointer(project / "data" / "t.csv.dvc", "t.csv", TABLE)
    (project / "data" / "t.csv").unlink()
    assert "dvc pull t.csv" in refused("path: data/t.csv")


def test_a_folder_under_dvc(project: Path) -> None:
    entries = [{"md5": md5("x"), "relpath": "a.txt"}, {"md5": md5(TABLE), "relpath": "t.csv"}]
    listing = json.dumps(entries)
    (project / "data" / "a.txt").write_text("x")
    (project / "data.dvc").write_text(f"outs:\n- md5: {md5(listing)}.dir\n  hash: md5\n  path: data\n")
    found = find_pointer(project / "data" / "t.csv")
    assert found is not None
    assert (found.inside, found.mismatch(project / "data" / "t.csv")) == ("t.csv", None)
    (project / "data" / "a.txt").write_text("y")
    assert "data is not what data.dvc says" in (found.mismatch(project / "data" / "t.csv") or "")
    stored = project / ".dvc" / "cache" / "files" / "md5" / md5(listing)[:2] / f"{md5(listing)[2:]}.dir"
    stored.parent.mkdir(parents=True)
    stored.write_text(listing)  # with DVC's list, the table alone is compared
    assert found.mismatch(project / "data" / "t.csv") is None
    (project / "data" / "t.csv").write_text("changed")
    assert "but data.dvc says" in (found.mismatch(project / "data" / "t.csv") or "")


def test_an_output_of_a_pipeline(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages:\n  make:\n    cmd: make\n    outs: [data/t.csv]\n")
    assert "an output that was never made by its pipeline" in refused("path: data/t.csv")
    lock = f"  make:\n    outs:\n    - path: data/t.csv\n      hash: md5\n      md5: {md5(TABLE)}\n"
    (project / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n{lock}")
    origin = table("path: data/t.csv").origin
    assert origin is not None
    assert origin.tags["hpo.data.md5"] == md5(TABLE)


def test_yaml_of_somebody_else_is_no_pointer(project: Path) -> None:
    for text in ("outs: [t.csv]", "a: [", "outs:\n- path: other.csv\n  md5: 0\n", "- 1"):
        (project / "data" / "t.csv.dvc").write_text(text)
        assert find_pointer(project / "data" / "t.csv") is None


# Databases.


def query(path: str, sql: str = "SELECT * FROM flights") -> str:
    return f"path: '{path}', query: '{sql}'"


def fill(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE flights (day TEXT, distance REAL, late INTEGER)")
        rows = [(f"2026-01-{n % 28 + 1:02d}", n * 1.5 if n % 7 else None, n % 2) for n in range(60)]
        db.executemany("INSERT INTO flights VALUES (?, ?, ?)", rows)
    db.close()


def test_a_query_is_kept_by_the_digest_of_its_result(project: Path) -> None:
    fill(project / "s.db")
    first = table(query("sqlite:///s.db"))
    assert first.path == project / ".hpo" / "cache" / f"{first.digest}.parquet"
    assert first.origin is not None
    assert (first.origin.kind, first.origin.source) == ("sql", "sqlite:///s.db")
    backwards = table(query("sqlite:///s.db", "SELECT * FROM flights ORDER BY rowid DESC;"))
    assert backwards.digest == first.digest  # a database promises no order
    frame = pd.read_parquet(first.path)
    assert (len(frame), frame["distance"].isna().sum(), str(frame["late"].dtype)) == (60, 9, "int64")
    with sqlite3.connect(project / "s.db") as db:
        db.execute("DELETE FROM flights WHERE rowid = 1")
    db.close()
    assert table(query("sqlite:///s.db")).digest != first.digest
    pinned = table(query("sqlite:///s.db") + f", digest: {first.digest}")
    assert pinned.path == first.path
    dataset = prepare(load("tiny.yaml"), project / "prepared")
    assert dataset.rows + dataset.holdout_rows == 60


def test_a_query_changes_nothing(project: Path) -> None:
    fill(project / "s.db")
    before = (project / "s.db").read_bytes()
    for sql in ("DROP TABLE flights", "SELECT 1; DROP TABLE flights", "PRAGMA query_only=OFF"):
        assert "not a single SELECT" in refused(query("sqlite:///s.db", sql))
    said = refused(query("sqlite:///s.db", "WITH x AS (SELECT 1) DELETE FROM flights"))
    assert "readonly" in said
    assert (project / "s.db").read_bytes() == before


def test_what_is_wrong_with_a_database(project: Path) -> None:
    fill(project / "s.db")
    assert "there is no database" in refused(query("sqlite:///none.db"))
    assert not (project / "none.db").exists()
    assert "leads out of" in refused(query("sqlite:///../s.db"))
    assert "no such table" in refused(query("sqlite:///s.db", "SELECT * FROM nowhere"))
    assert "has no rows" in refused(query("sqlite:///s.db", "SELECT * FROM flights WHERE late = 7"))
    assert "the query has two columns named 'a'" in refused(
        query("sqlite:///s.db", "SELECT day a, late a FROM flights")
    )
    assert "dialect://user@host/database" in refused(query("nosuch://host/db"))
    assert "pip install" in refused(query("mysql+asyncmy://ada@127.0.0.1/db"))
    said = refused(query("postgresql+psycopg://ada:s3cret@127.0.0.1:9/db"))
    assert "a password stands in the address" in said
    assert "s3cret" not in said
    assert "the variable HPO_DB_PASSWORD is not set" in refused(
        query("postgresql+psycopg://ada:${HPO_DB_PASSWORD}@127.0.0.1:9/db")
    )
    assert "no table is read from ftp://" in refused("path: 'ftp://host/t.csv'")
    assert "no table is read from postgresql://" in refused("path: 'postgresql://host/db'")
    assert "a query needs the address of a database" in refused("path: data/t.csv, query: SELECT 1")
    assert "rev is for files under DVC or Git" in refused("path: 'https://host/t.csv', rev: v1")
    assert "remote has no meaning without rev or repo" in refused("path: data/t.csv, remote: store")


def test_only_our_variables_are_put_into_an_address(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile file must not send the secrets of whoever runs it to a server of its choice."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    said = refused(query("postgresql+psycopg://ada:${AWS_SECRET_ACCESS_KEY}@127.0.0.1:9/db"))
    assert "a password stands in the address" in said
    assert "s3cret" not in said


def test_postgresql_is_only_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_DB_PASSWORD", "s3cret-password")
    with Postgres() as server:
        address = server.uri.replace("hpo@", "hpo:${HPO_DB_PASSWORD}@")
        numbers = "SELECT n AS a, n % 2 AS late, n::numeric / 3 AS x FROM generate_series(1, 50) n"
        sweep = load(write(f'path: "{address}", query: "{numbers}"'))
        assert sweep.data is not None
        frame = pd.read_parquet(sweep.data.path)
        assert (len(frame), str(frame["x"].dtype)) == (50, "float64")
        assert "s3cret" not in json.dumps([sweep.source, dict(sweep.document), asdict(sweep.data)], default=str)
        said = refused(f'path: "{address}", query: "WITH x AS (SELECT setval(\'s\', 1)) SELECT * FROM x"')
        assert "does not exist" in said
        said = refused(f'path: "{address}", query: "SELECT lo_from_bytea(0, \'x\')"')
        assert "read-only transaction" in said
    assert "s3cret" not in refused(f'path: "{address}", query: "{numbers}"')  # nobody listens


# The cache.


def test_the_cache_trusts_bytes_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path, digest = cache.keep(lambda file: file.write(b"table"), ".csv", "https://x", "etag")
    assert cache.recall("https://x", "etag") == digest
    assert cache.recall("https://x", "another") is None
    assert cache.find(digest, ".csv") == path
    path.write_bytes(b"rotten")
    assert cache.find(digest, ".csv") is None
    assert not path.exists()


def test_a_failed_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        Cache(tmp_path).keep(fail, ".csv", "x")
    assert list(tmp_path.iterdir()) == []


def test_bundled_sweeps_have_an_origin() -> None:
    sweep: Sweep = load("random_forest")
    assert sweep.data is not None
    assert sweep.data.origin is not None
    assert sweep.data.origin.tags["hpo.data.version"] == sweep.data.digest
