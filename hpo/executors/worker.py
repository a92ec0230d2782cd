"""The process that runs trials, one after the other, until its driver goes away.

Begun by `hpo.executors.birth`, which has `main` called in a process of its own, one per slot, and kept warm: the engine
is imported and the data mapped once. It knows neither journal nor tracking; it turns trials into trials.
A process and a socket rather than multiprocessing: nothing of the driver is inherited or run again, and one worker's
death is one worker's death.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import cloudpickle

from hpo.attempt import Attempt, Objective, run_attempt
from hpo.errors import InputError, Problem
from hpo.executors.logs import begin_log, keep_log
from hpo.metric import Metric
from hpo.redact import redact
from hpo.trial import Failure, Report, Trial
from hpo.usage import Usage


@dataclass(frozen=True)
class Job:
    """What every trial of a sweep has in common. `memory` caps the worker, in bytes.

    `imports`: modules that the objective will need, safe to import in a process that is forked later.
    """

    objective: Objective
    metrics: Sequence[Metric]
    seed: int
    threads: int
    folder: Path
    two_way: bool = False
    memory: int | None = None
    imports: Sequence[str] = ()


@dataclass(frozen=True)
class Ready:
    """The objective is open; the first trial's deadline starts here."""


@dataclass(frozen=True)
class Broken:
    """The objective could not be opened: no trial can run anywhere. `problems` if the input is to blame."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Lost:
    """The process stopped being a worker; `failure` says how."""

    failure: Failure


Message = Ready | Broken | Lost | Report | Trial


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial's artifacts and log lie; made when the first file is."""
    return folder / "trials" / f"{number:04d}"


def serve(connection: Connection, job: Job, log: Path) -> None:
    """Answer trials until the driver hangs up."""
    if job.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    try:
        evaluate = job.objective.open()
    except InputError as error:
        connection.send(Broken(error.problems))
        return
    except Exception:
        what = f"the objective cannot be opened in a worker:\n{redact(traceback.format_exc(limit=-8)).rstrip()}"
        connection.send(Broken((Problem(what),)))
        return
    connection.send(Ready())

    def ask(report: Report) -> bool:
        connection.send(report)
        return bool(connection.recv())

    while True:
        trial: Trial = connection.recv()
        folder = trial_folder(job.folder, trial.number)
        attempt = Attempt(trial, seed=job.seed, threads=job.threads, keep=ask if job.two_way else None, folder=folder)
        begin_log(log, trial.number)
        usage = Usage()
        done = run_attempt(evaluate, replace(trial, started=None), attempt, job.metrics)
        done = replace(done, metrics={**done.metrics, **usage.read()})
        sys.stdout.flush()
        sys.stderr.flush()
        keep_log(log, folder)
        connection.send(done)


def main(fd: int, parent: int) -> None:
    die_with(parent)
    connection = Connection(fd)
    try:
        log: Path = connection.recv()
        with log.open("ab", buffering=0) as file:  # append: `hpo.executors.logs` may truncate it under us
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        serve(connection, pickle.loads(connection.recv_bytes()), log)
    except (EOFError, ConnectionError):
        pass  # the driver hung up


def pack(job: Job) -> bytes:
    """By value where the worker could not import it: a function from a notebook or a script."""
    packed: bytes = cloudpickle.dumps(job)
    return packed


def die_with(parent: int) -> None:
    """SIGKILL for this process when its driver dies, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
