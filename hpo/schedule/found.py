"""The sweep files that have a schedule, found without a look at their data or code.

Used by the commands. A scheduler wakes often and must cost little, and what a file names need not be there before the
slot that wants it: so only the files themselves are read, and only those that mention a schedule.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hpo.errors import InputError, Problem
from hpo.recurrence import Recurrence


class Found(NamedTuple):
    """A sweep file with a schedule."""

    name: str
    recurrence: Recurrence
    file: str

    @property
    def next(self) -> str:
        planned = self.recurrence.next(time.time())
        return "never" if planned is None else self.recurrence.local(planned)


def schedules(files: Sequence[str]) -> list[Found]:
    """The sweep files that have a schedule. One that is named and has none is a mistake."""
    from hpo.loader import FOLDER, find_space, load_schedule

    paths = [find_space(name) for name in files] or sorted(Path(FOLDER).glob("*.yaml"))
    found: dict[str, Found] = {}
    for path in paths:
        if not files and not re.search(r"(?m)^schedule:", path.read_text(encoding="utf-8", errors="replace")):
            continue  # what is wrong with a file that is not ours is not ours to say
        name, recurrence = load_schedule(path)
        if recurrence is None:
            raise InputError(Problem("there is no schedule in it", str(path), 'schedule: {cron: "0 3 * * 1"}'))
        if name in found:
            raise InputError(Problem(f"{name!r} is scheduled by {found[name].file} as well", str(path)))
        found[name] = Found(name, recurrence, str(path.absolute()))
    if not found:
        raise InputError(Problem(f"no sweep file in {FOLDER}/ has a schedule", hint='schedule: {cron: "0 3 * * 1"}'))
    return [*found.values()]
