"""Optuna behind the searcher port: every sampler by name, over a study in memory, by ask and tell alone.

Built by `hpo.searchers.build`, which imports it late. The sampler is made anew for each ask, from a seed of
its own, and the study holds what the journal holds, so a replayed study asks the same. CMA-ES, NSGA-II and QMC
keep notes in the study; those are never stored (CMA-ES pickles them) but made again by asking again.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import WARNING, getLogger
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from hpo import samplers
from hpo.errors import InputError, Problem, did_you_mean
from hpo.metric import Metric
from hpo.samplers import experience
from hpo.samplers.bounded import BoundedTPE
from hpo.samplers.cost import SECONDS
from hpo.samplers.history import NOISE
from hpo.samplers.trust import TRUST
from hpo.searchers.port import SpaceExhausted
from hpo.searchers.terms import Axis, axes, check_options, seed_of, standing
from hpo.space import Parameter, Space
from hpo.sweep import Named, Sweep
from hpo.trial import Params, Report, Trial, Value

LARGEST_GRID = 1_000_000  # Optuna keeps every point of a grid in memory


@dataclass(frozen=True)
class _Kind:
    """A sampler: `notes` where it keeps state in the study, `exhaustive` where it tries each point once, `shuns` where
    it learns nothing from a failure but something from a trial that was pruned before its first value."""

    sampler: str
    notes: bool = False
    exhaustive: bool = False
    shuns: bool = False


_KINDS = {
    "tpe": _Kind("TPESampler", shuns=True),
    "random": _Kind("RandomSampler"),
    "gp": _Kind("GPSampler"),
    "cmaes": _Kind("CmaEsSampler", notes=True),
    "qmc": _Kind("QMCSampler", notes=True),
    "nsgaii": _Kind("NSGAIISampler", notes=True),
    "grid": _Kind("GridSampler", exhaustive=True),
    "brute_force": _Kind("BruteForceSampler", exhaustive=True),
}
_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None)}
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class OptunaSearcher:
    """A study fed by the driver. `sampler(number)` makes the sampler for one ask; `size` bounds the asks."""

    def __init__(
        self, space: Space, metrics: tuple[Metric, ...], sampler: Callable[[int], BaseSampler], kind: _Kind
    ) -> None:
        self._space = space
        self._metrics = metrics
        self._sampler = sampler
        self._kind = kind
        self._size = space.count() if kind.exhaustive else float("inf")
        self._axes = axes(space)
        self._distributions = {name: distribution(axis) for name, axis in self._axes.items()}
        self._storage = optuna.storages.InMemoryStorage()
        with _quiet():
            self._study = optuna.create_study(
                storage=self._storage, directions=[metric.direction for metric in metrics], sampler=sampler(0)
            )
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._ids: dict[int, int] = {}  # our number -> Optuna's id
        self._outside: set[int] = set()  # asked again, but with values that the space does not have
        self._replayed: dict[int, Trial] = {}  # told, not asked here, to be asked again
        self._told: list[int] = []  # finished since the last ask

    def ask(self, number: int) -> Trial:
        self._ask_again()
        if number >= self._size:
            raise SpaceExhausted
        told, self._told = sorted(self._told), []
        # A serial sweep needs no note: before trial n, trial n - 1 was told.
        memo = {"told": told} if self._kind.notes and told != _serial(number) else {}
        return Trial(number, self._suggest(number), memo=memo)

    def tell(self, trial: Trial) -> None:
        """A trial told twice as finished keeps its first result: Optuna's finished trials are final.

        Values outside the space (an edited journal) teach nothing.
        """
        if trial.number in self._ids:
            self._finish(trial)
        elif self._kind.notes:
            self._replayed[trial.number] = trial
        elif trial.params in self._space:
            self._add(trial)
            self._finish(trial)

    def keep(self, number: int, report: Report) -> bool:
        return True

    def _suggest(self, number: int, given: Params | None = None) -> dict[str, Value]:
        """Ask the sampler; with `given` parameters it does all it would do, and then these are taken."""
        if given is not None:
            self._study.enqueue_trial(self._encode(given))
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        id = self._ids[number] = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        _ = trial.relative_params  # else made at the first parameter that is not given: too late for a replay

        def suggest(parameter: Parameter) -> Value:
            name = parameter.name
            axis = self._axes[name]
            if axis.fixed:
                return axis.decode(axis.low)
            x = _suggest(trial, axis)
            value = axis.decode(x)
            if (exact := axis.encode(value)) != x:  # exp(log(high)) can be beyond high
                self._storage.set_trial_param(id, name, exact, self._distributions[name])
            return value

        return self._space.sample(suggest)

    def _ask_again(self) -> None:
        """Let the sampler make its notes again: the asks in their order, each after the tells it had seen."""
        trials, self._replayed = dict(sorted(self._replayed.items())), {}
        for number, trial in trials.items():
            for before in trial.memo.get("told", _serial(number)):
                if before in trials:
                    self._finish(trials[before])
            inside = trial.params in self._space
            self._suggest(number, trial.params if inside else None)
            if not inside:
                self._outside.add(number)
            self._told = []
        for trial in trials.values():
            self._finish(trial)

    def _add(self, trial: Trial) -> None:
        """A trial that was asked by an earlier searcher."""
        params = self._encode(trial.params)
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions={name: self._distributions[name] for name in params},
            )
        )
        self._ids[trial.number] = self._newest()

    def _finish(self, trial: Trial) -> None:
        """Written to the storage directly: `study.tell` lets an exhausted grid stop a loop that is ours."""
        id = self._ids[trial.number]
        if trial.state == "running" or self._storage.get_trial(id).state.is_finished():
            return
        state, values = _STATES[trial.state], trial.values
        if trial.number in self._outside or (trial.pruned and len(self._metrics) > 1):
            self._outside.discard(trial.number)
            state, values = TrialState.FAIL, None
        elif self._kind.shuns and len(self._metrics) == 1 and trial.failure and not trial.failure.transient:
            state = TrialState.PRUNED  # without a value: worse than every other, so that it goes elsewhere
        elif trial.pruned and (reached := standing(trial, self._metrics[0])) is not None:
            step = max((report.step for report in trial.reports if report.fold is None), default=0)
            self._storage.set_trial_intermediate_value(id, step, reached)
            values = (reached,)
        # Of a failed one nothing is known; left out, it would be the time that passed in this process.
        self._storage.set_trial_system_attr(id, SECONDS, 0.0 if trial.state == "failed" else trial.seconds)
        if (trust := trial.memo.get("trust")) is not None:
            self._storage.set_trial_system_attr(id, TRUST, trust)
        if (noise := trial.memo.get("noise")) is not None:
            self._storage.set_trial_system_attr(id, NOISE, noise)
        self._storage.set_trial_state_values(id, state, values)
        self._told.append(trial.number)

    def _newest(self) -> int:
        count = self._storage.get_n_trials(self._study_id)
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, count - 1)

    def _encode(self, params: Params) -> dict[str, float]:
        """Parents first, as they were asked: brute force grows its tree in this order."""
        asked = [axis for name, axis in self._axes.items() if name in params and not axis.fixed]
        return {axis.name: axis.encode(params[axis.name]) for axis in asked}


def build(sweep: Sweep, experienced: bool = False) -> OptunaSearcher:
    """`experienced`: a Gaussian process begins with what is known of the library's parameters, if anything is.

    Raises InputError for an unknown sampler or option, and for a space that the sampler cannot search."""
    named = sweep.search.sampler or Named("tpe")
    if named.name not in _KINDS:
        hint = did_you_mean(named.name, _KINDS)
        raise InputError(Problem(f"Optuna has no sampler {named.name!r}", "search.sampler", hint))
    kind = _KINDS[named.name]
    _check_sampler(named, sweep)
    make: Callable[..., BaseSampler] = getattr(samplers if named.name == "gp" else optuna.samplers, kind.sampler)
    if named.name == "tpe":
        make = BoundedTPE
    takes = inspect.signature(make).parameters
    check_options(
        "search.sampler",
        named.name,
        named.options,
        {name: check for name, parameter in takes.items() if (check := _check_of(name, parameter.annotation))},
    )
    settings = dict(named.options)
    if named.name in ("cmaes", "qmc"):
        settings["warn_independent_sampling"] = False  # a condition is no reason for a line per trial
    seed = sweep.search.seed
    if named.name == "grid":
        points = {name: list(range(int(a.low), int(a.high) + 1)) for name, a in axes(sweep.space).items()}
        grid = make(points, seed=seed)
        return OptunaSearcher(sweep.space, sweep.metrics, lambda number: grid, kind)

    def sampler(number: int) -> BaseSampler:
        own = seed_of(seed, number)
        with warnings.catch_warnings():
            # Half of Optuna's samplers and options are marked experimental; the user has chosen them by name.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if named.name == "qmc":  # one sequence for the whole sweep
                return make(seed=seed, independent_sampler=optuna.samplers.RandomSampler(own), **settings)
            return make(seed=own, **settings)

    try:
        first = sampler(0)
    except (ValueError, TypeError) as error:
        raise InputError(Problem(f"{named.name}: {error}", "search.sampler")) from error
    if named.name == "gp":  # it draws by the trial's number itself, and keeps a cache
        known = experience.of(sweep.space, sweep.metric.name, sweep.model, sweep.given) if experienced else None
        gp = samplers.GPSampler(seed, experience=known, **settings)
        return OptunaSearcher(sweep.space, sweep.metrics, lambda number: gp, kind)
    if isinstance(first, optuna.samplers.TPESampler):
        return OptunaSearcher(sweep.space, sweep.metrics, _reseeding(first, seed), kind)
    return OptunaSearcher(sweep.space, sweep.metrics, sampler, kind)


def _reseeding(tpe: optuna.samplers.TPESampler, seed: int) -> Callable[[int], BaseSampler]:
    """One TPE for all asks, seeded as a new one would be: a new one goes through all trials to learn their joint
    space, a quarter of an ask at trial 300."""

    def sampler(number: int) -> BaseSampler:
        own = seed_of(seed, number)
        tpe._rng.rng.seed(own)
        tpe._random_sampler._rng.rng.seed(own)
        return tpe

    return sampler


def _check_sampler(named: Named, sweep: Sweep) -> None:
    name, space = named.name, sweep.space
    if name in ("cmaes", "gp") and len(sweep.metrics) > 1:
        raise InputError(Problem(f"{name} has one metric only", "search.sampler", "use nsgaii or tpe"))
    if not _KINDS[name].exhaustive:
        return
    problems = [
        Problem(f"space.{axis.name}: {name} needs a finite number of values", hint="give it a step")
        for axis in axes(space).values()
        if axis.kind == "real" and not axis.fixed
    ]
    if name == "grid" and space.conditional:
        hint = "brute_force tries each of its points once"
        problems.append(Problem("grid repeats points where parameters have conditions", "search.sampler", hint))
    if name == "grid" and not problems and (size := space.count()) > LARGEST_GRID:
        problems.append(Problem(f"a grid of {size:,.0f} points does not fit", "search.sampler", "use brute_force"))
    if problems:
        raise InputError(*problems)


def distribution(axis: Axis) -> BaseDistribution:
    if axis.kind == "real":
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    if axis.kind == "whole":
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return CategoricalDistribution(range(int(axis.high) + 1))


def _suggest(trial: optuna.Trial, axis: Axis) -> float:
    name = axis.name
    if axis.kind == "real":
        return trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    if axis.kind == "whole":
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_categorical(name, range(int(axis.high) + 1))


def _check_of(name: str, annotation: str) -> Callable[[Any], str | None] | None:
    """The check of a sampler's option, from its annotation; None where a file cannot say such a value."""
    kinds = [part.strip() for part in str(annotation).split("|")]
    if name in ("self", "seed") or name.startswith("warn_") or any(kind not in _TYPES for kind in kinds):
        return None

    def check(value: Any) -> str | None:
        for kind in kinds:
            if isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool)):
                return None
        return " or ".join("null" if kind == "None" else kind for kind in kinds)

    return check


def _serial(number: int) -> list[int]:
    return [number - 1] if number else []


@contextmanager
def _quiet() -> Iterator[None]:
    """Without "A new study created in memory": the study is nothing that a user could ever see."""
    logger = getLogger("optuna.storages._in_memory")
    level = logger.level
    logger.setLevel(WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
