"""The process in which Ray's client lives: it finds nodes with room, takes slots there and carries calls.

Started by `hpo.executors.ray`, which asks over a socket, until the driver hangs up: then what was begun is ended,
whatever the driver died of. The slots of a node are one actor, which holds its cores, memory and graphics processors
for us as Ray counts them; the trials run in processes beside it (`hpo.executors.room`).
"""

from __future__ import annotations

import asyncio
import math
import os
import pickle
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import ray
from ray.exceptions import AuthenticationError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hpo.executors.cluster import Capacity, Need
from hpo.executors.ray import TOKEN, Mandate, Refused, host_and_port, receive, send

ANSWER = 10.0  # seconds for the head to say who is there
SERVERS = 3  # that a head may start until one is up; for one that dies it waits half a minute or longer
START = 120.0  # seconds for an actor to start where there was room for it
SETTLE = 5.0  # seconds until what an actor has taken shows in what a node has left
STORE = 80 * 2**20  # bytes of the object store of a cluster that is started here: Ray's least


class Usher:
    """The actor: runs our coroutine functions in its process on the node."""

    async def ready(self) -> None:
        """It has been started."""

    async def call(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
        return await function(*args)


@dataclass
class Berth:
    """Slots on a node, and the actor that holds them."""

    node: str
    slots: int
    capacity: Capacity
    actor: Any
    since: float
    ready: asyncio.Task[None]


class Envoy:
    """Answers the driver, whose methods these are, by name."""

    def __init__(self) -> None:
        self._berths: dict[str, Berth] = {}
        self._count = 0
        self.folder = ""

    async def open(self, mandate: Mandate) -> Refused | None:
        self._mandate = mandate
        self.folder = mandate.folder
        self._remote = mandate.address.startswith("ray://")
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
        if mandate.cpus is not None:
            quiet |= {
                "num_cpus": mandate.cpus, "include_dashboard": False, "object_store_memory": STORE,
                "_temp_dir": mandate.folder, "_node_ip_address": "127.0.0.1",
            }  # fmt: skip
        try:
            _connect(mandate.address, quiet)
        except AuthenticationError:
            return Refused("the Ray cluster wants a token, and there is none", TOKEN)
        except ConnectionAbortedError as error:
            reason = str(error).strip().splitlines()[-1]  # of a traceback on the head
            return Refused(f"the Ray head starts no server for this client: {reason}", "its own logs say more")
        except (ConnectionError, RayError, RuntimeError, ValueError, ImportError) as error:
            hint = f"is it running, and is the token its own? {TOKEN}"
            return Refused(f"no Ray cluster answers: {_line(error)}", hint)
        self._head = host_and_port(mandate.address if self._remote else ray.get_runtime_context().gcs_address)
        if not _asks_for_token(self._head, self._remote):
            said = "the Ray cluster asks for no token, and who reaches it can run code"
            return Refused(said, "start its nodes with RAY_AUTH_MODE=token")
        return None

    async def workers(self) -> Mapping[str, Capacity]:
        await self._knock()
        nodes = {node["NodeID"]: node for node in await _soon(ray.nodes) if node["Alive"]}
        self._berths = {name: berth for name, berth in self._berths.items() if berth.node in nodes}
        taken = sum(berth.slots for berth in self._berths.values())
        left = math.inf if self._mandate.limit is None else self._mandate.limit - taken
        settling = {berth.node for berth in self._berths.values() if time.monotonic() < berth.since + SETTLE}
        if left > 0 and (nodes.keys() - settling):
            for node, free in (await self._free()).items():
                slots = int(min(left, self._mandate.need.slots(_capacity(free)))) if node in nodes else 0
                if slots > 0 and node not in settling:
                    self._take(nodes[node], slots)
                    left -= slots
        return {name: berth.capacity for name, berth in self._berths.items()}

    async def call(self, worker: str, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
        if (berth := self._berths.get(worker)) is None:
            raise ConnectionError("it has left the cluster")
        try:
            await asyncio.shield(berth.ready)
            return await _wait(berth.actor.call.remote(function, args))
        except RayTaskError as error:
            raise _portable(error.cause) from None
        except (RayError, TimeoutError) as error:
            self._leave(worker)
            raise ConnectionError(_line(error)) from None

    async def close(self) -> None:
        for worker in tuple(self._berths):
            self._leave(worker)
        await asyncio.to_thread(ray.shutdown)

    async def _knock(self) -> None:
        """Ray tries for a minute to find a head that is gone, and then ends this process."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(*self._head), ANSWER)
        except (OSError, TimeoutError) as error:
            raise ConnectionError("the Ray head is gone") from error
        writer.close()

    async def _free(self) -> Mapping[str, Mapping[str, float]]:
        """What each node has left: only a process of the cluster itself can see it."""
        there = _wait(ray.remote(num_cpus=0)(_free).remote()) if self._remote else asyncio.to_thread(_free)
        return await asyncio.wait_for(there, START)

    def _take(self, node: Mapping[str, Any], slots: int) -> None:
        need = self._mandate.need
        self._count += 1
        capacity = _held(need, slots)
        options: dict[str, Any] = {"num_cpus": capacity.cpus, "num_gpus": capacity.gpus, "max_restarts": 0}
        if capacity.memory:
            options["memory"] = capacity.memory
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        actor = ray.remote(Usher).options(scheduling_strategy=there, **options).remote()
        name = f"{node['NodeManagerHostname']} {node['NodeID'][:6]}.{self._count}"
        ready = asyncio.create_task(asyncio.wait_for(_wait(actor.ready.remote()), START))
        self._berths[name] = Berth(node["NodeID"], slots, capacity, actor, time.monotonic(), ready)

    def _leave(self, worker: str) -> None:
        if berth := self._berths.pop(worker, None):
            berth.ready.cancel()
            with suppress(Exception):  # it, or all of Ray, is gone
                ray.kill(berth.actor)


def _connect(address: str, options: Mapping[str, Any]) -> None:
    """Behind ray:// the head starts a server for each client, by a fork that gRPC's threads at times do not survive."""
    for _ in range(SERVERS - 1):
        with suppress(ConnectionAbortedError):
            ray.init(address, **options)
            return
    ray.init(address, **options)


def _asks_for_token(head: tuple[str, int], remote: bool) -> bool:
    """What the head answers to somebody without one. An actor of a cluster that wants none never answers us."""
    method = "/ray.rpc.RayletDriver/ClusterInfo" if remote else "/ray.rpc.NodeInfoGcsService/CheckAlive"
    address = "{}:{}".format(*head)
    if os.environ.get("RAY_USE_TLS") == "1":
        names = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_SERVER_CERT")
        known = grpc.ssl_channel_credentials(*(Path(os.environ[name]).read_bytes() for name in names))
        opened = grpc.secure_channel(address, known)
    else:
        opened = grpc.insecure_channel(address)
    with opened as channel:
        try:
            channel.unary_unary(method)(b"", timeout=ANSWER)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ConnectionError(str(error.details())) from error
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


def _free() -> Mapping[str, Mapping[str, float]]:
    from ray._private.state import available_resources_per_node

    found: Mapping[str, Mapping[str, float]] = available_resources_per_node()
    return found


def _capacity(free: Mapping[str, float]) -> Capacity:
    """More than one graphics processor can be had in whole ones only."""
    gpus = free.get("GPU", 0.0)
    return Capacity(int(free.get("CPU", 0.0)), int(free.get("memory", 0.0)), gpus if gpus < 1 else math.floor(gpus))


def _held(need: Need, slots: int) -> Capacity:
    gpus = slots * need.gpus
    return Capacity(slots * need.cpus, slots * (need.memory or 0), gpus if gpus <= 1 else math.ceil(gpus))


async def _soon(ask: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(ask), ANSWER)


async def _wait(reference: Any) -> Any:
    found: Future[Any] = reference.future()
    return await asyncio.wrap_future(found)


def _line(error: BaseException) -> str:
    """Ray's errors have many lines, of which the first says what happened."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _portable(error: BaseException) -> BaseException:
    """As it was, if it can be sent to the driver."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


async def _serve(fd: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    envoy = Envoy()
    running = set[asyncio.Task[None]]()

    async def answer(number: int, verb: str, args: tuple[Any, ...]) -> None:
        try:
            value = await getattr(envoy, verb)(*args)
        except Exception as error:
            value = _portable(error)
        send(writer, (number, value))

    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            number, verb, args = await receive(reader)
            task = asyncio.create_task(answer(number, verb, args))
            running.add(task)
            task.add_done_callback(running.discard)
            if verb == "close":
                await task
                await writer.drain()
                return
    await envoy.close()  # the driver has died
    shutil.rmtree(envoy.folder, ignore_errors=True)


def main(fd: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(fd))
    sys.stderr.flush()
    os._exit(0)  # Ray's threads may still wait for a head that is gone
