"""The report's charts as PNG files, by matplotlib, for slides and for pages that run no scripts.

Called by `hpo.report --png`. It draws the very figures that the report gives to plotly.js, as far as they use what is
here: one description of a chart, two pens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from hpo.pages.charts import Figure
from hpo.pages.plots import painted, plain

WIDTH, DPI = 10.0, 120  # inches; a hundred of the page's pixels are one
STYLE: Any = {
    "font.size": 9, "axes.edgecolor": "#dfe3e9", "axes.grid": True, "grid.color": "#eceff3", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
}  # fmt: skip


def write(charts: Iterable[tuple[str, str, Figure]], folder: Path) -> list[Path]:
    """(name, title, figure) each into `name.png`; the files. May raise OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, title, figure in charts:
        with mpl.rc_context(STYLE):
            canvas = _drawn(title, painted(figure))
            files.append(folder / f"{name}.png")
            canvas.savefig(files[-1], dpi=DPI)
    return files


def _drawn(title: str, figure: Figure) -> Canvas:
    layout = figure["layout"]
    canvas = Canvas(figsize=(WIDTH, (layout.get("height", 380) + 60) / 100), layout="constrained")
    axes = canvas.subplots()
    for trace in figure["data"]:
        {"scatter": _scatter, "bar": _bars, "contour": _field, "heatmap": _field}[trace["type"]](axes, trace)
    for shape in layout.get("shapes", ()):
        axes.plot([shape["x0"], shape["x1"]], [shape["y0"], shape["y1"]], color=shape["line"]["color"], lw=1, zorder=0)
    for note in layout.get("annotations", ()):
        axes.annotate(
            plain(note["text"]), (note["x"], note["y"]), xytext=(3, 0), textcoords="offset points", fontsize=7,
            va="center", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    _axis(axes, layout.get("xaxis") or {}, "x")
    _axis(axes, layout.get("yaxis") or {}, "y")
    axes.set_title(title, loc="left", fontweight="bold", pad=30 if (layout.get("xaxis") or {}).get("side") else 8)
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        axes.legend(handles, names, fontsize=8, frameon=False, loc="best")
    return canvas


def _scatter(axes: Axes, trace: dict[str, Any]) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    name = plain(trace["name"]) if trace.get("name") and trace.get("showlegend", True) else None
    line, marker, alpha = trace.get("line") or {}, trace.get("marker") or {}, trace.get("opacity", 1.0)
    if "lines" in trace["mode"]:
        axes.plot(
            x, y, color=line.get("color"), lw=line.get("width", 2) * 0.8, alpha=alpha, label=name,
            ls="--" if line.get("dash") else "-", drawstyle="steps-post" if line.get("shape") == "hv" else "default",
            marker="o" if "markers" in trace["mode"] else None, ms=5,
        )  # fmt: skip
    else:
        color = marker.get("color")
        many = isinstance(color, list)
        style: dict[str, Any] = {"c": color, "cmap": _ramp(marker["colorscale"])} if many else {"color": color}
        symbol = {"star": "*", "x": "x"}.get(marker.get("symbol", ""), "o")
        size = (marker.get("size", 6) * 0.8) ** 2 * (1.6 if symbol == "*" else 1)
        style |= {"s": size, "marker": symbol, "alpha": marker.get("opacity", 1.0), "label": name, "zorder": 3}
        axes.scatter(x, y, linewidths=1.2 if symbol == "x" else 0, **style)
    if error := trace.get("error_y"):
        off = [error["arrayminus"], error["array"]]
        axes.errorbar(x, y, yerr=off, fmt="none", color=error["color"], lw=1, capsize=2)


def _bars(axes: Axes, trace: dict[str, Any]) -> None:
    color, error = trace["marker"]["color"], trace.get("error_x")
    axes.barh(
        trace["y"], trace["x"], left=trace.get("base"), color=color, height=trace.get("width", 0.8),
        label=trace.get("name") and plain(trace["name"]), xerr=error["array"] if error else None,
        edgecolor="white", linewidth=(trace["marker"].get("line") or {}).get("width", 0),
    )  # fmt: skip
    for text, x, y in zip(trace.get("text", ()), trace["x"], trace["y"], strict=False):
        axes.annotate(text, (x, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)


def _field(axes: Axes, trace: dict[str, Any]) -> None:
    heights = np.array([[np.nan if z is None else z for z in row] for row in trace["z"]], dtype=float)
    ends = {"vmin": trace["zmin"], "vmax": trace["zmax"]}
    seen = axes.pcolormesh(trace["x"], trace["y"], heights, cmap=_ramp(trace["colorscale"]), shading="nearest", **ends)
    axes.figure.colorbar(seen, ax=axes, label=plain(trace["colorbar"]["title"]["text"]), pad=0.01)


def _axis(axes: Axes, axis: dict[str, Any], which: str) -> None:
    mine = axes.xaxis if which == "x" else axes.yaxis
    title = (axis.get("title") or {}).get("text", "")
    if title:
        mine.set_label_text(plain(title))
    log = axis.get("type") == "log"
    if log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if (given := axis.get("tickvals")) is not None:
        words = [plain(str(word)) for word in axis.get("ticktext") or given]
        mine.set_ticks([float(v) for v in given], words, minor=False)
        mine.set_ticks([], minor=True)
    elif axis.get("tickformat", "").endswith("%"):
        mine.set_major_formatter(lambda number, _: f"{number:.0%}")
    if (ends := axis.get("range")) is not None:
        ends = [10.0**end for end in ends] if log else ends
        (axes.set_xlim if which == "x" else axes.set_ylim)(*ends)
    if axis.get("showgrid") is False:
        mine.grid(False)
    if axis.get("visible") is False:
        mine.set_visible(False)
    if axis.get("side") == "top":
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", labelsize=8)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _ramp(scale: Any) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("ramp", [(float(place), color) for place, color in scale])
