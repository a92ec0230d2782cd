"""The report: one HTML file that says everything about one sweep, from its journal alone.

Asked for by `hpo.report` and by `hpo.delivery`, which puts it beside the sweep's run. The file needs nothing but a
browser: plotly.js stands in it once, and its own policy forbids it to ask the network for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from html import escape

from hpo.journal import Journal
from hpo.lease import holder
from hpo.pages import charts, course, model, words
from hpo.pages.charts import Figure
from hpo.pages.document import document, place
from hpo.pages.view import View
from hpo.space import Parameter

SLICES = 24  # parameters, the most important first
FEWEST = 20  # complete trials, to tell which parameters mattered: of fewer, the best tenth is one


def report(journal: Journal) -> str:
    """The whole file, about 5 MB, most of it plotly.js."""
    return page(view_of(journal))


def view_of(journal: Journal) -> View:
    facts = journal.facts()
    alive = holder(journal.path.with_suffix(".lock")) is not None
    state = facts["state"] if facts["state"] == "finished" else "running" if alive else "interrupted"
    return View(facts, journal.trials(), state, journal.path.with_suffix(""))


def page(view: View) -> str:
    """The same of what is known already."""
    figures: list[Figure] = []
    sections = [*_results(view, figures), *_facts(view)]
    head = f"{words.masthead(view)}\n{words.verdict(view)}\n{words.tiles(view)}"
    return document(f"{view.facts['name']}: {view.facts['id']}", head, sections, figures)


def summary(view: View) -> str:
    """For a notebook: the verdict, the figures at a glance, and the parameters."""
    rows = [[words.e(name), f"<b>{words.e(number)}</b>", words.e(note)] for name, number, note in words.figures(view)]
    best = words.parameters(view, view.best) if view.best is not None else ""
    return f"<h4>{words.e(words.headline(view)[1])}</h4>{words.table(rows)}{best}"


def drawn(view: View) -> Iterator[tuple[str, str, Figure]]:
    """(name, title, figure) of every chart; where a section has several, the names are numbered."""
    figures: list[Figure] = []
    for name, title, _ in _results(view, figures):
        for k, figure in enumerate(figures):
            yield f"{name}-{k + 1}" if len(figures) > 1 else name, title, figure
        figures.clear()


def _results(view: View, figures: list[Figure]) -> Iterator[tuple[str, str, str]]:
    """(anchor, title, HTML) of what was found and how it went."""
    draw = partial(place, figures)
    if view.best is not None:
        yield "parameters", "Best parameters", words.parameters(view, view.best)
    if len(view.complete) > 1:
        if len(view.metrics) > 1:
            yield "pareto", "Pareto front", draw(charts.pareto(view))
        yield "history", "History", "".join(draw(charts.history(view, k)) for k in range(len(view.metrics)))
        shares = importance_of(view)
        if len(view.complete) < FEWEST and view.space.parameters:
            lacking = f"{len(view.complete)} trials are complete; of {FEWEST} on, this shows which parameters mattered"
            yield "importance", "Importance", f"<p>{lacking}</p>"
        elif shares:
            yield "importance", "Importance", draw(charts.bars(shares))
        if view.space.parameters:
            chart = draw(charts.parallel(view), 92 * (1 + len(view.space)))
            yield "parallel", "Parallel coordinates", f'<div class="scroll">{chart}</div>'
        ranked = sorted(view.space.parameters, key=lambda parameter: -shares.get(parameter.name, 0.0))
        used = [parameter for parameter in ranked if any(parameter.name in trial.params for trial in view.complete)]
        drawn = "".join(draw(charts.slice_of(view, parameter)) for parameter in used[:SLICES])
        if drawn:
            yield "slices", "Slices", f'<div class="slices">{drawn}</div>'
        if shares and (surface := _contour(view, ranked)):
            yield "contour", "Contour of the two that mattered most", draw(surface)
    if (curves := course.curves(view)) is not None:
        yield "curves", "Learning curves", draw(curves)
    if (timeline := course.timeline(view)) is not None:
        yield "timeline", "Timeline", draw(timeline)
    yield from _model(view, draw)


def _model(view: View, draw: Callable[[Figure], str]) -> Iterator[tuple[str, str, str]]:
    """What the final model does on rows that it has not seen."""
    found = view.facts.get("explained") or {}
    if error := found.get("error"):
        yield "model", "The final model", f"<p>it could not be looked into: {escape(error)}</p>"
    if importance := found.get("importance"):
        swarm = model.swarm(importance)
        drawn = draw(model.features(importance)) + (draw(swarm) if swarm else "")
        yield "features", "Columns of the final model", words.importance(importance) + drawn
    if calibration := found.get("calibration"):
        yield (
            "calibration",
            "Calibration",
            words.calibration(calibration, found["rows"]) + draw(model.calibration(calibration)),
        )
    if confusion := found.get("confusion"):
        yield "confusion", "Right and wrong", words.confusion(confusion)
    if residuals := found.get("residuals"):
        yield "residuals", "Residuals", words.residuals(residuals, found["rows"]) + draw(model.residuals(residuals))


def _contour(view: View, ranked: list[Parameter]) -> Figure | None:
    from hpo.pages.surface import contour  # brings numpy

    two = [parameter for parameter in ranked if getattr(parameter, "low", 0) != getattr(parameter, "high", 1)][:2]
    return contour(view, *two) if len(two) == 2 else None


def _facts(view: View) -> Iterator[tuple[str, str, str]]:
    for name, title, html in (
        ("failures", "Failures", words.failures(view)),
        ("cost", "Time and cost", words.usage(view)),
        ("data", "Data", words.data(view)),
        ("again", "How to reproduce", words.again(view)),
    ):
        if html:
            yield name, title, html


def importance_of(view: View) -> dict[str, float]:
    if len(view.complete) < FEWEST:
        return {}
    from hpo.searchers.importance import importance  # brings Optuna

    return importance(view.space, view.metrics[0], 0, view.complete)
