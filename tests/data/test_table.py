"""Columns of every kind, well made and nasty."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo.data import Column, Dataset, load, prepare
from hpo.errors import InputError
from hpo.sweep import Validation
from tests.data.sweeps import sweep_on

Table = dict[str, Any]
ROWS = 60
LATE = [0, 1] * (ROWS // 2)


def made(folder: Path, table: Table, name: str = "t.csv", **settings: Any) -> Dataset:
    path = folder / name
    frame = pd.DataFrame(table)
    frame.to_csv(path, index=False) if name.endswith("csv") else frame.to_parquet(path)
    return prepare(sweep_on(path, "y", **settings), folder / "prepared")


def column(folder: Path, values: list[Any], name: str = "t.csv", **settings: Any) -> tuple[Column, Any]:
    """The description and the encoded values of a column, whatever it was before."""
    table = {"x": values, "y": LATE}
    dataset = made(folder, table, name, data={"holdout": 0.0}, **settings)
    return dataset.columns[0], load(dataset).features[:, 0]


def cycle(*values: Any) -> list[Any]:
    return [values[k % len(values)] for k in range(ROWS)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_kinds(tmp_path: Path, name: str) -> None:
    dates = pd.date_range("2020-01-01", periods=ROWS, freq="D")
    dataset = made(tmp_path, {
        "number": np.arange(ROWS) * 0.5, "whole": range(ROWS), "flag": cycle(True, False),
        "word": cycle("ä", "b", "日本"), "day": dates, "y": LATE,
    }, name)  # fmt: skip
    assert {c.name: c.kind for c in dataset.columns} == {
        "number": "numeric", "whole": "numeric", "flag": "boolean", "word": "categorical", "day": "date",
    }  # fmt: skip
    assert dataset.columns[3].categories == ("b", "ä", "日本")


def test_csv_and_parquet_are_the_same_table(tmp_path: Path) -> None:
    table: Table = {
        "a": cycle(1, None, 2.5), "b": cycle(True, None, False), "c": cycle("x", None, "y", "z"),
        "d": cycle(pd.Timestamp("2020-03-01 12:00"), pd.NaT), "e": cycle(7, 8, 9), "y": cycle("no", "yes"),
    }  # fmt: skip
    csv, parquet = (made(tmp_path, table, name) for name in ("t.csv", "t.parquet"))
    assert csv.digest != parquet.digest
    assert (load(csv).features[:].tobytes()) == load(parquet).features[:].tobytes()
    assert csv.classes == parquet.classes == ("no", "yes")
    assert [(c.name, c.kind, c.categories) for c in csv.columns] == [
        (c.name, c.kind, c.categories) for c in parquet.columns
    ]


def test_booleans_with_gaps(tmp_path: Path) -> None:
    found, values = column(tmp_path, cycle(True, None, False))
    assert (found.kind, found.missing) == ("boolean", ROWS // 3)
    np.testing.assert_array_equal(values[:3], [1.0, np.nan, 0.0])


def test_dates_are_days_since_1970(tmp_path: Path) -> None:
    found, values = column(tmp_path, cycle("1970-01-02", "1970-01-03 12:00", None))
    assert found.kind == "date"
    np.testing.assert_array_equal(values[:3], [1.0, 2.5, np.nan])


@pytest.mark.parametrize(
    ("text", "days"),
    [(("25/12/1970", "01/02/1970"), (358, 31)), (("12/25/1970", "01/02/1970"), (358, 1)),
     (("25.12.1970", "01.02.1970"), (358, 31)), (("1970/12/25", "1970/02/01"), (358, 31))],
)  # fmt: skip
def test_dates_as_people_write_them(tmp_path: Path, text: tuple[str, str], days: tuple[int, int]) -> None:
    found, values = column(tmp_path, cycle(*text))
    assert found.kind == "date"
    assert tuple(values[:2]) == days


def test_a_few_unreadable_dates_are_missing_and_noted(tmp_path: Path) -> None:
    values = [f"2020-01-{1 + k % 28:02}" for k in range(ROWS)]
    values[7] = "soon"
    dataset = made(tmp_path, {"x": values, "y": LATE}, data={"holdout": 0.0})
    assert (dataset.columns[0].kind, dataset.columns[0].missing) == ("date", 1)
    assert "1 dates that cannot be read" in dataset.notes[0]


def test_many_unreadable_dates_are_words(tmp_path: Path) -> None:
    assert column(tmp_path, cycle("2020-01-01", "soon"))[0].kind == "categorical"


def test_codes_of_digits_are_no_dates(tmp_path: Path) -> None:
    assert column(tmp_path, cycle("1010", "2020", "x"))[0].kind == "categorical"
    assert column(tmp_path, cycle("1010", "2020"), "t.parquet")[0].kind == "categorical"


def test_parquet_types_that_python_knows(tmp_path: Path) -> None:
    day = column(tmp_path, cycle(datetime.date(1970, 1, 3), None), "t.parquet")
    assert (day[0].kind, day[1][0]) == ("date", 2.0)
    money = column(tmp_path, cycle(decimal.Decimal("1.50"), None), "t.parquet")
    assert (money[0].kind, money[1][0]) == ("numeric", 1.5)
    zoned = column(tmp_path, cycle(pd.Timestamp("1970-01-02 02:00", tz="Europe/Berlin")), "t.parquet")
    assert zoned[1][0] == pytest.approx(1 + 1 / 24)


def test_infinite_numbers_are_missing_and_noted(tmp_path: Path) -> None:
    dataset = made(tmp_path, {"x": cycle(1.0, np.inf), "y": LATE}, "t.parquet", data={"holdout": 0.0})
    assert dataset.columns[0].missing == ROWS // 2
    assert "not finite" in dataset.notes[0]


def test_a_column_without_any_value_is_left_out(tmp_path: Path) -> None:
    dataset = made(tmp_path, {"x": range(ROWS), "void": [None] * ROWS, "y": LATE})
    assert [c.name for c in dataset.columns] == ["x"]
    assert "'void'" in dataset.notes[0]


def test_forced_categories_read_3_and_3_point_0_alike(tmp_path: Path) -> None:
    dataset = made(tmp_path, {"x": cycle(3, None, 5), "y": LATE}, data={"categorical": ("x",), "holdout": 0.0})
    assert dataset.columns[0].categories == ("3", "5")


def test_every_row_its_own_word(tmp_path: Path) -> None:
    found, _ = column(tmp_path, [f"id {k}" for k in range(ROWS)])
    assert (found.kind, found.distinct) == ("categorical", ROWS)


def test_dropped_group_and_time_columns_are_no_features(tmp_path: Path) -> None:
    table: Table = {"a": range(ROWS), "b": range(ROWS), "g": cycle(*range(12)), "y": LATE}
    grouped = made(tmp_path, table, data={"drop": ("b",)}, validation=Validation(2, groups="g"))
    assert [c.name for c in grouped.columns] == ["a"]
    timed = made(tmp_path, table, validation=Validation(2, time="a"))
    assert [c.name for c in timed.columns] == ["b", "g"]


def test_other_separators_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("﻿x;y\n" + "".join(f"{k};{k % 2}\n" for k in range(ROWS)), encoding="utf-8")
    assert [c.name for c in prepare(sweep_on(path, "y"), tmp_path / "p").columns] == ["x"]


NASTY: list[tuple[Table, dict[str, Any], str]] = [
    ({"y": LATE}, {}, "no feature is left"),
    ({"x": range(ROWS), "y": [1] * ROWS}, {}, "only one value|every row"),
    ({"x": range(ROWS), "y": [None] * ROWS}, {}, "no value in any row"),
    ({"x": range(ROWS), "late": LATE}, {}, "columns: x, late"),
    ({"x": range(ROWS), "y": LATE}, {"data": {"drop": ("xx",)}}, "did you mean 'x'"),
    ({"x": range(ROWS), "y": LATE}, {"data": {"drop": ("y",)}}, "target 'y' cannot be used"),
    ({"x": range(ROWS), "y": LATE}, {"validation": Validation(2, groups="x", time="x")}, "not both"),
    (
        {"x": range(ROWS), "g": cycle(1, None), "y": LATE},
        {"validation": Validation(2, groups="g")},
        "missing in 30 rows",
    ),
    ({"x": range(ROWS), "t": cycle("a", "b"), "y": LATE}, {"validation": Validation(2, time="t")}, "neither dates"),
]


@pytest.mark.parametrize(("table", "settings", "said"), NASTY)
def test_nasty_tables_are_refused_in_words(tmp_path: Path, table: Table, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(tmp_path, table, **settings)
    assert not list((tmp_path / "prepared").iterdir()), "nothing half made stays behind"


def test_all_unknown_names_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        made(tmp_path, {"x": range(ROWS), "y": LATE}, data={"drop": ("p", "q")}, validation=Validation(2, groups="r"))
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"x,y\n", "holds no rows"),
        ("t.csv", b"x,x,y\n1,2,0\n", "more than one column named 'x'"),
        ("t.csv", "x,y\ngrün,0\n".encode("latin-1"), "cannot be read"),
        ("t.csv", b'x,y\n"a,0\n', "cannot be read"),
        ("t.parquet", b"PAR1 nothing", "cannot be read"),
        ("t.xlsx", b"PK", "neither CSV nor Parquet"),
    ],
)
def test_nasty_files_are_refused_in_words(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        prepare(sweep_on(tmp_path / name, "y"), tmp_path / "prepared")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        prepare(sweep_on(tmp_path / "t.csv", "y"), tmp_path / "prepared")


def test_lists_are_no_features(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drop: \[x\]"):
        made(tmp_path, {"x": [[1, 2]] * ROWS, "y": LATE}, "t.parquet")
