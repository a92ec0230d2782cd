"""Dask as the engine of a cluster: a scheduler's address, a cluster on this machine or by ssh, or any cluster class.

Built by `hpo.executors.build`, driven by `hpo.executors.cluster`. Rooms are called with `Client.run`, beside Dask's
tasks and not as tasks, so that nothing of ours is pickled through its graph, retried behind our back or queued. What
is started here is encrypted: whoever can talk to a scheduler can run code.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Security

from hpo.errors import InputError, Problem
from hpo.executors.cluster import Capacity
from hpo.sweep import Execution

CONNECT = 30.0  # seconds
SETTLE = 0.2  # seconds in which a broken connection shows in the client's status
NAMED = {"ssh": "distributed.SSHCluster"}
TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what `hpo.interrupts` listens to
# No web pages: they are served without encryption, and some of them take orders.
_CONFIG: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


class Dask:
    """`workers` and `threads` of a cluster that is started here; relative file names start in `root`."""

    def __init__(self, execution: Execution, root: Path, workers: int | None, threads: int) -> None:
        self._execution = execution
        self._root = root
        self._workers = workers
        self._threads = threads
        self._cluster: Any = None
        self._client: Client | None = None
        self._levels: dict[logging.Logger, int] = {}
        name = execution.cluster
        self._class = None if name == "local" or "://" in name else _class(NAMED.get(name, name))

    async def open(self) -> None:
        name = self._execution.cluster
        security = self._security()
        self._levels = _silence()
        with dask.config.set(_CONFIG):
            if "://" in name:
                target: Any = name
            else:
                target = self._cluster = await self._start(name, security)
                security = self._cluster.security
            self._client = Client(
                target, security=security, asynchronous=True, timeout=CONNECT, set_as_default=False, name="hpo"
            )
            try:
                await self._client
            except OSError as error:
                hint = "is it running, and are executor.tls its certificates?"
                raise InputError(Problem(f"no Dask scheduler answers: {error}", "executor.cluster", hint)) from error

    async def workers(self) -> Mapping[str, Capacity]:
        client = self._connected()
        try:
            found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), CONNECT)
        except Exception:
            await asyncio.sleep(SETTLE)
            self._connected()
            raise
        return {
            address: Capacity(worker["nthreads"], worker["memory_limit"] or None, worker["resources"].get("GPU"))
            for address, worker in found["workers"].items()
            if worker["status"] == "running"
        }

    async def call(self, worker: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        found = await self._connected().run(function, *args, workers=[worker])
        return found[worker]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._cluster is not None:
            await self._cluster.close()
        for logger, level in self._levels.items():
            logger.setLevel(level)

    def _connected(self) -> Client:
        """A client that has lost its scheduler tries to find it again for half a minute; we know at once."""
        if self._client is None or self._client.status != "running":
            raise ConnectionError("the Dask scheduler is gone")
        return self._client

    async def _start(self, name: str, security: Security) -> Any:
        options = dict(self._execution.options)
        try:
            if name == "local":
                if not security.require_encryption:  # certificates for this one cluster, in memory only
                    security = Security.temporary()
                given = {"n_workers": self._workers, "threads_per_worker": self._threads, "processes": True} | options
                cluster = LocalCluster(
                    asynchronous=True, security=security, dashboard_address="127.0.0.1:0", host="127.0.0.1",
                    silence_logs=logging.CRITICAL, **given,
                )  # fmt: skip
            else:
                assert self._class is not None
                secured = {"security": security} if security.require_encryption else {}
                cluster = self._class(asynchronous=True, **secured, **options)
            started = await cluster
            if name not in ("local", *NAMED) and self._workers is not None:
                await _settled(started.scale(self._workers))
        except (TypeError, ValueError) as error:
            raise InputError(Problem(f"{name} cannot be started: {error}", "executor.options")) from error
        return started

    def _security(self) -> Security:
        tls = self._execution.tls
        if tls is None:  # whatever Dask's own configuration has
            encrypted = self._execution.cluster.startswith("tls://")
            security = Security(require_encryption=True) if encrypted else Security()
            if encrypted and security.get_connection_args("client").get("ssl_context") is None:
                hint = "executor: {tls: {ca: …, cert: …, key: …}}"
                raise InputError(Problem("an address of tls:// needs certificates", "executor.tls", hint))
            return security
        files = [str(self._root / name) for name in (tls.ca, tls.cert, tls.key)]
        missing = [name for name in files if not Path(name).is_file()]
        if missing:
            raise InputError(*(Problem(f"there is no file {name}", "executor.tls") for name in missing))
        ca, cert, key = files
        return Security(
            require_encryption=True, tls_ca_file=ca,
            tls_client_cert=cert, tls_client_key=key, tls_scheduler_cert=cert, tls_scheduler_key=key,
            tls_worker_cert=cert, tls_worker_key=key,
        )  # fmt: skip


def _class(path: str) -> Callable[..., Any]:
    """Imported by the thread that builds the executor, and what its package does with signals is undone: importing
    dask_jobqueue takes Ctrl-C for itself, and fails outside the main thread."""
    module, _, name = path.rpartition(".")
    before = {number: signal.getsignal(number) for number in TOLD}
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(Problem(f"{path} cannot be imported: {error}", "executor.cluster")) from error
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
    return found


async def _settled(scaled: Any) -> None:
    """Some clusters scale at once, some hand back something to wait for."""
    if inspect.isawaitable(scaled):
        await scaled


def _silence() -> dict[logging.Logger, int]:
    """What Dask would say on the terminal about each worker that comes or goes, we say ourselves."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    return levels
