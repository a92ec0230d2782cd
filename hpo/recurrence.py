"""When a sweep is to run again and what then counts: the `schedule` section of a sweep file, and its slots.

Read by the loader, obeyed by `hpo.schedule`. A slot is one planned moment, in whole seconds of UTC: pure arithmetic
of expression and zone, so that years of slots can be tested in seconds. cronsim reads the expression as Debian's
cron does: what a daylight-saving gap swallows runs right after it, what comes twice runs once; `*` counts real hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from annotated_types import Ge, Gt, Le, MinLen

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class SlotBudget:
    """What the sweep of one slot may cost, where that is not what `search` says."""

    trials: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    timeout: Annotated[float, Gt(0), Le(366 * 86400)] | None = None


@dataclass(frozen=True)
class Notify:
    """Who hears of it. `webhook` names the environment variable with the address, which is a secret as a rule."""

    webhook: Annotated[str, MinLen(1)] | None = None
    email: tuple[str, ...] = ()
    failed: Annotated[int, Ge(1), Le(1000)] = 1
    skipped: Annotated[int, Ge(1), Le(100_000)] = 4

    @property
    def channels(self) -> tuple[str, ...]:
        return (*(["webhook"] if self.webhook else []), *(["email"] if self.email else []))


@dataclass(frozen=True)
class Recurrence:
    """`cron` in the wall clock of `timezone`; `retries` is how often a failed slot is tried again."""

    cron: Annotated[str, MinLen(1)]
    timezone: Annotated[str, MinLen(1)] = "UTC"
    catch_up: Literal["latest", "all", "none"] = "latest"
    overlap: Literal["skip", "wait"] = "skip"
    if_unchanged: Literal["skip", "run"] = "skip"
    budget: SlotBudget = field(default_factory=SlotBudget)
    retries: Annotated[int, Ge(0), Le(20)] = 2
    notify: Notify = field(default_factory=Notify)

    @property
    def expression(self) -> str:
        return ALIASES.get(self.cron.strip().lower(), self.cron)

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def after(self, moment: float) -> Iterator[int]:
        """The slots later than a moment, in their order, without an end (unless there is none in fifty years)."""
        from cronsim import CronSim

        last = moment
        for local in CronSim(self.expression, datetime.fromtimestamp(moment, self.zone)):
            planned = int(local.timestamp())
            if planned > last:  # two times in one gap are one moment; in a repeated hour it begins with the first
                last = planned
                yield planned

    def next(self, moment: float) -> int | None:
        return next(self.after(moment), None)

    def local(self, planned: float) -> str:
        """The moment as people in that zone write it, with its offset: a repeated hour has two."""
        return datetime.fromtimestamp(planned, self.zone).isoformat(timespec="minutes")


def cron_problem(expression: str) -> str | None:
    """What is wrong with an expression; None: nothing."""
    from cronsim import CronSimError

    recurrence = Recurrence(expression)
    if expression.strip().startswith("@") and recurrence.expression == expression:
        return f"{expression!r} is none of {', '.join(ALIASES)}"
    if len(recurrence.expression.split()) != 5:
        return "an expression has five fields: minute, hour, day of the month, month, day of the week"
    try:
        return None if recurrence.next(0.0) is not None else "there is no such day"
    except CronSimError as error:
        return f"{str(error)[:1].lower()}{str(error)[1:]}"


def zone_problem(name: str) -> tuple[str, str] | None:
    """What is wrong with the name of a time zone, and what may be meant."""
    from zoneinfo import available_timezones

    from hpo.errors import did_you_mean

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return f"there is no time zone {name!r}", did_you_mean(name, sorted(available_timezones()))
    return None
