"""Ray with a token: the conformance suite on two real nodes, and what a cluster can do to a sweep.

One cluster for all of it, as it takes long to start; the last test kills its head.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

import hpo
from hpo.attempt import Attempt, Objective, Outcome
from hpo.errors import InputError
from hpo.executors.cluster import Cluster, Need
from hpo.executors.port import Executor
from hpo.executors.ray import Ray
from hpo.executors.worker import Job
from hpo.sweep import Execution
from hpo.testing import ExecutorSuite, Program
from hpo.trial import Trial
from tests.conftest import free_port
from tests.executors.losses import METRICS, Missing, dies_and_is_resumed, job, loses, one
from tests.executors.nodes import RayCluster
from tests.sweeps import function_sweep

AUTO = {"engine": "ray", "cluster": "auto"}
CLIENT_PORT = free_port()


@pytest.fixture(scope="module")
def shared() -> Iterator[RayCluster]:
    cluster = RayCluster(CLIENT_PORT, gpus=1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster
    cluster.stop()


def connect(job: Job, need: Need = Need(), slots: int = 2, cluster: str = "auto", **limits: Any) -> Cluster:  # noqa: B008
    executor = Cluster(Ray(Execution("ray", cluster), Path.cwd(), need, None, (1, 1)), job, need, **limits)
    until = time.monotonic() + 60
    while executor.free < slots and time.monotonic() < until:  # what the test before held is being given back
        executor.wait(timeout=1.0)
    assert executor.free == slots
    return executor


@pytest.mark.usefixtures("shared")
class TestRay(ExecutorSuite):
    def make(self, objective: Objective, folder: Path, **limits: Any) -> Executor:
        job = Job(objective, METRICS, 0, 1, folder, two_way=limits.get("two_way", False), memory=limits.get("memory"))
        return connect(job, deadline=limits.get("deadline"))

    def test_close_ends_running_trials(self, tmp_path: Path, shared: RayCluster) -> None:  # type: ignore[override]
        executor = self.make(Program(), tmp_path)
        executor.submit(Trial(0, {"do": "hang"}, started=time.time()))
        while not (trials := shared.trials()):
            assert list(executor.wait(timeout=0.1)) == []
        executor.close()
        assert not psutil.wait_procs(trials, timeout=10)[1]


# Who may come in, and what is handed to whom.


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("token", [None, "another"])
def test_a_client_without_the_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # what a sweep needs, it says itself
    if token is None:
        monkeypatch.delenv("RAY_AUTH_TOKEN")
    else:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(InputError, match=r"wants a token|refuses our token") as refused:
        Cluster(Ray(Execution("ray", "auto"), Path.cwd(), Need(), None, (1, 1)), job(tmp_path), Need())
    assert "RAY_AUTH_TOKEN_PATH" in str(refused.value)


@pytest.mark.usefixtures("shared")
def test_a_share_of_a_graphics_processor_files_and_no_credentials_from_afar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Ray's client server, as from a laptop: the node without a processor gets no room."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")

    def evaluate(attempt: Attempt) -> Outcome:
        secret = [name for name in os.environ if name.startswith(("MLFLOW_", "RAY_AUTH_"))]
        attempt.log_text(json.dumps([secret, os.environ.get("CUDA_VISIBLE_DEVICES")]), "there/names.json")
        return 2.0

    with closing(connect(job(tmp_path, evaluate), Need(gpus=0.25), 1, f"ray://127.0.0.1:{CLIENT_PORT}")) as executor:
        done = one(executor)
    assert done.values == (2.0,)
    assert done.artifacts == ("there/names.json",)
    assert json.loads((tmp_path / "trials" / "0000" / "there" / "names.json").read_text()) == [[], "0"]


def test_a_server_that_dies_while_the_head_starts_it_is_started_again(shared: RayCluster, tmp_path: Path) -> None:
    known = shared.client_servers()

    def kill_the_first() -> None:
        while not (new := shared.client_servers() - known):
            time.sleep(0.02)
        for server in new:
            server.kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    connect(job(tmp_path), cluster=f"ray://127.0.0.1:{CLIENT_PORT}").close()
    killer.join()


def test_nobody_at_the_address_is_said_at_once(tmp_path: Path) -> None:
    engine = Ray(Execution("ray", f"ray://127.0.0.1:{free_port()}"), Path.cwd(), Need(), None, (1, 1))
    with pytest.raises(InputError, match="no Ray head answers"):
        Cluster(engine, job(tmp_path), Need())


@pytest.mark.usefixtures("shared")
def test_an_objective_that_cannot_be_opened_there_is_the_users_problem(tmp_path: Path) -> None:
    with (
        closing(connect(Job(Missing(), METRICS, 0, 1, tmp_path))) as executor,
        pytest.raises(InputError, match="catboots"),
    ):
        one(executor)


# What a cluster can do to a sweep.


def test_trials_of_a_worker_that_is_killed_run_again(shared: RayCluster, tmp_path: Path, uri: str) -> None:
    loses(AUTO, tmp_path, uri, lambda: shared.worker_of(shared.raylets[0]).kill())


def test_trials_of_a_node_that_dies_run_elsewhere_and_one_that_joins_gets_some(
    shared: RayCluster, tmp_path: Path, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def one_goes_and_one_comes() -> None:
        shared.worker_of(shared.raylets[1])
        shared.kill(shared.raylets[1])
        shared.add_node()

    loses(AUTO, tmp_path, uri, one_goes_and_one_comes)
    assert capfd.readouterr() == ("", ""), "Ray's own noise"


def test_a_cluster_on_this_machine_is_started_and_ended(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    sweep = function_sweep(executor={"engine": "ray"}, search={"trials": 6, "workers": 2, "pruner": "median"})
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert len(result.all_trials) == 6
    assert {trial.state for trial in result.all_trials} <= {"complete", "pruned"}
    left = {process.name() for process in psutil.process_iter() if process.pid not in before}
    assert not left & {"raylet", "gcs_server"}


def test_a_head_that_dies_leaves_the_sweep_resumable(shared: RayCluster, tmp_path: Path, uri: str) -> None:
    dies_and_is_resumed(AUTO, tmp_path, uri, lambda: shared.kill(shared.gcs))
