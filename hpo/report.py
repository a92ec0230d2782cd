"""`python -m hpo.report SWEEP` or `--schedule NAME`: a sweep, or all sweeps of a schedule, as one HTML file.

A command that only reads: the journal of a sweep, which may be running, or the ledger of a schedule. It needs no
server, no network and no MLflow, so that a result can be looked at, mailed and kept wherever those are.
"""

from __future__ import annotations

import os
import re
import webbrowser
from contextlib import closing
from pathlib import Path

import click

from hpo.command import run, sweeps, verb

MOST = 10_000  # slots of a schedule, the latest ones


@verb("report", "python -m hpo.report last --open")
@click.argument("sweep", required=False, shell_complete=sweeps)
@click.option("--schedule", metavar="NAME", help="All sweeps of this schedule instead of one.")
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option(
    "--ledger", envvar="HPO_LEDGER", metavar="URL",
    help="Of the schedule.  [default: HPO_LEDGER, else schedule.db in the folder]",
)  # fmt: skip
@click.option("--out", metavar="FILE", help="Where it goes.  [default: SWEEP.html in the folder of journals]")
@click.option("--png", metavar="DIR", help="Write the charts as PNG files there, and no HTML.")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
def command(
    sweep: str | None, schedule: str | None, folder: str, ledger: str | None, out: str | None, png: str | None,
    opens: bool,
) -> None:  # fmt: skip
    """Write the report of a sweep (an id, its beginning, a name's latest, or last), or of a schedule."""
    from hpo.errors import InputError, Problem

    if (sweep is None) == (schedule is None):
        raise InputError(Problem("one of the two is needed: a sweep, or --schedule NAME", hint="hpo.report last"))
    if png is not None:
        if sweep is None:
            raise InputError(Problem("pictures are made of one sweep", "--png", "name it: hpo.report last --png DIR"))
        for file in _pictures(Path(folder), sweep, Path(png)):
            click.echo(str(file))
        return
    path, text = _of_sweep(Path(folder), sweep) if sweep else _of_schedule(Path(folder), schedule or "", ledger)
    target = Path(out) if out else path
    partial = target.with_name(f".{target.name}.new")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)  # whoever has the old one open keeps a whole one
    except OSError as error:
        raise InputError(Problem(f"{target} cannot be written: {error.strerror}", "--out")) from error
    click.echo(str(target))
    if opens:
        webbrowser.open(target.absolute().as_uri())


def _of_sweep(folder: Path, sweep: str) -> tuple[Path, str]:
    from hpo.journal import Journal
    from hpo.pages import report
    from hpo.resume import find

    path = find(folder, sweep)
    with closing(Journal(path, writable=False)) as journal:
        return path.with_suffix(".html"), report(journal)


def _of_schedule(folder: Path, name: str, url: str | None) -> tuple[Path, str]:
    """What the ledger keeps of each slot is all that it takes, so it may be asked from any machine."""
    from hpo.errors import InputError, Problem, did_you_mean
    from hpo.pages.recurring import page
    from hpo.schedule.ledger import Ledger, connect

    own = folder.absolute() / "schedule.db"
    if url is None and not own.exists():
        raise InputError(Problem(f"no schedule has run under {folder}", "--folder", "or name its --ledger"))
    with closing(Ledger(connect(url or f"sqlite:///{own}"))) as ledger:
        slots = ledger.history(name, MOST)[::-1]
        known = ledger.names()
    if not slots:
        what = f"no slot of {name!r} has come yet" if name in known else f"there is no schedule {name!r}"
        raise InputError(Problem(what, "--schedule", did_you_mean(name, known) or ", ".join(known[:10])))
    rows = [
        {**slot.result, "planned": slot.planned, "state": slot.state, "outcome": slot.outcome, "reason": slot.reason}
        for slot in slots
    ]
    return folder / f"schedule-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.html", page(name, rows)


def _pictures(folder: Path, sweep: str, target: Path) -> list[Path]:
    from hpo.errors import InputError, Problem
    from hpo.journal import Journal
    from hpo.pages import drawn, view_of
    from hpo.pages.png import write
    from hpo.resume import find

    with closing(Journal(find(folder, sweep), writable=False)) as journal:
        view = view_of(journal)
    try:
        return write(drawn(view), target)
    except OSError as error:
        raise InputError(Problem(f"{target} cannot be written: {error.strerror}", "--png")) from error


if __name__ == "__main__":
    run(command)
