"""The story on the flights, month by month: a sweep that promotes, a slot with nothing new, one with new months."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from hpo.journal import Journal
from hpo.resume import journals
from tests.schedule.toy import ROOT, call, due, history

SWEEP = """
name: flights
data: {path: flights.parquet, target: late, holdout: 0.3, drop: [month]}
model: xgboost.XGBClassifier
fixed: {n_estimators: 30}
metric: roc_auc
validation: {folds: 3}
space:
  learning_rate: {float: [0.05, 0.5], log: true}
  max_depth: {int: [2, 6]}
search: {trials: 50, workers: 1, threads: 1, seed: 7}
schedule: {cron: "0 3 1 * *", timezone: America/New_York, budget: {trials: 4}}
"""


def months(folder: Path, last: int) -> None:
    """The file as it lies there at the beginning of a month: every third flight of those before."""
    flights = pd.read_parquet(ROOT / "data" / "flights.parquet")
    flights[flights["month"] <= last].iloc[::3].to_parquet(folder / "flights.parquet")


def test_first_it_promotes_then_it_skips_then_it_learns_from_the_new_month(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flights.yaml").write_text(SWEEP)
    tick = ("tick", "flights.yaml", "--tracking-uri", uri)
    months(folder, 2)
    call(folder, *tick)

    due(folder, 24 * 40, "flights")
    done = call(folder, *tick)
    assert done.returncode == 0, done.stdout + done.stderr
    (first,) = history(folder)
    assert first["outcome"] == "promoted"
    assert "there was no champion" in first["reason"]

    due(folder, 24 * 40, "flights")
    assert call(folder, *tick).returncode == 0
    second = history(folder)[0]
    assert second["outcome"] == "skipped"
    assert "nothing has changed" in second["reason"]

    months(folder, 6)
    due(folder, 24 * 40, "flights")
    assert call(folder, *tick).returncode == 0
    third = history(folder)[0]
    assert third["outcome"] in ("promoted", "kept")
    assert third["change"][0].startswith("rows: 2,084 -> 6,695")
    assert "column date: up to 2013-02-28 -> 2013-06-30" in third["change"]
    assert any(line.startswith("temp has drifted: KS 0.") for line in third["change"])  # winter and spring
    assert f"roc_auc {first['score']:.5g} -> " in third["diff"]
    assert "champion" in third["diff"]
    with closing(Journal(journals(folder / ".hpo")[0])) as journal:
        assert journal.fact("warmth")["source"] == first["sweep"]

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("flights")
    runs = client.search_runs([experiment.experiment_id], "tags.`hpo.schedule` = 'flights'", order_by=["start_time"])
    assert [run.data.tags["hpo.sweep"] for run in runs] == [first["sweep"], third["sweep"]]
    assert [run.data.tags["hpo.slot"] for run in runs] == [first["slot"], third["slot"]]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert "hpo.diff" not in runs[0].data.tags
    assert runs[1].data.tags["hpo.diff"] == third["diff"]
    assert runs[1].data.tags["hpo.change"] == "; ".join(third["change"])
