"""The report of a schedule: slot after slot, what was found, who was champion, what it took, and what had changed.

Asked for by `hpo.report --schedule`, with the rows of the ledger, as each slot's own sweep told them. It says of the
slots without a sweep (skipped, missed, failed) that they were there, since a gap in a line tells nobody why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from hpo.metric import Metric
from hpo.pages.charts import Figure, label, text
from hpo.pages.document import document, place
from hpo.pages.view import said, short
from hpo.pages.words import e, table
from hpo.phrase import duration

Axis = Mapping[str, Any]
Row = Mapping[str, Any]  # a slot, and the digest of its sweep: see `hpo.comparison.digest_of`
OUTCOMES = ("failed", "missed", "skipped", "searched", "kept", "promoted")  # from bottom to top
COLORS = {
    "promoted": "var(--good)", "kept": "var(--complete)", "searched": "var(--complete)", "skipped": "var(--muted)",
    "missed": "var(--warn)", "failed": "var(--bad)",
}  # fmt: skip
SHOWN = 100  # slots in the table, the latest first
PARAMETERS = 12


def page(name: str, rows: Sequence[Row]) -> str:
    """The whole file; `rows` in the order of their slots, at least one."""
    figures: list[Figure] = []
    dates = _dates(rows)  # the same for all charts: what is below each other happened at the same time
    searched = [row for row in rows if row.get("score") is not None]
    latest = searched[-1]["metric"] if searched else None
    alike = [row for row in searched if row["metric"] == latest]
    sections = []
    if alike:
        note = "" if len(alike) == len(searched) else "<p>Slots with another metric are left out.</p>"
        sections.append(("score", "Score", note + place(figures, score(alike, dates))))
    if versions := [row for row in searched if row.get("champion") is not None]:
        sections.append(("champion", "Champion", place(figures, champion(versions, dates))))
    sections.append(("slots", "Slots", place(figures, strip(rows, dates))))
    if len(alike) > 1:
        names = list(dict.fromkeys(name for row in alike for name in row["params"]))[:PARAMETERS]
        drawn = "".join(place(figures, parameter(alike, name, dates)) for name in names)
        sections.append(("parameters", "Chosen parameters", f'<div class="slices">{drawn}</div>'))
        sections.append(("duration", "Duration", place(figures, effort(alike, dates))))
    sections.append(("history", "History", _history(rows)))
    return document(f"{name}: the schedule", f"{_head(name, rows)}{_verdict(rows)}{_tiles(rows)}", sections, figures)


def score(rows: Sequence[Row], dates: Axis) -> Figure:
    """What each sweep found, and on the hold-out what the new model and the champion of then made of the same rows."""
    metric = Metric(*rows[-1]["metric"])
    data = [_line("best of the search", rows, [row["score"] for row in rows], "var(--muted)", dash="dot")]
    new = [row for row in rows if metric.name in (row.get("holdout") or {})]
    if new:
        data.append(
            _line("its model on the hold-out", new, [row["holdout"][metric.name] for row in new], "var(--complete)")
        )
    old = [row for row in rows if (row.get("champion_holdout") or {}).get(metric.name) is not None]
    if old:
        theirs = [row["champion_holdout"][metric.name] for row in old]
        data.append(_line("the champion before it, same rows", old, theirs, "var(--warn)", dash="dash"))
    won = [row for row in rows if row["outcome"] == "promoted"]
    if won:
        values = [(row.get("holdout") or {}).get(metric.name, row["score"]) for row in won]
        star = _line("promoted", won, values, "var(--good)")
        data.append({**star, "mode": "markers", "marker": {"color": "var(--good)", "size": 13, "symbol": "star"}})
    return {"data": data, "layout": {"xaxis": dates, "yaxis": {"title": {"text": label(metric)}}}}


def champion(rows: Sequence[Row], dates: Axis) -> Figure:
    """Which version of the model was champion after each slot."""
    data = _line("champion", rows, [int(row["champion"]) for row in rows], "var(--good)", format="version %{y}")
    y: dict[str, Any] = {"title": {"text": "version"}, "tickformat": "d", "rangemode": "tozero"}
    if max(data["y"]) <= 12:
        y["dtick"] = 1
    line = {**data["line"], "shape": "hv", "width": 2.5}
    return {"data": [{**data, "line": line}], "layout": {"height": 240, "xaxis": dates, "yaxis": y}}


def strip(rows: Sequence[Row], dates: Axis) -> Figure:
    """What became of each slot."""
    data = []
    for outcome in OUTCOMES:
        some = [row for row in rows if row["outcome"] == outcome]
        if some:
            data.append({
                "type": "scatter", "mode": "markers", "name": outcome, "x": [_moment(row) for row in some],
                "y": [outcome] * len(some), "text": [text(_reason(row), 120) for row in some],
                "marker": {"color": COLORS[outcome], "size": 11, "symbol": "square"},
                "hovertemplate": "%{x}<br>%{text}<extra>%{y}</extra>", "showlegend": False,
            })  # fmt: skip
    there = [outcome for outcome in OUTCOMES if any(row["outcome"] == outcome for row in rows)]
    y = {"type": "category", "categoryarray": there, "categoryorder": "array", "range": [-0.6, len(there) - 0.4]}
    return {"data": data, "layout": {"height": 110 + 30 * len(there), "xaxis": dates, "yaxis": y}}


def parameter(rows: Sequence[Row], name: str, dates: Axis) -> Figure:
    """The value that the best trial of each sweep had."""
    having = [row for row in rows if row["params"].get(name) is not None]
    values = [row["params"][name] for row in having]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    shown = values if numbers else [said(value) for value in values]
    data = _line(name, having, shown, "var(--complete)", format=f"{text(name)} %{{y}}")
    y: dict[str, Any] = {"title": {"text": text(name)}}
    if numbers and min(values, default=0) > 0 and max(values) > 30 * min(values):
        ends = [min(values), max(values)]
        y |= {"type": "log", "tickvals": ends, "ticktext": [f"{end:.3g}" for end in ends]}
    elif not numbers:
        y["type"] = "category"
    x = {**dates, "title": {"text": ""}, "nticks": 4}
    return {"data": [data], "layout": {"height": 210, "xaxis": x, "yaxis": y, "margin": {"t": 12, "r": 12}}}


def effort(rows: Sequence[Row], dates: Axis) -> Figure:
    """How long each sweep took, with its number of trials."""
    longest = max(row.get("seconds") or 0.0 for row in rows)
    unit, per = next((u, p) for u, p in (("hours", 3600), ("minutes", 60), ("seconds", 1)) if longest > 3 * p or p == 1)
    data = {
        "type": "bar", "x": [_moment(row) for row in rows],
        "y": [short((row.get("seconds") or 0.0) / per) for row in rows],
        "customdata": [[row["trials"], row["sweep"]] for row in rows],
        "width": 1000 * _closest(rows) / 3, "marker": {"color": "var(--complete)"},  # in milliseconds
        "hovertemplate": f"%{{x}}<br>%{{customdata[0]}} trials in %{{y:.3g}} {unit}<extra>%{{customdata[1]}}</extra>",
        "showlegend": False,
    }  # fmt: skip
    layout = {"height": 240, "xaxis": dates, "yaxis": {"title": {"text": unit}, "rangemode": "tozero"}}
    return {"data": [data], "layout": layout}


def _line(
    name: str, rows: Sequence[Row], values: Sequence[Any], color: str, *, dash: str = "solid", format: str = ""
) -> dict[str, Any]:  # fmt: skip
    shown = format or f"{text(name)} %{{y:.6g}}"
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "x": [_moment(row) for row in rows],
        "y": [short(v) if isinstance(v, float) else v for v in values], "customdata": [row["sweep"] for row in rows],
        "line": {"color": color, "width": 2, "dash": dash}, "marker": {"color": color, "size": 7},
        "hovertemplate": f"%{{x}}<br>{shown}<extra>%{{customdata}}</extra>",
    }  # fmt: skip


def _dates(rows: Sequence[Row]) -> Axis:
    moments = [float(row["planned"]) for row in rows]
    margin = max((moments[-1] - moments[0]) * 0.05, 43_200.0)
    ends = [_utc(moments[0] - margin), _utc(moments[-1] + margin)]
    return {"type": "date", "range": ends, "title": {"text": "slot, UTC"}}


def _moment(row: Row) -> str:
    return _utc(float(row["planned"]))


def _closest(rows: Sequence[Row]) -> float:
    """Seconds between the two closest slots, or a day."""
    moments = [float(row["planned"]) for row in rows]
    return min((b - a for a, b in pairwise(moments)), default=86_400.0)


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))


def _head(name: str, rows: Sequence[Row]) -> str:
    last = rows[-1]
    model = next((row["model"] for row in reversed(rows) if row.get("model")), None)
    where = f"tags.`hpo.schedule` = '{name}'"
    said = [f"{len(rows)} slots since {_moment(rows[0])} UTC, the last one {_moment(last)}"]
    said += [f"model {model}"] if model else []
    line = " · ".join(map(e, said))
    return f"<header><h1>{e(name)}</h1><p>{line} · in MLflow: <code>{e(where)}</code></p></header>"


def _verdict(rows: Sequence[Row]) -> str:
    last = rows[-1]
    kinds = {"promoted": "good", "kept": "plain", "searched": "plain", "skipped": "plain"}
    kind = kinds.get(last["outcome"] or "", "bad" if last["outcome"] == "failed" else "warn")
    points = [_reason(last), *([f"since last time: {last['diff']}"] if last.get("diff") else [])]
    points += [f"the data: {line}" for line in (last.get("change") or [])[:6]]
    items = "".join(f"<li>{e(point)}</li>" for point in points if point)
    return (
        f'<section class="verdict {kind}" id="verdict"><h2>The last slot: {e(last["outcome"] or last["state"])}</h2>'
        f"<ul>{items}</ul></section>"
    )


def _tiles(rows: Sequence[Row]) -> str:
    searched = [row for row in rows if row.get("score") is not None]
    found = []
    if searched:
        metric, first, last = Metric(*searched[-1]["metric"]), searched[0], searched[-1]
        beside = f"{first['score']:.5g} in the first" if first is not last and first["metric"] == last["metric"] else ""
        found.append((f"{metric.name}, the last search", f"{last['score']:.5g}", beside))
        crowned = [row for row in searched if row["outcome"] == "promoted"]
        if crowned:
            since = f"since {_moment(crowned[-1])[:10]}, {len(crowned)} promotions"
            found.append(("champion", f"version {crowned[-1]['version']}", since))
        spent = sum(row.get("seconds") or 0.0 for row in searched)
        found.append(("searched", f"{sum(row['trials'] for row in searched)} trials", duration(spent)))
    counts = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in reversed(OUTCOMES)}
    found.append(("slots", str(len(rows)), ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)))
    cells = "".join(
        f'<div class="tile"><span>{e(name)}</span><b>{e(number)}</b><small>{e(note)}</small></div>'
        for name, number, note in found
    )
    return f'<section class="tiles">{cells}</section>'


def _history(rows: Sequence[Row]) -> str:
    head = ("slot, UTC", "outcome", "score", "hold-out", "champion", "trials", "what was said")
    lines = []
    for row in list(reversed(rows))[:SHOWN]:
        name = row["metric"][0] if row.get("metric") else ""
        holdout = (row.get("holdout") or {}).get(name)
        details = [*([row["diff"]] if row.get("diff") else []), *(row.get("change") or [])]
        items = "".join(f"<li>{e(detail)}</li>" for detail in details)
        more = f"<details><summary>{e(_reason(row) or '-')}</summary><ul>{items}</ul></details>"
        lines.append((
            e(_moment(row)), e(row["outcome"] or row["state"]), _number(row.get("score")), _number(holdout),
            e(row["champion"]) if row.get("champion") else "", e(row.get("trials") or ""),
            more if details else e(_reason(row)),
        ))  # fmt: skip
    left = f"<p>{len(rows) - SHOWN} earlier slots are not shown.</p>" if len(rows) > SHOWN else ""
    return table(lines, head, "slots") + left


def _reason(row: Row) -> str:
    lines = str(row["reason"] or "").strip().splitlines()
    return lines[-1] if lines else ""


def _number(value: float | None) -> str:
    return "" if value is None else escape(f"{value:.5g}")
