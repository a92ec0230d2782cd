"""`python -m hpo.schedule run|tick|list|history|install|uninstall`: the commands, and what they print.

`run` stays in the foreground and is a service of its own; `tick` looks once, for cron, systemd and Kubernetes. Both see
every sweep file with a `schedule`, and both may run any number of times: the ledger decides. Engines are imported by
the slots' own processes only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hpo.command import verb
from hpo.errors import NoModelError
from hpo.recurrence import Recurrence
from hpo.redact import redact
from hpo.schedule.database import LedgerError
from hpo.schedule.found import Found, schedules
from hpo.schedule.install import install, uninstall
from hpo.schedule.ledger import Ledger, connect
from hpo.schedule.process import Processes
from hpo.schedule.scheduler import Job, Scheduler
from hpo.schedule.slots import LATE, Slot

POLL = 1.0  # seconds between two looks
TEMPORARY = 75  # the exit code of a tick that leaves a slot to be tried again

ledger_option = click.option(
    "--ledger", envvar="HPO_LEDGER", metavar="URL",
    help="sqlite:///PATH or postgresql://…; default HPO_LEDGER, else .hpo/schedule.db.",
)  # fmt: skip
folder_option = click.option("--folder", default=".hpo", metavar="DIR", show_default=True, help="Where journals are.")
files_argument = click.argument("files", nargs=-1, metavar="[FILES]…")
options = (
    click.option("--tracking-uri", default="default", metavar="URI", help="MLflow's address, or none."),
    click.option("--allow-import", multiple=True, metavar="NAME", help="Trust this package, or address, too."),
    click.option("--jobs", default=1, type=click.IntRange(1, 64), show_default=True, help="Slots at a time."),
    folder_option, ledger_option, files_argument,
)  # fmt: skip


@click.group(
    "schedule", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: python -m hpo.schedule tick",
)  # fmt: skip
def command() -> None:
    """Run sweeps again and again, as the `schedule` in their files says; each slot once.

    FILES are sweep files; without any, all files in search_spaces/ that have a schedule.
    """


def _with(function: Any) -> Any:
    for option in options:
        function = option(function)
    return function


@verb("run", "python -m hpo.schedule run search_spaces/flights.yaml")
@_with
def run(
    files: tuple[str, ...], ledger: str | None, folder: str, tracking_uri: str, allow_import: tuple[str, ...], jobs: int
) -> int:
    """Stay here and run each slot when it is due, until Ctrl-C or SIGTERM.

    What is interrupted then is gone on with by the next start. Several may run, also on several hosts with one ledger.
    """
    with _scheduler(files, ledger, folder, tracking_uri, allow_import, jobs, lead=0.0) as (scheduler, found):
        _say(f"{len(found)} schedules: " + ", ".join(f"{one.name} ({one.next})" for one in found))
        return _drive(scheduler, once=False)


@verb("tick", "python -m hpo.schedule tick")
@_with
def tick(
    files: tuple[str, ...], ledger: str | None, folder: str, tracking_uri: str, allow_import: tuple[str, ...], jobs: int
) -> int:
    """Run what is due now and end: for cron, systemd and Kubernetes.

    Exit codes: 0 nothing failed, 1 a slot failed for good (3: no trial gave a usable model), 75 a slot failed and will
    be tried again, 2 the input, 74 the ledger cannot be used, 143 interrupted.
    """
    with _scheduler(files, ledger, folder, tracking_uri, allow_import, jobs, lead=LATE) as (scheduler, _):
        return _drive(scheduler, once=True)


def _drive(scheduler: Scheduler, once: bool) -> int:
    caught: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: caught.append(number))
    trouble = None
    while True:
        if caught and not scheduler.stopping:
            _say("stopping; what runs now will be gone on with")
            scheduler.stop()
        try:
            active = scheduler.look()
            trouble = None
        except LedgerError as error:
            if str(error) != str(trouble):
                _say(f"error: {error}")
            active, trouble = False, error
        if not scheduler.busy and scheduler.stopping:
            return 128 + caught[0]
        if once and not active and not scheduler.busy and not scheduler.unsure:
            if trouble is not None:
                raise trouble
            return exit_code(scheduler.ended) or (TEMPORARY if scheduler.waits else 0)
        if not active:
            time.sleep(POLL)


def exit_code(ended: Sequence[Slot]) -> int:
    """Of a tick: the last word on each slot counts, and the worst of them."""
    last = {slot.key: slot for slot in ended}.values()
    if failed := [slot for slot in last if slot.outcome == "failed"]:
        return max(
            NoModelError.exit_code if slot.result.get("code") == NoModelError.exit_code else 1 for slot in failed
        )
    return TEMPORARY if any(slot.state == "waiting" for slot in last) else 0


@contextmanager
def _scheduler(
    files: Sequence[str], url: str | None, folder: str, tracking: str, allowed: Sequence[str], jobs: int, lead: float
) -> Iterator[tuple[Scheduler, list[Found]]]:
    home = Path(folder).absolute()
    found = schedules(files)
    book = open_ledger(url, home)
    common = {"allow_import": [*allowed], "folder": str(home), "tracking": None if tracking == "none" else tracking}
    made = [
        Job(one.name, one.recurrence, {**common, "space": one.file, "overrides": overrides(one.recurrence)})
        for one in found
    ]
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    os.environ["PYTHONPATH"] = path  # a slot's process finds what this one found
    runner = Processes(home, lambda request: [sys.executable, "-m", "hpo.schedule.job"])
    try:
        yield Scheduler(made, book, runner, at_once=jobs, lead=lead, say=_say), found
    finally:
        book.close()


def overrides(recurrence: Recurrence) -> list[str]:
    """What the schedule's budget says instead of the search's."""
    given = {"search.trials": recurrence.budget.trials, "search.timeout": recurrence.budget.timeout}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def open_ledger(url: str | None, home: Path) -> Ledger:
    return Ledger(connect(url or f"sqlite:///{home / 'schedule.db'}"))


@verb("list", "python -m hpo.schedule list")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
@folder_option
@ledger_option
@files_argument
def listing(files: tuple[str, ...], ledger: str | None, folder: str, as_object: bool) -> None:
    """Show when each schedule is due next, and what became of its last slot."""
    book = open_ledger(ledger, Path(folder).absolute())
    rows: list[dict[str, Any]] = []
    for one in schedules(files):
        past = book.history(one.name, 1)
        rows.append({
            "schedule": one.name, "file": one.file, "cron": one.recurrence.cron, "timezone": one.recurrence.timezone,
            "next": one.next, "last": show(past[0], one.recurrence.local(past[0].planned)) if past else None,
        })  # fmt: skip
    if as_object:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['schedule']}: {row['cron']} {row['timezone']}, next {row['next']}")
        if last := row["last"]:
            click.echo(f"  last {_line(last)}")


@verb("history", "python -m hpo.schedule history flight-delays")
@click.argument("schedule", required=False)
@click.option("--limit", default=20, type=click.IntRange(1), show_default=True, help="How many slots.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
@folder_option
@ledger_option
def history(schedule: str | None, ledger: str | None, folder: str, limit: int, as_object: bool) -> None:
    """Show what became of past slots, the latest first."""
    rows = [show(slot, None) for slot in open_ledger(ledger, Path(folder).absolute()).history(schedule, limit)]
    if as_object:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['schedule']} {_line(row)}")
        for what in ("diff", "change"):
            if said := row[what]:
                click.echo(f"    {what}: {said if isinstance(said, str) else '; '.join(said)}")
    if not rows:
        click.echo("no slot has come yet")


def show(slot: Slot, local: str | None) -> dict[str, Any]:
    """For scripts; the keys are a promise."""
    moment = local or time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(slot.planned))
    return {
        "schedule": slot.schedule, "slot": slot.result.get("slot") or moment, "planned": slot.planned,
        "state": slot.state, "outcome": slot.outcome, "reason": slot.reason, "attempt": slot.attempt,
        "started": slot.started, "finished": slot.finished,
        **{key: slot.result.get(key) for key in ("sweep", "score", "champion", "diff", "change")},
    }  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    score = "" if row["score"] is None else f" {row['score']:.5g}"
    said = str(row["reason"]).strip().splitlines()
    return f"{row['slot']}: {row['outcome'] or row['state']}{score}" + (f": {said[-1]}" if said else "")


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {redact(text)}")
    sys.stdout.flush()


for part in (run, tick, listing, history, install, uninstall):
    command.add_command(part)
