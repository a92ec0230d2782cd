"""Executors: where trials run. `Inline` in this process, `Local` in one kept process per slot, `Cluster` on others.

`build` is called by `hpo.search` and `hpo.plan`. Cores are shared out here, once, so that workers x threads never
exceeds the machine: threads beyond the free cores cost more than they give.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpo.attempt import Objective
from hpo.errors import InputError, Problem
from hpo.executors.port import Executor
from hpo.sweep import Sweep

if TYPE_CHECKING:
    from hpo.executors.cluster import Engine

Kind = Literal["inline", "local", "dask", "ray"]

__all__ = ["Executor", "Kind", "build", "cores", "share"]


def build(sweep: Sweep, objective: Objective, folder: Path, kind: Kind | None = None) -> Executor:
    """An executor whose workers are on their way up; `folder` takes the trials' logs and artifacts.

    `kind`: another one than the sweep says.
    """
    from hpo.executors.worker import Job

    kind = kind or sweep.executor.engine
    workers, threads = share(sweep)
    if kind in ("dask", "ray"):
        threads = sweep.search.threads or 1
    job = Job(
        objective=objective,
        metrics=sweep.metrics,
        seed=sweep.search.seed,
        threads=threads if kind != "inline" else cores(),
        folder=folder,
        two_way=sweep.pruner is not None,
        memory=sweep.limits.memory,
    )
    deadline = sweep.limits.trial_timeout
    if kind == "inline":
        from hpo.executors.inline import Inline

        return Inline(job)
    if kind == "local":
        from hpo.executors.local import Local

        return Local(job, workers=workers, deadline=deadline)
    from hpo.executors.cluster import Cluster, Need

    return Cluster(_engine(sweep, kind, threads), job, Need(threads), deadline, sweep.search.workers)


def _engine(sweep: Sweep, kind: Kind, threads: int) -> Engine:
    try:
        from hpo.executors.dask import Dask
    except ImportError as error:
        hint = f"pip install 'hpo[{kind}]'"
        raise InputError(Problem(f"{kind} is not installed: {error}", "executor.engine", hint)) from error
    workers = sweep.search.workers
    if workers is None and sweep.executor.cluster == "local":
        workers = max(1, cores() // threads)
    return Dask(sweep.executor, sweep.root, workers, threads)


def share(sweep: Sweep, available: int | None = None) -> tuple[int, int]:
    """(workers, threads each). A model never gets more than the machine; a function that asks for more workers
    than cores gets them, since it may be waiting for something else than this machine."""
    n = available or cores()
    threads = min(sweep.search.threads or 0, n)
    workers = sweep.search.workers or max(1, n // (threads or 1))
    if sweep.objective is None:
        workers = min(workers, max(1, n // (threads or 1)))
    return workers, threads or max(1, n // workers)


def cores() -> int:
    """The cores this process may use: its affinity, and the CPU quota of its container."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # not Linux, or cgroup v1: the affinity is all we know
        return n
    return n if quota == "max" else max(1, min(n, int(quota) // int(period)))
