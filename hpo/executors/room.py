"""A room: the slots of one sweep on one worker of a cluster, whatever engine that worker belongs to.

Opened and called over the engine's own channel by `hpo.executors.cluster`; the functions here run on the worker.
Inside is `Local`: trials run in processes of their own beside the worker, so that a crash, a deadline or a memory cap
costs the trial and not the worker, with the same causes told apart as on one machine. A room knows neither journal nor
tracking, and hands its processes no variable that tracking reads, nor the cluster's own token.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hpo.errors import InputError, Problem
from hpo.executors.local import Asked, Local
from hpo.executors.slots import lease_gpus
from hpo.executors.worker import Broken, Job, trial_folder
from hpo.redact import redact
from hpo.trial import Trial

DESERTED = 60.0  # seconds without a word from the driver after which a room closes itself
_HIDDEN = ("MLFLOW_", "RAY_AUTH_")  # what begins like this may name a server, or hold a password or a cluster's token


@dataclass(frozen=True)
class Terms:
    """What a room is opened for: so many slots, and for each trial so many seconds and graphics processors."""

    slots: int
    deadline: float | None = None
    gpus: float = 0.0


@dataclass(frozen=True)
class Done:
    """A trial that has ended, and the files it left: its log, its artifacts, by their paths in its folder."""

    trial: Trial
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Answer:
    number: int
    attempt: int
    keep: bool


Said = Done | Asked | Broken
Order = Trial | Answer


class Room:
    """`tell` and `hear` belong to the worker's event loop; everything else happens in the room's own thread, which
    must outlive its processes: the kernel ends them with the thread that started them."""

    def __init__(self, job: Job, terms: Terms) -> None:
        self._job = job
        self._terms = terms
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self._said: list[Said] = []
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._closed = False
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="hpo room", daemon=True)
        self._thread.start()

    def tell(self, orders: Sequence[Order]) -> None:
        self._heard = time.monotonic()
        for order in orders:
            self._orders.put(order)
        self._rouse()

    async def hear(self, patience: float) -> list[Said]:
        """What has happened since the last call; after `patience` seconds, nothing."""
        self._heard = time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._something.wait(), patience)
        self._something.clear()
        said, self._said = self._said, []
        self._heard = time.monotonic()
        return said

    def close(self) -> None:
        self._closed = True
        self._rouse()
        self._thread.join()

    def _rouse(self) -> None:
        with suppress(OSError):  # the thread has ended
            self._wake.send(b"!")

    def _run(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="hpo-", ignore_cleanup_errors=True) as folder:
                self._serve(replace(self._job, folder=Path(folder)))
        except InputError as error:
            self._say(Broken(error.problems))
        except Exception:  # a bug, or a host without memory or disk: the driver must not wait for ever
            self._say(Broken((Problem(f"a room failed:\n{redact(traceback.format_exc(limit=-8))}"),)))
        finally:
            self._wake.close()
            self._woken.close()

    def _serve(self, job: Job) -> None:
        slots = self._terms.slots
        leases = lease_gpus(slots, self._terms.gpus) or [{}] * slots
        hidden: dict[str, str | None] = {name: None for name in os.environ if name.startswith(_HIDDEN)}
        with closing(Local(job, slots, self._terms.deadline, [hidden | {**lease} for lease in leases])) as local:
            while not self._closed and time.monotonic() < self._heard + DESERTED:
                for event in local.events(time.monotonic() + 1.0, wake=self._woken):
                    self._say(Done(event, _files(job.folder, event.number)) if isinstance(event, Trial) else event)
                self._obey(local)

    def _obey(self, local: Local) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096, socket.MSG_DONTWAIT)
        while not self._orders.empty():
            match self._orders.get():
                case Trial() as trial:
                    local.submit(trial)
                case Answer(number, attempt, keep):
                    local.answer(number, attempt, keep)

    def _say(self, said: Said) -> None:
        def hand_over() -> None:
            self._said.append(said)
            self._something.set()

        with suppress(RuntimeError):  # the worker's loop is closed: nobody will listen
            self._loop.call_soon_threadsafe(hand_over)


_rooms: dict[str, Room] = {}


async def enter(key: str, packed: bytes, terms: Terms) -> None:
    """Open a room on this worker. `key` is the driver's: a worker may have rooms of several sweeps."""
    _rooms[key] = Room(pickle.loads(packed), terms)


async def tell(key: str, orders: Sequence[Order]) -> None:
    _rooms[key].tell(orders)


async def hear(key: str, patience: float) -> list[Said]:
    return await _rooms[key].hear(patience)


async def leave(key: str) -> None:
    """Close a room; its running trials end now."""
    if room := _rooms.pop(key, None):
        await asyncio.to_thread(room.close)


def _files(folder: Path, number: int) -> dict[str, bytes]:
    """What the trial left in its folder; a room keeps nothing."""
    home = trial_folder(folder, number)
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[path.relative_to(home).as_posix()] = path.read_bytes()
            path.unlink()
    return found
