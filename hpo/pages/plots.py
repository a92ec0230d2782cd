"""The report's charts as Plotly figures, for notebooks: `result.plot.history()` and its sisters.

Made by `hpo.result`. The same functions draw the report, so that both show the same; Plotly's package, which takes a
second to import, is imported when the first figure is asked for.
"""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING, Any

from hpo.errors import InputError, Problem, did_you_mean
from hpo.pages import charts, course, importance_of, model
from hpo.pages.charts import Figure
from hpo.pages.document import palette
from hpo.pages.view import View
from hpo.space import Parameter

if TYPE_CHECKING:
    import plotly.graph_objects as go

ACROSS = 3  # slices beside each other


class Plots:
    """Each method gives a `plotly.graph_objects.Figure`; where there is nothing to show, one that says so."""

    def __init__(self, view: View) -> None:
        self._view = view

    def history(self, metric: str | None = None) -> go.Figure:
        """Every result in the order of the ends, and the best so far; by default of the first metric."""
        names = [known.name for known in self._view.metrics]
        if metric is not None and metric not in names:
            raise InputError(Problem(f"there is no metric {metric!r}", hint=did_you_mean(metric, names)))
        enough = len(self._view.complete) > 1
        return _figure(charts.history(self._view, names.index(metric or names[0])) if enough else None)

    def pareto(self) -> go.Figure:
        """The first two metrics against each other."""
        enough = len(self._view.metrics) > 1 and self._view.complete
        return _figure(charts.pareto(self._view) if enough else None, "this sweep has one metric")

    def importance(self) -> go.Figure:
        """Which parameters the result depended on (PED-ANOVA)."""
        shares = importance_of(self._view)
        return _figure(charts.bars(shares) if shares else None, "importance needs 20 complete trials")

    def parallel(self) -> go.Figure:
        """A line a trial over all parameters and the metric."""
        enough = len(self._view.complete) > 1 and self._view.space.parameters
        return _figure(charts.parallel(self._view) if enough else None)

    def contour(self, x: str | None = None, y: str | None = None) -> go.Figure:
        """The metric over two parameters; by default the two that mattered most."""
        from hpo.pages.surface import contour  # brings numpy

        shares = importance_of(self._view)
        ranked = sorted(self._view.space.names, key=lambda name: -shares.get(name, 0.0))
        rest = iter([name for name in ranked if name not in (x, y)])
        chosen = [name or next(rest, "") for name in (x, y)]
        if "" in chosen or not self._view.complete:
            return _figure(None)
        return _figure(contour(self._view, *map(self._parameter, chosen)), "no trials have both")

    def slices(self, *names: str) -> go.Figure:
        """The metric against each parameter; by default all, the most important first."""
        shares = importance_of(self._view)
        ranked = sorted(self._view.space.names, key=lambda name: -shares.get(name, 0.0))
        wanted = [self._parameter(name) for name in names or ranked]
        used = [known for known in wanted if any(known.name in trial.params for trial in self._view.complete)]
        return _grid([charts.slice_of(self._view, parameter) for parameter in used])

    def curves(self) -> go.Figure:
        """What the trials reported on the way, the pruned ones with a cross where they were stopped."""
        return _figure(course.curves(self._view), "no trial has reported anything on the way")

    def timeline(self) -> go.Figure:
        """A bar a trial, in the row of the worker that ran it."""
        return _figure(course.timeline(self._view), "no trial has started")

    def features(self) -> go.Figure:
        """Which columns the final model uses, on held-out rows."""
        found = (self._view.facts.get("explained") or {}).get("importance")
        return _figure(model.features(found) if found else None, "there is no final model with held-out rows")

    def calibration(self) -> go.Figure:
        """What came true of what the final model said about held-out rows."""
        found = (self._view.facts.get("explained") or {}).get("calibration")
        return _figure(model.calibration(found) if found else None, "there is no final model with probabilities")

    def residuals(self) -> go.Figure:
        """How far off the final model was on held-out rows."""
        found = (self._view.facts.get("explained") or {}).get("residuals")
        return _figure(model.residuals(found) if found else None, "there is no final model of a regression")

    def _parameter(self, name: str) -> Parameter:
        if name not in self._view.space.names:
            hint = did_you_mean(name, self._view.space.names)
            raise InputError(Problem(f"there is no parameter {name!r}", hint=hint))
        return self._view.space[name]


def _figure(drawn: Figure | None, lacking: str = "two complete trials are needed") -> go.Figure:
    import plotly.graph_objects as go

    if drawn is None:
        said = {"text": lacking, "showarrow": False, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
        off = {"visible": False}
        return go.Figure(layout={**_LAYOUT, "height": 120, "annotations": [said], "xaxis": off, "yaxis": off})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    layout = {"height": 380, "legend": legend, "hovermode": "closest", **drawn["layout"]}
    layout["margin"] = {**_LAYOUT["margin"], **layout.get("margin", {})}
    return go.Figure(**painted({"data": drawn["data"], "layout": {**_LAYOUT, **layout}}))


def _grid(drawn: list[Figure]) -> go.Figure:
    """All of them in one figure."""
    if not drawn:
        return _figure(None)
    from plotly.subplots import make_subplots

    rows = -(-len(drawn) // ACROSS)
    figure = make_subplots(rows=rows, cols=ACROSS, vertical_spacing=0.3 / rows)
    for k, one in enumerate(map(painted, drawn)):
        row, column = k // ACROSS + 1, k % ACROSS + 1
        for trace in one["data"]:
            figure.add_trace(trace, row=row, col=column)
        figure.update_xaxes(one["layout"]["xaxis"], row=row, col=column)
        figure.update_yaxes(one["layout"]["yaxis"], row=row, col=column)
    figure.update_layout(**_LAYOUT, height=60 + 240 * rows, showlegend=False)
    return figure


def painted(part: Any) -> Any:
    """With the colors of the report's light page for their names."""
    if isinstance(part, str):
        return palette().get(part.removeprefix("var(").removesuffix(")"), part) if part.startswith("var(") else part
    if isinstance(part, dict):
        return {key: painted(value) for key, value in part.items()}
    return [painted(value) for value in part] if isinstance(part, (list, tuple)) else part


def plain(words: str) -> str:
    """A label without the HTML that Plotly reads."""
    return unescape(words.replace("<b>", "").replace("</b>", ""))


_LAYOUT: dict[str, Any] = {"template": "plotly_white", "margin": {"l": 60, "r": 20, "t": 40, "b": 46}}
