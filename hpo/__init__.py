"""Hyperparameter optimization for people who answer for their models.

    import hpo

    sweep = hpo.load("xgb.yaml", ["search.trials=20"])
    result = hpo.run(sweep)
    print(result.best_params, result.model_uri)
    result.trials                       # a DataFrame, one row a trial

Everything is imported when it is first used: `import hpo` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hpo.errors import HeldError, HpoError, InputError, JournalError, NoModelError
    from hpo.loader import build, load
    from hpo.result import Result
    from hpo.search import run
    from hpo.space import Choice, Float, Int, Space
    from hpo.sweep import Sweep
    from hpo.trial import Pruned, Trial

_HOMES = {
    "build": "loader", "load": "loader", "run": "search", "Result": "result", "Sweep": "sweep",
    "Space": "space", "Float": "space", "Int": "space", "Choice": "space", "Trial": "trial", "Pruned": "trial",
    "HpoError": "errors", "InputError": "errors", "HeldError": "errors", "JournalError": "errors",
    "NoModelError": "errors",
}  # fmt: skip

__all__ = [
    "Choice", "Float", "HeldError", "HpoError", "InputError", "Int", "JournalError", "NoModelError", "Pruned",
    "Result", "Space", "Sweep", "Trial", "build", "load", "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"hpo.{_HOMES[name]}"), name)
