"""What must hold in a sweep file beyond its shape: names that exist, bounds in order, parts that fit together.

Called by `hpo.loader` after the shape was read; yields every breach as (place, message, hint), touches neither
disk nor engine. A rule about something whose shape was wrong is silent: that was said already.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from hpo.errors import did_you_mean
from hpo.metric import Metric, Task, infer_direction, known_metrics
from hpo.recurrence import cron_problem, zone_problem
from hpo.space import Choice, Float, Int, Parameter, Space
from hpo.sweep import Data, Execution, Named, Promote, Search
from hpo.sweepfile.document import Loc
from hpo.sweepfile.explain import shorten
from hpo.sweepfile.shape import ChoiceForm, File, FloatForm, IntForm, MetricForm

SAMPLERS = {
    "optuna": ("auto", "tpe", "random", "gp", "cmaes", "qmc", "nsgaii", "grid", "brute_force"),
    "hyperopt": ("tpe", "anneal", "rand"),
    "random": (),
}
PRUNERS = ("race", "median", "percentile", "halving", "hyperband", "wilcoxon", "patience", "none")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
REMOTE = ("s3", "https")
MULTI_OBJECTIVE = ("auto", "tpe", "nsgaii", "random")


class Breach(NamedTuple):
    loc: Loc
    message: str
    hint: str = ""


def check(file: File, broken: Collection[str]) -> Iterator[Breach]:
    """Every breach. `broken` names the sections and parameters that the shape has refused."""
    yield from _space(file, broken)
    yield from _subject(file, broken)
    yield from _data(file)
    if not {"metric", "metrics"} & {*broken}:
        yield from _metrics(file, broken)
    if "search" not in broken:
        yield from _search(file, broken)
    if not {"executor", "resources"} & {*broken}:
        yield from _executor(file)
    yield from _schedule(file)
    if file.promote:
        yield from _promote(file, file.promote, broken)


def _promote(file: File, promote: Promote, broken: Collection[str]) -> Iterator[Breach]:
    if promote.alias.lower() == "latest" or _is_version(promote.alias):
        yield Breach(("promote", "alias"), f"{promote.alias} is reserved by MLflow")
    if promote.alias in ("challenger", f"previous-{promote.alias}"):
        yield Breach(("promote", "alias"), f"{promote.alias} is the alias of those that were not promoted")
    known = [form.name for form in (*file.metric, *file.metrics)]
    if not {"metric", "metrics"} & {*broken}:
        for name in promote.metrics:
            if name not in known:
                hint = f"{did_you_mean(name, known)} name it in metrics too".strip()
                yield Breach(("promote", "metrics", name), f"{name} is not a metric of this sweep", hint)
    if promote.when_unscorable == "floor" and promote.floor is None:
        yield Breach(("promote", "when_unscorable"), "there is no floor", "promote.floor: the least score that will do")


def _is_version(alias: str) -> bool:
    return alias[:1] in "vV" and alias[1:].isdecimal()


# The space.


def parameters(file: File) -> dict[str, Parameter]:
    return {name: _parameter(name, form) for name, form in file.space.items()}


def space(file: File) -> Space:
    return Space(tuple(parameters(file).values()))


def _parameter(name: str, form: FloatForm | IntForm | ChoiceForm) -> Parameter:
    when = {parent: tuple(values) for parent, values in form.when.items()}
    if isinstance(form, ChoiceForm):
        return Choice(name, tuple(form.values), when)
    low, high = form.range
    if isinstance(form, IntForm):
        return Int(name, int(low), int(high), form.log, form.step, when)
    return Float(name, float(low), float(high), form.log, form.step, when)


def _space(file: File, broken: Collection[str]) -> Iterator[Breach]:
    known = parameters(file)
    for name, parameter in known.items():
        loc = ("space", name)
        if isinstance(parameter, Choice):
            yield from _choice(parameter)
        else:
            yield from _range(parameter)
        if name in file.fixed:
            yield Breach(("fixed", name), f"{name} is both fixed and in the space", "remove one of them")
        for parent, values in parameter.when.items():
            place = (*loc, "when", parent)
            if parent == name:
                yield Breach(place, f"{name} cannot depend on itself")
            elif parent not in known:
                if parent not in broken:
                    hint = did_you_mean(parent, (other for other in known if other != name))
                    yield Breach(place, f"{name} depends on {parent!r}, which is not in the space", hint)
            elif isinstance(known[parent], Float):
                hint = "a condition needs a parameter with countable values: a choice or an int"
                yield Breach(place, f"{name} depends on {parent!r}, which is a float", hint)
            else:
                for value in values:
                    if problem := known[parent].check(value):
                        yield Breach(place, f"{name} can never be active: {parent} {problem}")
    yield from _cycles(known)


def _choice(parameter: Choice) -> Iterator[Breach]:
    seen: list[Any] = []
    for i, value in enumerate(parameter.values):
        if value in seen:
            hint = "1, 1.0 and true are the same value" if isinstance(value, (bool, int, float)) else ""
            yield Breach(("space", parameter.name, "choice", i), f"{shorten(value)} is there twice", hint)
        seen.append(value)


def _range(parameter: Float | Int) -> Iterator[Breach]:
    kind = "float" if isinstance(parameter, Float) else "int"
    place = ("space", parameter.name, kind)
    low, high, step = parameter.low, parameter.high, parameter.step
    width = high - low
    if low > high:
        yield Breach(place, f"low {low!r} is above high {high!r}", f"did you mean [{high!r}, {low!r}]?")
    elif not math.isfinite(width):
        yield Breach(place, f"the range [{low!r}, {high!r}] is too wide for a float")
    elif step is not None and width and step > width:
        hint = f"allowed: at most {width!r}"
        yield Breach((*place[:2], "step"), f"step {step!r} is larger than the range", hint)
    elif isinstance(parameter, Float) and step is not None and width / step > 2**53:
        yield Breach((*place[:2], "step"), f"step {step!r} is too small for the range")
    if parameter.log:
        if low <= 0:
            yield Breach(place, f"a log scale needs low above 0, not {low!r}")
        if step not in (None, 1) or (kind == "float" and step is not None):
            yield Breach((*place[:2], "step"), "log and step exclude each other", "remove one of them")


def _cycles(known: dict[str, Parameter]) -> Iterator[Breach]:
    """Names each cycle once; a parameter that only hangs on a cycle is not reported."""
    told: set[str] = set()
    for name in known:
        ways: list[tuple[str, ...]] = [(name,)]
        seen = {name}
        while ways and name not in told:
            way = ways.pop()
            for parent in known[way[-1]].when:
                if parent == name and len(way) > 1 and name not in told:
                    told |= {*way}
                    message = f"conditions form a cycle: {' -> '.join((*way, name))}"
                    yield Breach(("space", name, "when"), message)
                elif parent in known and parent not in seen:
                    seen.add(parent)
                    ways.append((*way, parent))


# What is searched.


def _subject(file: File, broken: Collection[str]) -> Iterator[Breach]:
    if {"model", "objective"} & {*broken}:
        return
    if file.model and file.objective:
        yield Breach(("objective",), "model and objective exclude each other", "remove one of them")
    elif file.objective:
        for key in ("validation", "metrics"):
            if key in file.model_fields_set:
                hint = "a function scores itself, and logs with trial.log_metric"
                yield Breach((key,), f"{key} has no meaning for an objective", hint)
    elif not file.model:
        hint = "model: xgboost.XGBClassifier, or objective: module:function"
        yield Breach((), "there is neither a model nor an objective", hint)
    elif not file.data and "data" not in broken:
        yield Breach(("model",), "a model needs data", "data: {path: …, target: …}")


def _data(file: File) -> Iterator[Breach]:
    validation, data = file.validation, file.data
    if validation.groups is not None and validation.time is not None:
        hint = "remove one of them"
        yield Breach(("validation", "time"), "groups and time exclude each other", hint)
    if data is None:
        return
    yield from _source(data)
    for key in ("groups", "time"):
        if getattr(validation, key) == data.target:
            yield Breach(("validation", key), f"{data.target!r} is the target")
    for key in ("drop", "categorical"):
        for i, column in enumerate(getattr(data, key)):
            if column == data.target:
                yield Breach(("data", key, i), f"{column!r} is the target")
            elif key == "categorical" and column in data.drop:
                yield Breach(("data", key, i), f"{column!r} is dropped too")


def _source(data: Data) -> Iterator[Breach]:
    scheme, remote, _ = str(data.path).partition("://")
    if data.query is None and remote and scheme not in REMOTE:
        hint = f"{', '.join(f'{name}://' for name in REMOTE)}; a database needs data.query beside its address"
        yield Breach(("data", "path"), f"no table is read from {scheme}://", hint)
    if data.query is not None and (not remote or scheme in REMOTE):
        hint = "path: postgresql+psycopg://ada@db.example.org/sales"
        yield Breach(("data", "query"), "a query needs the address of a database as data.path", hint)
    for key in ("rev", "repo", "remote"):
        if remote and getattr(data, key) is not None:
            yield Breach(("data", key), f"{key} is for files under DVC or Git, not for {scheme}://", "leave it out")
    if data.remote is not None and data.rev is None and data.repo is None:
        yield Breach(("data", "remote"), "remote has no meaning without rev or repo", "rev: HEAD")


# How it is judged.


def metric(form: MetricForm) -> Metric:
    return Metric(form.name, form.direction or infer_direction(form.name) or "maximize")


def _metrics(file: File, broken: Collection[str]) -> Iterator[Breach]:
    tasks: set[Task] = {"binary", "multiclass", "regression"}
    task = file.data.task if file.data else None
    if task:
        tasks = {task}
    seen: set[str] = set()
    entries = [("metric", i, form) for i, form in enumerate(file.metric)]
    entries += [("metrics", i, form) for i, form in enumerate(file.metrics)]
    judged_by_scorer = file.model is not None and not file.objective
    for key, i, form in entries:
        loc: Loc = (key, i)
        direction = infer_direction(form.name)
        if form.name in seen:
            yield Breach(loc, f"the metric {form.name} is there twice")
        seen.add(form.name)
        if not judged_by_scorer:
            if direction is None and form.direction is None and not {"model", "objective"} & {*broken}:
                hint = f"{{name: {form.name}, direction: maximize}}, or minimize"
                yield Breach(loc, f"the metric {form.name} needs a direction", hint)
        elif direction is None:
            hint = did_you_mean(form.name, known_metrics())
            yield Breach(loc, f"the metric {form.name} is not known", hint)
        elif form.direction not in (None, direction):
            yield Breach((*loc, "direction"), f"{form.name} is to {direction}", "leave the direction out")
        elif not tasks & {*metric(form).tasks}:
            fits = ", ".join(metric(form).tasks)
            yield Breach(loc, f"the metric {form.name} is for {fits}, not for {' or '.join(sorted(tasks))}")
        else:
            tasks &= {*metric(form).tasks}


# Where it runs.


def _executor(file: File) -> Iterator[Breach]:
    engine, cluster = file.executor.engine, file.executor.cluster
    scheme, separator, rest = cluster.partition("://")
    if engine == "local":
        for key in ("cluster", "tls", "store"):
            if getattr(file.executor, key) != getattr(Execution(), key):
                yield Breach(("executor", key), f"{key} has no meaning on one machine", "engine: dask or ray")
    elif engine == "ray":
        if cluster not in ("local", "auto") and (scheme != "ray" or not re.search(r":[0-9]+/?$", rest)):
            hint = "ray://host:10001, auto or local"
            yield Breach(("executor", "cluster"), f"ray knows no cluster like {shorten(cluster)}", hint)
        if file.executor.options:
            yield Breach(("executor", "options"), "options are for a class of Dask's", "leave them out")
    elif cluster == "auto":
        yield Breach(("executor", "cluster"), "dask finds no cluster by itself", "tls://host:8786, or engine: ray")
    elif separator and scheme not in ("tls", "tcp"):
        yield Breach(("executor", "cluster"), f"dask knows no address like {shorten(cluster)}", "tls://host:8786")
    elif scheme == "tcp" and rest.rpartition(":")[0] not in LOOPBACK:
        hint = "tls://…, with certificates: executor.tls"
        yield Breach(("executor", "cluster"), f"{cluster} is not encrypted: who reaches it can run code", hint)
    gpus = file.resources.gpus
    if gpus > 1 and gpus != int(gpus):
        hint = "a part of one (0.25), or a whole number"
        yield Breach(("resources", "gpus"), f"{gpus:g} graphics processors cannot be shared out", hint)


# How it is searched.


def _search(file: File, broken: Collection[str]) -> Iterator[Breach]:
    search = file.search
    known = SAMPLERS[search.engine]
    name = search.sampler.name if search.sampler else (known[0] if known else None)
    if search.sampler and name not in known:
        hint = did_you_mean(str(name), known) if known else "this engine has one way to search: leave it out"
        yield Breach(("search", "sampler"), f"{search.engine} has no sampler {name!r}", hint)
    pruner = search.pruner.name if search.pruner else "none"
    if pruner not in PRUNERS:
        yield Breach(("search", "pruner"), f"there is no pruner {pruner!r}", did_you_mean(pruner, PRUNERS))
    if len(file.metric) > 1 and "metric" not in broken:
        if search.engine != "optuna":
            yield Breach(("search", "engine"), "several metrics need the engine optuna")
        elif name in known and name not in MULTI_OBJECTIVE:
            hint = f"one of: {', '.join(MULTI_OBJECTIVE)}"
            yield Breach(("search", "sampler"), f"the sampler {name} takes one metric only", hint)
        if pruner != "none":
            yield Breach(("search", "pruner"), "several metrics cannot be pruned", "pruner: none")
    yield from _stop(file, broken)
    yield from _enqueued(file, broken)
    if name in ("grid", "brute_force"):
        for key in ("portfolio", "enqueue", "warm_start"):
            if getattr(search, key):
                yield Breach(("search", key), f"the sampler {name} tries every point anyway", "leave it out")
        for parameter in parameters(file).values():
            if isinstance(parameter, Float) and parameter.step is None and parameter.low != parameter.high:
                hint = "give it a step, or make it a choice"
                yield Breach(("space", parameter.name), f"the sampler {name} needs a finite space", hint)


def _stop(file: File, broken: Collection[str]) -> Iterator[Breach]:
    stop = file.search.stop
    if len(file.metric) > 1 and "metric" not in broken:
        for key in ("patience", "regret", "noise"):
            if getattr(stop, key) is not None:
                yield Breach(("search", "stop", key), "several metrics have no single best trial", "leave it out")
    elif stop.noise is not None and file.objective:
        hint = "say how much is not worth the search: regret: 0.001"
        yield Breach(("search", "stop", "noise"), "a function has no folds whose spread is the noise", hint)


def _enqueued(file: File, broken: Collection[str]) -> Iterator[Breach]:
    known = parameters(file)
    for i, guess in enumerate(file.search.enqueue):
        for name, value in guess.items():
            place = ("search", "enqueue", i, name)
            if name in known:
                if problem := known[name].check(value):
                    yield Breach(place, f"{name}: {problem}")
                elif any(
                    parent in guess and guess[parent] not in values for parent, values in known[name].when.items()
                ):
                    yield Breach(place, f"{name} is not active where the guess says {_parents(known[name], guess)}")
            elif name not in broken:
                yield Breach(place, f"{name} is not in the space", did_you_mean(name, known))


def _parents(parameter: Parameter, guess: Mapping[str, Any]) -> str:
    return " and ".join(f"{parent} is {guess[parent]!r}" for parent in parameter.when if parent in guess)


def search(file: File) -> Search:
    """With the engine's own sampler and the budget filled in; of two limits the lower one holds."""
    known = SAMPLERS[file.search.engine]
    sampler = file.search.sampler or (Named(known[0]) if known else None)
    budget = file.search.budget
    trials = [n for n in (file.search.trials, budget.trials) if n is not None]
    if budget.trials is not None and file.search.trials == Search.trials:
        trials = [budget.trials]
    timeouts = [s for s in (file.search.timeout, budget.timeout) if s is not None]
    return replace(file.search, sampler=sampler, trials=min(trials), timeout=min(timeouts, default=None))


# When it is run again.


def _schedule(file: File) -> Iterator[Breach]:
    if file.schedule is None:
        return
    if problem := cron_problem(file.schedule.cron):
        hint = 'cron: "0 3 * * 1" is Monday at three, "*/30 * * * *" every half hour, or @daily'
        yield Breach(("schedule", "cron"), problem, hint)
    if wrong := zone_problem(file.schedule.timezone):
        yield Breach(("schedule", "timezone"), *wrong)
