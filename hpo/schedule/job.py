"""The sweep of one slot, in a process of its own: skipped if nothing has changed, begun, or gone on with.

Started by `hpo.schedule.scheduler` with a request (JSON) on stdin; the last line on stdout is the outcome. The slot is
written into the journal of its sweep, so the same request may be made as often as somebody dies: it finds its sweep,
goes on with it, and says the same of a finished one. What is known of the last slot's sweep comes with the request.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.comparison import differences, digest_of
from hpo.errors import HpoError, InputError, NoModelError
from hpo.journal import Journal
from hpo.lease import holder
from hpo.loader import load
from hpo.provenance import provenance
from hpo.redact import redact
from hpo.resume import find_facts
from hpo.sweep import Sweep

UNDELIVERED = 75  # the exit code of a sweep that is finished here, and not in MLflow yet
NO_PART = ("data.digest", "code")  # of a meaning: said on their own
GRIDS = ("grid", "brute_force")  # samplers that try every point anyway


class Undelivered(HpoError):
    exit_code = UNDELIVERED


class Interrupted(HpoError):
    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.exit_code = 128 + number


def perform(request: Mapping[str, Any]) -> dict[str, Any]:
    """The slot's outcome. Any HpoError: it has none yet, and the same request may be made again."""
    folder, previous = Path(request["folder"]), request["previous"]
    sweep = load(request["space"], request["overrides"], allow_import=request["allow_import"])
    if previous:
        sweep = _warm(sweep)
    path = find_facts(folder, sweep.name, schedule=request["schedule"], planned=request["planned"])
    if path is not None:
        with closing(Journal(path)) as journal:
            finished = journal.fact("state") == "finished"
            usable, identity = journal.fact("best") is not None, journal.fact("identity")
        if finished and usable:
            return conclude(path)
        if not finished and identity == sweep.identity:
            return _search(sweep, request, resume=path.stem)
    traits = fingerprint(sweep)
    skips = path is None and sweep.schedule is not None and sweep.schedule.if_unchanged == "skip"
    if skips and previous and traits == previous["fingerprint"]:
        said = f"nothing has changed since {previous['slot']}: {_say(traits)}"
        return {"outcome": "skipped", "reason": said, "slot": request["at"]}
    facts = {
        "schedule": request["schedule"],
        "planned": request["planned"],
        "slot": request["at"],
        "fingerprint": traits,
        "previous": previous,
        "skipped": request["skipped"],
        "change": _changes(sweep, folder, previous, traits) if previous else None,
    }
    return _search(sweep, request, fresh=True, facts=facts)


def _warm(sweep: Sweep) -> Sweep:
    """The sweep as if its file said `warm_start: last`, unless it says something else."""
    sampler = sweep.search.sampler
    if sweep.search.warm_start is not None or (sampler is not None and sampler.name in GRIDS):
        return sweep
    search = {**sweep.document.get("search", {}), "warm_start": "last"}
    document = {**sweep.document, "search": search}
    return replace(sweep, search=replace(sweep.search, warm_start="last"), document=document)


def _search(sweep: Sweep, request: Mapping[str, Any], **how: Any) -> dict[str, Any]:
    from hpo.search import run

    result = run(sweep, folder=request["folder"], tracking=request["tracking"], **how)
    if result.signal is not None:
        raise Interrupted(result.signal)
    if result.best is None:
        raise NoModelError(result.stopped or "no trial gave a usable model")
    return conclude(result.journal)


def conclude(path: Path) -> dict[str, Any]:
    """What came of a finished sweep, once all of it is where it belongs."""
    while holder(path.with_suffix(".sync")) is not None:  # somebody is bringing it there
        time.sleep(0.2)
    with closing(Journal(path)) as journal:
        facts = journal.facts()
        settled = not facts.get("promote") or (facts.get("promotion") or {"error": "not yet"})["error"] is None
        delivered = facts.get("tracking_uri") is None or (settled and not journal.count_unpublished())
    if not delivered:
        from hpo.sync import deliver

        if trouble := deliver(path):
            raise Undelivered(trouble)
    with closing(Journal(path)) as journal:
        digest = digest_of(journal)
        promotion, previous = journal.fact("promotion"), journal.fact("previous")
        changed = journal.fact("change")
    outcome = "searched" if promotion is None else "promoted" if promotion["promoted"] else "kept"
    reasons = promotion["reasons"] if promotion else [f"best {digest['metric'][0]} {digest['score']:.6g}"]
    return {
        **digest,
        "outcome": outcome,
        "reason": "; ".join(reasons),
        "diff": "; ".join(differences(previous, digest)) if previous else None,
        "change": changed,
    }


def fingerprint(sweep: Sweep) -> dict[str, Any]:
    """What a sweep's result depends on. Of the project's own code that is every module, as one may import another,
    committed or not; a model of a library depends on the libraries alone, whatever is committed beside it."""
    meaning = {key: value for key, value in sweep.meaning().items() if key not in NO_PART}
    return {
        "data": sweep.data.digest if sweep.data else None,
        "code": _digest(_modules(sweep.root)) if sweep.code_digest else None,
        "settings": _digest(meaning),
        "packages": _digest(provenance(sweep.root)["packages"]),
    }


def _modules(root: Path) -> list[list[str]]:
    """Each Python file of the project with its digest; virtual environments and hidden folders are not of it."""
    found: list[list[str]] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(d for d in folders if d[0] != "." and not os.path.exists(Path(folder, d, "pyvenv.cfg")))
        paths = (Path(folder, name) for name in sorted(files) if name.endswith(".py"))
        found += [[str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths]
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _say(traits: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value[:12]}" for name, value in traits.items() if value)


def _changes(sweep: Sweep, folder: Path, previous: Mapping[str, Any], traits: Mapping[str, Any]) -> list[str]:
    """What is not as it was for the last sweep, a line each."""
    before = previous["fingerprint"] or {}
    lines = [f"{name} changed" for name in traits if name != "data" and traits[name] != before.get(name)]
    if traits["data"] == before.get("data") or sweep.data is None or not previous["dataset"]:
        return lines
    from hpo.data import Dataset, prepare
    from hpo.data.drift import changes

    return [*lines, *changes(Dataset.from_json(previous["dataset"]), prepare(sweep, folder / "data"))]


def main() -> int:
    """Whatever is printed meanwhile goes to the log; stdout is for the outcome alone."""
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        outcome = perform(json.load(sys.stdin))
    except InputError as error:
        print(redact(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except HpoError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_code
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps(outcome) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
