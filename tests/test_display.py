"""What a person sees while a sweep runs: at several widths, without color, and in a log."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from hpo.display import Board, Lines, board, display
from hpo.progress import Progress
from hpo.trial import Failure, Params, Report, Trial
from tests.sweeps import every_third_fails, function_sweep, inline

LONG = "ValueError: the matrix is singular, and this is a long explanation of what went wrong\nand a second line"
PARAMS: Params = {"learning_rate": 0.0012345678, "name": "[bold]née[/]", "depth": 7, "flag": None}


def progress(stage: str = "searching") -> Progress:
    sweep = function_sweep(search={"trials": 1000, "timeout": "2h"})
    found = Progress(sweep, seconds=4000.0)
    found.note = "toy-20260101-101010-abcd, resumed after 6 trials"
    found.add(
        Trial(0, PARAMS, started=0.0, finished=3725.0, values=(0.123456789,)),
        Trial(1, PARAMS, started=0.0).failed(Failure("exception", LONG), 4000.0),
        Trial(2, PARAMS, started=0.0, finished=2.0, pruned=True, reports=(Report(0, 1.5),)),
        *(Trial(number, PARAMS, started=0.0) for number in range(3, 11)),
        *(Trial(number, PARAMS, started=0.0, finished=1.0, values=(0.5,)) for number in range(11, 20)),
    )
    if stage == "stopping":
        found.stage = "stopping"
    return found


def drawn(found: Progress, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(board(found, width))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("stage", ["searching", "stopping"])
def test_the_board_never_grows_beyond_the_terminal(width: int, stage: str) -> None:
    lines = drawn(progress(stage), width)
    assert len(lines) <= 9, "a row is a row: nothing wraps, and a message has one line"
    assert max(map(cell_len, lines)) <= width - 3, "there is room for the ^C of the terminal"
    assert not any("second line" in line for line in lines)


def test_the_board_says_it_all_at_80() -> None:
    lines = drawn(progress(), 80)
    assert lines[0] == "toy-20260101-101010-abcd, resumed after 6 trials"
    assert "12/1000 · 8 running · 1 pruned · 1 failed · 1 h 06 m" in lines[1]
    assert lines[2].startswith("best loss 0.12346  trial 0  learning_rate=0.001235 name=[bold]née[/] depth=7")
    assert lines[3].startswith("    1 failed   ValueError: the matrix is singular")
    assert "about 53 m 20 s left" in drawn(progress(), 120)[1]
    assert not any("stopping" in line for line in lines)
    assert "Ctrl-C again" in drawn(progress("stopping"), 80)[2]


def test_a_trial_that_was_stopped_says_after_how_many_folds() -> None:
    found = Progress(function_sweep())
    pruned = Trial(0, {}, started=0.0, finished=1.0, pruned=True)
    found.add(replace(pruned, scores={"loss": (0.5,)}), replace(pruned, number=1, scores={"loss": (0.5, 0.25)}))
    said = "\n".join(drawn(found, 80))
    assert "0.5 after 1 fold" in said
    assert "0.375 after 2 folds" in said


def test_a_board_of_nothing() -> None:
    found = Progress(function_sweep())
    assert len(drawn(found, 80)) == 2


def test_several_metrics_stand_beside_each_other() -> None:
    metrics = [{"name": "near", "direction": "minimize"}, {"name": "far", "direction": "maximize"}]
    found = Progress(function_sweep(metric=metrics, search={"engine": "optuna"}))
    found.add(Trial(0, {}, started=0.0, finished=1.0, values=(1.0, 2.0)))
    assert "best near 1  far 2" in drawn(found, 80)[2]


def test_which_display() -> None:
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True)), Board)
    assert isinstance(display(Console(file=io.StringIO())), Lines)


def test_a_log_has_a_line_for_each_trial_and_counts_them(tmp_path: Path) -> None:
    console = Console(file=(file := io.StringIO()), width=40)
    sweep = function_sweep(every_third_fails, search={"trials": 10})
    with display(console) as show:
        inline(tmp_path, sweep, show=show)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("sweep toy-")
    assert [line.split("/")[0].strip() for line in lines[1:]] == [str(n) for n in range(1, 11)]
    assert "trial 1   failed    ValueError: no value for trial 1  0.0 s  best" in lines[2]
    assert all("\x1b" not in line for line in lines)


def test_trials_that_come_together_are_counted_one_by_one() -> None:
    console = Console(file=(file := io.StringIO()))
    found = progress()
    lines = Lines(console)
    lines(found)
    found.add(*(Trial(number, {}, started=0.0, finished=1.0, values=(0.2,)) for number in (3, 4)))
    lines(found)
    lines(found)
    found.stage = "stopping"
    lines(found)
    found.stage, found.note = "publishing", "publishing to MLflow: 2 trials left"
    lines(found)
    found.note = "publishing to MLflow: 1 trials left"
    lines(found)
    said = file.getvalue().splitlines()
    assert said[0] == "sweep toy-20260101-101010-abcd, resumed after 6 trials"
    assert [line.split()[0] for line in said[1:3]] == ["13/1000", "14/1000"], "the old ones are no news"
    assert said[3].startswith("stopping")
    assert said[4:] == ["publishing to MLflow: 2 trials left"]
