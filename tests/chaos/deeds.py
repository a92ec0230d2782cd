"""What the trials of the battery do to themselves, and two objectives that behave.

Used by `test_bad_trials`; a module of its own because every worker imports it, and after each of these deaths a new
one: with MLflow's import here the battery would take minutes more.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hpo.attempt import Attempt, Evaluate, Outcome
from hpo.trial import Cause

DEADLINE = 3.0
MEMORY = 700 * 2**20


def _hang() -> float:
    time.sleep(600)
    return 0.0


def _hang_deaf() -> float:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _hang()


def _raise() -> float:
    raise ValueError("no luck")


def _signal(number: int) -> Callable[[], float]:
    def act() -> float:
        os.kill(os.getpid(), number)
        return _hang()

    return act


def _bomb() -> float:
    return float(len([bytearray(2**26) for _ in range(4096)]))


def _exit() -> float:
    raise SystemExit(4)


class Deed(NamedTuple):
    do: Callable[[], Any]
    cause: Cause
    says: str


DEEDS: dict[int, Deed] = {
    1: Deed(_hang_deaf, "timeout", f"{DEADLINE:g} s"),
    2: Deed(_signal(signal.SIGSTOP), "timeout", f"{DEADLINE:g} s"),  # frozen: R20
    5: Deed(_raise, "exception", "ValueError: no luck"),
    6: Deed(_signal(signal.SIGSEGV), "signal", "SIGSEGV"),
    8: Deed(lambda: os._exit(3), "exit", "code 3"),
    9: Deed(_exit, "exit", "sys.exit(4)"),
    10: Deed(_signal(signal.SIGABRT), "signal", "SIGABRT"),
    12: Deed(_signal(signal.SIGKILL), "signal", "SIGKILL"),
    14: Deed(_hang, "timeout", f"{DEADLINE:g} s"),
    15: Deed(lambda: math.nan, "not finite", "nan"),
    16: Deed(lambda: -math.inf, "not finite", "-inf"),
    17: Deed(lambda: None, "not finite", "None"),
    18: Deed(lambda: "-7", "not finite", "'-7'"),
    19: Deed(lambda: (-7.0, -7.0), "not finite", "2 values"),
    20: Deed(lambda: np.array([[-7.0, -7.0]]), "not finite", "not a finite number"),
    22: Deed(_bomb, "memory", "out of memory"),
}
TRIALS = 30


def objective(params: dict[str, Any], trial: Attempt) -> Any:
    deed = DEEDS.get(trial.number)
    return deed.do() if deed else params["x"]


def reports(params: dict[str, Any], trial: Attempt) -> float:
    for step in range(200):
        trial.report(params["x"] + step, step)
    return float(params["x"])


class Trains:
    """XGBoost with two threads, in a worker."""

    def open(self) -> Evaluate:
        return train


def train(attempt: Attempt) -> Outcome:
    import xgboost

    rows = np.random.default_rng(attempt.number).normal(size=(200, 4))
    matrix = xgboost.DMatrix(rows, label=(rows[:, 0] > 0).astype(float))
    xgboost.train({"nthread": 2, "objective": "binary:logistic"}, matrix, 5)
    return 1.0
