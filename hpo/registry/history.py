"""The history of a model's alias: who was champion from when to when, and why that changed; and the one way to move it.

Used by `hpo.registry.act` and, through it, by the verbs. MLflow does not note alias moves, so each is written down
first, as a tag of the registered model that nobody rewrites, then done, then noted as done: whoever comes after a crash
sees what was meant and finishes it. Each has a key of its own, so that writers at once do not lose a word.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from secrets import token_hex
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hpo import crash
from hpo.registry.versions import holder, id_of, note, point, unpoint

CHALLENGER = "challenger"  # the alias of the latest version that was judged and not promoted
_EVENT, _DONE, _TOLD = "hpo.event.", "hpo.done.", "hpo.told."
_TEXT = 3000  # characters of a reason that are kept
Why = Literal["sweep", "promote", "rollback"]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Event:
    """The alias goes from one version (None: it was not there) to another. `why`: a sweep's verdict, or by hand.

    `told`: whoever asked for it has been told that it is done.
    """

    alias: str
    to: str
    origin: str | None
    why: Why
    reason: str
    who: str
    at: float
    id: str = ""
    done: bool = False
    told: bool = False

    @property
    def by_hand(self) -> bool:
        return self.why != "sweep"


@dataclass(frozen=True)
class Reign:
    """`until` None: it still lasts."""

    version: str
    since: float
    until: float | None
    event: Event


def events(client: MlflowClient, model: str, alias: str) -> list[Event]:
    """The oldest first."""
    try:
        tags = client.get_registered_model(model).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    found = []
    for key in sorted(tags):
        if key.startswith(_EVENT):
            id = key.removeprefix(_EVENT)
            done, told = f"{_DONE}{id}" in tags, f"{_TOLD}{id}" in tags
            found.append(Event(**json.loads(tags[key]), id=id, done=done, told=told))
    return [event for event in found if event.alias == alias]


def reigns(known: Sequence[Event]) -> list[Reign]:
    """Who was champion from when to when; what several promoters noted about the same move counts once."""
    found: list[Reign] = []
    for event in known:
        if found and found[-1].version == event.to:
            continue
        if found:
            found[-1] = replace(found[-1], until=event.at)
        found.append(Reign(event.to, event.at, None, event))
    return found


def line(known: Sequence[Event]) -> list[str]:
    """The champions under the present one, the present one last: a promotion puts one on top, a rollback takes it off.

    Rivals beat the same champion, so the one who is put on top in the end stands on that champion, not on a rival.
    """
    stack: list[str] = []
    for event in known:
        below = event.to if event.why == "rollback" else event.origin
        if below is None:
            stack = []
        elif below in stack:
            del stack[len(stack) - stack[::-1].index(below) :]
        else:
            stack.append(below)
        if event.why != "rollback":
            stack.append(event.to)
    return stack


def move(client: MlflowClient, model: str, event: Event, clock: Clock = time.time) -> Event:
    """Write it down, do it, note that it is done; the event with its id. One that has an id was written down before."""
    event = event if event.id else _append(client, model, event, clock)
    crash.point("intended")
    point(client, model, event.alias, event.to)
    crash.point("pointed")
    finish(client, model, event)
    return event


def finish(client: MlflowClient, model: str, event: Event) -> None:
    """What follows from a move: the previous champion, and no challenger that is champion."""
    under = line([e for e in events(client, model, event.alias) if e.id <= event.id])
    previous = f"previous-{event.alias}"
    if len(under) > 1:
        point(client, model, previous, under[-2])
    else:
        unpoint(client, model, previous)
    crash.point("previous")
    unpoint(client, model, CHALLENGER, event.to)
    crash.point("challenger")
    note(client, model, f"{_DONE}{event.id}", repr(time.time()))
    crash.point("done")


def acknowledge(client: MlflowClient, model: str, event: Event) -> None:
    """To be called once whoever asked for the move has been told: from then on the same command is another act."""
    note(client, model, f"{_TOLD}{event.id}", repr(time.time()))


def settle(client: MlflowClient, model: str, alias: str) -> Event | None:
    """Finish the last move if it was interrupted; which one that was."""
    known = events(client, model, alias)
    if not known or known[-1].done:
        return None
    last = known[-1]
    now = holder(client, model, alias)
    if (id_of(now) if now else None) not in (last.origin, last.to):
        return None  # somebody has moved the alias since, past us
    move(client, model, last)
    return last


def _append(client: MlflowClient, model: str, event: Event, clock: Clock) -> Event:
    """After the last one, whatever the clock says."""
    known = events(client, model, event.alias)
    if known and not known[-1].done and (known[-1].to, known[-1].origin) == (event.to, event.origin):
        return known[-1]
    after = int(known[-1].id.partition("-")[0]) + 1 if known else 0
    event = replace(event, at=clock(), reason=event.reason[:_TEXT])
    id = f"{max(round(event.at * 1000), after):015d}-{token_hex(3)}"
    body: dict[str, Any] = {k: v for k, v in asdict(event).items() if k not in ("id", "done", "told")}
    note(client, model, f"{_EVENT}{id}", json.dumps(body, ensure_ascii=False))
    return replace(event, id=id)
