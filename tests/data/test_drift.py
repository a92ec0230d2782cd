from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp

import hpo
from hpo.data import Dataset, prepare
from hpo.data.drift import changes, correlation_ratio, drifts, kolmogorov_smirnov

ROWS = 2000


def frame(seed: int, rows: int = ROWS) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=rows)
    return pd.DataFrame({
        "x": x,
        "noise": draw.normal(size=rows),
        "kind": draw.choice(["a", "b", "c"], size=rows),
        "gaps": np.where(draw.random(rows) < 0.1, np.nan, draw.normal(size=rows)),
        "late": np.where(x + draw.normal(size=rows) > 0, "yes", "no"),
    })  # fmt: skip


def dataset(folder: Path, table: pd.DataFrame) -> Dataset:
    folder.mkdir(exist_ok=True)
    path = folder / "table.parquet"
    table.to_parquet(path)
    sweep = hpo.build(
        name="drift", model="sklearn.linear_model.LogisticRegression", metric="roc_auc",
        data={"path": str(path), "target": "late"}, space={"C": {"float": [0.1, 1]}},
    )  # fmt: skip
    return prepare(sweep, folder / "data")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("before"), frame(0))


def test_more_of_the_same_is_no_drift(before: Dataset, tmp_path: Path) -> None:
    now = dataset(tmp_path, frame(1, 2500))
    assert changes(before, now) == ["rows: 2,000 -> 2,500 (+500)"]
    assert changes(before, before) == []


def test_a_column_that_has_moved_is_named_and_what_it_tells(before: Dataset, tmp_path: Path) -> None:
    table = frame(1)
    table["x"] += 1
    table["noise"] += 1
    said = changes(before, dataset(tmp_path, table))
    assert said[0] == "rows: 2,000 as before, with other content"
    assert said[1].startswith("x has drifted: KS 0.3")
    assert "% of late by itself" in said[1]
    assert said[2] == "1 more of 5 columns have drifted, which tell less about late"


def test_categories_gaps_and_target_drift_too(before: Dataset, tmp_path: Path) -> None:
    table = frame(1)
    table["kind"] = np.where(np.arange(ROWS) % 2, "a", table["kind"])
    table.loc[::2, "gaps"] = np.nan
    table["late"] = np.where(np.arange(ROWS) % 3 == 0, "yes", table["late"])
    found, columns = drifts(before, dataset(tmp_path, table))
    assert {(drift.name, drift.what) for drift in found} == {
        ("kind", "shares by"), ("gaps", "share of missing values by"), ("late", "shares by"),
    }  # fmt: skip
    assert columns == 5


def test_what_became_of_the_schema(before: Dataset, tmp_path: Path) -> None:
    table = frame(0).drop(columns="noise").assign(new=1.5, x="text")
    table.loc[0, "kind"] = "d"
    said = changes(before, dataset(tmp_path, table))
    assert {"new column new (numeric)", "column noise is gone", "column x: numeric -> categorical"} <= {*said}
    assert "column kind: 1 new categories (d)" in said


def test_data_that_are_gone_are_compared_by_what_is_known(before: Dataset, tmp_path: Path) -> None:
    now = dataset(tmp_path, frame(1, 2500))
    gone = Dataset.from_json({**before.to_json(), "folder": str(tmp_path / "nowhere")})
    said = changes(gone, now)
    assert said[0] == "rows: 2,000 -> 2,500 (+500)"
    assert said[-1].startswith("drift was not looked for")


def test_the_statistics_are_those_of_scipy() -> None:
    draw = np.random.default_rng(3)
    left, right = draw.normal(size=500), draw.normal(0.2, size=800)
    ours, theirs = kolmogorov_smirnov(left, right), ks_2samp(left, right, method="asymp")
    assert ours[0] == pytest.approx(theirs.statistic)
    assert ours[1] == pytest.approx(theirs.pvalue, rel=0.2)
    from hpo.data.drift import _shares

    names = np.asarray(["a"] * 30 + ["b"] * 70), np.asarray(["a"] * 50 + ["b"] * 45 + ["c"] * 5)
    statistic, p = _shares(*names)
    assert statistic == pytest.approx(0.25)
    assert p == pytest.approx(chi2_contingency([[30, 70, 0], [50, 45, 5]]).pvalue)
    assert kolmogorov_smirnov(np.asarray([np.nan]), left) == (0.0, 1.0)


def test_what_a_column_tells(before: Dataset) -> None:
    draw = np.random.default_rng(4)
    values = draw.normal(size=3000)
    assert correlation_ratio(values, (values > 0).astype(float), before, False) > 0.95
    assert correlation_ratio(draw.normal(size=3000), (values > 0).astype(float), before, False) == 0.0
