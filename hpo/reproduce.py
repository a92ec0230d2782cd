"""`python -m hpo.reproduce RUN_OR_VERSION`: the same trial once more, and whether the same comes out.

A command for whoever must answer for a number. It takes what the record of a promotion, or the run, says (document,
data digest, parameters, seeds, threads), runs the trial's folds again, refits a registered model and compares it byte
by byte; and it says which of the inputs is another one than then. The code is that of then: where the working tree is
not, the commit is checked out beside it with what was not committed, and this command runs there, in that code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    from hpo.checkout import Tree
    from hpo.sweep import Sweep

TOLERANCE = 1e-6  # of a score, relative: what another order of additions may cost


@dataclass(frozen=True)
class Reproduction:
    """`outcome`: same, within tolerance, different. `scores` and `files` name what differs, `inputs` what was other,
    `code` where it ran."""

    outcome: str
    trial: int
    scores: Mapping[str, tuple[Any, Any]]
    files: Mapping[str, str]
    inputs: Mapping[str, tuple[Any, Any]]
    code: str = "the code that is here"


def reproduce(made: Mapping[str, Any], root: Path, scratch: Path) -> Reproduction:
    """`made` is a record as `hpo.recorded` finds it. InputError: the data or the code is not there any more."""
    from hpo.data import prepare
    from hpo.digest import digests
    from hpo.loader import from_document
    from hpo.objectives.refit import refit

    sweep = from_document(made["document"], root, allowed=made.get("allowed"))
    threads = made.get("threads") or 1
    trial = Trial.from_json(made["trial"])
    dataset = prepare(sweep, scratch / "data") if sweep.data else None
    scores = _compare(trial, _run(sweep, dataset, trial, threads, scratch))
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


def _compare(then: Trial, now: Trial) -> dict[str, tuple[Any, Any]]:
    """What came out otherwise. A trial that was stopped is compared on the folds, or reports, that it has."""
    if then.failure or now.failure:
        errors = tuple(trial.failure.headline if trial.failure else None for trial in (then, now))
        return {} if errors[0] == errors[1] else {"error": (errors[0], errors[1])}
    found: dict[str, tuple[Any, Any]]
    if then.scores:
        found = {
            name: (tuple(folds), tuple(_of_folds(now, name).get(fold) for fold in _of_folds(then, name)))
            for name, folds in then.scores.items()
        }
    elif not then.pruned:
        found = {"values": (then.values, now.values)}
    elif then.reports:
        reports = tuple(report.value for report in then.reports)
        found = {"reports": (reports, tuple(report.value for report in now.reports)[: len(reports)])}
    else:
        raise InputError(Problem(f"trial {then.number} was stopped before it said anything: nothing to compare with"))
    return {name: (before, after) for name, (before, after) in found.items() if before != after}


def _of_folds(trial: Trial, metric: str) -> dict[int, float]:
    """A race stops a trial after any of the folds, not only the first ones."""
    scores = trial.scores.get(metric, ())
    return dict(zip(trial.folds or range(len(scores)), scores, strict=False))


def _close(then: Any, now: Any) -> bool:
    if not isinstance(then, tuple) or not isinstance(now, tuple) or None in now or len(now) != len(then):
        return False
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a, b in zip(then, now, strict=True))


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


def as_it_was(made: Mapping[str, Any], root: Path, repository: str | None, scratch: Path) -> Reproduction:
    """In the code of then: here if that is what is here, else in a checkout. InputError: it is nowhere to be found."""
    from hpo import checkout
    from hpo.recorded import with_data

    git = made["git"]
    source: Path | str | None = checkout.repository(made, root)
    top = Path(os.path.realpath(git.get("top") or source or root))
    if "commit" not in git or not Path(os.path.realpath(made["root"])).is_relative_to(top):
        return reproduce(with_data(made, root, root), root, scratch)
    ours = source if isinstance(source, Path) else top
    if repository is not None:
        source = Path(repository).absolute() if Path(repository).is_dir() else repository
    elif isinstance(source, Path) and checkout.equals(made, source):
        found = reproduce(with_data(made, root, root), root, scratch)
        return replace(found, code=f"the code that is here, which is commit {git['commit'][:12]} as it was")
    if source is None:
        where = f", which came from {git['remote']}" if git.get("remote") else ""
        hint = "--repository FOLDER_OR_URL says where to get it, --here runs with the code that is here"
        raise InputError(Problem(f"commit {git['commit'][:12]}{where} is in no repository here", hint=hint))
    tree = checkout.check_out(made, source, top, scratch)
    return _there(with_data(made, tree.root, root), tree, ours, scratch)


def _there(made: Mapping[str, Any], tree: Tree, ours: Path, scratch: Path) -> Reproduction:
    """This command once more, in a process of its own that imports everything from the tree. What hpo is in there does
    not know how, if it is too old; then this one runs the code of the tree."""
    record = scratch / "record.json"
    record.write_text(json.dumps(made), encoding="utf-8")
    arguments = [sys.executable, "-m", "hpo.reproduce", "--record", str(record), "--root", str(tree.root), "--json"]
    cache = Path.cwd() / ".hpo" / "cache"
    if cache.is_dir() and not (tree.folder / ".hpo").exists():
        (tree.folder / ".hpo").mkdir()
        (tree.folder / ".hpo" / "cache").symlink_to(cache)
    done = subprocess.run(
        arguments, cwd=tree.folder, env={**os.environ, "PYTHONPATH": tree.path(ours)}, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode == 2 and "No such option" in done.stderr:
        found = reproduce(made, tree.root, scratch)
        found = replace(found, inputs={**found.inputs, "hpo": ("that of the commit", "this one: that one is too old")})
    elif done.returncode in (0, 1) and done.stdout.startswith("{"):
        row = json.loads(done.stdout)
        pairs = {name: {key: tuple(pair) for key, pair in row[name].items()} for name in ("scores", "inputs")}
        found = Reproduction(row["outcome"], row["trial"], pairs["scores"], row["files"], pairs["inputs"])
    else:
        said = done.stderr.strip().removeprefix("error: ") or done.stdout.strip()
        hint = "--here runs with the code that is here now"
        raise InputError(Problem(f"in {tree.said}, it does not run: {said[-2000:]}", hint=hint))
    lost = {f"uncommitted: {name}": ("changed", "as committed") for name in tree.left_out}
    return replace(found, code=tree.said, inputs={**found.inputs, **lost})


@verb("reproduce", "python -m hpo.reproduce flight-delays@champion")
@click.argument("what", metavar="RUN_OR_VERSION", required=False)
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the journals are.", show_default=True)
@click.option("--root", metavar="DIR", help="The folder of the sweep file's project, if it has moved.")
@click.option("--repository", metavar="FOLDER_OR_URL", help="Where the commit is, if not in the project's repository.")
@click.option("--here", is_flag=True, help="Run with the code that is here now, whatever the commit.")
@click.option("--tracking-uri", metavar="URI", help="MLflow's address, if it is not the usual one.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
@click.option("--record", metavar="FILE", hidden=True)
def command(
    what: str | None, folder: str, root: str | None, repository: str | None, here: bool, tracking_uri: str | None,
    as_object: bool, record: str | None,
) -> int:  # fmt: skip
    """Run a trial again: of a run's id, or of a version (NAME, NAME@alias, NAME/version).

    It runs in the code of then: the commit and the uncommitted changes that the run recorded, so it is for runs of
    people you trust. Exit codes: 0 the same or within tolerance, 1 different, 2 something in the input is wrong.
    """
    if what is None and record is None:
        raise InputError(Problem("which one?", hint="python -m hpo.reproduce RUN_OR_VERSION"))
    made = json.loads(Path(record).read_text(encoding="utf-8")) if record else _find(what or "", folder, tracking_uri)
    place = Path(root or _root(made))
    with tempfile.TemporaryDirectory() as scratch:
        if record:
            found = reproduce(made, place, Path(scratch))
        elif here:
            from hpo.recorded import with_data

            found = reproduce(with_data(made, place, place), place, Path(scratch))
        else:
            found = as_it_was(made, place, repository, Path(scratch))
    if as_object:
        click.echo(json.dumps(vars(found)))
    else:
        _print(found, made)
    return 1 if found.outcome == "different" else 0


def _find(what: str, folder: str, tracking_uri: str | None) -> dict[str, Any]:
    from hpo.tracking import default_uri, settle_environment

    settle_environment()
    from hpo.recorded import find_record
    from hpo.tracking.server import answered, connect

    client = connect(tracking_uri or default_uri())
    with answered():
        return find_record(client, what, Path(folder))


def _root(made: Mapping[str, Any]) -> Path:
    """Where the project was; on another machine the same place in the repository that we are in."""
    from hpo.provenance import top_of

    root, top = Path(made["root"]), (made.get("git") or {}).get("top")
    here = top_of(Path.cwd())
    if root.is_dir() or top is None or here is None or not root.is_relative_to(top):
        return root
    return here / root.relative_to(top)


def _print(found: Reproduction, made: Mapping[str, Any]) -> None:
    click.echo(f"trial {found.trial} of {made['sweep']}: {found.outcome}")
    click.echo(f"  in {found.code}")
    for name, (then, now) in found.scores.items():
        click.echo(f"  {name}: {then} then, {now} now")
    for name in found.files:
        click.echo(f"  {name}: other bytes")
    for name, (then, now) in found.inputs.items():
        click.echo(f"  input {name}: {then} then, {now} now")


if __name__ == "__main__":
    run(command)
