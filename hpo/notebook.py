"""What a person sees of `hpo.run` in a notebook: one table under the cell, kept up to date while the sweep runs.

The default display of `hpo.search.run`. In a Jupyter kernel it shows HTML, with a plain text beside it for consoles;
anywhere else nothing, so that a script stays as quiet as it was. IPython is asked only if it is there already: nothing
but the kernel itself brings it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

from hpo.phrase import duration, outcome, say
from hpo.progress import Progress

PAUSE = 0.3  # seconds between two pictures
ROWS, WORDS = 8, 80  # trials, and characters of what became of one
_COLORS = {"complete": "#12805c", "pruned": "#b8770b", "failed": "#c5362f", "running": "#3b6fd4"}


class Picture:
    """How it stands, as both kinds of front end want it."""

    def __init__(self, progress: Progress) -> None:
        self._html, self._text = html(progress), text(progress)

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


class _Table:
    """One place under one cell."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn = 0.0
        self._said: tuple[str, str] = ("", "")

    def __call__(self, progress: Progress, show: Callable[..., Any]) -> None:
        """A last picture is never left out: where nothing runs any more, or something else is said."""
        said = (progress.stage, progress.note)
        if progress.counts["running"] and said == self._said and time.monotonic() - self._drawn < PAUSE:
            return
        if self._handle is None:
            self._handle = show(Picture(progress), display_id=True)
        else:
            self._handle.update(Picture(progress))
        self._drawn, self._said = time.monotonic(), said


_tables: WeakKeyDictionary[Progress, _Table] = WeakKeyDictionary()


def live(progress: Progress) -> None:
    """Show the sweep, in a kernel with a front end; elsewhere nothing."""
    if (show := _front_end()) is not None:
        _tables.setdefault(progress, _Table())(progress, show)


def _front_end() -> Callable[..., Any] | None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    shown: Callable[..., Any] = display
    return shown


def html(progress: Progress) -> str:
    sweep, counts = progress.sweep, progress.counts
    done, total = sum(counts.values()) - counts["running"], sweep.search.trials
    share = min(100, round(100 * done / max(1, total)))
    states = " &middot; ".join(
        f'<span style="color:{_COLORS[state]}">{counts[state]} {state}</span>' for state in _COLORS if counts[state]
    )
    left = progress.seconds_left if progress.stage == "searching" and done < total else None
    clock = duration(progress.seconds) + (f", about {duration(left)} left" if left else "")
    rows = "".join(
        f'<tr><td style="text-align:right">{trial.number}</td>'
        f'<td style="text-align:left;color:{_COLORS[trial.state]}">{trial.state}</td>'
        f'<td style="text-align:left;white-space:nowrap">{escape(outcome(trial, sweep.metrics)[:WORDS])}</td>'
        f'<td style="white-space:nowrap">{duration(trial.seconds)}</td>'
        f'<td style="text-align:left">{escape(say(trial.params))}</td></tr>'
        for trial in progress.latest(ROWS)
    )
    best = ""
    if progress.best is not None:
        what = f"<b>{escape(outcome(progress.best, sweep.metrics))}</b>"
        best = f"<div>best: {what} (trial {progress.best.number}) {escape(say(progress.best.params))}</div>"
    names = ("trial", "state", "result", "time", "parameters")
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    return (
        f'<div style="font-size:13px"><b>{escape(progress.note)}</b>'
        f'<div style="background:#8883;border-radius:4px;height:8px;max-width:520px;margin:6px 0">'
        f'<div style="background:#3b6fd4;border-radius:4px;height:8px;width:{share}%"></div></div>'
        f"<div>{done}/{total} &middot; {states} &middot; {clock}</div>{best}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def text(progress: Progress) -> str:
    counts, sweep = progress.counts, progress.sweep
    done = sum(counts.values()) - counts["running"]
    states = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    line = f"{progress.note}: {done}/{sweep.search.trials} ({states}), {duration(progress.seconds)}"
    if progress.best is None:
        return line
    return f"{line}\nbest: {outcome(progress.best, sweep.metrics)} (trial {progress.best.number})"
