"""A slot's work as a child process: started with its request on stdin, its outcome is the last line of its stdout.

Used by `hpo.schedule.scheduler`. The child inherits the slot's lock, a kernel lock that ends with whoever of the two
lives longer: another scheduler of this machine knows at once, and without a clock, whether somebody still works on a
slot. A child whose scheduler dies is told to stop (SIGTERM): its sweep is in its journal, and the next one goes on.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpo.errors import HeldError
from hpo.lease import Lease, holder
from hpo.schedule.slots import Slot

_PR_SET_PDEATHSIG = 1
_TAIL = 2000  # characters of a failed child's log that go into the ledger

Request = Mapping[str, Any]


class Lock(Protocol):
    def fileno(self) -> int: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Ended:
    """`outcome` is what the child answered: `outcome`, `reason` and whatever else; None if it did not."""

    code: int
    outcome: Mapping[str, Any] | None
    trouble: str = ""


class Processes:
    """Starts children in the working folder; `command` says how, given the request. Files lie under `folder`/slots."""

    def __init__(self, folder: Path, command: Callable[[Request], Sequence[str]]) -> None:
        self._folder = folder / "slots"
        self._command = command
        self.holder = f"{_kernel()}/{os.getpid()}"

    def lock(self, slot: Slot) -> Lease | None:
        """The right to work on this slot on this machine; None: somebody has it."""
        try:
            return Lease(self._file(slot, "lock"), slot.key, patience=0.0)
        except HeldError:
            return None

    def alive(self, slot: Slot) -> bool | None:
        """Whether somebody still works on the slot; None: it may be another machine, from here one cannot tell."""
        path = self._file(slot, "lock")
        if slot.holder.partition("/")[0] != _kernel() or not path.exists():
            return None
        return holder(path) is not None

    def start(self, slot: Slot, request: Request, lease: Lock) -> Child:
        return Child(self._command(request), request, lease, self._file(slot, "out"), self._file(slot, "log"))

    def clear(self, slot: Slot, keep_log: bool) -> None:
        for suffix in ("lock", "out") if keep_log else ("lock", "out", "log"):
            self._file(slot, suffix).unlink(missing_ok=True)

    def _file(self, slot: Slot, suffix: str) -> Path:
        return self._folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', slot.schedule)}-{slot.planned}.{suffix}"


class Child:
    def __init__(self, command: Sequence[str], request: Request, lease: Lock, out: Path, log: Path) -> None:
        self._out, self._log = out, log
        with out.open("wb") as answer, log.open("ab") as said:
            self._process = subprocess.Popen(
                [*command], stdin=subprocess.PIPE, stdout=answer, stderr=said, pass_fds=(lease.fileno(),),
                process_group=0,  # Ctrl-C is the scheduler's, which passes it on
                preexec_fn=_die_with(os.getpid()),
            )  # fmt: skip
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode())
            self._process.stdin.close()
        except BrokenPipeError:  # it ended already; its exit code says more
            pass

    def poll(self) -> Ended | None:
        code = self._process.poll()
        if code is None:
            return None
        code = 128 - code if code < 0 else code
        answer = _answer(self._out)
        if answer is not None:
            return Ended(code, answer)
        said = self._log.read_text(encoding="utf-8", errors="replace").strip() if self._log.exists() else ""
        return Ended(code, None, f"exit code {code}" + (f": {said[-_TAIL:].strip()}" if said else ""))

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, or make it: SIGKILL takes its workers along."""
        try:
            os.killpg(self._process.pid, number) if number == signal.SIGKILL else self._process.send_signal(number)
        except ProcessLookupError:
            pass


def _answer(out: Path) -> Mapping[str, Any] | None:
    lines = out.read_text(encoding="utf-8", errors="replace").strip().splitlines() if out.exists() else []
    try:
        answer = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "outcome" in answer else None


def _die_with(scheduler: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != scheduler:  # it was faster
            os._exit(128 + signal.SIGTERM)

    return ask


def _kernel() -> str:
    """This running kernel, whose locks can be seen from here."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
