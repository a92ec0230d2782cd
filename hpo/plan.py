"""What a sweep will do and cost, before it costs anything: `python -m hpo.plan --space xgb.yaml`.

A command. It goes through the same doors as `search` (loader, data, objective, searcher), runs one real trial in a real
worker and multiplies; so what it accepts, the search accepts.
"""

from __future__ import annotations

import json
import math
import tempfile
import textwrap
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo import earlier, executors, objectives, searchers
from hpo.command import columns, run, verb
from hpo.data import prepare
from hpo.errors import InputError
from hpo.phrase import duration, say
from hpo.resume import find
from hpo.sweep import Named, Sweep
from hpo.tracking import default_uri
from hpo.trial import Trial

if TYPE_CHECKING:
    from hpo.data import Dataset

ROW_BYTES = 180  # of one parameter, metric or tag in MLflow's SQLite store, its indexes included (measured)
RUN_BYTES = 2_500  # of a run's own rows there


@dataclass(frozen=True)
class Plan:
    """`combinations` is inf for a continuous space; seconds and bytes are estimates from one probe trial."""

    name: str
    combinations: float
    workers: int
    threads: int
    data: str = ""
    probe: Trial | None = None
    seconds: float | None = None
    bytes: float | None = None
    warnings: tuple[str, ...] = ()
    begins: str = ""


def plan(sweep: Sweep, folder: Path, probe: bool = True) -> Plan:
    """Check everything the search would check; run trial 0 unless `probe` is False. Raises InputError."""
    dataset = prepare(sweep, folder / "data") if sweep.data else None
    objectives.check(sweep, dataset)
    searcher = searchers.build(sweep)
    workers, threads = executors.share(sweep)
    found = Plan(sweep.name, sweep.space.count(), workers, threads, _describe(dataset))
    if probe:
        done = _probe(sweep, dataset, searcher.ask(0))
        found = replace(found, probe=done)
        if done.failure is None:
            trials = min(sweep.search.trials, found.combinations)
            seconds = done.seconds * math.ceil(trials / workers)
            if sweep.search.timeout is not None:
                seconds = min(seconds, sweep.search.timeout + done.seconds)
            if sweep.search.budget.cpu_hours is not None:
                seconds = min(seconds, 3600 * sweep.search.budget.cpu_hours / (workers * threads) + done.seconds)
            found = replace(found, seconds=seconds, bytes=trials * _trial_bytes(done))
    return replace(found, warnings=(*(dataset.notes if dataset else ()), *_warnings(sweep, found)))


def _probe(sweep: Sweep, dataset: Dataset | None, trial: Trial) -> Trial:
    alone = replace(
        sweep, search=replace(sweep.search, workers=1, threads=executors.share(sweep)[1], pruner=Named("none"))
    )
    with tempfile.TemporaryDirectory() as folder:
        objective = objectives.build(sweep, dataset)
        with closing(executors.build(alone, objective, Path(folder))) as executor:
            executor.submit(replace(trial, started=time.time()))
            [done] = executor.wait()
    return done


def _trial_bytes(trial: Trial) -> float:
    """Journal row, and MLflow's rows: parameters, tags, metrics and curve points."""
    points = len(trial.reports) + sum(len(folds) + 2 for folds in trial.scores.values()) + len(trial.metrics)
    return len(json.dumps(trial.to_json())) + RUN_BYTES + ROW_BYTES * (len(trial.params) + 8 + points)


def _warnings(sweep: Sweep, found: Plan) -> list[str]:
    said = [
        f"{name} can never be active: the conditions on the way to it contradict each other"
        for name in sweep.space.unreachable
    ]
    if found.combinations < sweep.search.trials:
        said.append(f"the space has only {found.combinations:.0f} combinations for {sweep.search.trials} trials")
    if (pruner := sweep.pruner) is not None:
        from hpo.searchers.pruning import never_fires

        folds = sweep.validation.folds if sweep.data else None
        tried = found.probe if found.probe and found.probe.failure is None else None
        curve = tried is None or any(report.fold is not None or folds is None for report in tried.reports)
        why = never_fires(pruner.name, pruner.options, folds=folds, trials=sweep.search.trials, has_curve=curve)
        if why:
            said.append(f"the pruner {pruner.name} can never stop a trial: {why}")
    if found.probe is not None and found.probe.failure is not None:
        said.append(f"the probe trial failed: {found.probe.failure.message}\n{found.probe.failure.traceback}".rstrip())
    return said


def _describe(dataset: Dataset | None) -> str:
    if dataset is None:
        return ""
    profile: dict[str, Any] = dataset.profile
    told = {key.replace("_", " "): value for key, value in profile.items()}
    return ", ".join(f"{key} {value}" for key, value in told.items() if isinstance(value, (int, float, str)))


def _begins(sweep: Sweep, folder: Path, evolve: str | None) -> str:
    """What the sweep would learn from earlier ones; of one to evolve, each trial that does not fit, and why."""
    if evolve is not None:
        fits = earlier.carried(sweep, find(folder, evolve))
        return "\n            ".join([str(fits), *(f"trial {number}: {why}" for number, why in fits.left)])
    warm = earlier.warmth(sweep, folder, default_uri())
    return "" if warm is None else str(warm)


def _ends(sweep: Sweep) -> str:
    """What ends a trial early, and the sweep before its number of trials."""
    search, stop = sweep.search, sweep.search.stop
    said = []
    if sweep.pruner is not None:
        race = f", the {sweep.validation.folds} folds of a trial one by one" if sweep.pruner.name == "race" else ""
        said.append(f"trials by {sweep.pruner.name}{race}")
    if search.budget.cpu_hours is not None:
        said.append(f"the search after {search.budget.cpu_hours:g} CPU hours")
    if stop.patience is not None:
        said.append(f"the search after {stop.patience} trials without a better one")
    if stop.regret is not None:
        said.append(f"the search once at most {stop.regret:g} {sweep.metric.name} is left to gain")
    if stop.noise is not None:
        said.append(f"the search once less is left to gain than {stop.noise:g} standard errors of the best score")
    return "; ".join(said)


def _as_in_search(function: Any) -> Any:
    """The flags that people have typed for `search` and type here first."""
    kinds = {"trials": "N", "timeout": "TIME", "workers": "N", "engine": "NAME", "sampler": "NAME", "pruner": "NAME"}
    for name, metavar in reversed(kinds.items()):
        function = click.option(f"--{name}", metavar=metavar, help="As in search.")(function)
    return function


@verb("plan", "python -m hpo.plan --space xgb.yaml --trials 50")
@click.option("--space", required=True, metavar="FILE", help="The sweep's YAML file; also looked up in search_spaces/.")
@_as_in_search
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override any key, as in search.")
@click.option("--allow-import", multiple=True, metavar="NAME", help="Trust this package, or address, too.")
@click.option("--allow-dirty-data", is_flag=True, help="Take a file that is not what its DVC pointer says.")
@click.option("--evolve", metavar="SWEEP", help="Say which trials of this sweep fit the file as it is now.")
@click.option("--no-probe", is_flag=True, help="Only check; run no trial.")
@click.option("--json", "as_object", is_flag=True, help="Print JSON.")
def command(
    space: str, overrides: tuple[str, ...], allow_import: tuple[str, ...], allow_dirty_data: bool, evolve: str | None,
    no_probe: bool, as_object: bool, **flags: str | None,
) -> int:  # fmt: skip
    """Check the sweep in FILE, run one probe trial, and estimate time and disk. Nothing is tracked."""
    from hpo.loader import load

    given = [f"search.{name}={value}" for name, value in flags.items() if value is not None]
    sweep = load(space, [*given, *overrides], allow_import=allow_import, allow_dirty_data=allow_dirty_data)
    try:
        folder = Path(".hpo").absolute()
        begins = _begins(sweep, folder, evolve)
        found = replace(plan(sweep, folder, probe=not no_probe), begins=begins)
    except InputError as error:
        raise error.placed(sweep.places) from None
    if as_object:
        click.echo(json.dumps(_as_json(found)))
    else:
        _print(found, sweep)
    return InputError.exit_code if found.probe is not None and found.probe.failure is not None else 0


def _as_json(found: Plan) -> dict[str, Any]:
    probe = found.probe
    return {
        "name": found.name,
        "combinations": found.combinations if math.isfinite(found.combinations) else None,
        "workers": found.workers,
        "threads": found.threads,
        "probe": probe and {"seconds": probe.seconds, "params": dict(probe.params), "values": probe.values},
        "seconds": found.seconds,
        "bytes": found.bytes,
        "begins": found.begins or None,
        "warnings": list(found.warnings),
    }


def _print(found: Plan, sweep: Sweep) -> None:
    combinations = f"{found.combinations:,.0f} combinations" if math.isfinite(found.combinations) else "continuous"
    engine = " ".join(n for n in (sweep.search.engine, sweep.search.sampler and sweep.search.sampler.name) if n)
    click.echo(f"{found.name}: {sweep.model or sweep.objective}, {engine}")
    if found.data:
        _row("data", found.data)
    _row("space", f"{len(sweep.space)} parameters, {combinations}")
    if begins := searchers.note(sweep):
        _row("search", begins)
    if found.begins:
        _row("begins", found.begins)
    if ends := _ends(sweep):
        _row("ends", ends)
    workers, threads = f"worker{'s' * (found.workers != 1)}", f"thread{'s' * (found.threads != 1)}"
    _row("machine", f"{found.workers} {workers} x {found.threads} {threads}")
    if found.probe is not None:
        value = "failed" if found.probe.values is None else f"{sweep.metric.name} {found.probe.values[0]:.5g}"
        _row("probe", f"{duration(found.probe.seconds)}, {value}  ({say(found.probe.params)})")
    if found.seconds is not None and found.bytes is not None:
        about = "at most" if sweep.pruner else "about"
        _row(
            "estimate",
            f"{sweep.search.trials} trials in {about} {duration(found.seconds)} of search, "
            f"{found.bytes / 1e6:.1f} MB of journal and tracking",
        )
    for warning in found.warnings:
        click.echo(click.style("warning: ", fg="yellow", bold=True) + warning)


def _row(what: str, said: str) -> None:
    """On a terminal broken between words, under its own column; a pipe gets a line."""
    if (room := columns()) is not None:
        lines = textwrap.wrap(said, max(40, room - 1) - 12, break_long_words=False, break_on_hyphens=False)
        said = ("\n" + " " * 12).join(lines)
    click.echo(f"  {what:10}{said}")


if __name__ == "__main__":
    run(command)
