"""Which journal a command goes on with: the unfinished one of this sweep, or a new one.

Called first by `hpo.search`. The same command again must continue what was interrupted, and must never mix results
of different meaning: a changed file is refused with the difference. The choice is made under a lock of the whole
folder, so that two commands started together cannot both create a sweep.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from hpo.errors import InputError, JournalError, Problem, did_you_mean
from hpo.journal import Journal
from hpo.lease import Lease
from hpo.sweep import Sweep


class Claim(NamedTuple):
    """An open journal that is ours as long as the lease is held."""

    journal: Journal
    lease: Lease
    id: str
    resumed: bool


def claim(
    sweep: Sweep,
    folder: Path,
    *,
    fresh: bool = False,
    resume: str | None = None,
    begin: Callable[[], Mapping[str, Any]] = dict,
    **facts: Any,
) -> Claim:
    """Continue the named sweep, else the unfinished one of this name, else begin one with these first facts.

    `begin` gives more of them, and is asked only then.
    """
    if resume is not None:
        return _continue(sweep, find(folder, resume), folder)
    with Lease(folder / "lock", f"the folder {folder}", patience=60.0):  # a moment each, but many may come at once
        try:
            unfinished = _latest_unfinished(folder, sweep)
        except (JournalError, InputError):
            if not fresh:
                raise
            unfinished = None  # what cannot be read is no reason not to begin anew
        if unfinished is not None and not fresh:
            return _continue(sweep, unfinished, folder)
        if unfinished is not None:
            facts["follows"] = unfinished.stem
        id = new_id(sweep.name, time.time())
        lease = Lease(folder / f"{id}.lock", f"sweep {id}")
        journal = Journal.create(folder / f"{id}.journal", {**_facts(sweep), **facts, **begin(), "id": id})
        return Claim(journal, lease, id, resumed=False)


def journals(folder: Path) -> list[Path]:
    """All sweeps under the folder, the latest first: an id ends in its moment of birth."""
    return sorted(folder.glob("*.journal"), key=lambda path: path.stem.rsplit("-", 3)[1:], reverse=True)


def find(folder: Path, id: str) -> Path:
    """The journal of a sweep by its id or an unambiguous beginning; a name is its latest sweep, `last` the latest."""
    known = journals(folder)
    for path in known:
        if id in ("last", path.stem.rsplit("-", 3)[0]):
            return path
    hits = [path for path in known if path.stem == id] or [path for path in known if path.stem.startswith(id)]
    if len(hits) == 1:
        return hits[0]
    names = [path.stem for path in known]
    hint = did_you_mean(id, names[:12]) or f"the latest is {names[0]}" if names else f"there is none under {folder}"
    raise InputError(Problem(f"{'more than one' if hits else 'no'} sweep {id!r}", hint=hint))


def find_facts(folder: Path, name: str, **facts: Any) -> Path | None:
    """The latest journal of this name that has these facts, finished or not."""
    for path in journals(folder):
        if path.stem.startswith(f"{_slug(name)}-"):
            with closing(Journal(path, writable=False)) as journal:
                if all(journal.fact(key) == value for key, value in facts.items()):
                    return path
    return None


def _latest_unfinished(folder: Path, sweep: Sweep) -> Path | None:
    """The newest journal of this name if it is unfinished; one of another meaning without a result is no loss."""
    for path in journals(folder):
        if not path.stem.startswith(f"{_slug(sweep.name)}-"):
            continue
        with closing(Journal(path, writable=False)) as journal:
            if journal.fact("name") != sweep.name:
                continue
            empty = journal.counts().keys() <= {"running"} and journal.fact("identity") != sweep.identity
            return None if journal.fact("state") == "finished" or empty else path
    return None


def difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two meanings, a line each."""

    def say(value: Any) -> str:
        return "not set" if value is None else str(value)

    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{key}: {say(before.get(key))} -> {say(now.get(key))}" for key in keys]


def _continue(sweep: Sweep, path: Path, folder: Path) -> Claim:
    lease = Lease(folder / f"{path.stem}.lock", f"sweep {path.stem}")
    try:
        with closing(Journal(path, writable=False)) as journal:
            journal.check()  # before anything is written to it
        journal = Journal(path)
        if journal.fact("identity") != sweep.identity:
            changes = difference(journal.fact("meaning"), sweep.meaning())
            raise InputError(
                Problem(
                    f"the unfinished sweep {path.stem} means something else now:\n  " + "\n  ".join(changes),
                    hint="undo the change to resume it, take along what fits (--evolve), or start anew (--fresh)",
                )
            )
        return Claim(journal, lease, path.stem, resumed=True)
    except BaseException:
        lease.release()
        raise


def _facts(sweep: Sweep) -> dict[str, Any]:
    return {
        "name": sweep.name,
        "state": "running",
        "created": time.time(),
        "identity": sweep.identity,
        "meaning": sweep.meaning(),
        "document": dict(sweep.document),
        "root": str(sweep.root),
        "allowed": sweep.allowed,
        "source": sweep.source,
        "engine": sweep.search.engine,
        "metrics": [[metric.name, metric.direction] for metric in sweep.metrics],
        "extra_metrics": [[metric.name, metric.direction] for metric in sweep.extra_metrics],
    }


def new_id(name: str, now: float) -> str:
    """What a sweep of this name is called that begins now."""
    return f"{_slug(name)}-{_moment(now)}"


def _moment(now: float) -> str:
    """To the 65536th part of a second, so that ids sort in the order of their birth, and no two are the same."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{int(now % 1 * 65536):04x}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "sweep"
