"""Ray as the engine of a cluster: a head's address, the cluster that this machine belongs to, or one started here.

Built by `hpo.executors.build`, driven by `hpo.executors.cluster`. Ray's client ends its whole process when the head
dies, and writes to the terminal past Python: so it lives in one of its own, `hpo.executors.envoy`, and here is one end
of a socket and nothing of Ray's. Who has not the cluster's token is refused.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.errors import InputError, Problem
from hpo.executors.cluster import Capacity, Need
from hpo.redact import redact
from hpo.sweep import Execution

CONNECT = 10.0  # seconds for a head to answer at all
OPEN = 240.0  # seconds for Ray to connect, or to start what is started here: a head may begin three times
FAREWELL = 8.0  # seconds for the envoy to end what it has begun
LONGEST = 40  # characters of a folder in which Ray's sockets have room: their paths may have 107
TOKEN = "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH must give the token that the cluster was started with"


@dataclass(frozen=True)
class Mandate:
    """What the envoy is sent for. `cpus`: of a cluster that is started here, in `folder`; None: there is one."""

    address: str
    need: Need
    limit: int | None
    cpus: int | None
    folder: str


@dataclass(frozen=True)
class Refused:
    """Something that the user has to put right."""

    message: str
    hint: str = ""


class Ray:
    """`limit` bounds the slots that are taken; `workers` and `threads` are those of a cluster started here."""

    def __init__(
        self, execution: Execution, root: Path, need: Need, limit: int | None, started_here: tuple[int, int]
    ) -> None:
        self._execution = execution
        self._address = execution.cluster
        if self._address == "auto":  # as Ray finds it itself, only sooner
            self._address = os.environ.get("RAY_ADDRESS") or "auto"
        self._root = root
        self._need = need
        self._limit = limit
        self._started_here = started_here
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    async def open(self) -> None:
        environment = self._environment()
        await self._knock()
        short = None if len(tempfile.gettempdir()) <= LONGEST - len("/hpo-ray-12345678") else "/tmp"
        self._home = tempfile.TemporaryDirectory(prefix="hpo-ray-", dir=short, ignore_cleanup_errors=True)
        self._log = Path(self._home.name, "log")
        workers, threads = self._started_here
        cpus = workers * max(threads, self._need.cpus) if self._address == "local" else None
        ours, theirs = socket.socketpair()
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is for the driver, which ends the rooms in their order.
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-c", f"from hpo.executors.envoy import main; main({theirs.fileno()})"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._listening = asyncio.create_task(self._listen())
        mandate = Mandate(self._address, self._need, self._limit, cpus, self._home.name)
        answer = asyncio.ensure_future(self._ask("open", mandate))
        for _ in range(int(OPEN / 0.5)):
            await asyncio.wait([answer], timeout=0.5)
            if answer.done():
                break
            if b"InvalidAuthToken" in self._log.read_bytes():  # Ray itself tries that again, for half a minute
                answer.cancel()
                raise InputError(Problem("the Ray cluster refuses our token", "executor.cluster", TOKEN))
        else:
            answer.cancel()
            raise InputError(Problem(f"Ray is not up after {OPEN:g} s:\n{self._said()}", "executor.cluster"))
        if isinstance(refused := answer.result(), Refused):
            raise InputError(Problem(refused.message, "executor.cluster", refused.hint))

    async def workers(self) -> Mapping[str, Capacity]:
        found: Mapping[str, Capacity] = await self._ask("workers")
        return found

    async def call(self, worker: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await self._ask("call", worker, function, args)

    async def close(self) -> None:
        if self._process is None:
            return
        try:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(FAREWELL):
                    await self._ask("close")
                    await asyncio.shield(self._listening)
        finally:
            self._writer.close()
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            if self._home is not None:
                self._home.cleanup()

    async def _ask(self, verb: str, *args: Any) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if self._listening.done():
                raise ConnectionError(f"Ray's client has ended: {self._said()}")
            send(self._writer, (number, verb, args))
            return await answer
        finally:
            del self._waiting[number]

    async def _listen(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                number, value = await receive(self._reader)
                if (answer := self._waiting.get(number)) is None or answer.done():
                    continue  # nobody waits any more
                if isinstance(value, BaseException):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError(f"Ray's client has ended: {self._said()}"))

    async def _knock(self) -> None:
        """Ray's client waits for half a minute or two where nobody listens."""
        if ":" not in self._address:
            return
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(*host_and_port(self._address)), CONNECT)
        except (OSError, TimeoutError, ValueError) as error:
            hint = "the port of ray:// is `ray start`'s --ray-client-server-port; auto: RAY_ADDRESS may say where"
            what = f"no Ray head answers at {self._address}: {error or 'time-out'}"
            raise InputError(Problem(redact(what), "executor.cluster", hint)) from error
        writer.close()

    def _environment(self) -> dict[str, str]:
        """The envoy's: what tracking reads stays here, since a cluster that is started there inherits it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        given = {"PYTHONPATH": path, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        if self._address == "local":  # a token for this one cluster, in memory only
            given |= {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        if (tls := self._execution.tls) is not None:
            files = [str(self._root / name) for name in (tls.ca, tls.cert, tls.key)]
            if missing := [name for name in files if not Path(name).is_file()]:
                raise InputError(*(Problem(f"there is no file {name}", "executor.tls") for name in missing))
            ca, cert, key = files
            given |= {
                "RAY_USE_TLS": "1", "RAY_TLS_CA_CERT": ca, "RAY_TLS_SERVER_CERT": cert, "RAY_TLS_SERVER_KEY": key,
            }  # fmt: skip
        return kept | given

    def _said(self) -> str:
        """The last lines of what Ray wrote."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return redact("\n".join(text.strip().splitlines()[-3:]))[-500:]


def host_and_port(address: str) -> tuple[str, int]:
    """Of `ray://host:10001` or `host:6379`."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    return host.strip("[]"), int(port)


def send(writer: asyncio.StreamWriter, message: Any) -> None:
    packed = pickle.dumps(message)
    writer.write(len(packed).to_bytes(8) + packed)


async def receive(reader: asyncio.StreamReader) -> Any:
    """IncompleteReadError once the other side has gone."""
    size = int.from_bytes(await reader.readexactly(8))
    return pickle.loads(await reader.readexactly(size))
