"""The contour of two parameters: where the trials were, and how good the results were around there.

Called by `hpo.pages` with the two parameters that mattered most. The surface is a mean of the trials near each point,
the nearer the weightier (E. Nadaraya, 1964; G. Watson, 1964), and nothing where no trial was near: a model that is sure
about empty corners would show what nobody has measured.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.pages.charts import Figure, axis_of, index_of, label, points, text, window
from hpo.pages.view import View, said, short, value
from hpo.space import Choice, Parameter
from hpo.trial import Trial

CELLS = 48  # a side
REACH = 0.09  # the width of the mean, as a share of an axis
NEAR = 0.1  # the weight of trials below which nothing is shown: one trial at a little more than two widths

Floats = NDArray[np.float64]


def contour(view: View, across: Parameter, up: Parameter) -> Figure | None:
    """The first metric over two parameters; None: no trials have both."""
    metric = view.metrics[0]
    having = [trial for trial in view.complete if across.name in trial.params and up.name in trial.params]
    if len(having) < 2:
        return None
    values = [value(trial, 0) for trial in having]
    ends = window(values, metric) or [min(values), max(values)]
    x, y = _Side(across, having), _Side(up, having)
    heights = _surface(x, y, np.clip(np.array(values), ends[0], ends[1]))
    ramp = [[k / 7, f"var(--ramp-{k if metric.direction == 'maximize' else 7 - k})"] for k in range(8)]
    both = not isinstance(across, Choice) and not isinstance(up, Choice)
    bar = {"title": {"text": label(metric), "side": "right"}, "thickness": 12, "outlinewidth": 0, "tickformat": ".4~g"}
    field: dict[str, Any] = {
        "type": "contour" if both else "heatmap", "x": x.ticks, "y": y.ticks, "hoverinfo": "skip",
        "z": [[None if np.isnan(z) else short(z) for z in row] for row in heights.tolist()],
        "colorscale": ramp, "zmin": ends[0], "zmax": ends[1], "colorbar": bar, "showlegend": False,
    }  # fmt: skip
    if both:
        field |= {"contours": {"coloring": "fill"}, "line": {"width": 0.5, "color": "var(--panel)"}, "ncontours": 14}
    data = [field]
    for name, trials, color, size in _marked(view, having):
        drawn = points(name, x.places(trials), y.places(trials), trials, color, up.name, text(across.name))
        worth = [short(value(trial, 0)) for trial in trials]
        drawn |= {
            "customdata": [[trial.number, v] for trial, v in zip(trials, worth, strict=True)], "showlegend": False,
            "hovertemplate": f"trial %{{customdata[0]}}<br>{text(metric.name)} %{{customdata[1]:.6g}}<extra></extra>",
            "marker": {"color": color, "size": size, "line": {"color": "var(--panel)", "width": 1},
                       "symbol": "star" if name == "chosen" else "circle"},
        }  # fmt: skip
        data.append(drawn)
    layout = {
        "height": 460, "margin": {"t": 12}, "xaxis": {**x.axis, "showgrid": False},
        "yaxis": {**y.axis, "showgrid": False},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _marked(view: View, having: list[Trial]) -> list[tuple[str, list[Trial], str, int]]:
    found = [("trial", [trial for trial in having if trial is not view.best], "var(--ink)", 5)]
    return [*found, ("chosen", [view.best], "var(--good)", 14)] if view.best in having and view.best else found


class _Side:
    """One parameter as an axis: 0 to 1 within, in its own values (a choice: its index) for the chart."""

    def __init__(self, parameter: Parameter, trials: list[Trial]) -> None:
        self.parameter = parameter
        own = np.array(self.places(trials))
        title = {"title": {"text": text(parameter.name)}}
        if isinstance(parameter, Choice):
            count = len(parameter.values)
            self.ticks: list[float] = [float(k) for k in range(count)]
            names = [text(said(choice), 16) for choice in parameter.values]
            self.axis: dict[str, Any] = {**title, "tickvals": self.ticks, "ticktext": names, "zeroline": False}
            self.axis["range"] = [-0.5, count - 0.5]
            self.weights: Floats = (np.arange(count)[:, None] == own[None, :]).astype(float)
            return
        low, high, log = float(parameter.low), float(parameter.high), parameter.log
        first, last = (math.log(low), math.log(high)) if log else (low, high)
        grid = np.linspace(first, last, CELLS)
        width = (last - first) or 1.0
        self.ticks = [short(v) for v in (np.exp(grid) if log else grid).tolist()]
        self.axis = {**title, **axis_of(parameter)}
        off = (grid[:, None] - (np.log(own) if log else own)[None, :]) / width
        self.weights = np.exp(-0.5 * (off / REACH) ** 2)

    def places(self, trials: list[Trial]) -> list[float]:
        name = self.parameter.name
        if isinstance(self.parameter, Choice):
            return [float(index_of(self.parameter, trial.params[name])) for trial in trials]
        return [short(float(trial.params[name] or 0)) for trial in trials]


def _surface(x: _Side, y: _Side, values: Floats) -> Floats:
    """(y, x): the weight of a trial is the product of those along the two sides."""
    weights = y.weights @ x.weights.T
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (y.weights * values) @ x.weights.T / weights
    means[weights < NEAR] = np.nan
    return np.asarray(means, dtype=np.float64)
