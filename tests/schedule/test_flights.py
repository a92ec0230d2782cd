"""The story on the flights, month by month: a sweep that promotes, a slot with nothing new, one with new months.

Told by the ledger, by tags in MLflow, by its UI under one filter, and by the schedule's report.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from click.testing import CliRunner
from mlflow import MlflowClient
from playwright.sync_api import Browser

from hpo.earlier import TRUST
from hpo.journal import Journal
from hpo.report import command
from hpo.resume import journals
from tests.conftest import Server
from tests.schedule.toy import ROOT, call, due, history, project
from tests.test_report import browser, seen

__all__ = ["browser"]  # a fixture

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


def test_first_it_promotes_then_it_skips_then_it_learns_from_the_new_month(
    tmp_path: Path, server: Server, browser: Browser
) -> None:
    uri = server.uri
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
        learned = journal.fact("warmth")
    assert learned["source"] == first["sweep"]
    assert {told["memo"]["trust"] for told in learned["evidence"]} == {TRUST}, "the data are others"

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("flights")
    runs = client.search_runs([experiment.experiment_id], "tags.`hpo.schedule` = 'flights'", order_by=["start_time"])
    assert [run.data.tags["hpo.sweep"] for run in runs] == [first["sweep"], third["sweep"]]
    assert [run.data.tags["hpo.slot"] for run in runs] == [first["slot"], third["slot"]]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert "hpo.diff" not in runs[0].data.tags
    assert runs[1].data.tags["hpo.diff"] == third["diff"]
    assert runs[1].data.tags["hpo.skipped"].endswith(f": {second['reason']}")
    assert "hpo.skipped" not in runs[0].data.tags
    assert runs[1].data.tags["hpo.change"] == "; ".join(third["change"])

    chosen = quote("tags.`hpo.schedule` = 'flights'")
    runs_page = f"{uri}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    tab = browser.new_page(viewport={"width": 1600, "height": 700})
    tab.goto(f"{runs_page}&searchFilter={chosen}")
    for run in runs:
        tab.get_by_text(run.info.run_name).first.wait_for(timeout=60_000)
    assert "trial-0000" not in tab.inner_text("body"), "the trials are not folded into their sweeps"
    tab.screenshot(path=tmp_path / "story.png")

    report = CliRunner().invoke(command, ["--schedule", "flights", "--folder", str(folder / ".hpo")])
    assert report.exit_code == 0, report.output
    headings, drawn, _ = seen(browser, Path(report.output.strip()))
    assert headings[0] == f"The last slot: {third['outcome']}"
    assert headings[1:] == ["Score", "Champion", "Slots", "Chosen parameters", "Duration", "History"]
    assert len(drawn) == 3 + 2 + 1
    assert "skipped" in drawn[2]
    assert "the champion before it, same rows" in drawn[0]


def test_a_report_of_a_schedule_that_is_not_there(tmp_path: Path) -> None:
    def said(name: str) -> str:
        done = CliRunner().invoke(command, ["--schedule", name, "--folder", str(tmp_path / ".hpo")])
        assert done.exit_code == 2
        return done.output

    assert "no schedule has run under" in said("toy")
    call(project(tmp_path), "tick", "toy.yaml", "--tracking-uri", "none")
    assert "no slot of 'toy' has come yet" in said("toy")
    assert "did you mean 'toy'?" in said("tyo")
    assert CliRunner().invoke(command, []).exit_code == 2
