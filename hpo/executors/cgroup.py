"""A control group for each worker with a memory cap, where the system lets us make some (cgroup v2, delegated).

Called by `hpo.executors.local`. The cap that a worker sets itself (RLIMIT_DATA) holds for each process alone; a group's
holds for a trial with all its children, and the kernel then kills them together. It is there in a service or scope with
`Delegate=yes` (`systemd-run --user --scope -p Delegate=yes hpo search …`) and in containers that may write
/sys/fs/cgroup; everywhere else the worker's own cap has to do, and nothing is said.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_DRIVER = "hpo-driver-"


class Group:
    """One worker and its descendants."""

    def __init__(self, home: Path, pid: int, memory: int) -> None:
        """OSError: the kernel does not want it."""
        self._path = Path(tempfile.mkdtemp(prefix="hpo-trials-", dir=home))
        try:
            (self._path / "memory.max").write_text(str(memory))
            with suppress(OSError):  # a kernel without swap has no such file
                (self._path / "memory.swap.max").write_text("0")
            (self._path / "memory.oom.group").write_text("1")
            (self._path / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.close()
            raise

    @property
    def kills(self) -> int:
        """How many processes the kernel's memory killer has taken."""
        try:
            return _oom_kills(self._path)
        except OSError:
            return 0

    def close(self) -> None:
        """Its processes are dead, or die now; an empty group can be removed."""
        for _ in range(50):
            try:
                if (kill := self._path / "cgroup.kill").exists():  # not before Linux 5.14
                    kill.write_text("1")
                self._path.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:  # the kernel takes a moment to clear away the dead
                time.sleep(0.01)


def cap(pid: int, memory: int | None) -> Group | None:
    """A group of its own for a worker that has just begun, and for whatever it starts; None where there can be none."""
    if memory is None or (home := own_home()) is None:
        return None
    try:
        return Group(home, pid, memory)
    except OSError:
        return None


def oom_kills() -> int:
    """How often the kernel's memory killer struck in the group that this process is in; 0 without cgroup v2."""
    try:
        return _oom_kills(_own())
    except OSError:
        return 0


@cache
def own_home() -> Path | None:
    """Asked once a process, since the answer moves it."""
    try:
        return home(_own())
    except OSError:
        return None


def home(own: Path) -> Path | None:
    """Where groups with a memory cap can be made, given the group that this process is in.

    A group that has processes of its own cannot hand out memory to groups below it, so this process and its children
    move into one of those; where others live beside us, everything stays as it is.
    """
    if own.name.startswith(_DRIVER):
        return own.parent
    if "memory" not in (own / "cgroup.controllers").read_text().split():
        return None
    if "memory" in (own / "cgroup.subtree_control").read_text().split():
        return own
    import psutil  # not needed by a sweep without a cap, nor by a worker

    living = set((own / "cgroup.procs").read_text().split())
    ours = {str(process.pid) for process in [psutil.Process(), *psutil.Process().children(recursive=True)]}
    if not living <= ours or not os.access(own / "cgroup.subtree_control", os.W_OK):
        return None
    leaf = Path(tempfile.mkdtemp(prefix=_DRIVER, dir=own))
    for pid in living:
        (leaf / "cgroup.procs").write_text(pid)
    (own / "cgroup.subtree_control").write_text("+memory")
    return own


def _own() -> Path:
    return ROOT / Path("/proc/self/cgroup").read_text(encoding="ascii").strip().rpartition("::")[2].lstrip("/")


def _oom_kills(group: Path) -> int:
    events = (group / "memory.events").read_text(encoding="ascii")
    return int(dict(line.split() for line in events.splitlines()).get("oom_kill", 0))
