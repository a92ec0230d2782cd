"""The template: a process that has imported what workers need, and forks one whenever it is asked to.

Started and asked by `hpo.executors.birth`. Importing an engine takes seconds of processor time and a hundred megabytes:
here it is done once, and all workers share the pages. It opens no objective, trains nothing and runs no code of the
user's. Forking a process in which OpenMP has started its threads makes children that hang, so one that has any thread
besides this one says so and forks nothing. A child leaves the loop and becomes a worker as a fresh interpreter would.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from hpo.executors import worker

_HARMLESS = "jemalloc_bg_thd"  # Arrow's allocator: it stops its thread before a fork and starts it after
_POLL = 0.005  # seconds between two looks at a process that is to end


def main(fd: int, parent: int, imports: Sequence[str]) -> None:
    worker.die_with(parent)
    for name in imports:
        with suppress(Exception):  # whoever opens the objective meets it again, and says it in words
            import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would write to every page that it shares
    if (born := _serve(socket.socket(fileno=fd))) is not None:
        worker.main(*born)


def _serve(control: socket.socket) -> tuple[int, int] | None:
    """Obey until the driver hangs up: then None. In each child it returns as well: the worker's end, and our id."""
    own = os.getpid()
    while True:
        said, ends, _, _ = socket.recv_fds(control, 1 << 20, 1)
        if not said:
            return None
        order = json.loads(said)
        if "reap" in order:
            control.send(json.dumps({"status": _reap(order["reap"], order["seconds"])}).encode())
            continue
        [end] = ends
        others = _threads()
        pid = -1 if others else _fork()
        if pid == 0:
            control.close()
            os.set_inheritable(end, False)
            _begin(order["environment"])
            return end, own
        os.close(end)
        control.send(json.dumps({"unfit": others} if others else {"born": pid}).encode())


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: any second thread, the harmless one too
        return os.fork()


def _begin(environment: Mapping[str, str]) -> None:
    """What a fresh interpreter would have had from its beginning."""
    os.setpgid(0, 0)  # Ctrl-C in the terminal is for the driver, which decides what becomes of the trials
    os.environ.update(environment)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()  # else all workers would draw the same; Python's own `random` sees to itself
    if "sklearn" in sys.modules and (threads := int(environment.get("OPENBLAS_NUM_THREADS", 1))) > 1:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")  # it read the variable when it was loaded


def _threads() -> list[str]:
    """The names of the threads besides this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has just ended
            found.append((int(task.name), (task / "comm").read_text().strip()))
    return [name for number, name in found if number != os.getpid() and name != _HARMLESS]


def _reap(pid: int, seconds: float) -> int | None:
    """The exit code of a child as `subprocess` gives it; None while it lives."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(_POLL)
