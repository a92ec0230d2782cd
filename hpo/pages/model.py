"""The charts of the final model: which columns it uses and how, and how far its answers can be trusted.

Called by `hpo.pages` with what `hpo.objectives.explaining` found on the held-out rows and the journal keeps; like
`hpo.pages.charts`, plain data. Nothing is computed here, so that a report needs neither the model nor the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.pages.charts import Figure, text

SHOWN = 20  # columns
SPREAD = 0.36  # of a row that the points of a column may fill


def features(found: Mapping[str, Any]) -> Figure:
    """How much each column moves the model's answer, or how much worse it is without: the greatest on top."""
    shown = found["features"][:SHOWN][::-1]
    names = [text(feature["name"], 28) for feature in shown]
    trace: dict[str, Any] = {
        "type": "bar", "orientation": "h", "x": [feature["value"] for feature in shown], "y": [*range(len(names))],
        "customdata": names, "marker": {"color": "var(--complete)"}, "showlegend": False,
        "hovertemplate": "%{customdata}: %{x:.4g}<extra></extra>",
    }  # fmt: skip
    if any(feature.get("off") for feature in shown):
        trace["error_x"] = {
            "type": "data", "array": [feature.get("off") or 0 for feature in shown], "color": "var(--muted)",
            "thickness": 1.5, "width": 3,
        }  # fmt: skip
    return {"data": [trace], "layout": _rows(names, found["unit"])}


def swarm(found: Mapping[str, Any]) -> Figure | None:
    """Each row's contribution of each column, its color the column's value; None where there is no such thing."""
    shown = [feature for feature in found["features"] if feature.get("points")][:SHOWN][::-1]
    if not shown:
        return None
    names = [text(feature["name"], 28) for feature in shown]
    data = []
    for known in (False, True):  # a value that is missing, or has no order, is gray and lies below
        x: list[float] = []
        y: list[float] = []
        colors: list[float] = []
        for row, feature in enumerate(shown):
            some = [(moved, place) for moved, place in feature["points"] if (place is not None) is known]
            x += [moved for moved, _ in some]
            y += _apart([moved for moved, _ in some], row)
            colors += [place for _, place in some if place is not None]
        if not x:
            continue
        marker: dict[str, Any] = {"size": 4, "opacity": 0.8, "color": colors if known else "var(--muted)"}
        if known:
            marker |= {
                "colorscale": [[0, "var(--low)"], [0.5, "var(--middle)"], [1, "var(--high)"]], "cmin": 0, "cmax": 1,
                "showscale": True,
                "colorbar": {
                    "title": {"text": "value in its column", "side": "right"}, "tickvals": [0, 1], "thickness": 12,
                    "ticktext": ["low", "high"], "outlinewidth": 0, "len": 0.9,
                },
            }  # fmt: skip
        data.append({
            "type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker, "hoverinfo": "skip",
            "name": "in order" if known else "missing or without an order", "showlegend": False,
        })  # fmt: skip
    layout = _rows(names, f"moves the answer by ({found['scale']})")
    layout["xaxis"] |= {"zeroline": True}
    return {"data": data, "layout": layout}


def calibration(found: Sequence[Mapping[str, Any]]) -> Figure:
    """What came true of what was said: a well calibrated model lies on the diagonal."""
    data: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip", "name": "as it should be",
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dash"},
    }]  # fmt: skip
    colors = ["--complete", "--good", "--warn", "--bad", "--ramp-7"]
    for part, color in zip(found, colors, strict=False):
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": text(part["class"]), "x": part["said"],
            "y": part["came"], "customdata": part["rows"], "line": {"color": f"var({color})", "width": 2},
            "marker": {"color": f"var({color})", "size": 8},
            "error_y": {
                "type": "data", "symmetric": False, "color": f"var({color})", "thickness": 1, "width": 3,
                "array": [round(high - y, 4) for high, y in zip(part["high"], part["came"], strict=True)],
                "arrayminus": [round(y - low, 4) for low, y in zip(part["low"], part["came"], strict=True)],
            },
            "hovertemplate": "said %{x:.3f}, came true %{y:.3f}<br>%{customdata} rows<extra></extra>",
        })  # fmt: skip
    axis = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False}
    return {"data": data, "layout": {
        "height": 420, "xaxis": {**axis, "title": {"text": "the model says"}},
        "yaxis": {**axis, "title": {"text": "it was so"}},
    }}  # fmt: skip


def residuals(found: Mapping[str, Any]) -> Figure:
    """How far off the model was, against what it said; the line is the mean of each tenth."""
    data = [
        {
            "type": "scatter", "mode": "markers", "name": "row", "x": found["said"], "y": found["off"],
            "marker": {"color": "var(--complete)", "size": 5, "opacity": 0.5},
            "hovertemplate": "said %{x:.5g}<br>off by %{y:.5g}<extra></extra>",
        },
        {
            "type": "scatter", "mode": "lines+markers", "name": "mean of a tenth", "x": found["tenths"]["said"],
            "y": found["tenths"]["off"], "line": {"color": "var(--good)", "width": 2.5},
            "marker": {"color": "var(--good)", "size": 7}, "hoverinfo": "skip",
        },
    ]  # fmt: skip
    return {"data": data, "layout": {
        "height": 420, "xaxis": {"title": {"text": "the model says"}},
        "yaxis": {"title": {"text": "true − said"}, "zeroline": True, "zerolinecolor": "var(--muted)"},
    }}  # fmt: skip


def _rows(names: Sequence[str], title: str) -> dict[str, Any]:
    return {
        "height": 90 + 26 * len(names), "xaxis": {"title": {"text": title}},
        "yaxis": {
            "tickvals": [*range(len(names))], "ticktext": names, "range": [-0.6, len(names) - 0.4], "showgrid": False,
            "zeroline": False, "automargin": True,
        },
    }  # fmt: skip


def _apart(numbers: Sequence[float], row: int) -> list[float]:
    """Points of about the same place beside each other: as many to the left and right of the row as are there."""
    width = (max(numbers) - min(numbers)) / 60 if numbers else 0.0
    piles: dict[int, int] = {}
    found = []
    for number in numbers:
        pile = round(number / width) if width else 0
        piles[pile] = piles.get(pile, 0) + 1
        found.append((pile, piles[pile]))
    most = max(piles.values(), default=1)
    return [round(row + SPREAD * (rank // 2) * (1 if rank % 2 else -1) * 2 / most, 3) for _, rank in found]
