"""What a look at a table says: the task, the folds it is enough for, and the columns that need a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo.data.survey import Survey, list_columns, survey
from hpo.errors import InputError
from hpo.metric import Task

ROWS = 200
X = np.random.default_rng(3).normal(size=ROWS)


def looked(folder: Path, table: dict[str, Any], task: Task | None = None) -> Survey:
    path = folder / "t.parquet"
    pd.DataFrame(table).to_parquet(path)
    return survey(path, "y", task, 0.2, 5)


def cycle(*values: Any) -> list[Any]:
    return [values[k % len(values)] for k in range(ROWS)]


def test_identifiers_and_constants_are_left_out(tmp_path: Path) -> None:
    scattered = (np.arange(ROWS) * 7919) % 100_003
    found = looked(tmp_path, {
        "Unnamed: 0": range(ROWS), "orderId": scattered, "text": [f"row {k}" for k in range(ROWS)],
        "same": ["a"] * ROWS, "empty": [None] * ROWS, "lists": [[1]] * ROWS, "amount": scattered,
        "paid": np.arange(ROWS) + 0.5, "y": cycle("no", "yes"),
    })  # fmt: skip
    assert [column.name for column in found.columns] == ["amount", "paid"]
    assert {name: why.split(":")[0] for name, why in found.left_out.items()} == {
        "Unnamed: 0": "looks like an identifier", "orderId": "looks like an identifier",
        "text": "looks like an identifier", "same": "the same in every row", "lists": "neither numbers nor text",
    }  # fmt: skip
    assert found.notes == ("column 'empty' has no value in any row: left out",)


def test_codes_and_owners(tmp_path: Path) -> None:
    table = {"month": cycle(*range(1, 13)), "ratio": cycle(0.5, 1.5, 2.5), "patient_id": cycle(*range(50)), "x": X}
    found = looked(tmp_path, {**table, "valid": cycle(1, 2, 3, 4) * 1, "y": cycle("no", "yes", "no")})
    assert found.codes == ("month", "valid")
    assert found.owners == ("patient_id",), "neither `valid`, which ends like one, nor what has few values"


@pytest.mark.parametrize(
    ("target", "task", "asked"),
    [
        (cycle(0, 1), "binary", False),
        (cycle("a", "b", "c"), "multiclass", False),
        (list(X), "regression", False),
        (cycle(0.5, 1.5), "regression", True),  # fractions are no classes
        ([9, *cycle(1, 2, 3)[1:]], "regression", True),  # one row of a class cannot be in every fold
    ],
)
def test_the_task(tmp_path: Path, target: list[Any], task: str, asked: bool) -> None:
    found = looked(tmp_path, {"x": X, "y": target})
    assert (found.task, bool(found.asked)) == (task, asked)
    assert sum(rows for _, rows in found.classes) == (0 if task == "regression" else ROWS)


def test_a_task_that_is_asked_for(tmp_path: Path) -> None:
    table = {"x": X, "y": cycle(1, 2, 3)}
    assert looked(tmp_path, table).task == "multiclass"
    assert looked(tmp_path, table, "regression").task == "regression"
    with pytest.raises(InputError, match="has 3 values, not two"):
        looked(tmp_path, table, "binary")


def test_fewer_folds_for_a_rare_class(tmp_path: Path) -> None:
    found = looked(tmp_path, {"x": X, "y": ["rare"] * 5 + ["often"] * (ROWS - 5)})
    assert found.folds == 3
    assert found.trouble == "the rarest class has 5 rows: 5 folds and a hold-out of 0.2 need 8"
    assert dict(found.classes) == {"often": ROWS - 5, "rare": 5}
    with pytest.raises(InputError, match="the rarest class has 1 row: 2 folds"):
        looked(tmp_path, {"x": X, "y": ["once"] + ["often"] * (ROWS - 1)})
    with pytest.raises(InputError, match="the rarest class has 1 row: 2 folds") as refused:
        looked(tmp_path, {"x": X, "y": [f"row {k}" for k in range(ROWS)]})
    assert [problem.hint.split(";")[0] for problem in refused.value.problems] == ["more rows"]


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column is left to learn from: 'id': looks like an identifier"):
        looked(tmp_path, {"id": range(ROWS), "y": cycle(0, 1)})


def test_the_list_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,day,nothing\nx,2020-01-01,\n,2020-01-02,\n")
    assert list_columns(path) == ["'a'        categorical  1 values, 1 missing", "'day'      date         2 values",
                                  "'nothing'  empty"]  # fmt: skip
