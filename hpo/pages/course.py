"""The charts of how it went: learning curves with what was pruned, and when each trial ran beside which others.

Called by `hpo.pages`; like `hpo.pages.charts`, whose colors and hover texts they share. A thousand curves are a
carpet: the best and the chosen one are always drawn, of the others as many as a person can tell apart.
"""

from __future__ import annotations

import re
from statistics import median
from typing import Any

from hpo.pages.charts import Figure, label, text
from hpo.pages.view import View, short
from hpo.trial import Trial

CURVES = 120
POINTS = 60  # of one curve
_STATES = ("complete", "pruned", "failed", "running")


def curves(view: View) -> Figure | None:
    """What the trials reported on the way, the pruned ones with a cross where they were stopped; None: nothing."""
    found = {trial.number: (trial, curve) for trial in view.trials if len(curve := trial.curve(POINTS)) > 1}
    if not found:
        return None
    data: list[dict[str, Any]] = []
    kept = _some([trial for trial, _ in found.values()], view)
    for state, color in (("failed", "var(--bad)"), ("pruned", "var(--warn)"), ("complete", "var(--complete)")):
        trials = [trial for trial in kept if trial.state == state and trial is not view.best]
        if trials:
            data.append(_lines(state, color, [found[trial.number] for trial in trials]))
    ends = [(trial, found[trial.number][1][-1]) for trial in kept if trial.state == "pruned"]
    if ends:
        data.append({
            "type": "scatter", "mode": "markers", "name": "stopped here", "x": [end[0] for _, end in ends],
            "y": [short(end[1]) for _, end in ends], "customdata": [trial.number for trial, _ in ends],
            "marker": {"color": "var(--warn)", "symbol": "x", "size": 7},
            "hovertemplate": "trial %{customdata} pruned<br>step %{x}: %{y:.6g}<extra></extra>",
        })  # fmt: skip
    if view.best is not None and view.best.number in found:
        line = _lines(f"trial {view.best.number}, chosen", "var(--good)", [found[view.best.number]])
        data.append({**line, "line": {"color": "var(--good)", "width": 3}, "opacity": 1})
    layout = {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": label(view.metrics[0])}}}
    return {"data": data, "layout": layout}


def timeline(view: View) -> Figure | None:
    """A bar a trial, in the row of the worker that ran it."""
    started = [trial for trial in view.trials if trial.started is not None]
    if not started:
        return None
    begin = min(trial.started or 0.0 for trial in started)
    latest = max(max(trial.started or 0.0, trial.finished or 0.0) for trial in started)
    unit, per = next((u, p) for u, p in (("h", 3600), ("min", 60), ("s", 1)) if latest - begin > 3 * p or p == 1)
    rows, names = _rows(started, latest)
    colors = {"complete": "var(--complete)", "pruned": "var(--warn)", "failed": "var(--bad)", "running": "var(--muted)"}
    usual = median((trial.finished or latest) - (trial.started or 0.0) for trial in started)
    gap = 1 if usual > 0.006 * (latest - begin) else 0  # of a bar as thin as its border nothing would be seen
    data = []
    for state in _STATES:
        trials = [trial for trial in started if trial.state == state]
        if not trials:
            continue
        lasted = [(trial.finished or latest) - (trial.started or 0.0) for trial in trials]
        data.append({
            "type": "bar", "orientation": "h", "name": state, "width": 0.8,
            "base": [short(((trial.started or 0.0) - begin) / per) for trial in trials],
            "x": [short(seconds / per) for seconds in lasted], "y": [rows[trial.number] for trial in trials],
            "customdata": [[trial.number, short(seconds)] for trial, seconds in zip(trials, lasted, strict=True)],
            "marker": {"color": colors[state], "line": {"color": "var(--panel)", "width": gap}},
            "hovertemplate": f"trial %{{customdata[0]}}, {state}<br>%{{customdata[1]:.3g}} s<extra></extra>",
        })  # fmt: skip
    count = len(names)
    every = -(-count // 32)  # names that there is room for
    layout = {
        "barmode": "overlay", "height": 150 + 34 * min(count, 16),
        "xaxis": {"title": {"text": f"{unit} since the first trial began"}, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": "worker"}, "tickvals": [*range(1, count + 1, every)], "range": [count + 0.6, 0.4],
            "ticktext": [text(name, 24) for name in names[::every]], "zeroline": False,
        },
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _rows(trials: list[Trial], latest: float) -> tuple[dict[int, int], list[str]]:
    """(trial -> row from 1 on, the name of each row). A trial that nobody has said where it ran, as one that still
    does, is in the first row that is free when it starts: with one process per slot, that is its slot or one like it.
    """
    names = sorted({trial.worker for trial in trials if trial.worker}, key=_natural)
    free = dict.fromkeys(names, 0.0)
    rows = {}
    for trial in sorted(trials, key=lambda trial: (trial.started or 0.0, trial.number)):
        begun, ended = trial.started or 0.0, trial.finished or latest
        place = trial.worker or next((name for name, until in free.items() if until <= begun), str(len(free) + 1))
        free[place] = ended
        rows[trial.number] = place
    order = {name: row + 1 for row, name in enumerate(free)}
    return {number: order[name] for number, name in rows.items()}, [*free]


def _natural(name: str) -> list[tuple[int, str]]:
    """2 before 10, in `tcp://host:41234 2` as well."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _some(trials: list[Trial], view: View) -> list[Trial]:
    """The best third of what is shown, and every n-th of the others."""
    if len(trials) <= CURVES:
        return trials
    sign = view.metrics[0].sign
    ranked = sorted((t for t in trials if t.values), key=lambda t: -sign * (t.values or (0.0,))[0])[: CURVES // 3]
    top = {trial.number for trial in ranked}
    rest = [trial for trial in trials if trial.number not in top]
    every = -(-len(rest) // (CURVES - len(top)))
    return sorted([*ranked, *rest[::every]], key=lambda trial: trial.number)


def _lines(name: str, color: str, curves: list[tuple[Trial, list[tuple[int, float]]]]) -> dict[str, Any]:
    """One trace for many curves, with gaps between them: a page of a hundred traces does not scroll."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial, curve in curves:
        x += [*(step for step, _ in curve), None]
        y += [*(short(v) for _, v in curve), None]
        numbers += [trial.number] * (len(curve) + 1)
    return {
        "type": "scatter", "mode": "lines", "name": text(name), "x": x, "y": y, "customdata": numbers,
        "line": {"color": color, "width": 1}, "opacity": 0.55,
        "hovertemplate": "trial %{customdata}<br>step %{x}: %{y:.6g}<extra></extra>",
    }  # fmt: skip
