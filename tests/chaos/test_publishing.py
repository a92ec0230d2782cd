"""Publishing through a network that drops, delays and refuses, by a process that is killed: one run per trial.

A real MLflow server behind the chaos proxy. The wheel is broken on progress: after so many calls, trials or kills.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from mlflow import MlflowClient

import hpo.sync
from hpo.journal import PARENT, Journal
from hpo.lease import Lease
from hpo.status import status
from tests.chaos.figures import FULL, TORTURE, by_night, figure, form, limit
from tests.chaos.harness import ROOT, Driver, follower, the_journal, trials, wait_for_publisher
from tests.chaos.harness import finished as finished_of
from tests.chaos.proxy import BLACK_HOLE, DROP, TOO_MANY, UNAVAILABLE, ChaosProxy, Fault, always, sometimes
from tests.conftest import Server
from tests.tracking.sweeps import delivered_once, finished, journal_of, until

PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}  # seconds; a late create comes after that


def test_r3_a_killed_publisher_on_a_bad_line_makes_one_run_a_trial(tmp_path: Path, server: Server) -> None:
    """SIGKILL between any two calls; a fifth of the answers lost, every seventh create later than the client waits."""
    kills, count = form(2, 100), form(12, 120)
    rules = sometimes(7, (0.15, "runs/create", Fault("late", seconds=2.5)), (0.2, "/mlflow/", DROP))
    dice = random.Random(3)
    struck = 0
    with ChaosProxy(server.uri, rules) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(count)), id="r3-1", name="r3", state="running")
        with Lease(journal.path.with_suffix(".lock"), "the sweep"):
            for _ in range(kills):
                process = follower(journal.path, **PATIENT)
                goal = proxy.calls.total() + dice.randint(1, 2 * 7 * count // kills)
                until(lambda goal=goal: proxy.calls.total() >= goal or journal.count_unpublished() == 0)
                struck += process.is_alive()
                process.kill()
                process.join()
            journal.record(state="finished")
        process = follower(journal.path, **PATIENT)
        process.join(180 + count)
        proxy.drain()
        proxy.decide = always(None)
        assert hpo.sync.deliver(journal.path) is None
        doubtful = proxy.played["drop"] + proxy.played["late"]
    delivered_once(server.uri, "r3", count)
    journal.close()
    figure(
        "R3", "publisher killed, 20 % of answers dropped, 15 % of creates late: one run a trial",
        f"{struck} kills, {doubtful} doubtful calls, {count} trials: 0 missing, 0 doubled, 0 RUNNING",
        violations=int(struck < kills),
    )  # fmt: skip


def test_r7_a_trial_that_the_server_refuses_is_put_aside(tmp_path: Path, server: Server) -> None:
    """One batch is answered with 400: the reason is in the status and on the sweep's run, the others are published.
    Once the server takes it, nothing is put aside any more."""
    batches = iter(range(1000))

    def third_batch(line: str) -> Fault | None:
        return Fault("status", status=400) if "runs/log-batch" in line and next(batches) == 3 else None

    with ChaosProxy(server.uri, third_batch) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(6)), id="r7-1", name="r7")
        said = hpo.sync.deliver(journal.path)
        assert said is not None
        assert "refused 1 of the trials" in said
        refused = status(journal.path)["refused"]
        client = MlflowClient(server.uri)
        parent = client.get_run(journal.runs()[PARENT])
        assert parent.info.status == "FINISHED"
        [number] = refused
        assert parent.data.tags["hpo.refused"] == f"trial {number}: {refused[number]}"
        assert "400" in refused[number]
        published = len(journal.runs()) - 1 - journal.count_unpublished()
        assert hpo.sync.deliver(journal.path) is None
    assert status(journal.path)["refused"] == {}
    assert client.get_run(journal.runs()[PARENT]).data.tags["hpo.refused"] == "none any more"
    delivered_once(server.uri, "r7", 6)
    journal.close()
    figure("R7", "a refused trial is put aside with the reason", f"1 put aside, {published} published")


SWEEP = """
name: {name}
objective: objective:loss
metric: {{name: loss, direction: minimize}}
space: {{x: {{float: [-5, 5]}}}}
search: {{engine: random, trials: {trials}, workers: 2, seed: 11}}
"""
NAP = """
import time
def loss(params, trial):
    time.sleep({nap})
    return params["x"] ** 2
"""


def sweep(folder: Path, name: str, trials: int, nap: float) -> Path:
    folder.mkdir()
    (folder / "objective.py").write_text(NAP.format(nap=nap))
    (folder / "sweep.yaml").write_text(SWEEP.format(name=name, trials=trials))
    return folder


def searched(folder: Path) -> float:
    """Seconds from the first trial's start to the last one's end."""
    done = trials(folder)
    return max(trial.finished or 0.0 for trial in done) - min(trial.started or 0.0 for trial in done)


def runs_once(uri: str, name: str, count: int) -> int:
    """How many of the sweep's runs are missing, doubled or RUNNING."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    page = client.search_runs([experiment.experiment_id], max_results=5000)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment.experiment_id], max_results=5000, page_token=page.token)
        runs += page
    numbers = sorted(int(run.data.tags.get("hpo.trial", PARENT)) for run in runs)
    running = [run for run in runs if run.info.status == "RUNNING"]
    return int(numbers != list(range(PARENT, count))) + len(running)


@by_night
def test_r6_a_sweep_without_a_server_ends_well_and_is_published_later(tmp_path: Path, server: Server) -> None:
    folder, calm = (sweep(tmp_path / name, name, trials=60, nap=0.5) for name in ("r6", "r6-calm"))
    with ChaosProxy(server.uri) as proxy:
        with proxy.refusing():
            out = Driver(folder, "--space", "sweep.yaml", "--tracking-uri", proxy.uri).finish(0)
            assert "60 trials not yet published" in out
            assert "python -m hpo.sync" in out
            assert len(trials(folder)) == 60
        arguments = [sys.executable, "-m", "hpo.sync", "last"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        Driver(calm, "--space", "sweep.yaml", "--tracking-uri", proxy.uri).finish(0)
    longer = searched(folder) / searched(calm)
    wrong = runs_once(server.uri, "r6", 60) + (longer > 1.05)
    late = sweep(tmp_path / "late", "r6-late", trials=100, nap=0.2)
    with ChaosProxy(server.uri) as proxy:
        with proxy.refusing():
            driver = Driver(late, "--space", "sweep.yaml", "--tracking-uri", proxy.uri)
            until(lambda: the_journal(late) and finished_of(late) >= 30, 120)
        driver.finish(0)
    figure(
        "R6 start",
        "no server at the start, there later: exit 0, all published",
        "100 of 100 published",
        runs_once(server.uri, "r6-late", 100),
    )
    figure(
        "R6",
        "no server from start to end: exit 0, the search as fast as with one (5 %), all published by `hpo sync`",
        f"60 of 60 published, search time x{longer:.3f}",
        wrong,
    )


@contextmanager
def outage(proxy: ChaosProxy, kind: str) -> Iterator[None]:
    if kind == "refused":
        with proxy.refusing():
            yield
        return
    proxy.decide = always({"black hole": BLACK_HOLE, "503": UNAVAILABLE, "429": TOO_MANY}[kind])
    yield
    proxy.decide = always(None)


def test_r5_an_outage_delays_no_trial(tmp_path: Path, server: Server) -> None:
    """Four outages in one sweep, each for so many trials; the next comes when all is published. A trial sleeps, so
    whatever it takes more than in calm times is the outage's."""
    nap, away = (0.8, 50) if FULL else (0.5, 12)  # shorter, and a busy machine searches faster than it publishes
    kinds = ("refused", "503", "429", "black hole")
    folder = sweep(tmp_path / "s", "r5", trials=100_000, nap=nap)
    spans: dict[str, tuple[int, int]] = {}
    drained: dict[str, float] = {}
    with ChaosProxy(server.uri) as proxy:
        driver = Driver(folder, "--space", "sweep.yaml", "--tracking-uri", proxy.uri, env={} if TORTURE else PATIENT)
        until(lambda: the_journal(folder), 120)
        path = the_journal(folder)
        assert path is not None
        with closing(Journal(path, durable=False)) as journal:
            until(lambda: len(journal.runs()) > 4, 300)
            for kind in kinds:
                begin = finished_of(folder)
                with outage(proxy, kind):
                    until(lambda begin=begin: finished_of(folder) >= begin + away, 300)
                back, end = time.monotonic(), finished_of(folder)
                until(lambda end=end: len(journal.runs()) > end, 300)
                spans[kind], drained[kind] = (begin + 2, end), time.monotonic() - back
        driver.signal(signal.SIGINT)
        driver.finish(130)
        wait_for_publisher(folder)
        assert hpo.sync.deliver(path) is None  # who interrupts a sweep waits only so long for what is left
    done = sorted(trials(folder), key=lambda trial: trial.started or 0.0)
    wrong = runs_once(server.uri, "r5", len(done))
    pace = [(two.started or 0.0) - (one.started or 0.0) for one, two in zip(done, done[2:], strict=False)]
    struck = {number for begin, end in spans.values() for number in range(begin, end)}
    calm = median(gap for number, gap in enumerate(pace) if number not in struck)
    for kind, (begin, end) in spans.items():
        slower = median(pace[begin : end - 2]) / calm - 1
        worst = max(trial.seconds for trial in done[begin:end]) - nap
        figure(
            f"R5 {kind}", "server away in mid-sweep: trials slow down by less than 5 %, all is there 10 s after it",
            f"median trial {slower:+.1%}, slowest {1000 * worst:+.0f} ms, published after {drained[kind]:.1f} s",
            wrong + (drained[kind] > limit(10, 60)) + (slower > (0.05 if TORTURE else 0.5)),
        )  # fmt: skip
