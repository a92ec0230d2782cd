"""Dask over mutual TLS: the conformance suite on two real workers, and what a cluster can do to a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.attempt import Attempt, Objective, Outcome
from hpo.errors import ClusterError, InputError
from hpo.executors.cluster import Cluster, Need
from hpo.executors.dask import Dask
from hpo.executors.port import Executor
from hpo.executors.worker import Job
from hpo.sweep import Execution
from hpo.testing import ExecutorSuite, Program
from hpo.trial import Trial
from tests.executors.losses import METRICS, Missing, dies_and_is_resumed, job, loses, one
from tests.executors.tls import DaskCluster
from tests.sweeps import function_sweep


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaskCluster]:
    """For a test that breaks it."""
    folder = tmp_path / "dask"
    folder.mkdir()
    cluster = DaskCluster(folder)
    yield cluster
    cluster.stop()


def connect(cluster: DaskCluster, job: Job, slots: int = 2, **limits: Any) -> Cluster:
    engine = Dask(Execution("dask", cluster.address, cluster.tls), Path.cwd(), None, 1)
    executor = Cluster(engine, job, Need(), **limits)
    until = time.monotonic() + 60
    while executor.free < slots and time.monotonic() < until:  # its workers are still starting
        executor.wait(timeout=1.0)
    assert executor.free == slots
    return executor


class TestDask(ExecutorSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, shared: DaskCluster) -> None:
        self.cluster = shared

    def make(self, objective: Objective, folder: Path, **limits: Any) -> Executor:
        job = Job(objective, METRICS, 0, 1, folder, two_way=limits.get("two_way", False), memory=limits.get("memory"))
        return connect(self.cluster, job, deadline=limits.get("deadline"))

    def test_close_ends_running_trials(self, tmp_path: Path) -> None:
        executor = self.make(Program(), tmp_path)
        executor.submit(Trial(0, {"do": "hang"}, started=time.time()))
        while not self.cluster.trials():
            assert list(executor.wait(timeout=0.1)) == []
        executor.close()
        assert not self.cluster.trials()


# Who may come in, and what is handed to whom.


def test_a_client_without_certificates_is_refused(shared: DaskCluster) -> None:
    from distributed import Client

    with pytest.raises((OSError, TimeoutError)):
        Client(shared.address.replace("tls://", "tcp://"), timeout=2)
    with pytest.raises(InputError, match="needs certificates"):
        Cluster(Dask(Execution("dask", shared.address), Path.cwd(), None, 1), job(Path.cwd()), Need())


def test_a_client_that_another_authority_vouches_for_is_refused(shared: DaskCluster, tmp_path: Path) -> None:
    from tests.executors.tls import Authority

    stranger = replace(Authority(tmp_path).issue("stranger"), ca=shared.tls.ca)
    engine = Dask(Execution("dask", shared.address, stranger), Path.cwd(), None, 1)
    with pytest.raises((InputError, ClusterError), match=r"no Dask scheduler answers|cannot be reached"):
        Cluster(engine, job(tmp_path), Need())


def test_files_of_a_trial_come_back_and_tracking_does_not_go_there(shared: DaskCluster, tmp_path: Path) -> None:
    def evaluate(attempt: Attempt) -> Outcome:
        attempt.log_text(json.dumps([name for name in os.environ if name.startswith("MLFLOW_")]), "there/names.json")
        return 2.0

    with closing(connect(shared, job(tmp_path, evaluate))) as executor:
        done = one(executor)
    assert done.values == (2.0,)
    assert done.artifacts == ("there/names.json",)
    assert json.loads((tmp_path / "trials" / "0000" / "there" / "names.json").read_text()) == []


def test_an_objective_that_cannot_be_opened_there_is_the_users_problem(shared: DaskCluster, tmp_path: Path) -> None:
    with (
        closing(connect(shared, Job(Missing(), METRICS, 0, 1, tmp_path))) as executor,
        pytest.raises(InputError, match="catboots"),
    ):
        one(executor)


# What a cluster can do to a sweep.


def at(cluster: DaskCluster) -> dict[str, Any]:
    tls = {"ca": cluster.tls.ca, "cert": cluster.tls.cert, "key": cluster.tls.key}
    return {"engine": "dask", "cluster": cluster.address, "tls": tls}


def test_trials_of_a_worker_that_dies_run_elsewhere(own: DaskCluster, tmp_path: Path, uri: str) -> None:
    loses(at(own), tmp_path, uri, lambda: own.kill(own.workers[0]))


def test_a_worker_that_joins_gets_trials_and_none_at_all_is_waited_for(
    own: DaskCluster, tmp_path: Path, uri: str
) -> None:
    def all_go_and_one_comes() -> None:
        for worker in own.workers:
            own.kill(worker)
        own.add_worker()

    loses(at(own), tmp_path, uri, all_go_and_one_comes)


def test_a_scheduler_that_dies_leaves_the_sweep_resumable(own: DaskCluster, tmp_path: Path, uri: str) -> None:
    dies_and_is_resumed(at(own), tmp_path, uri, lambda: own.kill(own.scheduler))


def test_a_cluster_on_this_machine_is_started_and_ended(tmp_path: Path) -> None:
    sweep = function_sweep(executor={"engine": "dask"}, search={"trials": 6, "workers": 2, "pruner": "median"})
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert len(result.all_trials) == 6
    assert {trial.state for trial in result.all_trials} <= {"complete", "pruned"}


JOBS = """
import signal
from pathlib import Path

import hpo

def loss(params, trial):
    return params["x"] ** 2

if __name__ == "__main__":
    before = signal.getsignal(signal.SIGINT)
    sweep = hpo.build(
        name="jobs", objective="project:loss", metric={"name": "loss", "direction": "minimize"},
        space={"x": {"float": [-1, 1]}}, search={"engine": "random", "trials": 4, "workers": 2},
        executor={"engine": "dask", "cluster": "dask_jobqueue.local.LocalCluster",
                  "options": {"cores": 1, "processes": 1, "memory": "1GB"}},
    )
    result = hpo.run(sweep, folder=Path("journals"), tracking=None)
    print([trial.state for trial in result.all_trials], signal.getsignal(signal.SIGINT) == before)
"""


def test_workers_that_are_jobs_of_a_batch_system(tmp_path: Path) -> None:
    """dask-jobqueue's own stand-in for one: a worker is a script that it hands in. Importing it takes Ctrl-C away."""
    (tmp_path / "project.py").write_text(JOBS)
    done = subprocess.run([sys.executable, "project.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{['complete'] * 4} True"
