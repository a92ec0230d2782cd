"""A real notebook in a real kernel: the live table under the cell, the result, its table and its figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from hpo import notebook
from hpo.progress import Progress
from hpo.trial import Trial
from tests.conftest import ROOT
from tests.sweeps import function_sweep, inline

PLOTS = ("history", "importance", "parallel", "contour", "slices", "curves", "timeline")
CELLS = [
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport hpo\nfrom tests.sweeps import function_sweep",
    "result = hpo.run(function_sweep(search={'trials': 24}), tracking=None, executor='inline')",
    "result",
    "result.trials",
    *(f"result.plot.{name}()" for name in PLOTS),
    "print(repr(result))",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What each cell has left under it."""
    v4: Any = nbformat.v4  # which has no types
    book = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in CELLS])
    spec = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    book.metadata.update(spec)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in book.cells]


def test_a_live_table_ends_with_all_of_the_trials(outputs: list[list[Any]]) -> None:
    (table,) = outputs[1]
    assert table.output_type == "display_data"
    assert "24/24" in table.data["text/html"]
    assert "best:" in table.data["text/html"]
    assert "24/24" in table.data["text/plain"]
    assert "about" not in table.data["text/plain"]


def test_a_result_is_seen_and_its_trials_are_a_table(outputs: list[list[Any]]) -> None:
    (shown,), (trials,), printed = outputs[2], outputs[3], outputs[-1]
    assert "<h4>Trial " in shown.data["text/html"]
    assert shown.data["text/plain"].startswith("Result(toy-")
    assert "params_x" in trials.data["text/html"]
    assert printed[0].text.startswith("Result(toy-")


@pytest.mark.parametrize("cell", range(4, 11))
def test_a_plot_is_a_figure(outputs: list[list[Any]], cell: int) -> None:
    (shown,) = outputs[cell]
    figure = shown.data["application/vnd.plotly.v1+json"]
    assert figure["data"], CELLS[cell]
    assert "var(--" not in str(figure["data"]) + str(figure["layout"]), "colors of the page, which is not here"


def test_outside_of_a_notebook_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inline(tmp_path, function_sweep())
    assert capsys.readouterr() == ("", "")
    assert "IPython.display" not in sys.modules or notebook._front_end() is None


def test_what_people_wrote_is_text() -> None:
    sweep = function_sweep()
    progress = Progress(sweep, [Trial(0, {"kind": "<b>"}, started=0.0, finished=1.0, values=(1.0,))])
    progress.note = "<i>"
    assert "<b>b" not in (seen := notebook.html(progress))
    assert "kind=&lt;b&gt;" in seen
    assert "&lt;i&gt;" in seen
