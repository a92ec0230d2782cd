"""A proxy that plays every trick a network has, on real sockets, in front of a real HTTP server.

Used by the tests of publishing. One thread with one event loop; what happens to a request is decided by a function of
its first line, so that a test says which calls suffer and a seed makes it repeatable.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What becomes of one request.

    reset: the connection is cut before the request is read. black hole: nothing ever comes back. status: answered
    here, never forwarded. drop: forwarded, the answer is lost. late: forwarded after `seconds`, whether or not the
    client still waits. delay: the answer takes `seconds` more. throttle: the answer comes with `rate` bytes a second.
    cut: the first half of the body is forwarded, then both connections are cut.
    """

    kind: Literal["reset", "black hole", "status", "drop", "late", "delay", "throttle", "cut"]
    seconds: float = 0.0
    status: int = 503
    retry_after: int | None = None
    rate: int = 0


RESET = Fault("reset")
BLACK_HOLE = Fault("black hole")
UNAVAILABLE = Fault("status")
TOO_MANY = Fault("status", status=429, retry_after=1)
DROP = Fault("drop")
CUT = Fault("cut")

Decide = Callable[[str], Fault | None]


def always(fault: Fault | None) -> Decide:
    return lambda line: fault


def sometimes(seed: int, *shares: tuple[float, str, Fault]) -> Decide:
    """Each (share, text in the request's first line, fault) strikes that share of the requests that it fits."""
    dice = random.Random(seed)

    def decide(line: str) -> Fault | None:
        for share, text, fault in shares:
            if text in line and dice.random() < share:
                return fault
        return None

    return decide


class ChaosProxy:
    """`uri` stands for `target`; set `decide` at any time. `played` counts what was done, "" for nothing.

    A context manager: it listens from entry to exit.
    """

    def __init__(self, target: str, decide: Decide = always(None)) -> None:  # noqa: B008 (a constant function)
        place = urlsplit(target)
        self._target = (place.hostname or "127.0.0.1", place.port or 80)
        self.decide = decide
        self.played: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._late: set[asyncio.Task[None]] = set()
        self._port = 0
        self._server: asyncio.Server | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> ChaosProxy:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._deafen())
        self._do(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Nobody listens: connections are refused."""
        self._do(self._deafen())
        try:
            yield
        finally:
            self._do(self._listen())

    def drain(self) -> None:
        """Until every late request has reached the server."""
        self._do(self._wait_for_late())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _hang_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _wait_for_late(self) -> None:
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: the answer says `Connection: close`."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            fault = self.decide(line)
            self.calls[line.rsplit(" ", 1)[0]] += 1
            self.played[fault.kind if fault else ""] += 1
            if fault is not None and fault.kind == "reset":
                _reset(writer)
                return
            await self._play(fault, _closing(head), await reader.readexactly(_length(head)), writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two ends has gone away, or all of this
        finally:
            writer.close()

    async def _play(self, fault: Fault | None, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        match fault:
            case None:
                writer.write(await self._forward(head, body))
            case Fault("black hole"):
                await asyncio.sleep(3600)
            case Fault("status"):
                writer.write(_answer(fault))
            case Fault("drop"):
                await self._forward(head, body)
                _reset(writer)
            case Fault("late"):
                task = asyncio.create_task(self._forward_late(fault.seconds, head, body))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                await task
            case Fault("delay"):
                answer = await self._forward(head, body)
                await asyncio.sleep(fault.seconds)
                writer.write(answer)
            case Fault("throttle"):
                await _trickle(writer, await self._forward(head, body), fault.rate)
            case Fault("cut"):
                await self._forward(head, body[: len(body) // 2], whole=False)
                _reset(writer)
        await writer.drain()

    async def _forward_late(self, seconds: float, head: bytes, body: bytes) -> None:
        await asyncio.sleep(seconds)
        await self._forward(head, body)

    async def _forward(self, head: bytes, body: bytes, whole: bool = True) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(head + body)
            await writer.drain()
            return await reader.read() if whole else b""
        finally:
            writer.close()


def _length(head: bytes) -> int:
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    assert b"transfer-encoding" not in fields, "chunked requests are not spoken here"
    return int(fields.get(b"content-length", b"0"))


def _closing(head: bytes) -> bytes:
    first, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [field for field in fields if not field.lower().startswith(b"connection:")]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _answer(fault: Fault) -> bytes:
    retry = f"Retry-After: {fault.retry_after}\r\n" if fault.retry_after is not None else ""
    return f"HTTP/1.1 {fault.status} Chaos\r\n{retry}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _trickle(writer: asyncio.StreamWriter, answer: bytes, rate: int) -> None:
    """A tenth of a second's worth at a time."""
    step = max(1, rate // 10)
    for at in range(0, len(answer), step):
        writer.write(answer[at : at + step])
        await writer.drain()
        await asyncio.sleep(0.1)
