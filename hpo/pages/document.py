"""The HTML file around a report: style, figures, plotly.js once, and a policy that lets it ask the network for nothing.

Used by `hpo.pages` (a sweep) and `hpo.pages.recurring` (a schedule). One file needs nothing but a browser, can be
mailed and kept, and shows tomorrow what it shows today.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from hpo.pages.charts import Figure

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
HERE = Path(__file__).parent
Section = tuple[str, str, str]  # anchor, title, HTML


def document(title: str, head: str, sections: Sequence[Section], figures: Sequence[Figure]) -> str:
    """The whole file, about 5 MB, most of it plotly.js. `head` stands above the links to the sections."""
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(_section(*section) for section in sections)
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_read("report.css")}</style></head>
<body><main>
{head}
<nav>{links}</nav>
{body}
</main>
<script type="application/json" id="figures">{data}</script>
<script>{_plotly()}</script>
<script>{_read("report.js")}</script>
</body></html>
"""


def place(figures: list[Figure], figure: Figure, width: int = 0) -> str:
    """Where the script will put it; not narrower than so many pixels."""
    figures.append(figure)
    return f'<div class="chart" style="min-width:{width}px" data-figure="{len(figures) - 1}"></div>'


@cache
def palette() -> Mapping[str, str]:
    """The colors of the light page by name, as the style sheet has them."""
    light = _read("report.css").partition("}")[0]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+)", light))


def _section(name: str, title: str, html: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{html}</section>\n'


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """The script that Plotly's package carries; the package itself is not imported, it takes a second."""
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    script = Path(found.origin).parent / "package_data" / "plotly.min.js"
    return script.read_text(encoding="utf-8").replace("</script", "<\\/script")
