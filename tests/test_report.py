"""One HTML file about a sweep: all of it in a real browser, light and dark, and nothing asked of the network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, sync_playwright

import hpo
from hpo.attempt import Attempt
from hpo.journal import Journal
from hpo.report import command
from tests.sweeps import every_third_fails, function_sweep, inline, raises, two
from tests.test_ui import BROWSER

ALWAYS = ["Timeline", "Time and cost", "How to reproduce"]
RESULTS = ["Best parameters", "History", "Importance", "Parallel coordinates", "Slices"]
NASTY = "<script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def written(folder: Path, *options: str) -> Path:
    done = CliRunner().invoke(command, ["last", "--folder", str(folder), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return Path(done.output.strip())


def seen(browser: Browser, file: Path, scheme: Any = "light") -> tuple[list[str], list[str], str]:
    """The headings, the charts that were drawn, and the page's color; it fails on any error or request."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 9000})
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(file.absolute().as_uri())
    page.wait_for_function("document.querySelectorAll('[data-figure]:not([data-drawn])').length === 0")
    assert asked == [file.absolute().as_uri()]
    assert wrong == []
    assert page.title().startswith(page.inner_text("h1"))
    headings = [heading.inner_text() for heading in page.query_selector_all("h2")]
    drawn = [chart.inner_text() for chart in page.query_selector_all("[data-figure]") if chart.query_selector("svg")]
    color = str(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    page.close()
    return headings, drawn, color


def prunes(params: dict[str, Any], trial: Attempt) -> float:
    """Every other trial is stopped on its way."""
    for step in range(4):
        trial.report(float(params["x"]) ** 2 + 3 - step, step)
        if trial.number % 2 and step == 2:
            raise hpo.Pruned
    return float(params["x"]) ** 2


def fails_in_markup(params: dict[str, Any], trial: Attempt) -> float:
    if trial.number % 2:
        raise ValueError(f"no value {NASTY}")
    return float(params["x"])


def test_a_sweep_of_a_function(tmp_path: Path, browser: Browser) -> None:
    result = inline(tmp_path, function_sweep(prunes, search={"trials": 24}))
    assert result.best is not None
    headings, drawn, light = seen(browser, written(tmp_path))
    assert headings[0] == f"Trial {result.best.number} is the best; no model was to be promoted"
    assert headings[1:] == [*RESULTS, "Learning curves", *ALWAYS]
    assert len(drawn) == 1 + 1 + 3 + 1 + 1, "of so few complete trials, none for importance"
    assert any("stopped here" in text for text in drawn)
    assert any("first trial" in text for text in drawn)
    _, _, dark = seen(browser, written(tmp_path), "dark")
    assert dark != light


def test_the_importance_of_parameters(tmp_path: Path, browser: Browser) -> None:
    inline(tmp_path, function_sweep(search={"trials": 30}))
    headings, drawn, _ = seen(browser, written(tmp_path))
    assert {"Importance", "Contour of the two that mattered most"} <= {*headings}
    chart = next(text for text in drawn if "share of the difference" in text)
    assert "x" in chart.split()
    shares = [int(share) for share in re.findall(r"^(\d+)%$", chart, re.M)]
    assert max(shares) > 50, "of the three x makes nearly all"


def test_a_sweep_that_mostly_failed(tmp_path: Path, browser: Browser) -> None:
    inline(tmp_path, function_sweep(every_third_fails, search={"trials": 9}))
    headings, _, _ = seen(browser, file := written(tmp_path))
    assert "Failures" in headings
    text = file.read_text(encoding="utf-8").partition("<script")[0]
    assert "<b>3 &times; not finite</b>" in text
    assert "<b>3 &times; exception</b> ValueError: no value for trial 7 <small>and 2 other messages</small>" in text
    assert "Traceback" in text


def test_a_sweep_without_a_result(tmp_path: Path, browser: Browser) -> None:
    inline(tmp_path, function_sweep(raises))
    headings, _, _ = seen(browser, written(tmp_path))
    assert headings == ["No trial has completed", "Timeline", "Failures", "Time and cost", "How to reproduce"]


def test_what_is_known_of_the_final_model_is_shown(tmp_path: Path, browser: Browser) -> None:
    points = [[-0.5, 0.0], [0.25, 1.0], [0.1, None]]
    features = [{"name": "<b>hour", "value": 0.4, "points": points}, {"name": "carrier", "value": 0.1}]
    shap = {"method": "SHAP", "unit": "log-odds", "scale": "log-odds", "rows": 3, "features": features}
    bins = {"said": [0.1, 0.7], "came": [0.2, 0.6], "low": [0.1, 0.4], "high": [0.3, 0.8], "rows": [5, 5], "off": 0.1}
    table = {"classes": ["no", "<i>yes"], "counts": [[5, 1], [2, 2]], "of": 2}
    off = {"said": [1.0, 2.0], "off": [0.5, -0.5], "tenths": {"said": [1.0, 2.0], "off": [0.5, -0.5]}}
    known = {
        "rows": 10, "importance": shap, "calibration": [{"class": "yes", **bins}], "confusion": table,
        "residuals": {**off, "spread": {"50%": 0.5}, "mean": 0.0},
    }  # fmt: skip
    result = inline(tmp_path, function_sweep(search={"trials": 2}))
    with closing(Journal(result.journal)) as journal:
        journal.record(explained=known)
    headings, drawn, _ = seen(browser, file := written(tmp_path))
    assert [*headings[-6:-2]] == ["Columns of the final model", "Calibration", "Right and wrong", "Residuals"]
    assert sum("<b>hour" in text for text in drawn) == 2
    assert any("as it should be" in text for text in drawn)
    assert "said &lt;i&gt;yes" in file.read_text(encoding="utf-8")
    with closing(Journal(result.journal)) as journal:
        journal.record(explained={"error": "ValueError: <b>"})
    assert "ValueError: &lt;b&gt;" in written(tmp_path).read_text(encoding="utf-8")


def test_two_metrics_have_a_history_each_and_a_front(tmp_path: Path, browser: Browser) -> None:
    names = [{"name": name, "direction": "minimize"} for name in ("near", "far")]
    result = inline(tmp_path, function_sweep(two, metric=names, search={"engine": "optuna", "trials": 12}))
    assert len(result.pareto_front) > 1
    headings, drawn, _ = seen(browser, written(tmp_path))
    assert "Pareto front" in headings
    front = ", ".join(str(trial.number) for trial in sorted(result.pareto_front, key=lambda trial: trial.number))
    assert headings[0] == f"On the Pareto front: trials {front}"
    assert sum("best so far" in text for text in drawn) == 2


def test_a_failure_comes_with_what_the_trial_printed(tmp_path: Path) -> None:
    result = inline(tmp_path, function_sweep(raises))
    log = tmp_path / result.id / "trials" / f"{len(result.all_trials) - 1:04d}" / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"epoch 1 {NASTY}", encoding="utf-8")
    text = written(tmp_path).read_text(encoding="utf-8")
    assert "epoch 1 &lt;script&gt;" in text


def test_what_people_wrote_is_text(tmp_path: Path, browser: Browser) -> None:
    space = {"x": {"float": [0, 1]}, "kind": {"choice": [NASTY, "</script>", "b & c"]}}
    inline(tmp_path, function_sweep(fails_in_markup, name="<i>a</i> & b".replace("/", "|"), space=space))
    headings, _, _ = seen(browser, file := written(tmp_path))  # its title would be another
    assert "Failures" in headings
    text = file.read_text(encoding="utf-8")
    assert NASTY not in text
    assert "&lt;script&gt;document.title=" in text


def test_it_goes_where_one_says_and_needs_no_mlflow(tmp_path: Path) -> None:
    inline(tmp_path, function_sweep())
    target = tmp_path / "elsewhere.html"
    code = (
        "import sys; from hpo.report import command\n"
        f"try: command(['last', '--folder', {str(tmp_path)!r}, '--out', {str(target)!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('mlflow', 'plotly', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(target), "[]"]
    assert target.stat().st_size < 6_000_000
    nowhere = CliRunner().invoke(command, ["last", "--folder", str(tmp_path), "--out", str(tmp_path / "no" / "x.html")])
    assert nowhere.exit_code == 2
    assert "cannot be written" in nowhere.output
