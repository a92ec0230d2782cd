"""The result of a query, by SQLAlchemy: read once, kept as Parquet, known by its bytes.

Imported by `hpo.data.source` when a sweep has a `data.query`. A sweep file is data and must do no harm: one
statement, in a read-only transaction, rolled back. A database promises no order, so the rows are put in that of their
content: the same rows are the same table.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from hpo.data.address import expand
from hpo.data.cache import Cache, Fetched
from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.sweep import Data

_ONLY_READ = {"sqlite": "PRAGMA query_only=ON", "mysql": "SET SESSION TRANSACTION READ ONLY"}
_DRIVERS = {"psycopg": "pip install 'hpo[server]'"}
_PLAIN = (str, bool, int, float, type(None))


def read_query(data: Data, root: Path, cache: Cache, suffix: str) -> Fetched:
    """The rows as a Parquet file. InputError: address, driver, connection, statement, or a result without rows."""
    query = _statement(data.query or "")
    try:
        url = _address(make_url(expand(str(data.path))), root)
        frame = _rows(url, query)
    except ImportError as error:
        name = str(error.name or error)
        hint = _DRIVERS.get(name, f"pip install {name}")
        raise InputError(Problem(f"the driver {name} is not installed", "data.path", hint)) from None
    except ArgumentError as error:
        hint = "dialect://user@host/database, such as postgresql+psycopg://ada@db.example.org/sales"
        raise InputError(Problem(f"this is no database's address: {_said(error)}", "data.path", hint)) from None
    except SQLAlchemyError as error:
        where = "data.query" if getattr(error, "statement", None) else "data.path"
        raise InputError(Problem(f"the database says: {_said(error)}", where)) from None
    if double := sorted({name for name in frame.columns if list(frame.columns).count(name) > 1}):
        raise InputError(
            Problem(f"the query has two columns named {double[0]!r}", "data.query", "name one of them anew")
        )
    if frame.empty:
        raise InputError(Problem("the query has no rows", "data.query"))
    table = pa.Table.from_pandas(_ordered(frame), preserve_index=False).replace_schema_metadata(None)
    path, digest = cache.keep(lambda file: pq.write_table(table, file), suffix, str(data.path), query)
    return Fetched(path, digest, {})


def _statement(query: str) -> str:
    text = query.strip().removesuffix(";").rstrip()
    if not text.lower().startswith(("select", "with", "(")) or ";" in text:
        hint = "one SELECT; it may begin with WITH, and holds no other semicolon"
        raise InputError(Problem("the query is not a single SELECT", "data.query", hint))
    return text


def _address(url: URL, root: Path) -> URL:
    """SQLite would make a file that is not there, and a relative one belongs to the project."""
    if url.get_backend_name() != "sqlite":
        return url
    written = url.database or ""
    path = Path(os.path.realpath(root / written))
    if not Path(written).is_absolute() and not path.is_relative_to(os.path.realpath(root)):
        raise InputError(Problem(f"{written!r} leads out of {root}", "data.path", "write an absolute path"))
    if not path.is_file():
        raise InputError(Problem(f"there is no database {path}", "data.path"))
    return URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})


def _rows(url: URL, query: str) -> pd.DataFrame:
    engine = create_engine(url, poolclass=NullPool)
    options = {"no_parameters": True}  # a % is a %
    if url.get_backend_name() == "postgresql":
        options["postgresql_readonly"] = True
    with engine.connect().execution_options(**options) as connection:
        if guard := _ONLY_READ.get(url.get_backend_name()):
            connection.exec_driver_sql(guard)
        result = connection.exec_driver_sql(query)
        names = list(result.keys())
        frame = pd.DataFrame.from_records([tuple(row) for row in result], columns=names, coerce_float=True)
        connection.rollback()
    return frame


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    plain = frame.apply(lambda column: column if column.dtype != object else column.map(_plain))
    keys = pd.util.hash_pandas_object(plain.astype(str), index=False).to_numpy()
    ordered: pd.DataFrame = plain.iloc[keys.argsort(kind="stable")].reset_index(drop=True)
    return ordered


def _plain(value: Any) -> Any:
    """Identifiers, networks, documents: as text. Dates stay what they are."""
    return value if isinstance(value, _PLAIN) or hasattr(value, "isoformat") else str(value)


def _said(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return redact(" ".join(str(cause).split()))[:300]
