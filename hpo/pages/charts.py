"""The charts of results: history, Pareto front, importance, parallel coordinates, a slice per parameter.

Called by `hpo.pages`; each gives a figure as plotly.js reads it, in plain data. Colors are names of the page's own
(`var(--good)`), put in by the page, so that one file is right in light and dark. All is SVG: WebGL, which Plotly's own
parallel coordinates want, is missing on many a remote desktop, and a report that shows an error there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from statistics import median
from typing import Any

from hpo.metric import Metric
from hpo.pages.view import View, said, short, value
from hpo.space import Choice, Float, Int, Parameter
from hpo.trial import Trial

Figure = dict[str, Any]
BINS = 8  # colors of the parallel coordinates, `--ramp-0` the worst
LINES = 300  # of the parallel coordinates: the best, and some of all the others


def history(view: View, index: int) -> Figure:
    """Every result in the order of the ends, the best so far, and where it began."""
    metric, done = view.metrics[index], view.complete
    values = [value(trial, index) for trial in done]
    better = max if metric.direction == "maximize" else min
    order = list(range(1, len(done) + 1))
    data = [
        points("trial", order, values, done, "var(--complete)", metric.name),
        {
            "type": "scatter", "mode": "lines", "name": "best so far", "x": order,
            "y": [short(v) for v in accumulate(values, better)], "hoverinfo": "skip",
            "line": _line("var(--good)", 2.5, "hv"),
        },
    ]  # fmt: skip
    if (first := view.baseline) is not None and len(done) > 1:
        level = short(value(first, index))
        data.append({
            "type": "scatter", "mode": "lines", "name": view.baseline_name, "x": [1, len(done)], "y": [level, level],
            "line": {**_line("var(--muted)", 1.5), "dash": "dash"}, "hoverinfo": "skip",
        })  # fmt: skip
    if (leader := view.best if index == 0 else view.leader(index)) is not None:
        place = [order[done.index(leader)]]
        star = points(
            "chosen" if index == 0 else "best", place, [value(leader, index)], [leader], "var(--good)", metric.name
        )
        data.append({**star, "marker": {"color": "var(--good)", "size": 13, "symbol": "star"}})
    y: dict[str, Any] = {"title": {"text": label(metric)}}
    if reach := window(values, metric):
        known = view.defaults
        room = metric.sign * (reach[1] - reach[0]) / 12
        seen = reach if known is None else [*reach, value(known, index) - room]  # what is compared with is seen
        y["range"] = [short(min(seen)), short(max(seen))]
    return {"data": data, "layout": {"xaxis": {"title": {"text": "finished trials"}}, "yaxis": y}}


def pareto(view: View) -> Figure:
    """The first two metrics against each other."""
    x, y = view.metrics[:2]
    front = sorted(view.front, key=lambda trial: value(trial, 0))
    rest = [trial for trial in view.complete if trial not in front]
    data = []
    for name, trials, color, size in (("dominated", rest, "var(--muted)", 6), ("front", front, "var(--good)", 10)):
        places = [value(trial, 0) for trial in trials]
        trace = points(name, places, [value(trial, 1) for trial in trials], trials, color, y.name, x.name)
        trace["marker"]["size"] = size
        data.append(trace)
    return {"data": data, "layout": {"xaxis": {"title": {"text": label(x)}}, "yaxis": {"title": {"text": label(y)}}}}


def bars(shares: Mapping[str, float]) -> Figure:
    """The importance of the parameters, the greatest on top."""
    names = list(shares)[:20][::-1]
    trace = {
        "type": "bar", "orientation": "h", "x": [short(shares[name]) for name in names], "y": [text(n) for n in names],
        "marker": {"color": "var(--complete)"}, "hovertemplate": "%{y}: %{x:.1%}<extra></extra>", "showlegend": False,
        "text": [f"{shares[name]:.0%}" for name in names], "textposition": "outside", "cliponaxis": False,
    }  # fmt: skip
    axis = {"tickformat": ".0%", "rangemode": "tozero", "title": {"text": "share of the difference"}}
    height = 90 + 26 * len(names)
    return {
        "data": [trace],
        "layout": {"height": height, "xaxis": axis, "yaxis": {"automargin": True, "type": "category"}},
    }


def parallel(view: View) -> Figure:
    """A line a trial over all parameters and the metric; the better, the stronger its color, and drawn the later."""
    metric, sign = view.metrics[0], view.metrics[0].sign
    ranked = sorted(view.complete, key=lambda trial: sign * value(trial, 0))
    step = max(1, math.ceil((len(ranked) - LINES // 3) / (LINES - LINES // 3)))
    some = [trial for k, trial in enumerate(reversed(ranked)) if k < LINES // 3 or k % step == 0][::-1]
    parameters = view.space.parameters
    values = [value(trial, 0) for trial in view.complete]
    scale = _Scale(window(values, metric) or [min(values), max(values)])
    data = []
    for bin in range(BINS):
        lines = some[len(some) * bin // BINS : len(some) * (bin + 1) // BINS]
        x: list[int | None] = []
        y: list[float | None] = []
        for trial in lines:
            x += [*range(len(parameters) + 1), None]
            y += [_place(p, trial.params.get(p.name, _OFF)) for p in parameters]
            y += [short(scale.place(value(trial, 0))), None]
        data.append({
            "type": "scatter", "mode": "lines", "x": x, "y": y,
            "line": _line(f"var(--ramp-{bin})", 1 + bin / (BINS - 1)),
            "opacity": 0.35 + 0.6 * bin / BINS, "hoverinfo": "skip", "showlegend": False,
        })  # fmt: skip
    heads = [*(text(p.name, 18) for p in parameters), f"<b>{label(metric)}</b>"]
    notes = [mark for k, p in enumerate(parameters) for mark in _marks(k, *_ticks(p))]
    notes += _marks(len(parameters), [0, 1], [f"{scale.low:.4g}", f"{scale.high:.4g}"])
    rules = [
        {
            "type": "line",
            "x0": k,
            "x1": k,
            "y0": 0,
            "y1": 1,
            "line": {"color": "var(--rule)", "width": 1},
            "layer": "below",
        }
        for k in range(len(heads))
    ]
    layout = {
        "height": 430, "margin": {"l": 60, "r": 60, "t": 40, "b": 10}, "hovermode": False,
        "shapes": rules, "annotations": notes,
        "yaxis": {"visible": False, "range": [-0.14, 1.04]},
        "xaxis": {
            "tickvals": [*range(len(heads))], "ticktext": heads, "side": "top", "showgrid": False, "zeroline": False,
            "range": [-0.1, len(heads) - 0.9], "tickangle": 0,
        },
    }  # fmt: skip
    return {"data": data, "layout": layout}


def slice_of(view: View, parameter: Parameter) -> Figure:
    """The metric against one parameter."""
    metric = view.metrics[0]
    having = [trial for trial in view.complete if parameter.name in trial.params]
    values = [value(trial, 0) for trial in having]
    y: dict[str, Any] = {"title": {"text": label(metric)}}
    if reach := window([value(trial, 0) for trial in view.complete], metric):
        y["range"] = reach
    x: dict[str, Any] = {"title": {"text": text(parameter.name)}}
    if isinstance(parameter, Choice):
        names = [text(said(choice)) for choice in parameter.values]
        places: list[Any] = [index_of(parameter, trial.params[parameter.name]) for trial in having]
        spread = [
            place + 0.5 * ((trial.number * 0.618034) % 1 - 0.5) for place, trial in zip(places, having, strict=True)
        ]
        x |= {"tickvals": [*range(len(names))], "ticktext": names, "range": [-0.5, len(names) - 0.5], "zeroline": False}
        places = [round(place, 3) for place in spread]
    else:
        places = [short(float(trial.params[parameter.name] or 0)) for trial in having]
        x |= axis_of(parameter)
    order = [trial.number for trial in having]
    trace = points("trial", places, values, having, "var(--complete)", metric.name, text(parameter.name))
    trace["marker"] = {
        "size": 6,
        "color": order,
        "colorscale": [[0, "var(--ramp-1)"], [1, "var(--ramp-7)"]],
        "opacity": 0.75,
    }
    if isinstance(parameter, Choice):
        trace["hovertemplate"] = f"trial %{{customdata}}<br>{text(metric.name)} %{{y:.6g}}<extra></extra>"
    data = [{**trace, "showlegend": False}]
    if (best := view.best) is not None and best in having:
        star = points("chosen", [places[having.index(best)]], [value(best, 0)], [best], "var(--good)", metric.name)
        star["marker"] = {"color": "var(--good)", "size": 13, "symbol": "star"}
        data.append({**star, "showlegend": False})
    return {"data": data, "layout": {"height": 270, "xaxis": x, "yaxis": y, "margin": {"t": 12, "r": 12}}}


def axis_of(parameter: Float | Int) -> dict[str, Any]:
    """All of what was searched, with ticks that people would write on a logarithmic axis."""
    low, high = parameter.low, parameter.high
    if low == high:
        return {}
    if not parameter.log:
        margin = (high - low) * 0.05
        return {"range": [low - margin, high + margin], "zeroline": False}
    first, last = math.log10(low), math.log10(high)
    margin = (last - first) * 0.05
    mantissas = (1,) if last - first > 2 else (1, 2, 5)
    step = math.ceil((last - first) / 6) if last - first > 2 else 1
    tens = range(math.floor(first), math.ceil(last) + 1, step)
    ticks = [m * 10.0**k for k in tens for m in mantissas if low <= m * 10.0**k * (1 + 1e-9) and m * 10.0**k <= high]
    words = [f"{tick:.4g}" for tick in ticks]
    return {
        "type": "log",
        "range": [first - margin, last + margin],
        "tickvals": ticks,
        "ticktext": words,
        "tickangle": 0,
    }


def text(words: object, limit: int = 40) -> str:
    """For Plotly, which reads a little HTML in its labels."""
    line = str(words)
    return escape(line if len(line) <= limit else f"{line[: limit - 1]}…", quote=False)


def label(metric: Metric) -> str:
    return f"{text(metric.name)} {'↑' if metric.direction == 'maximize' else '↓'}"


def points(
    name: str,
    x: Sequence[float],
    y: Sequence[float],
    trials: Sequence[Trial],
    color: str,
    metric: str,
    across: str = "",
) -> dict[str, Any]:
    second = f"<br>{across} %{{x:.5g}}" if across else ""
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": list(x), "y": [short(v) for v in y],
        "customdata": [trial.number for trial in trials], "marker": {"color": color, "size": 6},
        "hovertemplate": f"trial %{{customdata}}{second}<br>{text(metric)} %{{y:.6g}}<extra></extra>",
    }  # fmt: skip


def _line(color: str, width: float, shape: str = "linear") -> dict[str, Any]:
    return {"color": color, "width": round(width, 2), "shape": shape}


def window(values: Sequence[float], metric: Metric) -> list[float] | None:
    """The range that shows the interesting half where a few terrible results would press it into a line."""
    if len(values) < 8:
        return None
    best = max(values) if metric.direction == "maximize" else min(values)
    reach = abs(best - median(values)) * 4
    worst = min(values) if metric.direction == "maximize" else max(values)
    if not reach or abs(best - worst) <= 2 * reach:
        return None
    return sorted([short(best - metric.sign * reach), short(best + metric.sign * reach * 0.06)])


class _Scale:
    """A range of numbers onto 0 to 1, cut off at its ends."""

    def __init__(self, ends: Sequence[float], log: bool = False) -> None:
        self.low, self.high, self._log = ends[0], ends[1], log and ends[0] > 0

    def place(self, number: float) -> float:
        low, high = self.low, self.high
        if low == high:
            return 0.5
        number = min(max(number, low), high)
        if self._log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return (number - low) / (high - low)


_OFF = object()  # a parameter that its condition has switched off
_BELOW = -0.1  # where the lines of those go


def index_of(parameter: Choice, chosen: object) -> int:
    found = [k for k, v in enumerate(parameter.values) if v == chosen and type(v) is type(chosen)]
    return found[0] if found else -1


def _place(parameter: Parameter, chosen: Any) -> float:
    """Where a value stands on its axis: 0 to 1, below it if there is none."""
    if chosen is _OFF or (chosen is None and not isinstance(parameter, Choice)):
        return _BELOW
    if isinstance(parameter, Choice):
        count = len(parameter.values)
        return round((index_of(parameter, chosen) + 0.5) / count, 4)
    return round(_Scale((parameter.low, parameter.high), parameter.log).place(float(chosen)), 4)


def _ticks(parameter: Parameter) -> tuple[list[float], list[str]]:
    if isinstance(parameter, Choice):
        shown = parameter.values[:12]
        return [_place(parameter, choice) for choice in shown], [text(said(choice), 16) for choice in shown]
    if parameter.low == parameter.high:
        return [0.5], [f"{parameter.low:.4g}"]
    ends = [0, 1], [f"{parameter.low:.4g}", f"{parameter.high:.4g}"]
    off = ([_BELOW], ["off"]) if parameter.when else ([], [])
    return [*ends[0], *off[0]], [*ends[1], *off[1]]


def _marks(x: int, places: Sequence[float], words: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"x": x, "y": y, "text": word, "showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "var(--panel)",
         "opacity": 0.9, "borderpad": 1, "font": {"size": 11, "color": "var(--ink)"}}
        for y, word in zip(places, words, strict=True)
    ]  # fmt: skip
