"""Ledgers of both kinds: a SQLite file, and a database on a real PostgreSQL that is started once for these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.chaos.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'schedule.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    name = f"ledger_{abs(hash(tmp_path))}"
    with psycopg.connect(server.uri.replace("+psycopg", ""), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    return server.uri.replace("/mlflow", f"/{name}")
