"""The stock MLflow UI, in a real browser, shows a sweep as one run with its trials under it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from playwright.sync_api import sync_playwright

import hpo.sync
from hpo.journal import PARENT
from hpo.metric import Metric
from hpo.tracking import page
from tests.conftest import Server
from tests.tracking.sweeps import finished, journal_of

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]

SWEEP = "shown-20261123-101500-3f2a"


def browse(address: str, picture: Path, *wanted: str) -> str:
    """The text of the page once all that is wanted is on it; how it looked then is in the picture."""
    assert BROWSER is not None
    arguments = [BROWSER, *FLAGS, f"--user-data-dir={picture.parent / 'profile'}", "--window-size=1600,900"]
    text = ""
    for patience in (5_000, 15_000, 45_000):  # milliseconds of the page's own, virtual time
        budget = [f"--virtual-time-budget={patience}", "--run-all-compositor-stages-before-draw"]
        subprocess.run(
            [*arguments, *budget, f"--screenshot={picture}", address],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        dump = subprocess.run(
            [*arguments, *budget, "--dump-dom", address], check=True, capture_output=True, text=True, timeout=120
        ).stdout
        text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", "\n", dump, flags=re.S)
        if all(word in text for word in wanted):
            return text
        time.sleep(1)
    raise AssertionError(f"{[word for word in wanted if word not in text]} not on the page:\n{text[-3000:]}")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_sweep_and_its_trials_are_nested_in_the_ui(tmp_path: Path, server: Server) -> None:
    journal = journal_of(tmp_path, server.uri, map(finished, range(5)), id=SWEEP, name="shown")
    assert hpo.sync.deliver(journal.path) is None
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("shown").experiment_id
    experiment_page = f"{server.uri}/#/experiments/{experiment}"
    table = browse(f"{experiment_page}/runs", tmp_path / "table.png", "20261123-101500-3f2a")
    assert "trial-0000" not in table, "the trials are not folded into their sweep"
    alone = page(server.uri, experiment, SWEEP, Metric("roc_auc", "maximize"))
    ranked = browse(alone, tmp_path / "alone.png", "trial-0000", "trial-0004")
    assert ranked.index("trial-0002") < ranked.index("trial-0004"), "the best trial is not on top"
    sweep = f"{experiment_page}/runs/{journal.runs()[PARENT]}"
    browse(
        sweep,
        tmp_path / "sweep.png",
        SWEEP,
        "best_roc_auc",
        "no model was to be promoted",
        "search.trials",
        "hpo.engine",
        "trial-0004",
    )
    trial = f"{experiment_page}/runs/{journal.runs()[4]}"
    browse(trial, tmp_path / "trial.png", "trial-0004", "20261123-101500-3f2a", "roc_auc_curve", "learning_rate")
    three = quote(json.dumps([journal.runs()[number] for number in (0, 1, 2)]))
    compared = f"{server.uri}/#/compare-runs?runs={three}&experiments={quote(json.dumps([experiment]))}"
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1600, "height": 900})
        tab.goto(f"{sweep}/artifacts/report.html")
        report = tab.frame_locator("iframe.mlflow-html-iframe")
        report.locator("h2", has_text="Trial 0 is the best").wait_for(timeout=60_000)
        report.locator("[data-drawn]").first.wait_for(timeout=60_000, state="attached")
        tab.goto(compared)
        tab.get_by_text("Comparing 3 Runs").wait_for(timeout=60_000)
        plot = tab.locator(".js-plotly-plot", has_text="learning_rate").first
        plot.wait_for(timeout=60_000)
        assert "roc_auc" in plot.inner_text(), "parallel coordinates begin with the sweep's own metric"
        tab.screenshot(path=tmp_path / "compared.png")
        browser.close()
