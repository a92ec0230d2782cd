"""What a person sees while a sweep runs: a live board on a terminal, one plain line a trial anywhere else.

Made by the `search` command, called by the loop after every step with the sweep's `Progress`; it decides by itself how
often to draw. Nothing depends on it: without a display the sweep is the same.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.phrase import duration, outcome, say, values
from hpo.progress import Progress
from hpo.trial import Trial

_COLORS = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}
MARGIN = 3  # columns left free, for the terminal writes ^C behind the last row, and a row that wraps stays behind
PAUSED = "paused: nothing is started until `python -m hpo.control SWEEP resume`"
STOPPING = "stopping: running trials may still finish; Ctrl-C again stops at once"


class Display(Protocol):
    def __call__(self, progress: Progress) -> None: ...
    def __enter__(self) -> Display: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(console: Console) -> Display:
    return Board(console) if console.is_terminal else Lines(console)


class Lines:
    """For logs and pipes: a line when something happened, none when nothing did."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0  # of the trials that have ended
        self._stage = ""
        self._paused = False

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def __call__(self, progress: Progress) -> None:
        if not self._stage:  # what a resumed sweep already had is not news
            self._told = len(progress.ended)
            self._print(f"sweep {progress.note}")
        while self._told < len(progress.ended):
            self._told += 1
            self._print(_line(progress.ended[self._told - 1], progress, self._told))
        if self._stage and progress.stage != self._stage:
            self._print(progress.note if progress.stage == "publishing" else STOPPING)
        self._stage = progress.stage
        if progress.paused != self._paused:
            self._print(PAUSED if progress.paused else "it goes on")
        self._paused = progress.paused

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


class Board:
    """For a terminal: counts, the best so far, time left and the last few trials, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._console = console
        self._drawn = 0.0

    def __enter__(self) -> Board:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._drawn < 0.1:
            return
        self._live.update(board(progress, self._console.width), refresh=True)
        self._drawn = time.monotonic()


def board(progress: Progress, width: int) -> RenderableType:
    """The whole picture, at most nine rows, cut to the width of the terminal."""
    sweep, counts = progress.sweep, progress.counts
    done, total = sum(counts.values()) - counts["running"], sweep.search.trials
    bar = Table.grid(padding=(0, 1))
    states = Text(f"{done}/{total}", style="bold")
    for state in ("running", "pruned", "failed"):
        if counts[state]:
            states.append(f" · {counts[state]} {state}", style=_COLORS[state])
    left = progress.seconds_left if progress.stage == "searching" else None
    states.append(f" · {duration(progress.seconds)}" + (f", about {duration(left)} left" if left else ""), style="dim")
    length = max(8, min(40, width - 60))
    bar.add_row(ProgressBar(total=total, completed=done, width=length), states)
    rows: list[RenderableType] = [Text(progress.note, style="bold"), bar]
    if progress.stage == "stopping":
        rows.append(Text(STOPPING, style="yellow"))
    elif progress.paused:
        rows.append(Text(PAUSED, style="yellow"))
    if progress.best:
        best = Text("best ", style="bold").append(values(progress.best, sweep.metrics), style="bold green")
        rows.append(best.append(f"  trial {progress.best.number}  {say(progress.best.params)}", style="dim"))
    for trial in progress.latest(5):
        row = Text(f"{trial.number:>5} ", style="dim").append(f"{trial.state:<9}", style=_COLORS[trial.state])
        row.append(outcome(trial, sweep.metrics))
        rows.append(row.append(f"  {duration(trial.seconds)}  {say(trial.params)}", style="dim"))
    states.truncate(width - length - 1 - MARGIN, overflow="ellipsis")
    for line in rows:
        if isinstance(line, Text):
            line.truncate(width - MARGIN, overflow="ellipsis")
    return Group(*rows)


def _line(trial: Trial, progress: Progress, done: int) -> str:
    best, total = progress.best, progress.sweep.search.trials
    tail = f"  best {best.values[0]:.5g} (trial {best.number})" if best and best.values else ""
    head = f"{done:>{len(str(total))}}/{total}  trial {trial.number:<{len(str(total))}}"
    return f"{head}  {trial.state:<8}  {outcome(trial, progress.sweep.metrics)}  {duration(trial.seconds)}{tail}"
