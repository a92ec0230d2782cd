"""A sweep file of Weights & Biases: its parameters, method and metric in our words.

Called by `hpo.import` with the file as plain data; pure. The keys and distributions are those of W&B's reference
("Sweep configuration options", 2026). What it does by running a program has no counterpart: an objective is a function
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo.errors import InputError, Problem
from hpo.foreign import Draft

_METHODS: dict[str, dict[str, Any]] = {
    "bayes": {"engine": "optuna"}, "random": {"engine": "random"},
    "grid": {"engine": "optuna", "sampler": "grid"},
}  # fmt: skip
_SIGMAS = 3.0  # to each side, of a normal distribution that has no ends
_KNOWN = {"name", "method", "metric", "parameters", "early_terminate", "run_cap", "description"}


def read(given: Mapping[str, Any]) -> Draft:
    """InputError: this is no sweep file of theirs."""
    if not isinstance(given.get("parameters"), Mapping) or "method" not in given:
        hint = "it has the keys method, metric and parameters"
        raise InputError(Problem("this is no W&B sweep file", hint=hint))
    notes: list[str] = []
    space: dict[str, dict[str, Any]] = {}
    fixed: dict[str, Any] = {}
    _parameters(given["parameters"], "", space, fixed, notes)
    search = dict(_METHODS.get(str(given["method"]), {"engine": "optuna"}))
    if given["method"] not in _METHODS:
        notes.append(f"method {given['method']!r} is not known here: optuna searches")
    if isinstance(cap := given.get("run_cap"), int):
        search["trials"] = cap
    _early(given.get("early_terminate"), search, notes)
    metric = given.get("metric") or {}
    goal = str(metric.get("goal", "minimize"))
    if "name" not in metric:
        notes.append("no metric is named: write what your objective returns")
    notes += [f"{key}: {given[key]!r} is not carried over" for key in given if key not in _KNOWN]
    name = str(given.get("name") or given.get("description") or "wandb-sweep")
    return Draft(name, space, ((str(metric.get("name", "loss")), goal),), fixed, search, notes=tuple(notes))


def _early(given: Any, search: dict[str, Any], notes: list[str]) -> None:
    if not given:
        return
    options = [f"{key}: {value}" for key, value in given.items() if key != "type"]
    notes.append(f"early_terminate became pruner: hyperband, without {', '.join(options) or 'options'}; "
                 "your function reports with trial.report(value, step)")  # fmt: skip
    search["pruner"] = "hyperband"


def _parameters(
    given: Mapping[str, Any], prefix: str, space: dict[str, dict[str, Any]], fixed: dict[str, Any], notes: list[str]
) -> None:
    for short, shape in given.items():
        name = f"{prefix}{short}"
        if not isinstance(shape, Mapping):
            notes.append(f"{name}: {shape!r} is no parameter")
        elif "parameters" in shape:
            notes.append(f"{name} holds parameters, which are called {name}__… here")
            _parameters(shape["parameters"], f"{name}__", space, fixed, notes)
        elif "value" in shape:
            _fix(name, shape["value"], fixed, notes)
        elif "values" in shape:
            if "probabilities" in shape:
                notes.append(f"{name}: probabilities are left out, all values are as likely")
            _choose(name, shape["values"], space, fixed, notes)
        elif (found := _range(name, shape, notes)) is not None:
            space[name] = found


def _choose(
    name: str, values: Any, space: dict[str, dict[str, Any]], fixed: dict[str, Any], notes: list[str]
) -> None:  # fmt: skip
    plain = [v for v in values if v is None or isinstance(v, (bool, int, float, str))] if _lists(values) else []
    if len(plain) < (len(values) if _lists(values) else 1):
        notes.append(f"{name}: values that are no plain number or text are left out")
    if len(plain) == 1:
        fixed[name] = plain[0]
    elif plain:
        space[name] = {"choice": plain}


def _fix(name: str, value: Any, fixed: dict[str, Any], notes: list[str]) -> None:
    if value is None or isinstance(value, (bool, int, float, str)):
        fixed[name] = value
    else:
        notes.append(f"{name}: the value {value!r} is not carried over")


def _range(name: str, shape: Mapping[str, Any], notes: list[str]) -> dict[str, Any] | None:
    kind = str(shape.get("distribution") or "")
    if "normal" in kind:
        mean, spread = float(shape.get("mu", 0.0)), float(shape.get("sigma", 1.0))
        ends = [mean - _SIGMAS * spread, mean + _SIGMAS * spread]
        log = "log_normal" in kind
        notes.append(f"{name}: {kind} has no ends; searched evenly within {_SIGMAS:g} sigma")
        return {"float": [math.exp(e) for e in ends] if log else ends, **({"log": True} if log else {})}
    low, high = shape.get("min"), shape.get("max")
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        notes.append(f"{name}: {dict(shape)!r} is not understood, and left out")
        return None
    log = "log_uniform" in kind
    if log and not kind.endswith("_values"):
        low, high = math.exp(low), math.exp(high)
    whole = kind == "int_uniform" or (not kind and isinstance(low, int) and isinstance(high, int))
    whole = whole or (kind.startswith("q_") and float(shape.get("q", 1)).is_integer() and float(low).is_integer())
    if kind.startswith("inv_"):
        notes.append(f"{name}: {kind} became a log scale, on which small and great values are as likely")
    found: dict[str, Any] = {"int": [int(low), int(high)]} if whole else {"float": [float(low), float(high)]}
    if log:
        found["log"] = True
    step = shape.get("q", 1) if kind.startswith("q_") else None
    if step is not None and log:
        notes.append(f"{name}: on a log scale there are no steps of {step:g}")
    elif step is not None and step != (1 if whole else 0):
        found["step"] = int(step) if whole else float(step)
    return found


def _lists(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
