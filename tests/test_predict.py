"""Batches as they are typed: any size, any order of columns, labels and probabilities, and no broken model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from hpo.data.stream import pieces
from hpo.predict import command
from hpo.predictor import Predictor
from hpo.registry import promote
from tests.conftest import ROOT
from tests.registry.models import Bench, fitted


@pytest.fixture
def bench(tmp_path: Path, uri: str) -> Bench:
    bench = fitted(tmp_path, (5,))
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("segment", (tmp_path / "mlruns").as_uri())
    promote(client, experiment, client.create_run(experiment).info.run_id, bench.candidates[0], bench.judge)
    return bench


def test_a_file_in_pieces_is_the_file(tmp_path: Path, uri: str, bench: Bench) -> None:
    rows = pd.read_parquet(ROOT / "data" / "segment.parquet").drop(columns="category").iloc[:500]
    rows.insert(0, "id", np.arange(500))
    rows.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    model = Predictor(bench.candidates[0].folder)
    for data, out, options in (
        ("rows.parquet", "out.parquet", ["--output", "both", "--keep", "id", "--rows", "64"]),
        ("rows.csv", "out.csv", ["--output", "both", "--keep", "id", "--rows", "64"]),
        ("rows.parquet", "labels.parquet", []),
    ):
        arguments = ["segment", "--data", str(tmp_path / data), "--out", str(tmp_path / out), "--tracking-uri", uri]
        done = CliRunner().invoke(command, [*arguments, "--json", *options])
        assert done.exit_code == 0, done.output
        said = json.loads(done.output)
        assert (said["rows"], said["version"]) == (500, "1")
        found = (pd.read_csv if out.endswith("csv") else pd.read_parquet)(tmp_path / out)
        assert found["prediction"].tolist() == model.predict(rows).tolist()
        if options:
            assert found["id"].tolist() == rows["id"].tolist()
            shares = model.predict(rows, {"output": "probability"})
            assert list(found.columns) == ["id", "prediction", *(f"probability_{c}" for c in shares)]
            np.testing.assert_allclose(found[f"probability_{shares.columns[0]}"], shares.iloc[:, 0], rtol=1e-6)
        else:
            assert list(found.columns) == ["prediction"]


def test_what_is_wrong_is_said_and_nothing_is_left_behind(tmp_path: Path, uri: str, bench: Bench) -> None:
    rows = pd.read_parquet(ROOT / "data" / "segment.parquet").iloc[:20]
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.drop(columns=rows.columns[0]).to_parquet(tmp_path / "narrow.parquet")
    cases = [
        (["segment", "--data", "narrow.parquet"], "its signature asks for columns that the data lacks"),
        (["segment/7", "--data", "rows.parquet"], "there is no model 'segment/7'"),
        (["segment@nobody", "--data", "rows.parquet"], "its versions: 1"),
        (["segment", "--data", "no.parquet"], "there is no file"),
        (["segment", "--data", "rows.parquet", "--keep", "id"], "there is no column 'id'"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for arguments, message in cases:
            done = CliRunner().invoke(command, [*arguments, "--out", "out.parquet", "--tracking-uri", uri])
            assert (done.exit_code, message in done.output) == (2, True), done.output
    assert not list(tmp_path.glob("*out.parquet*"))


def test_a_piece_of_a_csv_means_what_the_whole_means(tmp_path: Path) -> None:
    """A column that is text on its last line is text on all of them: 007 stays 007."""
    (tmp_path / "rows.csv").write_text("code;size\n" + "007;1\n" * 5 + "x;2.5\n")
    whole = pd.concat(pieces(tmp_path / "rows.csv", 2))
    assert whole["code"].tolist() == ["007"] * 5 + ["x"]
    assert whole["size"].tolist() == [1.0] * 5 + [2.5]
