"""The shape of the section `schedule`, which is about when and not about what.

Part of `hpo.sweepfile.shape`; what it means is in `hpo.recurrence`, whose types and limits these are. Only names of
environment variables are written here where a secret is meant: a sweep file is kept in journals and shown in MLflow.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import StringConstraints

from hpo.recurrence import Notify, Recurrence, SlotBudget
from hpo.sweepfile.written import OneOrMore, Seconds, Written

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s,<>]+@[^@\s,<>]+$", max_length=320)]
Addresses = Annotated[list[Address], MaxLen(50), OneOrMore()]

Budget = Annotated[
    SlotBudget,
    Written(
        trials="How many trials in all",
        timeout=("Longest time for the search: seconds or 30m, 1h30m", Seconds),
    ),
]
Notices = Annotated[
    Notify,
    Written(
        webhook=("Name of the environment variable that holds the address; JSON, as Slack reads it", Variable | None),
        email=("Addresses; HPO_SMTP_URL in the environment says by which server", Addresses),
        failed="How many slots have to fail one after the other",
        skipped="How many slots have to be skipped or missed one after the other",
    ),
]
Schedule = Annotated[
    Recurrence,
    Written(
        cron="When: minute, hour, day, month and day of the week, or @hourly, @daily, @weekly, @monthly",
        timezone="In whose wall clock, such as Europe/Berlin",
        catch_up="Which of the slots that nobody was there for are run: the latest, all one by one, or none",
        overlap="A slot that comes while the last one still runs: it is left out, or waits",
        if_unchanged="What becomes of a slot when data, code and space are those of the last one",
        budget=("What the sweep of one slot may cost, if that is not what search says", Budget),
        retries="How often a failed slot is tried again: after 5, 10, 20, … minutes",
        notify=("Who hears of promotions, failures and slots that are skipped again and again", Notices),
    ),
]
