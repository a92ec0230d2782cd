"""Executors: where trials run. `Inline` in this process, `Local` in one kept process per slot, `Cluster` on others.

`build` is called by `hpo.search` and `hpo.plan`. What the machine has is shared out once, in `hpo.executors.slots`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.attempt import Objective
from hpo.errors import InputError, Problem
from hpo.executors.port import Executor
from hpo.executors.slots import Kind, lease_gpus, share
from hpo.machine import cores
from hpo.sweep import Sweep

if TYPE_CHECKING:
    from hpo.executors.birth import Births
    from hpo.executors.cluster import Engine, Need

__all__ = ["Executor", "Kind", "begin", "build", "cores", "share"]


@contextmanager
def begin(sweep: Sweep, imports: Sequence[str], kind: Kind | None = None) -> Iterator[Births | None]:
    """What `build` may be given: the workers' imports, made on another core while the caller reads the table."""
    from hpo.executors.birth import Births

    # A cap of memory moves this process into another cgroup, which has to come before any child.
    capped = sweep.limits.memory or sweep.resources.memory
    if (kind or sweep.executor.engine) != "local" or capped or not imports:
        yield None
        return
    with closing(Births(share(sweep, kind=kind)[1], imports=imports)) as births:
        births.begin()
        yield births


def build(
    sweep: Sweep, objective: Objective, folder: Path, kind: Kind | None = None, births: Births | None = None
) -> Executor:
    """An executor whose workers are on their way up; `folder` takes the trials' logs and artifacts.

    `kind`: another one than the sweep says.
    """
    from hpo.executors.worker import Job

    kind = kind or sweep.executor.engine
    workers, threads = share(sweep, kind=kind)
    memory = sweep.limits.memory or sweep.resources.memory
    job = Job(
        objective=objective,
        metrics=sweep.metrics,
        seed=sweep.search.seed,
        threads=threads if kind != "inline" else cores(),
        folder=folder,
        two_way=sweep.pruner is not None,
        memory=memory,
        imports=getattr(objective, "imports", ()),
    )
    deadline = sweep.limits.trial_timeout
    if kind == "inline":
        from hpo.executors.inline import Inline

        return Inline(job)
    if kind == "local":
        from hpo.executors.local import Local

        given = lease_gpus(workers, sweep.resources.gpus)
        return Local(job, workers=workers, deadline=deadline, environments=given, births=births)
    from hpo.executors.cluster import Cluster, Need

    need = Need(sweep.resources.cpus or threads, sweep.resources.memory, sweep.resources.gpus)
    return Cluster(_engine(sweep, kind, need, workers, threads), job, need, deadline, sweep.search.workers)


def _engine(sweep: Sweep, kind: Kind, need: Need, workers: int, threads: int) -> Engine:
    if find_spec("ray" if kind == "ray" else "distributed") is None:
        raise InputError(Problem(f"{kind} is not installed", "executor.engine", f"pip install 'hpo[{kind}]'"))
    if kind == "ray":
        from hpo.executors.ray import Ray

        return Ray(sweep.executor, sweep.root, need, sweep.search.workers, (workers, threads))
    from hpo.executors.dask import Dask

    started_here = workers if sweep.executor.cluster == "local" else sweep.search.workers
    return Dask(sweep.executor, sweep.root, started_here, threads)
