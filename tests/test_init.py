"""`hpo.init` from outside: a file that loads, plans and runs as it is, whatever the columns are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import hpo
from hpo.init import command, quoted
from hpo.plan import plan
from hpo.sweepfile.document import Document
from tests.data.sweeps import BUNDLED, TARGETS

ROWS = 120


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def table(path: str, columns: Sequence[str] = ("x", "z"), **more: object) -> None:
    dice = np.random.default_rng(1)
    made = pd.DataFrame({name: dice.normal(size=ROWS) for name in columns} | more)
    made.to_csv(path, index=False)


def planned(name: str, folder: Path) -> hpo.Sweep:
    """It loads, and neither data nor model nor search have anything to say against it."""
    sweep = hpo.load(name)
    assert not plan(sweep, folder, probe=False).warnings
    return sweep


@pytest.mark.parametrize(
    ("name", "metric", "model"),
    [
        ("flights", "roc_auc", "xgboost.XGBClassifier"),
        ("diamonds", "rmse", "xgboost.XGBRegressor"),
        ("segment", "log_loss", "xgboost.XGBClassifier"),
    ],
)
def test_the_bundled_tables(tmp_path: Path, name: str, metric: str, model: str) -> None:
    data = BUNDLED / f"{name}.parquet"
    said = call(str(data), "--target", TARGETS[name]).output
    assert f"next: python -m hpo.search --space {name}.yaml" in said
    text = (tmp_path / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert max(map(len, text.splitlines())) <= 120
    sweep = planned(f"{name}.yaml", tmp_path / "plan")
    assert (sweep.metric.name, sweep.model) == (metric, model)
    assert sweep.data is not None
    assert sweep.data.path == data.resolve()
    assert ("'date' is a date: consider validation: {time: …}" in said) == (name == "flights")


def test_the_hints_of_a_date_can_be_uncommented(tmp_path: Path) -> None:
    call(str(BUNDLED / "flights.parquet"), "--target", "late")
    file = tmp_path / "flights.yaml"
    text = file.read_text(encoding="utf-8")
    for hint, key in (("# time: date", "time"), ("# groups: date", "groups"), ("# categorical: [", "categorical")):
        assert hint in text
        file.write_text(text.replace(hint, hint[2:]), encoding="utf-8")
        sweep = hpo.load(file)
        assert sweep.data is not None
        assert getattr(sweep.data if key == "categorical" else sweep.validation, key) in ("date", ("month", "dow"))


def test_from_a_csv_to_a_champion(tmp_path: Path) -> None:
    rows = pd.read_parquet(BUNDLED / "segment.parquet").iloc[::3].reset_index(names="row_id")
    rows.to_csv(tmp_path / "segments.csv", index=False)
    assert "'row_id' is dropped: looks like an identifier" in call("segments.csv", "--target", "category").output
    sweep = hpo.load("segments.yaml", ["search.trials=2", "fixed.n_estimators=20", "search.workers=1", "recheck=false"])
    assert sweep.model == "sklearn.ensemble.RandomForestClassifier"
    result = hpo.run(sweep, tracking=f"sqlite:///{tmp_path}/mlflow.db")
    assert [trial.state for trial in result.all_trials] == ["complete", "complete"]
    assert result.promotion is not None
    assert result.promotion["promoted"], result.promotion


@pytest.mark.parametrize(
    ("target", "model"),
    [(["no", "yes"], "sklearn.linear_model.LogisticRegression"), ([1.5, 2.25, 7.0], "sklearn.linear_model.Ridge")],
)
def test_a_small_table_gets_a_simple_model(tmp_path: Path, target: list[object], model: str) -> None:
    dates = pd.date_range("2024-01-01", periods=ROWS).astype(str)
    gaps = [None if k % 7 == 0 else k / 3 for k in range(ROWS)]
    table("t.csv", day=dates, gaps=gaps, y=[target[k % len(target)] for k in range(ROWS)])
    call("t.csv", "--target", "y")
    sweep = planned("t.yaml", tmp_path / "plan")
    assert sweep.model == model
    assert "preprocess__num__impute__strategy" in sweep.space.names
    small = hpo.load("t.yaml", ["search.trials=2", "search.workers=1", "recheck=false"])
    result = hpo.run(small, tracking=None, executor="inline")
    assert {trial.state for trial in result.all_trials} == {"complete"}


HOSTILE = [
    "a: b", "# no", "- x", "null", "yes", "1", "1e5", "~", "{x}", "'", '"', "\\", "*a", "&b", "!c", "%d", "@e",
    "a\nb: c", "tab\t", " space ", "日本 語", "😀", "\u2028", "\x85", "\x7f", "a, b]", "${HOME}", "true", "?", "|", "",
]  # fmt: skip


def test_hostile_names_are_what_they_are(tmp_path: Path) -> None:
    for name in HOSTILE:
        file = tmp_path / "one.yaml"
        file.write_text(
            f"# {quoted(name)}\nname: a\nmodel: my.Model\nmetric: auc\nspace: {{}}\nfixed: {{key: {quoted(name)}}}\n",
            "utf-8",
        )
        assert Document.read(file, "one").data["fixed"] == {"key": name}


@pytest.mark.parametrize("target", [name for name in HOSTILE if name])
def test_a_hostile_table(tmp_path: Path, target: str) -> None:
    """As the target, as a column that is dropped, and among the hints."""
    same, owner, date = f"{target} same", f"{target} user", f"{target} day"
    columns = {
        target: [f"{target}{k % 2}" for k in range(ROWS)], same: 1, owner: [k % 30 for k in range(ROWS)],
        date: pd.date_range("2024-01-01", periods=ROWS), "x": [k / 7 for k in range(ROWS)],
    }  # fmt: skip
    pd.DataFrame(columns).to_parquet("t.parquet")
    call("t.parquet", "--target", target)
    sweep = planned("t.yaml", tmp_path / "plan")
    assert sweep.data is not None
    assert (sweep.data.target, sweep.data.drop, sweep.validation.groups) == (target, (same,), None)
    text = Path("t.yaml").read_text(encoding="utf-8")
    Path("t.yaml").write_text(text.replace("# groups: ", "groups: ", 1), encoding="utf-8")
    assert hpo.load("t.yaml").validation.groups == owner


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    table("t.csv", y=["a", "b"] * (ROWS // 2))
    Path("t.yaml").write_text("mine")
    assert "t.yaml is there already" in call("t.csv", "--target", "y", code=2).output
    Path("gone.yaml").symlink_to("nowhere")
    assert "gone.yaml is there already" in call("t.csv", "--target", "y", "--out", "gone.yaml", code=2).output
    assert Path("t.yaml").read_text() == "mine"
    assert "there is no folder sub" in call("t.csv", "--target", "y", "--out", "sub/t.yaml", code=2).output


def test_the_path_in_the_file_leads_to_the_table(tmp_path: Path) -> None:
    for folder in ("data", "search_spaces", "elsewhere"):
        Path(folder).mkdir()
    table("data/t.csv", y=["a", "b"] * (ROWS // 2))
    for out, written in (("t.yaml", "data/t.csv"), ("search_spaces/t.yaml", "data/t.csv"),
                         ("elsewhere/t.yaml", str(tmp_path / "data" / "t.csv"))):  # fmt: skip
        call("data/t.csv", "--target", "y", "--out", out)
        sweep = hpo.load(out)
        assert sweep.data is not None
        assert sweep.data.path == (tmp_path / "data" / "t.csv").resolve()
        assert sweep.document["data"]["path"] == written


def test_without_a_target_the_columns_are_listed(tmp_path: Path) -> None:
    table("t.csv", y=["a", "b"] * (ROWS // 2))
    said = call("t.csv", code=2).output
    assert "--target: which column is to be predicted?" in said
    assert "'x'  numeric      120 values" in said
    assert "'y'  categorical  2 values" in said
    assert not Path("t.yaml").exists()


@pytest.mark.parametrize(
    ("target", "said", "what_to_do"),
    [
        ("zz", "--target: there is no column 'zz'", "columns: x, z, constant, word, empty, flag"),
        ("flags", "--target: there is no column 'flags'", "did you mean 'flag'?"),
        ("constant", "--target: the target 'constant' is 3 in every row", "take another target"),
        ("word", "--target: the target 'word' has only one value, 'a'", "take another target"),
        ("empty", "--target: the target 'empty' has no value in any row", "take another column"),
    ],
)
def test_a_target_that_cannot_be(target: str, said: str, what_to_do: str) -> None:
    table("t.csv", constant=3, word="a", empty=None, flag=[True, False] * (ROWS // 2))
    output = call("t.csv", "--target", target, code=2).output
    assert said in output
    assert what_to_do in output
    assert not Path("t.yaml").exists()


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    table("t.csv")
    assert "there is no file tt.csv\n    did you mean 't.csv'?" in call("tt.csv", "--target", "y", code=2).output
    Path("t.txt").write_text("")
    assert "t.txt is empty" in call("t.txt", "--target", "y", code=2).output
    Path("t.pdf").write_text("")
    assert "neither CSV nor Parquet" in call("t.pdf", "--target", "y", code=2).output


def test_grades_may_be_read_as_quantities() -> None:
    table("t.csv", y=[k % 5 for k in range(ROWS)])
    assert "--task regression" in call("t.csv", "--target", "y").output
    assert "--task regression" in Path("t.yaml").read_text(encoding="utf-8")
    call("t.csv", "--target", "y", "--task", "regression", "--out", "r.yaml")
    sweep = hpo.load("r.yaml")
    assert sweep.data is not None
    assert (sweep.data.task, sweep.metric.name) == ("regression", "rmse")
