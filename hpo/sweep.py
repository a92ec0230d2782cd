"""A sweep: the validated YAML file, as frozen values with every default filled in.

Built by `hpo.load`, read by every part. The limits of each field stand in its type (`annotated_types`), where
both the loader and the JSON Schema find them. `meaning` is what a result depends on; its digest, `identity`,
decides whether a journal may be continued. The budget is not part of it, so that it can be raised on resume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from hpo.metric import Metric, Task
from hpo.recurrence import Recurrence
from hpo.space import Space
from hpo.trial import Value

Engine = Literal["optuna", "hyperopt", "random"]
Where = Literal["local", "dask", "ray"]
Seconds = Annotated[float, Gt(0), Le(366 * 86400)]


@dataclass(frozen=True)
class Named:
    """Something chosen by name, with options: `tpe`, or `{name: tpe, n_startup_trials: 20}`."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Where a table came from, for who asks later; what it means is its digest. `source` is as written, without
    secrets; `tags` tell this state of it from others, in words that MLflow can be searched for (`hpo.data.version`,
    …).
    """

    kind: str
    source: str
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Data:
    """A table and how to read it. In a sweep, `path` is a file on this disk, absolute, and `digest` the SHA-256 of
    its bytes; `rev`, `repo`, `remote` and `query` say where they came from.
    """

    path: Path
    target: Annotated[str, MinLen(1)]
    holdout: Annotated[float, Ge(0), Lt(1)] = 0.2
    task: Task | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    digest: str = ""
    rev: str | None = None
    repo: str | None = None
    remote: str | None = None
    query: str | None = None
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Validation:
    """How trials are scored: cross-validation, grouped by a column or in the order of a time column."""

    folds: Annotated[int, Ge(2), Le(100)] = 5
    groups: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Budget:
    """What a search may use, whichever is used up first. CPU hours are those that trials hold their threads for."""

    trials: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    timeout: Seconds | None = None
    cpu_hours: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True)
class Stop:
    """When more search is not worth it: trials without a better one, or a regret estimated to be so small.

    `regret` in the metric's unit, `noise` in standard errors of the best trial's score over its folds.
    """

    patience: Annotated[int, Ge(1)] | None = None
    regret: Annotated[float, Gt(0)] | None = None
    noise: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True)
class Search:
    """Who searches and for how long. `timeout` in seconds; `workers` None = one per free core.

    `portfolio`: how many configurations that were good on other data go first, None = the sampler decides; `enqueue`:
    the user's own, tried before them; `warm_start`: who is learned from. `pruner` None = the sweep
    decides, see `Sweep.pruner`.
    """

    engine: Engine = "optuna"
    sampler: Named | None = None
    pruner: Named | None = None
    portfolio: Annotated[int, Ge(0), Le(100)] | None = None
    enqueue: tuple[Mapping[str, Value], ...] = ()
    warm_start: str | None = None
    trials: Annotated[int, Ge(1), Le(1_000_000)] = 100
    timeout: Seconds | None = None
    budget: Budget = Budget()
    stop: Stop = Stop()
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    workers: Annotated[int, Ge(1), Le(1024)] | None = None
    threads: Annotated[int, Ge(1), Le(1024)] | None = None


@dataclass(frozen=True)
class Limits:
    """What one trial may cost: seconds, bytes; how often a lost one is tried again; when to give up."""

    trial_timeout: Seconds | None = None
    memory: Annotated[int, Ge(64 * 2**20), Le(2**50)] | None = None
    retries: Annotated[int, Ge(0), Le(10)] = 1
    failures: Annotated[int, Ge(1)] = 20
    failure_share: Annotated[float, Ge(0), Le(1)] = 0.5


@dataclass(frozen=True)
class Resources:
    """What one trial needs: cores, graphics processors or a part of one, bytes. So many trials run as fit."""

    cpus: Annotated[int, Ge(1), Le(1024)] | None = None
    gpus: Annotated[float, Ge(0), Le(64)] = 0.0
    memory: Annotated[int, Ge(64 * 2**20), Le(2**50)] | None = None


@dataclass(frozen=True)
class Tls:
    """Files with the authority that both sides trust, and our own certificate and key, all PEM."""

    ca: Annotated[str, MinLen(1)]
    cert: Annotated[str, MinLen(1)]
    key: Annotated[str, MinLen(1)]


@dataclass(frozen=True)
class Execution:
    """Where trials run. `cluster`: `local`, an address; of Dask also `ssh` or the dotted path of a class that
    makes one; of Ray also `auto`, the one that this machine belongs to.

    `options` are that class's arguments, `store` is a folder or address where workers fetch prepared data once per
    host; without one they read it where the driver wrote it.
    """

    engine: Where = "local"
    cluster: Annotated[str, MinLen(1)] = "local"
    tls: Tls | None = None
    store: Annotated[str, MinLen(1)] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """The rows with one value of a column `by`; those with fewer than `rows` are not looked at."""

    by: Annotated[str, MinLen(1)]
    tolerance: Annotated[float, Ge(0)] = 0.0
    rows: Annotated[int, Ge(10)] = 100


@dataclass(frozen=True)
class Recheck:
    """How many of the best trials are scored again after the search, and how often, on fresh folds and seeds."""

    top: Annotated[int, Ge(2), Le(50)] = 5
    rounds: Annotated[int, Ge(1), Le(10)] = 3


@dataclass(frozen=True)
class Promote:
    """The registered model's name (default: the sweep's), the alias that the best version carries, and what it takes.

    `confidence` is that of each bound by itself. `metrics`: by how much each of them may be worse; `latency` in seconds
    a row, `size` in bytes; `missing` and `unseen` are shares of the hold-out, of the worst column.
    """

    model: str | None = None
    alias: Annotated[str, MinLen(1)] = "champion"
    min_gain: Annotated[float, Ge(0)] = 0.0
    confidence: Annotated[float, Ge(0.5), Lt(1)] = 0.95
    floor: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    latency: Annotated[float, Gt(0)] | None = None
    size: Annotated[int, Ge(1)] | None = None
    missing: Annotated[float, Ge(0), Le(1)] | None = None
    unseen: Annotated[float, Ge(0), Le(1)] | None = None
    approve: Literal["auto", "manual"] = "auto"
    when_unscorable: Literal["keep", "floor"] = "keep"


@dataclass(frozen=True)
class Tracking:
    """`commands`: whoever may edit runs in MLflow may steer the search, by the tag `hpo.command` of its run."""

    commands: bool = False


@dataclass(frozen=True)
class Sweep:
    """`objective` (a dotted path or a callable) or `model` (a dotted path) with `data`; never both.

    `root` is the folder that relative paths in the file are relative to, `source` the file's text as given,
    `document` its content with the overrides applied, from which `hpo.load` makes this same value again;
    `places` says where in the file each dotted key stands ("file:line:column"). `metrics` are optimised, the
    first one decides; `extra_metrics` are only logged.
    `code_digest` is that of the project's module that is named ("" for an installed one), `allowed` are the
    packages that may be named besides (None: any).
    """

    name: str
    space: Space
    metrics: tuple[Metric, ...]
    extra_metrics: tuple[Metric, ...] = ()
    data: Data | None = None
    model: str | None = None
    objective: str | Callable[..., Any] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    validation: Validation = field(default_factory=Validation)
    search: Search = field(default_factory=Search)
    limits: Limits = field(default_factory=Limits)
    resources: Resources = field(default_factory=Resources)
    executor: Execution = field(default_factory=Execution)
    recheck: Recheck | None = field(default_factory=Recheck)
    promote: Promote | None = field(default_factory=Promote)
    schedule: Recurrence | None = None
    tracking: Tracking = field(default_factory=Tracking)
    root: Path = field(default_factory=Path.cwd)
    document: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    code_digest: str = ""
    allowed: tuple[str, ...] | None = None

    @property
    def metric(self) -> Metric:
        return self.metrics[0]

    @property
    def pruner(self) -> Named | None:
        """Who stops trials early: the chosen one, else a race over the folds where there are some to compare."""
        if self.search.pruner is None:
            return Named("race") if self.model is not None and len(self.metrics) == 1 else None
        return None if self.search.pruner.name == "none" else self.search.pruner

    @property
    def given(self) -> Mapping[str, Any] | None:
        """What the model is told besides the space; None for a function: what it sets by itself nobody knows."""
        return self.fixed if self.model is not None else None

    @property
    def registered_model(self) -> str:
        return (self.promote.model if self.promote else None) or self.name

    def meaning(self) -> dict[str, Value]:
        """Everything that a trial's result or the sequence of trials depends on, flat: dotted key -> value."""
        search = self.search
        flat: dict[str, Value] = {"name": self.name, "model": self.model, "code": self.code_digest or None}
        flat["objective"] = self.objective if isinstance(self.objective, str) else _qualified(self.objective)
        flat |= {f"metric.{m.name}": m.direction for m in self.metrics}
        flat |= {f"fixed.{key}": _text(value) for key, value in self.fixed.items()}
        flat["space"] = " ".join(self.space.names)  # in this order a searcher draws them
        for parameter in self.space.parameters:
            flat[f"space.{parameter.name}"] = _text(describe(parameter))
        if self.data is not None:
            data = self.data
            flat |= {
                "data.digest": data.digest, "data.target": data.target, "data.holdout": data.holdout,
                "data.task": data.task, "data.drop": _text(data.drop), "data.categorical": _text(data.categorical),
                "validation.folds": self.validation.folds, "validation.groups": self.validation.groups,
                "validation.time": self.validation.time,
            }  # fmt: skip
        flat |= {"search.engine": search.engine, "search.seed": search.seed}
        flat |= {"search.sampler": _named(search.sampler), "search.pruner": _named(search.pruner)}
        flat |= {"search.portfolio": search.portfolio, "search.enqueue": _text(search.enqueue)}
        return flat

    @property
    def identity(self) -> str:
        return hashlib.sha256(_text(self.meaning()).encode()).hexdigest()[:16]


def describe(parameter: Any) -> dict[str, Any]:
    """A parameter as the YAML file writes it: {"float": [low, high], "log": true}."""
    kind = type(parameter).__name__.lower()
    shape: dict[str, Any] = {kind: list(parameter.values) if kind == "choice" else [parameter.low, parameter.high]}
    if kind != "choice":
        if parameter.log:
            shape["log"] = True
        if parameter.step not in (None, 1) or (kind == "float" and parameter.step is not None):
            shape["step"] = parameter.step
    if parameter.when:
        shape["when"] = {name: list(values) for name, values in parameter.when.items()}
    return shape


def _named(named: Named | None) -> str | None:
    return None if named is None else named.name if not named.options else _text([named.name, named.options])


def _qualified(objective: Callable[..., Any] | None) -> str | None:
    return None if objective is None else f"{objective.__module__}:{objective.__qualname__}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)
