"""`python -m hpo.control SWEEP pause|resume|stop|extend N|prune TRIAL|enqueue '{…}'`: steer a search while it runs.

A command for whoever watches. The order waits in a queue beside the journal; the driver takes it between two trials and
answers in its journal, and that answer is what is printed. Killed in between, an order is carried out once or not at
all. Nothing is waiting for orders once the search is over: what cannot wait for the next run is withdrawn then.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from hpo.command import run, sweeps, verb
from hpo.errors import HeldError, InputError, Problem
from hpo.journal import Journal
from hpo.lease import holder
from hpo.orders import LASTING, VERBS, Answer, Order, Orders, answer, is_open, parse
from hpo.resume import find

TICK = 0.1  # seconds between two looks for the answer


class UnansweredError(HeldError):
    """The driver is busy with something else; the order stays where it is."""

    exit_code = 75


def _verbs(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    return [] if context.params.get("order") else [name for name in VERBS if name.startswith(begun)]


@verb("control", "python -m hpo.control last enqueue '{\"max_depth\": 4}'")
@click.argument("sweep", shell_complete=sweeps)
@click.argument("order", nargs=-1, shell_complete=_verbs, required=True, metavar="ORDER")
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--wait", default=60.0, metavar="SECONDS", help="How long to wait for the answer.", show_default=True)
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(sweep: str, order: tuple[str, ...], folder: str, wait: float, as_object: bool) -> int:
    """Steer SWEEP (an id, its beginning, a name's latest, or last) while it runs on this machine.

    \b
    pause        start no more trials; those that run go on
    resume       go on after a pause
    stop         start no more, and finish: recheck, promote the best so far
    extend N     N more trials than the file says; if none is on, in the next run
    prune TRIAL  stop this trial at its next report
    enqueue JSON try these parameters next; if none is on, in the next run

    Exit codes: 0 done, or waiting for the next run; 1 refused; 2 no such thing; 75 no answer yet.
    """
    from hpo.provenance import provenance
    from hpo.steering import whole

    path = find(Path(folder), sweep)
    wish = parse(" ".join(order), provenance()["user"] or "somebody")
    with closing(Journal(path, writable=False)) as journal:
        if wish.verb == "enqueue":
            wish = replace(wish, argument=whole(journal, wish.argument))
        said = give(journal, wish, wait)
    if as_object:
        state = "waiting" if said is None else "done" if said.done else "refused"
        answered = said.text if said else None
        click.echo(json.dumps({"sweep": path.stem, "order": str(wish), "state": state, "answer": answered}))
    elif said is None:
        click.echo(f"{path.stem}: nobody searches; it waits for the next run")
        click.echo(f"  go on:  the same search command, or --resume {path.stem}")
    else:
        click.echo(f"{path.stem}: {said}")
    return 0 if said is None or said.done else 1


def give(journal: Journal, wish: Order, patience: float) -> Answer | None:
    """What the driver said; None: it will be told at the next run. InputError: nobody is there to say anything."""
    orders = Orders(journal.path)
    if not is_steered(journal) and wish.verb not in LASTING:
        raise _nobody(journal)
    number = orders.put(wish)
    until = time.monotonic() + patience
    while (said := answer(journal, number)) is None:
        if not is_steered(journal):
            said = answer(journal, number)  # its last words
            if said is None and wish.verb not in LASTING:
                orders.withdraw(number)
                raise _nobody(journal)
            return said
        if time.monotonic() > until:
            raise UnansweredError(f"no answer yet: the order is kept, and {journal.path.stem} takes it when it can")
        time.sleep(TICK)
    return said


def is_steered(journal: Journal) -> bool:
    """A driver searches, or is about to."""
    searching = holder(journal.path.with_suffix(".lock")) is not None and journal.fact("state") == "running"
    return searching and is_open(journal)


def _nobody(journal: Journal) -> InputError:
    name = journal.path.stem
    if holder(journal.path.with_suffix(".lock")) is not None:
        return InputError(
            Problem(f"the search of {name} is over, and its result is being delivered: too late for that")
        )
    hint = f"python -m hpo.status {name}"
    return InputError(Problem(f"no search of {name} runs on this machine", hint=hint))


if __name__ == "__main__":
    run(command)
