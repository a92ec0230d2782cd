"""Hyperopt behind the searcher port: TPE, annealing and random, its documents made again from the trials.

Built by `hpo.searchers.build`, which imports it late. Hyperopt makes one suggestion at a time from a seed of the
trial's own, and the document it keeps of a trial is written from the trial's parameters, never from its own
suggestion: so a searcher that is rebuilt from the journal goes on bit for bit the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from hpo.errors import InputError, Problem, did_you_mean
from hpo.metric import Metric
from hpo.searchers.terms import Axis, axes, check_options, seed_of, standing
from hpo.space import Parameter, Space
from hpo.sweep import Named, Sweep
from hpo.trial import Report, Trial, Value


@contextmanager
def _quiet() -> Iterator[None]:
    """Hyperopt uses arrays of one element as numbers, which numpy 2.5 deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="hyperopt")
        yield


with _quiet():
    from hyperopt import anneal, rand, tpe
    from hyperopt.base import (
        JOB_STATE_DONE,
        JOB_STATE_RUNNING,
        STATUS_FAIL,
        STATUS_NEW,
        STATUS_OK,
        Domain,
        Trials,
    )
    from hyperopt.pyll import Literal, as_apply, scope

_ALGORITHMS = {
    "tpe": (partial(tpe.suggest, verbose=False), ("prior_weight", "n_startup_jobs", "n_EI_candidates", "gamma")),
    "anneal": (anneal.suggest, ("avg_best_idx", "shrink_coef")),
    "rand": (rand.suggest, ()),
}  # fmt: skip


class HyperoptSearcher:
    """A `Trials` fed by the driver. A pruned trial counts as what it had reached, else as failed."""

    def __init__(self, space: Space, metric: Metric, suggest: Callable[..., Any], seed: int) -> None:
        self._space = space
        self._metric = metric
        self._suggest = suggest
        self._seed = seed
        self._axes = {name: axis for name, axis in axes(space).items() if not axis.fixed}
        self._trials = Trials()
        self._documents: dict[int, dict[str, Any]] = {}
        with _quiet():
            self._domain = Domain(None, [0, _tree(space)])  # 0: it cannot do with nothing to choose

    def ask(self, number: int) -> Trial:
        self._trials.refresh()
        with _quiet():
            (document,) = self._suggest([number], self._domain, self._trials, seed_of(self._seed, number))
        chosen = document["misc"]["vals"]
        trial = Trial(number, self._space.sample(lambda parameter: _value(parameter, chosen)))
        self.tell(trial)
        return trial

    def tell(self, trial: Trial) -> None:
        """Values outside the space (an edited journal) teach nothing."""
        if trial.params not in self._space:
            return
        if trial.number not in self._documents:
            (document,) = self._trials.new_trial_docs([trial.number], [None], [{}], [self._misc(trial)])
            self._trials.insert_trial_docs([document])
            self._documents[trial.number] = self._trials._dynamic_trials[-1]  # it keeps a copy
        result = self._result(trial)
        state = JOB_STATE_RUNNING if result["status"] == STATUS_NEW else JOB_STATE_DONE
        self._documents[trial.number].update(state=state, result=result)

    def keep(self, number: int, report: Report) -> bool:
        return True

    def _result(self, trial: Trial) -> dict[str, Any]:
        """Hyperopt minimizes."""
        if trial.state == "running":
            return {"status": STATUS_NEW}
        value = trial.values[0] if trial.values else standing(trial, self._metric) if trial.pruned else None
        return {"status": STATUS_FAIL} if value is None else {"status": STATUS_OK, "loss": -self._metric.sign * value}

    def _misc(self, trial: Trial) -> dict[str, Any]:
        """Hyperopt's record of the values: a list of one for a parameter that is active, else an empty one."""
        params = trial.params
        values = {n: [axis.encode(params[n])] if n in params else [] for n, axis in self._axes.items()}
        numbers = {name: [trial.number] if value else [] for name, value in values.items()}
        return {"tid": trial.number, "cmd": self._domain.cmd, "workdir": None, "idxs": numbers, "vals": values}


def build(sweep: Sweep) -> HyperoptSearcher:
    """Raises InputError for an unknown algorithm or option and for more than one metric."""
    named = sweep.search.sampler or Named("tpe")
    if named.name not in _ALGORITHMS:
        hint = did_you_mean(named.name, _ALGORITHMS)
        raise InputError(Problem(f"Hyperopt has no algorithm {named.name!r}", "search.sampler", hint))
    if len(sweep.metrics) > 1:
        raise InputError(Problem("hyperopt has one metric only", "search.engine", hint="engine: optuna takes several"))
    suggest, options = _ALGORITHMS[named.name]
    check_options("search.sampler", named.name, named.options, dict.fromkeys(options, _positive))
    return HyperoptSearcher(sweep.space, sweep.metric, partial(suggest, **named.options), sweep.search.seed)


def _positive(value: Any) -> str | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return None if number else "a number above 0"


def _value(parameter: Parameter, chosen: Mapping[str, Any]) -> Value:
    axis = Axis(parameter)
    return axis.decode(axis.low if axis.fixed else chosen[parameter.name][0].item())


# The space as Hyperopt's graph. `hp.choice` is a switch over the index of one choice, with the children below its
# branches. A switch over "has the parent one of these values?" serves any kind of parent and any number of values,
# and several conditions stand one inside the other.


@dataclass(frozen=True)
class _Gate:
    """Whether a parent's draw lets a child be: 1 or 0, the branch of a switch."""

    axis: Axis
    values: tuple[Value, ...]

    def __call__(self, x: Any) -> int:
        value = self.axis.decode(x)
        return int(any(value == v for v in self.values))


@scope.define_pure  # type: ignore[untyped-decorator]
def hpo_gate(gate: _Gate, x: Any) -> int:
    return gate(x)


def _tree(space: Space) -> dict[str, Any]:
    """One expression per parameter that is not fixed: its draw, inside a switch for each of its ancestors.

    All nest their ancestors in the same order, and each once: Hyperopt collects the trials in which a draw is
    wanted, and would run in a circle if these depended on the draw itself.
    """
    draws: dict[str, Any] = {}
    wanted: dict[str, dict[str, tuple[Value, ...]]] = {}  # parameter -> ancestor -> the values that let it be
    tree: dict[str, Any] = {}
    for parameter in space.walk:
        axis, name = Axis(parameter), parameter.name
        wanted[name] = _ancestors(parameter, wanted)
        if axis.fixed:
            continue
        tree[name] = draws[name] = scope.hyperopt_param(name, _prior(axis))
        for ancestor in reversed([other.name for other in space.walk if other.name in wanted[name]]):
            gate = _Gate(Axis(space[ancestor]), wanted[name][ancestor])
            draw = draws.get(ancestor)
            opens = Literal(gate(gate.axis.low)) if draw is None else scope.hpo_gate(Literal(gate), draw)
            tree[name] = scope.switch(opens, as_apply(None), tree[name])
    return tree


def _ancestors(
    parameter: Parameter, wanted: Mapping[str, Mapping[str, tuple[Value, ...]]]
) -> dict[str, tuple[Value, ...]]:
    """What must hold for a parameter: its own conditions and those of all its parents."""
    merged: dict[str, tuple[Value, ...]] = {}
    for parent, values in parameter.when.items():
        for ancestor, allowed in [*wanted[parent].items(), (parent, tuple(values))]:
            known = merged.get(ancestor, allowed)
            merged[ancestor] = tuple(value for value in known if value in allowed)
    return merged


def _prior(axis: Axis) -> Any:
    """Whole numbers get half a unit more at both ends, else the first and the last have half a chance."""
    if axis.kind == "index":
        return scope.randint(int(axis.high) + 1)
    margin = 0.5 if axis.kind == "whole" else 0.0
    low, high = axis.low - margin, axis.high + margin
    if axis.log:
        low, high = math.log(low), math.log(high)
    if axis.kind == "real":
        return scope.loguniform(low, high) if axis.log else scope.uniform(low, high)
    return scope.qloguniform(low, high, 1.0) if axis.log else scope.quniform(low, high, 1.0)
