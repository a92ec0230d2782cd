"""A table read column by column is, to the last bit, the table that is read at once."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from hpo.data import Dataset, holdout_frame, prepare, store
from hpo.data import columns as columns_module
from hpo.data.columns import Filed, Whole, open_table
from hpo.data.table import read_table, row_keys
from hpo.errors import InputError
from hpo.sweep import Validation
from tests.data.sweeps import sweep_on

ROWS = 3000


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "CELLS", 0)
    monkeypatch.setattr(columns_module, "BYTES", 0)
    monkeypatch.setattr(columns_module, "PIECE", 14 * 700)  # some 700 rows at a time
    monkeypatch.setattr(store, "_BLOCK", 14 * 500)


def odd_table() -> pd.DataFrame:
    """Columns whose types can be seen in the whole of them only: gaps, text and categories come late."""
    dice = np.random.default_rng(1)
    late = np.arange(ROWS) > ROWS - 100
    numbers = dice.integers(0, 50, ROWS)
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(numbers, "D")
    return pd.DataFrame({
        "float": dice.normal(size=ROWS),
        "whole": numbers,
        "whole with gaps": pd.Series(numbers).where(~late),
        "empty at first": pd.Series(dice.normal(size=ROWS)).where(late),
        "true": dice.random(ROWS) < 0.5,
        "true with gaps": pd.Series(dice.random(ROWS) < 0.5).where(~late, None),
        "text late": np.where(late, "x", numbers.astype(str)),
        "text with gaps": pd.Series(np.where(late, "late", "early")).where(dice.random(ROWS) < 0.9, None),
        "rare": np.where(np.arange(ROWS) == ROWS - 3, "once", "often"),
        "when": days,
        "when as text": days.strftime("%d.%m.%Y"),
        "true or number": np.where(late, "2.5", "True"),
        "nothing": np.full(ROWS, np.nan),
        "y": pd.Series(np.where(numbers % 2, "odd", "even")).where(dice.random(ROWS) < 0.99, None),
    })  # fmt: skip


def same(path: Path, whole: pd.DataFrame, scratch: Path) -> None:
    table = open_table(path, scratch)
    assert isinstance(table, Filed)
    assert table.names == list(whole.columns)
    for name in whole.columns:
        pd.testing.assert_series_equal(table.column(name), whole[name], check_exact=True)


def test_keys_are_the_hashes_of_rows() -> None:
    """Whoever made a hold-out with them before finds the same rows in it."""
    table = odd_table()
    numeric = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    plain = pd.DataFrame({name: table[name].astype("float32" if name in numeric else str) for name in table.columns})
    expected = pd.util.hash_pandas_object(plain, index=False).to_numpy()
    assert np.array_equal(row_keys(list(table.columns), table.__getitem__, None), expected)
    one = pd.util.hash_pandas_object(plain[["rare"]], index=False).to_numpy()
    assert np.array_equal(row_keys(list(table.columns), table.__getitem__, "rare"), one)


def prepared(path: Path, folder: Path, **validation: object) -> Dataset:
    made = sweep_on(path, "y", validation=Validation(3, **validation))  # type: ignore[arg-type]
    assert made.data is not None
    dropped = dataclasses.replace(made.data, drop=("text late",), categorical=("whole",), holdout=0.2)
    return prepare(dataclasses.replace(made, data=dropped), folder)


def assert_same_data(one: Dataset, other: Dataset) -> None:
    assert dataclasses.replace(one, folder=other.folder) == other
    for name in ("features", "target", "blocks", "bonds", "holdout"):
        assert (one.folder / f"{name}.npy").read_bytes() == (other.folder / f"{name}.npy").read_bytes(), name
    pd.testing.assert_frame_equal(holdout_frame(one)[0], holdout_frame(other)[0], check_exact=True)
    assert {path.name for path in one.folder.iterdir()} == {path.name for path in other.folder.iterdir()}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_all_of_it_is_the_same(tmp_path: Path, request: pytest.FixtureRequest, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    table = odd_table()
    if suffix == "csv":
        table.to_csv(path, index=False, sep=";")
    else:
        table["kind"] = pd.Categorical(table["rare"])
        table["small"] = table["float"].astype("float32")
        table["day"] = [datetime.date(2026, 1, 1 + n % 28) for n in range(ROWS)]
        table.to_parquet(path, row_group_size=900)
    whole = read_table(path)
    assert isinstance(open_table(path, tmp_path), Whole)
    validations: list[dict[str, object]] = [{}, {"groups": "whole"}, {"time": "when"}]
    before = [prepared(path, tmp_path / "whole", **given) for given in validations]
    request.getfixturevalue("small_is_large")
    same(path, whole, tmp_path)
    for given, expected in zip(validations, before, strict=True):
        assert_same_data(prepared(path, tmp_path / "filed", **given), expected)


@pytest.mark.parametrize("numbers", ["18446744073709551615", "1e400x", "9,9"])
def test_what_only_the_whole_can_say_is_left_to_it(tmp_path: Path, small_is_large: None, numbers: str) -> None:
    """Numbers beyond 64 bits; rows longer than the header, which pandas takes for an index or refuses."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 2000 + f"{numbers},3\n")
    if numbers == "9,9":
        for read in (lambda: read_table(path), lambda: open_table(path, tmp_path)):
            with pytest.raises(InputError, match="cannot be read"):
                read()
    else:
        table = open_table(path, tmp_path)
        found = pd.DataFrame({name: table.column(name) for name in table.names})
        pd.testing.assert_frame_equal(found, read_table(path), check_exact=True)


def test_names_of_rows_are_a_column_and_their_old_numbers_are_not(tmp_path: Path, small_is_large: None) -> None:
    path = tmp_path / "t.parquet"
    odd_table().rename_axis("id").to_parquet(path)
    assert open_table(path, tmp_path).names[0] == "id"
    odd_table()[lambda rows: rows["whole"] != 7].to_parquet(path)
    assert "__index_level_0__" in pyarrow.parquet.read_schema(path).names
    same(path, read_table(path).reset_index(drop=True), tmp_path)


def test_what_cannot_be_read_is_said_as_ever(tmp_path: Path, small_is_large: None) -> None:
    (tmp_path / "no.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    for name, says in (("no.parquet", "cannot be read"), ("empty.csv", "is empty"), ("twice.csv", "more than one")):
        with pytest.raises(InputError, match=says):
            open_table(tmp_path / name, tmp_path)
    good = tmp_path / "cut.parquet"
    odd_table().to_parquet(good, row_group_size=300, compression=None)
    content = bytearray(good.read_bytes())
    content[1000:20000] = b"\xff" * 19000
    good.write_bytes(content)
    table = open_table(good, tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        pd.DataFrame({name: table.column(name) for name in table.names})


MEASURE = """
import resource, sys
from pathlib import Path
from hpo.data import prepare
from tests.data.sweeps import sweep_on
def peak():
    rows = [line.split() for line in open("/proc/self/status")]
    return next(int(row[1]) for row in rows if row[0] == "VmHWM:") / 1024
prepare(sweep_on(Path(sys.argv[2]), "y"), Path(sys.argv[3]))  # whatever is imported on the way
before = peak()
prepare(sweep_on(Path(sys.argv[1]), "y"), Path(sys.argv[3]))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's view of memory")
def test_a_large_table_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    rows, columns = 100_000, 90  # 72 MB as numbers
    dice = np.random.default_rng(1)
    table = pd.DataFrame({f"x{n}": dice.normal(size=rows) for n in range(columns)})
    table.assign(y=dice.random(rows) < 0.5).to_parquet(tmp_path / "t.parquet")
    table.iloc[:1000].assign(y=dice.random(1000) < 0.5).to_parquet(tmp_path / "small.parquet")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in ("t.parquet", "small.parquet", "made"))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 108, "MB: a copy and a half, most of it the hold-out; read at once it is three"
