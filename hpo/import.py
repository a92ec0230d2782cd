"""`python -m hpo.import SOURCE`: move in, with an Optuna study or a W&B sweep file.

A command for whoever has searched elsewhere. It writes a sweep file with the space, the metric and the method, says
what it could not carry over, and keeps a study's results as a finished sweep in `.hpo/`, which the file names as its
`warm_start`: the new search goes on from there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.command import run, verb
from hpo.errors import InputError, Problem

if TYPE_CHECKING:
    from hpo.foreign import Draft

PLACEHOLDER = "my_module:objective"


@verb("import", "python -m hpo.import sqlite:///study.db --objective train:objective")
@click.argument("source")
@click.option("--study", metavar="NAME", help="Which of the storage's studies.")
@click.option("--objective", metavar="MODULE:FUNCTION", help="Your function of (params, trial); else one to fill in.")
@click.option("--out", metavar="FILE", help="The sweep file; by default named after the study or sweep.")
@click.option("--folder", default=".hpo", metavar="DIR", help="Where the results go.", show_default=True)
def command(source: str, study: str | None, objective: str | None, out: str | None, folder: str) -> None:
    """Write a sweep file from SOURCE: the storage URL (or journal file) of an Optuna study, or a W&B sweep's YAML."""
    draft = _read(source, study)
    draft, renamed = _named(draft)
    target = Path(out or f"{re.sub(r'[^A-Za-z0-9._-]+', '-', draft.name).strip('-.') or 'sweep'}.yaml")
    if target.exists():
        raise InputError(Problem(f"{target} is there already", hint="name another: --out FILE"))
    kept = _keep(draft, Path(folder), source) if draft.trials else None
    target.write_text("\n".join(_lines(draft, objective or PLACEHOLDER, source, kept)) + "\n", encoding="utf-8")
    conditional = sum("when" in shape for shape in draft.space.values())
    click.echo(f"{target}: {len(draft.space)} parameters ({conditional} under a condition), {len(draft.fixed)} fixed")
    if kept is not None:
        click.echo(f"{kept}: {len(draft.trials)} results, which the file starts warm from")
    for note in [*renamed, *draft.notes, *_wrong(target)]:
        click.echo(click.style("note: ", fg="yellow", bold=True) + note)
    if objective is None:
        click.echo(f"write your function of (params, trial), and name it in {target} instead of {PLACEHOLDER}; then")
    click.echo(f"check it:  python -m hpo.space check {target}")
    click.echo(f"run it:    python -m hpo.search --space {target}")


def _read(source: str, study: str | None) -> Draft:
    if source.endswith((".yaml", ".yml")):
        from hpo.foreign import wandb
        from hpo.sweepfile.document import Document

        if not Path(source).is_file():
            raise InputError(Problem(f"there is no file {source}"))
        return wandb.read(Document.read(Path(source), source).data)
    from hpo.foreign import optuna

    return optuna.read(source, study)


def _named(draft: Draft) -> tuple[Draft, list[str]]:
    """With names that a Python function may have as arguments, and what became of those that it may not."""
    names = {name: re.sub(r"\W", "_", name, flags=re.ASCII) for name in (*draft.space, *draft.fixed)}
    names = {old: new if new[:1].isalpha() or new[:1] == "_" else f"_{new}" for old, new in names.items()}
    if len(set(names.values())) < len(names):
        raise InputError(Problem("two parameters would have one name here", hint=", ".join(sorted(names))))
    space = {names[name]: _renamed(shape, names) for name, shape in draft.space.items()}
    trials = tuple(replace(t, params={names[name]: v for name, v in t.params.items()}) for t in draft.trials)
    fixed = {names[name]: value for name, value in draft.fixed.items()}
    told = [f"{old} is called {new} here" for old, new in names.items() if old != new]
    title = re.sub(r"[/:\x00-\x1f\x7f]", "-", draft.name).lstrip(" .")[:250] or "imported"
    return replace(draft, name=title, space=space, trials=trials, fixed=fixed), told


def _renamed(shape: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    when = {names[parent]: values for parent, values in shape.get("when", {}).items()}
    return {**shape, **({"when": when} if when else {})}


def _lines(draft: Draft, objective: str, source: str, kept: str | None) -> Iterator[str]:
    from hpo.redact import redact

    yield "# yaml-language-server: $schema=schema.json"
    yield f"# Imported from {redact(source)} by hpo.import; change what you know better."
    yield ""
    yield f"name: {json.dumps(draft.name, ensure_ascii=False)}"
    yield f"objective: {objective}    # a function of (params, trial) that returns the metric"
    metrics = [f"{{name: {json.dumps(name)}, direction: {direction}}}" for name, direction in draft.metrics]
    yield f"metric: {metrics[0] if len(metrics) == 1 else '[' + ', '.join(metrics) + ']'}"
    if draft.fixed:
        yield "fixed:"
        yield from (f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in draft.fixed.items())
    yield "space:"
    yield from (f"  {name}: {_flow(shape)}" for name, shape in draft.space.items())
    yield "search:"
    yield from (f"  {key}: {value}" for key, value in draft.search.items())
    if kept is not None:
        yield "  # its results count as this search's: leave it out if what is measured has changed"
        yield f"  warm_start: {kept}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _keep(draft: Draft, folder: Path, source: str) -> str:
    """The results as a sweep that is finished; its id."""
    from hpo.journal import Journal
    from hpo.metric import Metric
    from hpo.metric import best as best_of
    from hpo.resume import new_id

    now = time.time()
    id = new_id(draft.name, now)
    first = Metric(*draft.metrics[0])  # type: ignore[arg-type]  # the adapters say maximize or minimize
    done = [replace(trial, finished=trial.finished or trial.started or now) for trial in draft.trials]
    facts = {
        "id": id, "name": draft.name, "state": "finished", "created": now, "identity": "imported", "meaning": {},
        "document": {"name": draft.name, "space": draft.space}, "root": str(Path.cwd()), "engine": "optuna",
        "metrics": draft.metrics, "extra_metrics": [], "tracking_uri": None, "trials": len(done), "imported": source,
        "best": best_of(first, [trial.values[0] for trial in done if trial.values]), "promote": False,
    }  # fmt: skip
    with closing(Journal.create(folder / f"{id}.journal", facts)) as journal:
        journal.record(*done)
    return id


def _wrong(path: Path) -> Iterator[str]:
    """What our own rules say against the file: theirs allow more."""
    from hpo.sweepfile import rules, shape
    from hpo.sweepfile.document import Document

    file, errors = shape.read(Document.read(path, str(path)).data)
    yield from (f"to be mended: {'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors)
    yield from (f"to be mended: {breach.message}" for breach in rules.check(file, set()))


if __name__ == "__main__":
    run(command)
