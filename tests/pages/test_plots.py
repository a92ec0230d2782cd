"""The report's charts by other pens: Plotly's figures, and PNG files by matplotlib."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from hpo.errors import InputError
from hpo.pages import drawn
from hpo.pages.plots import Plots
from hpo.pages.png import write
from hpo.report import command
from hpo.trial import Report, Trial
from tests.pages.test_charts import trial, view
from tests.sweeps import function_sweep, inline

SHAP = {
    "method": "SHAP", "unit": "log-odds", "scale": "log-odds", "rows": 2,
    "features": [{"name": "hour", "value": 0.4, "off": 0.1, "points": [[-0.5, 0.0], [0.25, None]]}],
}  # fmt: skip
BINS = {"class": "yes", "said": [0.1, 0.7], "came": [0.2, 0.6], "low": [0.1, 0.4], "high": [0.3, 0.8], "rows": [5, 5]}
OFF = {"said": [1.0, 2.0], "off": [0.5, -0.5], "tenths": {"said": [1.0, 2.0], "off": [0.5, -0.5]}, "mean": 0.0}
KNOWN = {"rows": 10, "importance": SHAP, "calibration": [{**BINS, "off": 0.1}], "residuals": {**OFF, "spread": {}}}


def some(count: int = 24) -> list[Trial]:
    reports = tuple(Report(step, step / 10) for step in range(4))
    kinds = ("a", "b", None, True)
    return [
        replace(trial(k, k / 100, rate=10.0 ** -(k % 5), kind=kinds[k % 4], drop=0.1), reports=reports)
        for k in range(count)
    ]


def test_every_chart_of_a_report_has_a_picture(tmp_path: Path) -> None:
    charts = [*drawn(view(*some(), explained=KNOWN))]
    names = [name for name, _, _ in charts]
    assert len({*names}) == len(names)
    assert {"history", "importance", "parallel", "slices-1", "contour", "curves", "timeline", "features-2"} <= {*names}
    files = write(charts, tmp_path / "new")
    assert [file.stem for file in files] == names
    for file in files:
        pixels = imread(file)[..., :3]
        colored = (pixels.max(axis=2) - pixels.min(axis=2)) > 0.1
        assert colored.mean() > 0.00005, f"{file.stem} is empty"


def test_the_command_writes_them(tmp_path: Path) -> None:
    inline(tmp_path, function_sweep())
    arguments = ["last", "--folder", str(tmp_path), "--png", str(tmp_path / "charts")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "charts" / "history.png") in done.output.splitlines()
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(command, [*arguments[:-1], str(tmp_path / "file" / "x")])
    assert (refused.exit_code, "--png" in refused.output) == (2, True)


def test_figures_know_what_there_is(tmp_path: Path) -> None:
    plot = Plots(view(*some(), explained=KNOWN))
    assert [trace.name for trace in plot.history().data][-1] == "chosen"
    assert plot.contour("rate", "kind").layout.xaxis.title.text == "rate"
    assert len(plot.slices("rate").data) == 2
    assert plot.features().data[0].x == (0.4,)
    assert plot.calibration().data[1].name == "yes"
    assert plot.residuals().data[0].y == (0.5, -0.5)
    with pytest.raises(InputError, match="no parameter 'rat'"):
        plot.slices("rat")
    with pytest.raises(InputError, match="no metric 'x'"):
        plot.history("x")


def test_where_there_is_nothing_a_figure_says_so() -> None:
    plot = Plots(view(trial(0, 0.1)))
    for figure, said in (
        (plot.history(), "two complete trials"), (plot.pareto(), "one metric"), (plot.importance(), "20 complete"),
        (plot.curves(), "no trial has reported"), (plot.features(), "no final model"),
    ):  # fmt: skip
        assert said in figure.layout.annotations[0].text
