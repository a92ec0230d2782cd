"""How workers come into the world: forked from a template that has the engine imported, or as a fresh interpreter.

Used by `hpo.executors.local`. A fork takes milliseconds where a fresh process takes a second of each core, and shares
the memory of what was imported. Where forking is not safe, the system is not Linux or the template dies, processes
start as they always did. A worker is the template's child: it dies with it, as the template dies with us, and the
template keeps its exit code until we ask, so that no process id is another's by then.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection as mp
from typing import Any

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
_PATIENCE = 1.0  # seconds that the template waits for an end before it says that there was none


class Child:
    """A worker process, with our end of its pipe; `pid` None: it is not born yet."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, self.theirs = socket.socketpair()
        self.connection = mp.Connection(ours.detach())
        self.environment = environment
        self.pid: int | None = None
        self.returncode: int | None = None
        self._by: _Template | subprocess.Popen[bytes] | None = None

    def born(self, pid: int, by: _Template | subprocess.Popen[bytes]) -> None:
        self.pid = pid
        self._by = by
        self.theirs.close()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; subprocess.TimeoutExpired: it lives. One that was never born has none to wait for."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None and self.pid is not None:
            if isinstance(self._by, subprocess.Popen):
                self.returncode = self._by.wait(timeout)
            elif self._by is not None:
                self.returncode = self._by.reap(self.pid, _PATIENCE if timeout is None else min(timeout, _PATIENCE))
            if self.returncode is None and until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return 0 if self.returncode is None else self.returncode

    def close(self) -> None:
        """Hang up: nobody listens to it any more."""
        self.connection.close()
        self.theirs.close()

    def _signal(self, number: int) -> None:
        if isinstance(self._by, subprocess.Popen):
            self._by.send_signal(number)
        elif self._by is not None and self.pid is not None and self.returncode is None and self._by.lives:
            os.kill(self.pid, number)  # even if it has ended: it is not reaped, so the number is still its own


class Births:
    """Bears children for the slots of one job.

    `imports`: modules that the objective will need, safe to import in a process that is forked later.
    """

    def __init__(
        self, threads: int, environments: Sequence[Mapping[str, str | None]] = (), imports: Sequence[str] = ()
    ) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        hidden = {name for given in environments for name, value in given.items() if value is None}
        self._variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self._variables["PYTHONPATH"] = path
        self._threads = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        self._imports = list(imports)
        self._forks = sys.platform == "linux"
        self._template: _Template | None = None

    def begin(self) -> None:
        """Let the template import what it will have to, before the first child is asked for."""
        if self._forks and self._template is None:
            # BLAS starts its threads when it is loaded; a child sets them right.
            self._template = _Template({**self._variables, **self._threads, "OPENBLAS_NUM_THREADS": "1"}, self._imports)

    @property
    def watched(self) -> list[socket.socket]:
        """What can be read when `look` has something to say."""
        return [self._template.control] if self._template and self._template.due else []

    def bear(self, environment: Mapping[str, str | None]) -> Child:
        """A child that is born now, or later as `look` will say."""
        child = Child({**{name: value for name, value in environment.items() if value is not None}, **self._threads})
        self._bear(child)
        return child

    def look(self) -> list[Child]:
        """Those that were born since the last look."""
        found: list[Child] = []
        while (template := self._template) is not None and template.due:
            reply = template.read(block=False)
            if reply is None:
                break
            if "born" in reply:
                found.append(template.due[0])
                template.bore(reply["born"])
            elif "unfit" in reply or not template.fertile:
                self._forks = False
            if "born" not in reply:  # it forks nothing, or it is dead
                self._template = None
                template.close()
                for child in template.due:
                    self._bear(child)
                found += [child for child in template.due if child.pid is not None]
        return found

    def close(self) -> None:
        """After its children: those that live on die now."""
        if self._template is not None:
            self._template.close()
            self._template = None

    def _bear(self, child: Child) -> None:
        if self._template is not None and not self._template.lives and not self._template.due:
            self._template.close()
            self._template = None
        self.begin()
        if self._template is None:
            self._spawn(child)
        else:
            self._template.ask(child)

    def _spawn(self, child: Child) -> None:
        end = child.theirs.fileno()
        code = f"from hpo.executors.worker import main; main({end}, {os.getpid()})"
        child_of = _python(code, {**self._variables, **child.environment}, end)
        child.born(child_of.pid, child_of)


class _Template:
    """The process that `hpo.executors.fork` describes, and the children that it was asked for, in their order."""

    def __init__(self, variables: Mapping[str, str], imports: Sequence[str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.due: deque[Child] = deque()
        self.fertile = False  # it has born a child
        code = f"from hpo.executors.fork import main; main({theirs.fileno()}, {os.getpid()}, {imports!r})"
        self._process = _python(code, variables, theirs.fileno())
        theirs.close()
        self._replies: deque[dict[str, Any]] = deque()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, child: Child) -> None:
        order = json.dumps({"environment": child.environment}).encode()
        self.due.append(child)
        with suppress(OSError):  # it is dead, which `read` finds
            socket.send_fds(self.control, [order], [child.theirs.fileno()])

    def bore(self, pid: int) -> None:
        self.due.popleft().born(pid, self)
        self.fertile = True

    def read(self, block: bool) -> dict[str, Any] | None:
        """What it says about the child that is due next; {} once it is dead, None while it says nothing."""
        if self._replies:
            return self._replies.popleft()
        return self._receive(block)

    def reap(self, pid: int, seconds: float) -> int | None:
        """A child's exit code. When the template is dead, so are all of them."""
        with suppress(OSError):
            self.control.send(json.dumps({"reap": pid, "seconds": seconds}).encode())
        while reply := self._receive(block=True):
            if "status" in reply:
                status: int | None = reply["status"]
                return status
            self._replies.append(reply)  # about a birth that was asked for before
        return -signal.SIGKILL

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.control.close()

    def _receive(self, block: bool) -> dict[str, Any] | None:
        try:
            said = self.control.recv(1 << 20, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        reply: dict[str, Any] = json.loads(said) if said else {}
        return reply


def _python(code: str, variables: Mapping[str, str], end: int) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C in the terminal is for the driver, which decides what becomes of the trials.
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        env=dict(variables), stdin=subprocess.DEVNULL, pass_fds=[end], process_group=0,
    )  # fmt: skip
