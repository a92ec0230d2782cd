"""The main job: search, with every trial in the journal and, through it, in MLflow; then promote the best model.

`run` is the whole story and `hpo.driver` its heart; all parts meet here and nowhere else. The driver owns every
decision and every write; workers turn trials into trials, the publisher copies the journal into MLflow beside us, and a
searcher is rebuilt by telling it the journal's trials again. So this process may be killed at any line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from hpo import earlier, executors, objectives, searchers
from hpo.command import run as main
from hpo.command import verb
from hpo.data import Dataset, prepare, publish
from hpo.driver import GRACE, drive
from hpo.errors import InputError, NoModelError
from hpo.interrupts import Interrupted, Interrupts
from hpo.notebook import live
from hpo.progress import Progress, Show
from hpo.publisher import Publisher
from hpo.recheck import recheck
from hpo.result import Result, State
from hpo.resume import Claim
from hpo.session import begin
from hpo.steering import reopened
from hpo.sweep import Sweep
from hpo.tracking import default_uri


def run(
    sweep: Sweep,
    *,
    folder: Path | str = ".hpo",
    tracking: str | None = "default",
    executor: executors.Kind | None = None,
    fresh: bool = False,
    resume: str | None = None,
    evolve: bool = False,
    show: Show = live,
    facts: Mapping[str, Any] | None = None,
) -> Result:
    """Search until the budget is spent; continue the unfinished sweep of this name if there is one.

    `tracking` is an MLflow URI, "default" (`MLFLOW_TRACKING_URI`, else SQLite in the working folder) or None;
    `executor` another one than the sweep says, such as "inline", for a debugger; `facts` go into a new journal.
    `evolve` goes on in a changed space with the trials that still fit, of `resume` or the latest sweep of this name.
    Raises InputError, HeldError, JournalError, ClusterError; a failing trial, an absent server, Ctrl-C raise nothing.
    """
    folder = Path(folder).absolute()
    uri = default_uri() if tracking == "default" else tracking
    with executors.begin(sweep, objectives.imports(sweep), executor) as births:  # while we read the table
        dataset = prepare(sweep, folder / "data") if sweep.data else None
        objective = objectives.build(sweep, dataset, publish(dataset, sweep.executor.store, sweep.root))
        claimed = earlier.begin(sweep, folder, uri, fresh=fresh, resume=resume, evolve=evolve, facts=facts)
        build = partial(executors.build, sweep, objective, folder / claimed.id, executor, births)
        return _search(sweep, claimed, dataset, build, folder / claimed.id, uri, show)


def _search(
    sweep: Sweep, claimed: Claim, dataset: Dataset | None, build: Callable[[], executors.Executor], folder: Path,
    uri: str | None, show: Show,
) -> Result:  # fmt: skip
    """From a claimed journal to the result; `build` brings up the workers, `folder` is the sweep's own."""
    with claimed.lease, closing(claimed.journal) as journal, Interrupts() as interrupts:
        journal.record(
            state="running",
            tracking_uri=uri,
            document=dict(sweep.document),  # of this session: its budget may differ from the last one's
            commands=sweep.tracking.commands,
            **(reopened(journal, sweep) | dict.fromkeys(("promotion", "estimate", "stopped"))),  # of an earlier session
            provenance=begin(sweep, folder),
            dataset=dataset and dataset.to_json(),
            origin=sweep.data and sweep.data.origin and asdict(sweep.data.origin),
            promote=sweep.promote is not None and sweep.model is not None,  # a function returns no model
        )
        publisher = Publisher(journal, folder, uri) if uri is not None else None
        progress = Progress(sweep, journal.trials(), seconds=journal.fact("seconds", 0.0))
        said = f"resumed after {len(progress.ended)} trials" if claimed.resumed else journal.fact("said")
        progress.note = ", ".join(filter(None, (claimed.id, said)))
        state: State = "interrupted"
        unpublished: str | None = None
        try:
            with closing(build()) as slots:
                drive(journal, earlier.searcher(journal, sweep), slots, progress, interrupts, show)
                recheck(journal, slots, progress, interrupts, show)
            state = "interrupted" if interrupts else "finished"
        except Interrupted:
            unpublished = "not waited for" if publisher else None
        finally:
            stopped = interrupts.name or progress.stopped or _refused(sys.exception())
            best = progress.best and progress.best.number
            journal.record(state=state, stopped=stopped, seconds=progress.seconds, best=best)
        if publisher is not None and unpublished is None:  # it goes on without us
            unpublished = _publish(publisher, progress, interrupts, show)
        return Result(
            id=claimed.id,
            state=state,
            metrics=sweep.metrics,
            all_trials=tuple(progress.trials.values()),
            best=progress.best,
            journal=journal.path,
            seconds=progress.seconds,
            resumed=claimed.resumed,
            tracking_uri=uri,
            experiment=(journal.fact("sync") or {}).get("experiment") or None,
            estimate=journal.fact("estimate"),
            promotion=journal.fact("promotion"),
            unpublished=unpublished,
            signal=interrupts.number,
            stopped=stopped,
        )


def _refused(error: BaseException | None) -> str | None:
    """What a worker found wrong in the user's input; the same command goes on once it is put right."""
    lines = [line.strip() for line in str(error).splitlines()] if isinstance(error, InputError) else []
    return " ".join([*lines[:1], *lines[1:][-1:]]) or None


def _publish(publisher: Publisher, progress: Progress, interrupts: Interrupts, show: Show) -> str | None:
    """Wait for MLflow, showing how far it is. A user who interrupted the search waits no longer than GRACE, the rest
    goes on without him; one who interrupts this stops it, since it may be a refit."""
    patience = time.monotonic() + GRACE if interrupts else None
    promotes = not interrupts and progress.best and progress.sweep.model and progress.sweep.promote

    def tick(left: int) -> None:
        last = "refitting and judging the best model" if promotes else "closing the sweep"
        progress.stage = "publishing"
        progress.note = f"publishing to MLflow: {f'{left} left' if left else last}"
        show(progress)

    def enough() -> bool:
        return bool(interrupts) if patience is None else time.monotonic() > patience

    try:
        said = publisher.wait(tick, enough)
        progress.note = said or "all of it is in MLflow"
        show(progress)
        return said if patience is not None or not interrupts else publisher.stop() or said
    except Interrupted:
        return "interrupted"


@verb("search", "python -m hpo.search --space xgb.yaml --trials 50 --timeout 10m")
@click.option("--space", required=True, metavar="FILE", help="The sweep's YAML file; also looked up in search_spaces/.")
@click.option("--trials", metavar="N", help="Stop after this many trials.")
@click.option("--timeout", metavar="TIME", help="Start no trial after this long: 90s, 10m, 1h30m.")
@click.option("--workers", metavar="N", help="Trials at a time; by default one per core.")
@click.option("--executor", metavar="NAME", help="Where trials run: local, dask or ray.")
@click.option("--cluster", metavar="WHERE", help="local, tls://host:8786, ray://host:10001, auto, ssh, or a class.")
@click.option("--warm-start", metavar="NAME", help="Learn from a sweep (id or last), a model, or an experiment.")
@click.option("--engine", metavar="NAME", help="optuna, hyperopt or random.")
@click.option("--sampler", metavar="NAME", help="The engine's sampler, e.g. tpe, cmaes, anneal.")
@click.option(
    "--pruner", metavar="NAME", help="race, median, percentile, halving, hyperband, wilcoxon, patience or none."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override any key: --set validation.folds=3.",
)
@click.option(
    "--tracking-uri",
    default="default",
    metavar="URI",
    help="MLflow's address, or none; default mlflow.db here.",
)
@click.option("--allow-import", multiple=True, metavar="NAME", help="Trust this package, or address, too.")
@click.option("--allow-dirty-data", is_flag=True, help="Take a file that is not what its DVC pointer says.")
@click.option("--no-promote", is_flag=True, help="Search only: refit and register nothing.")
@click.option("--fresh", is_flag=True, help="Start a new sweep even if one is unfinished.")
@click.option("--resume", metavar="SWEEP", help="Continue this sweep (an id, its beginning, a name's latest, or last).")
@click.option("--evolve", is_flag=True, help="Continue in a changed space: with the trials that still fit.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object at the end and nothing else.")
def command(
    space: str, overrides: tuple[str, ...], tracking_uri: str, allow_import: tuple[str, ...],
    allow_dirty_data: bool, no_promote: bool, fresh: bool, resume: str | None, evolve: bool, as_object: bool,
    executor: str | None, cluster: str | None, **budget: str | None,
) -> int:  # fmt: skip
    """Search the space in FILE, track every trial in MLflow, promote the best model.

    The same command again continues an unfinished sweep. Exit codes: 0 done, 2 something in the input is wrong,
    3 no trial gave a usable model, 4 another process runs this sweep, 130 interrupted (resumable).
    """
    from rich.console import Console

    from hpo.display import display
    from hpo.loader import load
    from hpo.summary import as_json, summarize

    flags = {f"search.{key}": value for key, value in budget.items()}
    flags |= {"executor.engine": executor, "executor.cluster": cluster}
    if executor == "local":  # whatever cluster the file has
        flags = {**flags, "executor": "{engine: local}", "executor.engine": None}
    given = [f"{key}={value}" for key, value in flags.items() if value is not None]
    given += ["promote=false"] if no_promote else []
    sweep = load(space, [*given, *overrides], allow_import=allow_import, allow_dirty_data=allow_dirty_data)
    tracking = None if tracking_uri == "none" else tracking_uri
    console = Console(quiet=as_object)
    try:
        if begins := searchers.note(sweep):
            console.print(begins, style="dim", highlight=False, markup=False, soft_wrap=True)
        with display(console) as show:
            result = run(sweep, tracking=tracking, fresh=fresh, resume=resume, evolve=evolve, show=show)
    except InputError as error:
        raise error.placed(sweep.places) from None
    if as_object:
        click.echo(json.dumps(as_json(result)))
    else:
        summarize(result, console)
    if result.signal is not None:
        return 128 + result.signal
    return 0 if result.best is not None else NoModelError.exit_code


if __name__ == "__main__":
    main(command)
