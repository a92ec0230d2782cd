"""What a run or a registered version was made of: all that `hpo.reproduce` needs, found again.

A promoted trial has it in `promotion.json`. Of any other the run itself tells: its tag holds the trial, the files of
the sweep's sessions the document, commit, packages and uncommitted changes; so it takes no journal and not the machine
that searched. The journal is asked only for runs of an hpo that logged less.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hpo import registry
from hpo.card import source
from hpo.errors import InputError, Problem
from hpo.journal import Journal
from hpo.provenance import top_of
from hpo.sweepfile.lookup import digest
from hpo.tracking import RECORD


def find_record(client: Any, what: str, folder: Path) -> dict[str, Any]:
    """The record of a run (its id) or of a version (NAME, NAME@alias, NAME/version), as `hpo.card.record` makes it,
    with `patch`: what was not committed. `folder` is where the journals are. InputError: nothing tells of it."""
    run_id, number = what, None
    if not (len(what) == 32 and what.isalnum()):
        version = registry.find(client, what)
        run_id, number = version.run_id, version.tags.get("hpo.trial")
    run = client.get_run(run_id)
    tags = run.data.tags
    number = tags.get("hpo.trial", number)
    parent = client.get_run(tags.get("mlflow.parentRunId", run_id))
    with tempfile.TemporaryDirectory() as scratch:
        there = _fetch(client, parent.info.run_id, Path(scratch))
        journal = folder / f"{tags['hpo.sweep']}.journal" if "hpo.sweep" in tags else None
        made = _promoted(there, number) or _of_run(client, parent, number, there) or _of_journal(journal, number)
        sessions = (there, folder / tags["hpo.sweep"])
        version = (made.get("data") or {}).get("version") or made.get("origin")
        return {**made, "origin": version, "patch": made["git"] and _patch(sessions, made.get("session"))}


def with_data(made: Mapping[str, Any], root: Path, before: Path) -> dict[str, Any]:
    """The record with its table where that is now: in the project at `root`, else where it was `before`, else the
    revision that DVC knows. A table that has changed is taken as it is, for its digest tells that."""
    data = dict(made["document"].get("data") or {})
    sha256 = (made.get("data") or {}).get("sha256")
    if not data or not sha256 or "rev" in data or "repo" in data:
        return dict(made)
    if "://" in data["path"]:
        return _with(made, {**data, "digest": sha256})  # these bytes, from the cache if they are there
    there = [path for path in (root / data["path"], before / data["path"]) if path.is_file()]
    for path in there:
        if digest(path, "data.path") == sha256:
            return _with(made, {**data, "path": str(path)})
    top = top_of(before) if before.is_dir() else None
    dvc = (made.get("origin") or {}).get("hpo.data.md5")
    if dvc and top is not None and made["git"].get("commit"):
        path = os.path.relpath(os.path.realpath(before / data["path"]), os.path.realpath(top))
        return _with(made, {**data, "path": path, "repo": str(top), "rev": made["git"]["commit"]})
    return _with(made, {**data, "path": str(there[-1])}) if there else dict(made)


def _with(made: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    return {**made, "document": {**made["document"], "data": dict(data)}}


def _fetch(client: Any, run_id: str, scratch: Path) -> Path:
    for file in client.list_artifacts(run_id):
        if file.path in ("promotion.json", "sessions"):
            client.download_artifacts(run_id, file.path, str(scratch))
    return scratch


def _promoted(there: Path, number: str | None) -> dict[str, Any] | None:
    """If the trial is the one that was judged; without a number that is the one that is meant."""
    if not (there / "promotion.json").is_file():
        return None
    made: dict[str, Any] = _read(there / "promotion.json")
    return made if number in (None, str(made["trial"]["number"])) else None


def _of_run(client: Any, parent: Any, number: str | None, there: Path) -> dict[str, Any] | None:
    """From the trial's own run; None where it was logged by an hpo that did not say enough."""
    number = number or parent.data.tags.get("hpo.best_trial")
    if number is None:
        return None
    ours = f"tags.`hpo.sweep` = '{parent.data.tags.get('hpo.sweep', '')}' and tags.`hpo.trial` = '{int(number)}'"
    runs = client.search_runs([parent.info.experiment_id], ours, max_results=2)
    if not runs:
        return None
    tags = runs[0].data.tags
    trial = _trial(client, runs[0])
    started = (trial or {}).get("started") or 0.0
    sessions = [_read(path) for path in there.glob("sessions/*/provenance.json")]
    known = sorted(
        (found for found in sessions if (there / "sessions" / str(found["session"]) / "sweep.json").is_file()),
        key=lambda found: int(found["session"]),
    )
    if trial is None or not known:
        return None
    ran = [found for found in known if found["started"] <= started] or known[:1]
    sweep = _read(there / "sessions" / str(ran[-1]["session"]) / "sweep.json")
    facts = {**sweep, "id": tags["hpo.sweep"], "provenance": ran[-1]}
    data = {"sha256": tags["hpo.data"]} if sweep["document"].get("data") and "hpo.data" in tags else {}
    origin = {name: text for name, text in tags.items() if name.startswith("hpo.data")}
    return {**source(facts), "data": data, "origin": origin, "trial": trial, "model": {}}


def _trial(client: Any, run: Any) -> dict[str, Any] | None:
    """A small one is a tag, a large one a file."""
    if text := run.data.tags.get(RECORD):
        found: dict[str, Any] = json.loads(text)
        return found
    name = f"{RECORD}.json"
    if not any(file.path == name for file in client.list_artifacts(run.info.run_id)):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return _read(Path(client.download_artifacts(run.info.run_id, name, scratch)))


def _of_journal(path: Path | None, number: str | None) -> dict[str, Any]:
    if path is None or not path.exists():
        hint = "is it a run of hpo, and is there a journal in --folder?"
        raise InputError(Problem("the run does not say enough to make it again", hint=hint))
    with closing(Journal(path, writable=False)) as journal:
        facts = journal.facts()
        wanted = facts["best"] if number is None else int(number)
        if wanted is None:
            raise InputError(Problem(f"no trial of {facts['id']} is complete", hint="name the run of a trial"))
        return {**source(facts), "trial": journal.trials()[wanted].to_json(), "model": {}}


def _patch(places: tuple[Path, ...], session: int | None) -> str | None:
    """What was not committed when the session began; "" if nothing, None if nobody knows."""
    for place in places:
        folder = place / "sessions" / str(session)
        if folder.is_dir():
            file = folder / "source.patch"
            return file.read_text(encoding="utf-8") if file.is_file() else ""
    return None


def _read(path: Path) -> dict[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dict(found)
