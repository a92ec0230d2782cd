"""`python -m hpo.report SWEEP`: the sweep as one HTML file that opens anywhere.

A command that only reads the journal; a sweep that runs may be asked, too. It needs no server, no network and no
MLflow, so that a result can be looked at, mailed and kept wherever the journal is.
"""

from __future__ import annotations

import os
import webbrowser
from contextlib import closing
from pathlib import Path

import click

from hpo.command import run, verb


@verb("report", "python -m hpo.report last --open")
@click.argument("sweep")
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--out", metavar="FILE", help="Where it goes.  [default: SWEEP.html in the folder of journals]")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
def command(sweep: str, folder: str, out: str | None, opens: bool) -> None:
    """Write the report of a sweep: an id, its beginning, or last."""
    from hpo.errors import InputError, Problem
    from hpo.journal import Journal
    from hpo.pages import report
    from hpo.resume import find

    path = find(Path(folder), sweep)
    target = Path(out) if out else path.with_suffix(".html")
    with closing(Journal(path, writable=False)) as journal:
        text = report(journal)
    partial = target.with_name(f".{target.name}.new")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)  # whoever has the old one open keeps a whole one
    except OSError as error:
        raise InputError(Problem(f"{target} cannot be written: {error.strerror}", "--out")) from error
    click.echo(str(target))
    if opens:
        webbrowser.open(target.absolute().as_uri())


if __name__ == "__main__":
    run(command)
