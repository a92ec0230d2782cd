"""A lease: the right to be the only one of its kind on a sweep, as long as the process lives.

Taken by the driver (one per sweep) and by the projection (one per sweep), asked after by `status` and by the
projection, which goes on while a driver holds its lease. A kernel lock, not a file with a time-out: it goes
with the process however that ends, and a frozen process keeps it, so nobody takes over by mistake.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from hpo.errors import HeldError


class Lease:
    """Held from construction to `release`. The file names the holder for those who are refused."""

    def __init__(self, path: Path, what: str, patience: float = 0.2) -> None:
        """Held by someone else, and still so after `patience` seconds: HeldError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _lock(self._fd, patience):
            os.close(self._fd)
            who = holder(path) or {}
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who.get("since", 0)))
            raise HeldError(f"{what} is held by process {who.get('pid', '?')} on {who.get('host', '?')} since {since}")
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()})
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, note.encode(), 0)

    def fileno(self) -> int:
        """For a child that is given it: the lease then lasts as long as either of the two lives."""
        return self._fd

    def release(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _lock(fd: int, patience: float) -> bool:
    """Try for a while: `holder` takes a shared lock for an instant, which must refuse nobody."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lease (pid, host, since), or None if nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return dict(json.loads(os.pread(fd, 4096, 0) or b"{}"))
        except ValueError:
            return {}
    else:
        return None
    finally:
        os.close(fd)
