"""What is served: raw rows of any make, read as in training; and the file is really on its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from hpo.data import holdout_frame
from hpo.objectives.refit import refit
from hpo.predictor import Predictor, _load_pyfunc, category_key, encode
from hpo.sweep import Validation
from hpo.trial import Trial
from tests.data.sweeps import bundled

COLUMNS: list[dict[str, Any]] = [
    {"name": "n", "kind": "numeric"},
    {"name": "b", "kind": "boolean"},
    {"name": "c", "kind": "categorical", "categories": ["3", "x"]},
    {"name": "d", "kind": "date", "format": None},
]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": ["1.5", None], "b": ["true", None], "c": ["x", "never seen"], "d": ["1970-01-02", None]}),
        pd.DataFrame({"d": pd.DatetimeIndex(["1970-01-02", None]), "c": pd.Categorical(["x", None]), "b": [True, None],
                      "n": [1.5, np.inf], "more": [0, 0]}),
        pd.DataFrame({"d": pd.DatetimeIndex(["1970-01-02", None], tz="UTC"), "c": pd.array(["x", None], dtype="string"),
                      "b": pd.array([True, None], dtype="boolean"), "n": pd.array([1.5, None], dtype="Float64")}),
        pd.DataFrame({"d": pd.Series(["1970-01-02", "never"], dtype="category"), "c": ["x", ""], "b": [1.0, np.nan],
                      "n": pd.Series([1.5, None], dtype=object)}),
    ],
)  # fmt: skip
def test_rows_of_any_make_read_alike(frame: pd.DataFrame) -> None:
    np.testing.assert_array_equal(encode(frame, COLUMNS), [[1.5, 1.0, 1.0, 1.0], [np.nan] * 4])


def test_numbers_as_categories() -> None:
    assert [category_key(v) for v in (3, 3.0, np.int32(3), np.float64(3), "3", 2.5)] == ["3"] * 5 + ["2.5"]


def test_what_is_wrong_with_rows_is_said() -> None:
    frame = pd.DataFrame({"n": ["many"], "c": ["x"]})
    with pytest.raises(ValueError, match="lack the columns 'b', 'd'"):
        encode(frame, COLUMNS)
    with pytest.raises(ValueError, match="'n' holds something that is not a number"):
        encode(frame, COLUMNS[:1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sweep, dataset = bundled("flights", tmp_path, 800, validation=Validation(3, groups="date"))
    refit(sweep, dataset, Trial(0, {"n_estimators": 5}), tmp_path / "model", threads=1)
    holdout_frame(dataset)[0].to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "model"


def test_a_stranger_can_serve_it(folder: Path, tmp_path: Path) -> None:
    """Another process, in an empty folder, with the model's own copy of the file and without hpo."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import predictor, pandas\n"
        "model = predictor._load_pyfunc(sys.argv[1]); rows = pandas.read_parquet(sys.argv[2])\n"
        "model.predict(rows, {'output': 'probability'})[1].to_frame('late').to_parquet(sys.argv[3])\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'hpo']"
    )
    rows, answer = tmp_path / "rows.parquet", tmp_path / "answer.parquet"
    (tmp_path / "empty").mkdir()
    arguments = [sys.executable, "-I", "-c", code, str(folder), str(rows), str(answer)]
    subprocess.run(arguments, check=True, cwd=tmp_path / "empty")
    here = _load_pyfunc(str(folder)).predict(pd.read_parquet(rows), {"output": "probability"})
    np.testing.assert_array_equal(pd.read_parquet(answer)["late"], here[1])


def test_rows_may_come_in_any_order_of_columns(folder: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    predictor = Predictor(folder)
    turned = rows[rows.columns[::-1]].astype({"carrier": str, "dest": str})
    np.testing.assert_array_equal(predictor.predict(rows), predictor.predict(turned))
    assert set(predictor.predict(rows).tolist()) <= {0, 1}


def test_outputs(folder: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(tmp_path / "rows.parquet").iloc[5:9]
    shares = Predictor(folder).predict(rows, {"output": "probability"})
    assert (list(shares.columns), list(shares.index)) == ([0, 1], [5, 6, 7, 8])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    both = Predictor(folder).predict(rows, {"output": "both"})
    assert list(both.columns) == ["label", "probability_0", "probability_1"]
    assert both["label"].tolist() == Predictor(folder).predict(rows).tolist()
    np.testing.assert_array_equal(both["probability_1"], shares[1])
    with pytest.raises(ValueError, match="not 'label', 'probability' or 'both'"):
        Predictor(folder).predict(rows, {"output": "everything"})


def signed(folder: Path, model: object) -> None:
    """A model put in the place of the other, and its digest as well."""
    skops.io.dump(model, folder / "model.skops")
    about = json.loads((folder / "columns.json").read_text())
    about["sha256"] = hashlib.sha256((folder / "model.skops").read_bytes()).hexdigest()
    (folder / "columns.json").write_text(json.dumps(about))


def test_a_stored_model_brings_no_code_of_its_own(folder: Path) -> None:
    (folder / "model.ubj").unlink()
    signed(folder, FunctionTransformer(subprocess.run))
    with pytest.raises(ValueError, match=r"not on the list of known ones: subprocess\.run"):
        Predictor(folder)
    signed(folder, LogisticRegression())
    Predictor(folder)


def test_a_model_with_a_broken_byte_is_not_read(folder: Path) -> None:
    """S6, where it is served: some broken files crash the process that reads them."""
    content = bytearray((folder / "model.ubj").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.ubj").write_bytes(content)
    with pytest.raises(ValueError, match="is not the file that was written"):
        Predictor(folder)
