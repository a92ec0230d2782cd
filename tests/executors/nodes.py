"""A Ray cluster with a token on loopback: a head, and nodes of one core each, of real processes that can be killed.

Run as a program it is the cluster, which adds a node for each line that it reads and ends with its standard input.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: all of Ray listens on, and looks for others at, 127.0.0.1
SMALL = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}


class RayCluster:
    """`environment` is what a client needs; `gpus` the second node only says that it has."""

    def __init__(self, client_port: int | None = None, gpus: int = 0) -> None:
        self._folder = tempfile.mkdtemp(prefix="hpo-nodes-", dir="/tmp")  # the paths of its sockets must be short
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), LOOPBACK: "0"}
        # A head that forks beside gRPC's threads loses every other server that it starts for a client.
        inside = {"RAY_TMPDIR": self._folder, "RAY_USAGE_STATS_ENABLED": "0", "GRPC_ENABLE_FORK_SUPPORT": "0"}
        os.mkdir(Path(self._folder, "ray"))
        with Path(self._folder, "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.executors.nodes", json.dumps(client_port), str(gpus)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True,
                cwd=self._folder, env={**os.environ, **self.environment, **inside, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self._family: set[psutil.Process] = set()
        first = self._read()
        self.environment["RAY_ADDRESS"] = first["address"]
        self.gcs = psutil.Process(first["gcs"])
        self.raylets = [psutil.Process(first["raylet"]), psutil.Process(self._read()["raylet"])]

    def add_node(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.raylets.append(psutil.Process(self._read()["raylet"]))

    def kill(self, process: psutil.Process) -> None:
        """As a machine dies, with all that runs there: nobody says goodbye."""
        _kill([process, *process.children(recursive=True)])

    def worker_of(self, raylet: psutil.Process) -> psutil.Process:
        """Ray's process that holds our room on that node, once a trial runs there."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for worker in raylet.children():
                if "ray::Usher" in _title(worker) and _trials(worker):
                    return worker
            time.sleep(0.1)
        raise AssertionError("no trial runs there")

    def trials(self) -> list[psutil.Process]:
        """The processes in which rooms run trials."""
        return [trial for raylet in self.raylets for worker in raylet.children() for trial in _trials(worker)]

    def client_servers(self) -> set[psutil.Process]:
        """The head starts one for each client of ray://."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        return {process for process in family if "--mode=specific-server" in _title(process)}

    def stop(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=30)
        _kill(self._family)  # the agents of a raylet that was killed outlive it
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, Path(self._folder, "log").read_text(errors="replace")
        self._family |= {*psutil.Process(self._process.pid).children(recursive=True)}
        return json.loads(line)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _trials(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return [child for template in worker.children() for child in template.children()]
    except psutil.Error:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def main(client_port: int | None, gpus: int) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "ray_client_server_port": client_port})
    pids = {name: [p.process.pid for p in some] for name, some in cluster.head_node.all_processes.items()}
    say(address=cluster.address, gcs=pids["gcs_server"][0], raylet=pids["raylet"][0])
    say(raylet=_pid(cluster.add_node(**SMALL, num_gpus=gpus)))
    for _ in sys.stdin:
        say(raylet=_pid(cluster.add_node(**SMALL)))
    cluster.shutdown()


def _pid(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
