"""How many trials fit on this machine at a time, and what each of them gets of it.

Called by `hpo.executors`, by a cluster's rooms and by whoever shows it. Cores are shared out once, so that workers x
threads never exceeds the machine: threads beyond the free cores cost more than they give. A graphics processor is
leased to a slot for the slot's life, by the variable that CUDA obeys, so that no two trials meet on one by chance.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

from hpo.errors import InputError, Problem
from hpo.machine import cores, memory
from hpo.sweep import Sweep

Kind = Literal["inline", "local", "dask", "ray"]
VISIBLE = "CUDA_VISIBLE_DEVICES"


def share(sweep: Sweep, available: int | None = None, kind: Kind | None = None) -> tuple[int, int]:
    """(workers, threads each). A model never gets more than the machine; a function that asks for more workers
    than cores gets them, since it may be waiting for something else than this machine.

    On a cluster the threads are one unless the sweep says more, and the workers those that would fit here.
    """
    n = available or cores()
    need = sweep.resources
    threads = sweep.search.threads or need.cpus or 0
    if (kind or sweep.executor.engine) in ("dask", "ray"):
        threads = threads or 1
        return sweep.search.workers or max(1, n // threads), threads
    threads = min(threads, n)
    workers = sweep.search.workers or max(1, n // (threads or 1))
    if sweep.objective is None:
        workers = min(workers, max(1, n // (threads or 1)))
    if need.memory is not None:
        workers = min(workers, max(1, memory() // need.memory))
    if need.gpus:
        workers = min(workers, max(1, len(_leases(gpus(), need.gpus))))
    return workers, threads or max(1, n // workers)


def lease_gpus(slots: int, each: float) -> Sequence[Mapping[str, str | None]]:
    """The environment of each slot; InputError where there are too few graphics processors."""
    if not each:
        return ()
    leases = _leases(gpus(), each)
    if len(leases) < slots:
        there = f"this machine has {len(gpus())} graphics processors"
        hint = f"what CUDA may see is in {VISIBLE}, else nvidia-smi says it"
        raise InputError(
            Problem(f"{there}, and {slots} trials at a time need {slots * each:g}", "resources.gpus", hint)
        )
    return [{VISIBLE: lease} for lease in leases[:slots]]


def _leases(devices: Sequence[str], each: float) -> list[str]:
    """What CUDA may see in each slot: some devices of its own, or one that is shared."""
    if each >= 1:
        whole = int(each)
        return [",".join(devices[k : k + whole]) for k in range(0, len(devices) - whole + 1, whole)]
    return [device for device in devices for _ in range(int(1 / each))]


@cache
def gpus() -> tuple[str, ...]:
    """The graphics processors that this process may use, as CUDA names them."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return tuple(
            name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "none", "NoDevFiles")
        )
    if (tool := shutil.which("nvidia-smi")) is None:
        return ()
    asked = [tool, "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    return tuple(done.stdout.split()) if done.returncode == 0 else ()
