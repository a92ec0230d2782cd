"""`python -m hpo.sync [SWEEP]`: bring what is in the journals to MLflow; with --follow, beside a live search.

The driver starts the following process and never waits for it while it searches. Stopped at any line it
loses nothing: what is delivered is found again by its tags, what is not stays in the journal, and the next
`hpo.sync` goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import click

from hpo.command import run, sweeps, verb
from hpo.errors import HeldError, InputError
from hpo.journal import Journal
from hpo.lease import Lease, holder
from hpo.redact import Redacting
from hpo.resume import find, journals
from hpo.tracking import settle_environment

if TYPE_CHECKING:
    from hpo.delivery import Delivery

BEHIND = 10  # niceness, while workers train
TICK = 0.2  # seconds between two looks at the journal
PAUSE = 2.0  # the longest pause before the next try at a server that does not answer
PATIENCE = 15.0  # seconds of silence from the server after which, the search being over, the rest stays for later
LAST = 120.0  # the same since anything was delivered, however often it answers: what fails then fails for good
PENDING = 75  # the exit code of a follower that left something behind


def follow(path: Path) -> int:
    """Publish a journal while its driver lives, then the rest; the exit code."""
    lease = _wait_for_lease(path)
    if lease is None:
        return 0
    usual = os.nice(0)
    os.nice(BEHIND)
    with lease, closing(Journal(path, durable=False)) as journal:
        delivery = _open(journal)
        try:
            return _follow(journal, delivery, usual)
        except Exception as error:
            delivery.note(f"{type(error).__name__}: {error}")
            raise


def _follow(journal: Journal, delivery: Delivery, usual: int) -> int:
    from hpo.tracking.server import Denied, TrackingError

    pause, left, since = TICK, 0, time.monotonic()
    moved = since
    while True:
        live = is_live(journal)  # asked first: what is recorded before a driver ends is published below
        if not live and not journal.path.exists():
            return 0  # the sweep has been removed: nobody waits for it, and its files cannot be published
        if not live:
            # Somebody waits now. Behind the workers of another sweep the rest would take ten times as long; where a
            # process may not come forward again, it does.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, usual)
        try:
            delivery.publish(live)
            since = time.monotonic()
            if not live:
                delivery.finish()
                return 1 if delivery.note(delivery.trouble()) else 0
            delivery.note(None)
            pause = TICK
        except TrackingError as error:
            delivery.note(str(error))
            if not live:
                delivery.stage()
                if isinstance(error, Denied):  # a person has to do something first
                    return PENDING
            pause = min(2 * pause, PAUSE)
        before, left = left, journal.count_unpublished()
        now = time.monotonic()
        if left < before:  # it answers, if not always
            since, pause = now, TICK
        if live or left < before:
            moved = now
        elif now - since > PATIENCE or now - moved > LAST:
            return PENDING
        time.sleep(pause)


def deliver(path: Path) -> str | None:
    """Publish all of a journal now; what is left to say, None if everything is delivered."""
    from hpo.tracking.server import TrackingError

    try:
        lease = Lease(path.with_suffix(".sync"), "publishing")
    except HeldError as held:
        return str(held)
    with lease, closing(Journal(path, durable=False)) as journal:
        if journal.fact("tracking_uri") is None:
            return None
        try:
            delivery = _open(journal)
        except InputError as error:
            return str(error)
        try:
            live = is_live(journal)
            delivery.publish(live)
            if not live:
                delivery.finish()
        except TrackingError as error:
            delivery.note(str(error))
            return f"{journal.count_unpublished()} trials not delivered to {journal.fact('tracking_uri')}: {error}"
        return delivery.note(delivery.trouble())


def is_live(journal: Journal) -> bool:
    """A driver searches: it holds its lease and has not said that it is done."""
    return holder(journal.path.with_suffix(".lock")) is not None and journal.fact("state") == "running"


def _open(journal: Journal) -> Delivery:
    settle_environment()
    from hpo.delivery import Delivery

    return Delivery(journal)


def _wait_for_lease(path: Path) -> Lease | None:
    """An older follower may still be bringing home what a killed driver left. None: this one's own driver is gone
    and another searches, whose follower will do: a sweep killed a hundred times must not leave a hundred waiting."""
    driver = os.getppid()
    while True:
        try:
            return Lease(path.with_suffix(".sync"), "publishing")
        except HeldError:
            if os.getppid() != driver and holder(path.with_suffix(".lock")) is not None:
                return None
            time.sleep(TICK)


@verb("sync", example="python -m hpo.sync flight-delays-20261123-101500-3f2a")
@click.argument("sweep", required=False, shell_complete=sweeps)
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".hpo"), help="Where the journals are.")
@click.option("--follow", "followed", type=click.Path(path_type=Path), hidden=True)
def command(sweep: str | None, folder: Path, followed: Path | None) -> int:
    """Deliver finished trials, and the promotion of finished sweeps, that MLflow does not have yet.

    SWEEP is an id, its beginning, a name (its latest sweep) or "last"; without it, every sweep under the folder.
    """
    if followed is not None:
        # A terminal or a scheduler (scancel) that tells all processes means the search: what it leaves is delivered,
        # its end included, in the time that is left until SIGKILL.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sys.stdout = sys.stderr = cast(TextIO, Redacting(sys.stderr))  # its log
        return follow(followed)
    paths = [find(folder, sweep)] if sweep else sorted(journals(folder))
    problems = 0
    for path in paths:
        problem = deliver(path)
        problems += problem is not None
        click.echo(f"{path.stem}: {problem or 'delivered'}")
    if not paths:
        click.echo(f"no sweeps under {folder}")
    return 1 if problems else 0


if __name__ == "__main__":
    run(command)
