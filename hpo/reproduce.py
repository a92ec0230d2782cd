"""`python -m hpo.reproduce RUN_OR_VERSION`: the same trial once more, and whether the same comes out.

A command for whoever must answer for a number. It takes what the record of a promotion, or the journal, says (file,
data digest, parameters, seeds, threads), runs the trial's folds again, refits a registered model and compares it byte
by byte; and it says which of the inputs is another one than then.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.command import run, verb
from hpo.errors import InputError, Problem
from hpo.trial import Trial

if TYPE_CHECKING:
    from hpo.sweep import Sweep

TOLERANCE = 1e-6  # of a score, relative: what another order of additions may cost


@dataclass(frozen=True)
class Reproduction:
    """`outcome`: same, within tolerance, different. `scores` and `files` name what differs, `inputs` what was other."""

    outcome: str
    trial: int
    scores: Mapping[str, tuple[Any, Any]]
    files: Mapping[str, str]
    inputs: Mapping[str, tuple[Any, Any]]


def reproduce(made: Mapping[str, Any], root: Path, scratch: Path) -> Reproduction:
    """`made` is a record as `hpo.card.record` makes it. InputError: the data or the code is not there any more."""
    from hpo.data import prepare
    from hpo.digest import digests
    from hpo.loader import from_document
    from hpo.objectives.refit import refit

    sweep = from_document(made["document"], root, allowed=made.get("allowed"))
    threads = made.get("threads") or 1
    trial = Trial.from_json(made["trial"])
    dataset = prepare(sweep, scratch / "data") if sweep.data else None
    again = _run(sweep, dataset, trial, threads, scratch)
    scores: dict[str, tuple[Any, Any]] = {
        name: (then, again.scores.get(name))
        for name, then in trial.scores.items() if tuple(again.scores.get(name, ()))[: len(then)] != tuple(then)
    }  # fmt: skip
    if again.failure is not None:
        scores["error"] = (None, again.failure.headline)
    elif not trial.scores and again.values != trial.values:
        scores["values"] = (trial.values, again.values)
    expected: Mapping[str, str] = made["model"].get("sha256") or {}
    files: dict[str, str] = {}
    if expected and dataset is not None:
        refit(sweep, dataset, trial, scratch / "model", made["model"].get("threads") or threads)
        found = digests(scratch / "model")
        # predictor.py is this hpo's, not the trial's: another version of hpo is an input that differs
        names = sorted((expected.keys() | found.keys()) - {"predictor.py"})
        files = {name: found.get(name, "missing") for name in names if found.get(name) != expected.get(name)}
    close = all(_close(then, now) for then, now in scores.values())
    outcome = "same" if not scores and not files else "within tolerance" if close else "different"
    return Reproduction(outcome, trial.number, scores, files, _inputs(made, dataset.file_digest if dataset else None))


def _run(sweep: Sweep, dataset: Any, trial: Trial, threads: int, scratch: Path) -> Trial:
    from hpo import executors, objectives
    from hpo.sweep import Named

    alone = replace(sweep, search=replace(sweep.search, workers=1, threads=threads, pruner=Named("none")))
    with closing(executors.build(alone, objectives.build(alone, dataset), scratch, "local")) as slot:
        slot.submit(Trial(trial.number, trial.params, started=time.time(), memo=trial.memo))
        while not (done := slot.wait()):
            pass
    return done[0]


def _close(then: Any, now: Any) -> bool:
    if then is None or now is None or len(now) < len(then):
        return False
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a, b in zip(then, now, strict=False))


def _inputs(made: Mapping[str, Any], data: str | None) -> dict[str, tuple[Any, Any]]:
    """What is not as it was: the commit, uncommitted changes, Python, a package, the data."""
    from hpo.provenance import provenance

    now = provenance()
    then_git, now_git = made.get("git") or {}, now["git"]
    pairs = {
        "commit": (then_git.get("commit"), now_git.get("commit")),
        "uncommitted changes": (then_git.get("dirty"), now_git.get("dirty")),
        "python": (made.get("python"), now["python"]),
        "data": ((made.get("data") or {}).get("sha256"), data),
    }
    known: Mapping[str, str] = made.get("packages") or {}
    pairs |= {name: (version, now["packages"].get(name)) for name, version in known.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@verb("reproduce", "python -m hpo.reproduce flight-delays@champion")
@click.argument("what", metavar="RUN_OR_VERSION")
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--root", metavar="DIR", help="The folder of the sweep file's project, if it has moved.")
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(what: str, folder: str, root: str | None, tracking_uri: str | None, as_object: bool) -> int:
    """Run a trial again: of a run's id, or of a version (NAME, NAME@alias, NAME/version).

    Exit codes: 0 the same or within tolerance, 1 different, 2 something in the input is wrong.
    """
    from hpo.tracking import default_uri, settle_environment

    settle_environment()
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    with answered():
        made = _find(client, what, Path(folder))
    with tempfile.TemporaryDirectory() as scratch:
        found = reproduce(made, Path(root or made["root"]), Path(scratch))
    if as_object:
        click.echo(json.dumps(vars(found)))
    else:
        _print(found, made)
    return 1 if found.outcome == "different" else 0


def _find(client: Any, what: str, folder: Path) -> dict[str, Any]:
    """The record of a version or of a sweep's run is `promotion.json`; that of any other trial is in its journal."""
    from hpo import registry

    run_id, number = what, None
    if not (len(what) == 32 and what.isalnum()):
        version = registry.find(client, what)
        run_id, number = version.run_id, version.tags.get("hpo.trial")
    tags = client.get_run(run_id).data.tags
    number = tags.get("hpo.trial", number)
    parent = tags.get("mlflow.parentRunId", run_id)
    if any(file.path == "promotion.json" for file in client.list_artifacts(parent)):
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(client.download_artifacts(parent, "promotion.json", scratch)).read_text(encoding="utf-8")
        made: dict[str, Any] = json.loads(text)
        if number in (None, str(made["trial"]["number"])):
            return made
    return _from_journal(folder / f"{tags['hpo.sweep']}.journal", number)


def _from_journal(path: Path, number: str | None) -> dict[str, Any]:
    from hpo.card import source
    from hpo.journal import Journal

    if not path.exists():
        raise InputError(Problem(f"the journal {path} is not here, and no record tells of this trial", "--folder"))
    with closing(Journal(path, writable=False)) as journal:
        facts = journal.facts()
        wanted = facts["best"] if number is None else int(number)
        return {**source(facts), "trial": journal.trials()[wanted].to_json(), "model": {}}


def _print(found: Reproduction, made: Mapping[str, Any]) -> None:
    click.echo(f"trial {found.trial} of {made['sweep']}: {found.outcome}")
    for name, (then, now) in found.scores.items():
        click.echo(f"  {name}: {then} then, {now} now")
    for name in found.files:
        click.echo(f"  {name}: other bytes")
    for name, (then, now) in found.inputs.items():
        click.echo(f"  input {name}: {then} then, {now} now")
    if "commit" in found.inputs and found.inputs["commit"][0]:
        click.echo(f"  the code as it was: git worktree add ../then {found.inputs['commit'][0]}")


if __name__ == "__main__":
    run(command)
