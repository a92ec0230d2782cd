"""The executor for many machines: rooms on a cluster's workers, opened and called through an engine.

Built by `hpo.executors.build` with an engine (Dask), driven by the loop. An engine only says who is there and carries
calls; all that concerns trials is here and in `hpo.executors.room`, so that any engine keeps the same promises. A
worker that goes away costs its running trials one attempt; one that joins gets a room. The engine lives in a thread
with an event loop of its own, and all state of trials in the thread that calls `wait`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from hpo.errors import ClusterError, InputError, Problem
from hpo.executors import room
from hpo.executors.local import Asked
from hpo.executors.port import KeepTrial
from hpo.executors.worker import Broken, Job, pack, trial_folder
from hpo.redact import redact
from hpo.trial import Failure, Trial

WATCH = 1.0  # seconds between two looks at who is there
PATIENCE = 5.0  # seconds that a call waits in a room for something to happen
FAREWELL = 10.0  # seconds for rooms and engine to close


@dataclass(frozen=True)
class Capacity:
    """What a worker has; None: the engine does not know."""

    cpus: int
    memory: int | None = None
    gpus: float | None = None


@dataclass(frozen=True)
class Need:
    """What one trial needs of a worker."""

    cpus: int = 1
    memory: int | None = None
    gpus: float = 0.0

    def slots(self, there: Capacity) -> int:
        found = there.cpus // self.cpus
        if self.memory and there.memory is not None:
            found = min(found, there.memory // self.memory)
        if self.gpus and there.gpus is not None:
            found = min(found, self._shares(there.gpus))
        return found

    def _shares(self, gpus: float) -> int:
        """How many trials get what they need of so many processors; no trial gets parts of two."""
        if self.gpus >= 1:
            return int(gpus // self.gpus)
        whole, part = divmod(gpus, 1.0)
        return int(whole) * int(1 / self.gpus + 1e-9) + int(part / self.gpus + 1e-9)


class Engine(Protocol):
    """What a cluster engine does for us. All of it in one event loop; any exception means that it is out of reach."""

    async def open(self) -> None:
        """Connect, or start what is to be started. InputError: what the user has to put right."""
        ...

    async def workers(self) -> Mapping[str, Capacity]:
        """Who is there now. Raises at once when the cluster cannot be reached any more."""
        ...

    async def call(self, worker: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """The result of a coroutine function of ours, run on that worker."""
        ...

    async def close(self) -> None: ...


@dataclass
class _Seats:
    """A room as the driver's thread sees it."""

    slots: int
    orders: asyncio.Queue[room.Order]
    trials: dict[int, Trial] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.slots - len(self.trials)


@dataclass(frozen=True)
class _Gone:
    why: str


class Cluster:
    """`limit` bounds the trials at a time; None: as many as there is room for, which may change."""

    def __init__(
        self, engine: Engine, job: Job, need: Need, deadline: float | None = None, limit: int | None = None
    ) -> None:
        self._engine = engine
        self._folder = job.folder
        self._packed = pack(replace(job, folder=Path()))
        self._need = need
        self._deadline = deadline
        self._limit = limit
        self._rooms: dict[str, _Seats] = {}
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._attended: dict[str, asyncio.Task[None]] = {}
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="hpo cluster", daemon=True)
        self._thread.start()
        try:
            self._started.result()
            self._take(block=0.0)
        except BaseException:
            self.close()
            raise

    # In the driver's thread.

    @property
    def free(self) -> int:
        room = sum(seats.slots for seats in self._rooms.values())
        return max(0, (room if self._limit is None else min(room, self._limit)) - self.busy)

    @property
    def busy(self) -> int:
        return sum(len(seats.trials) for seats in self._rooms.values())

    def submit(self, trial: Trial) -> None:
        seats = max(self._rooms.values(), key=lambda seats: seats.free)
        seats.trials[trial.number] = trial
        self._order(seats, trial)

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> Sequence[Trial]:
        """Returns early, with nothing, when a room has opened: there may be more to submit."""
        until = None if timeout is None else time.monotonic() + timeout
        finished: list[Trial] = []
        rooms = len(self._rooms)
        while not finished and len(self._rooms) <= rooms:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0.0:
                break
            finished += self._take(left, keep)
        return finished

    def stop(self, number: int) -> bool:
        return False  # its reports are the way to stop it

    def close(self) -> None:
        if self._thread.is_alive():
            with suppress(RuntimeError):  # its loop has just ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._rooms.clear()

    def _take(self, block: float | None, keep: KeepTrial | None = None) -> list[Trial]:
        """All that has come in, the first waited for: results that come at once are recorded at once."""
        finished: list[Trial] = []
        with suppress(queue.Empty):
            worker, said = self._inbox.get(timeout=block) if block != 0.0 else self._inbox.get_nowait()
            while True:
                finished += self._understand(worker, said, keep)
                worker, said = self._inbox.get_nowait()
        return finished

    def _understand(self, worker: str, said: Any, keep: KeepTrial | None) -> list[Trial]:
        match said:
            case _Seats() as seats:
                self._rooms[worker] = seats
            case room.Done(trial, files) if worker in self._rooms:
                submitted = self._rooms[worker].trials.pop(trial.number)
                self._keep(trial, files)
                trial = replace(trial, worker=f"{worker} {trial.worker}".rstrip())
                return [_in_our_time(trial, submitted.started)]
            case Asked(number, attempt, report) if worker in self._rooms:
                verdict = keep is None or keep(number, report)
                self._order(self._rooms[worker], room.Answer(number, attempt, verdict))
            case _Gone(why) if worker in self._rooms:
                lost = Failure("lost", f"the worker {worker} went away: {why}", transient=True)
                left = self._rooms.pop(worker).trials.values()
                return [replace(trial, worker=worker).failed(lost, time.time()) for trial in left]
            case Broken(problems):
                raise InputError(*problems)
            case Exception() as error:
                raise error
        return []

    def _order(self, seats: _Seats, order: room.Order) -> None:
        self._loop.call_soon_threadsafe(seats.orders.put_nowait, order)

    def _keep(self, trial: Trial, files: Mapping[str, bytes]) -> None:
        """The trial's files, where a local trial would have left them. A disk that is full costs them only."""
        home = trial_folder(self._folder, trial.number).resolve()
        with suppress(OSError):
            for name, content in files.items():
                target = (home / name).resolve()
                if target.is_relative_to(home):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)

    # In the engine's thread.

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            await self._engine.open()
            await self._look(first=True)
        except Exception as error:
            known = isinstance(error, (InputError, ClusterError))
            why = error if known else ClusterError(f"the cluster cannot be reached: {_words(error)}")
            self._started.set_exception(why)
        else:
            self._started.set_result(None)
            await self._watch()
        for task in self._attended.values():
            task.cancel()
        with suppress(TimeoutError, Exception):
            await asyncio.wait_for(asyncio.gather(*self._attended.values(), return_exceptions=True), FAREWELL)
        with suppress(TimeoutError, Exception):
            await asyncio.wait_for(self._engine.close(), FAREWELL)

    async def _watch(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), WATCH)
                return
            if not await self._reachable():
                return

    async def _reachable(self) -> bool:
        try:
            await self._look()
        except Exception as error:
            said = f"the cluster cannot be reached any more: {_words(error)}\n    the same command goes on, once it can"
            self._inbox.put(("", ClusterError(said)))
            return False
        return True

    async def _look(self, first: bool = False) -> None:
        """Open rooms on the workers that are new, forget those that are gone."""
        there = await self._engine.workers()
        for worker in self._attended.keys() - there.keys():
            self._attended[worker].cancel("it has left the cluster")
        opening: list[asyncio.Event] = []
        for worker, capacity in there.items():
            if worker not in self._attended and (slots := self._need.slots(capacity)) > 0:
                opening.append(asyncio.Event())
                task = asyncio.create_task(self._attend(worker, slots, opening[-1]))
                self._attended[worker] = task
        if first:
            await asyncio.gather(*(event.wait() for event in opening))

    async def _attend(self, worker: str, slots: int, opened: asyncio.Event) -> None:
        """One room from its opening to its end, which is known to the driver's thread exactly once."""
        key, orders = uuid.uuid4().hex, asyncio.Queue[room.Order]()
        why = "it has left the cluster"
        try:
            terms = room.Terms(slots, self._deadline, self._need.gpus)
            await self._engine.call(worker, room.enter, key, self._packed, terms)
            self._inbox.put((worker, _Seats(slots, orders)))
            opened.set()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._hear(worker, key))
                both.create_task(self._tell(worker, key, orders))
        except InputError as error:
            self._inbox.put((worker, Broken(error.problems)))
        except Exception as error:
            why = _words(error)
            if not opened.is_set() and not isinstance(error, (OSError, TimeoutError)):
                hint = "it needs the same hpo, Python and packages as this machine"
                problem = Problem(f"the worker {worker} cannot run trials: {why}", hint=hint)
                self._inbox.put((worker, Broken((problem,))))
            elif not self._stop.is_set() and not await self._still_reachable():
                return  # all are lost, which is said; no trial of theirs is to blame
        finally:
            opened.set()
            self._attended.pop(worker, None)
            if not self._stop.is_set():
                self._inbox.put((worker, _Gone(why)))
            with suppress(TimeoutError, Exception):
                await asyncio.wait_for(self._engine.call(worker, room.leave, key), FAREWELL / 2)

    async def _still_reachable(self) -> bool:
        try:
            await self._engine.workers()
        except Exception:
            return await self._reachable()
        return True

    async def _hear(self, worker: str, key: str) -> None:
        while True:
            for said in await self._engine.call(worker, room.hear, key, PATIENCE):
                self._inbox.put((worker, said))

    async def _tell(self, worker: str, key: str, orders: asyncio.Queue[room.Order]) -> None:
        while True:
            due = [await orders.get()]
            while not orders.empty():
                due.append(orders.get_nowait())
            await self._engine.call(worker, room.tell, key, due)


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return redact(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:500]


def _in_our_time(trial: Trial, submitted: float | None) -> Trial:
    """On our clock: that of another machine may be ahead or behind, and no trial ends before it starts."""
    if trial.started is None or trial.finished is None or submitted is None:
        return trial
    now = time.time()
    shift = min(max(0.0, submitted - trial.started), max(0.0, now - trial.finished))
    if trial.finished > now:
        shift = max(now - trial.finished, submitted - trial.started)
    return replace(trial, started=trial.started + shift, finished=trial.finished + shift)
