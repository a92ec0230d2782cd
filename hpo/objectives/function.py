"""The user's own function: called with the parameters and the attempt, its result passed on.

Built by `hpo.objectives.build`, opened in a worker; named in a file as `module:function`, or given as a callable
from Python. The function's module is imported in the worker only, so the driver survives whatever it does.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from hpo.attempt import Attempt, Evaluate, Outcome
from hpo.errors import InputError, Problem
from hpo.objectives.dotted import find
from hpo.sweep import Sweep


@dataclass(frozen=True)
class FunctionObjective:
    """`path` names the function, or `payload` is it, by value where it cannot be imported (`__main__`, a closure)."""

    path: str
    payload: bytes
    fixed: Mapping[str, Any]
    root: Path

    @classmethod
    def of(cls, sweep: Sweep) -> FunctionObjective:
        if isinstance(sweep.objective, str):
            return cls(sweep.objective, b"", dict(sweep.fixed), sweep.root)
        return cls("", cloudpickle.dumps(sweep.objective), dict(sweep.fixed), sweep.root)

    def open(self) -> Evaluate:
        function: Callable[..., Outcome]
        function = cloudpickle.loads(self.payload) if self.payload else find(self.path, self.root, "objective")

        def evaluate(attempt: Attempt) -> Outcome:
            return function({**self.fixed, **attempt.params}, attempt)

        return evaluate


def check_function(sweep: Sweep) -> None:
    """The module can be found; it is not imported here."""
    path = sweep.objective
    if not isinstance(path, str):
        return
    module, separator, name = path.partition(":")
    if not (separator and module and name):
        raise InputError(Problem(f"{path!r} is no function", "objective", "write it as module:function"))
    top = module.split(".")[0]
    places = [str(sweep.root), str(sweep.root / "search_spaces"), *sys.path]
    if top not in sys.builtin_module_names and importlib.machinery.PathFinder.find_spec(top, places) is None:
        raise InputError(Problem(f"there is no module {top!r}", "objective", f"put {top}.py beside the sweep's file"))
