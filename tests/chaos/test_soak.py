"""R31: a long sweep with one trial in twenty-five failing in some way, a bad line to the server and a killed driver.

What grows with the number of trials is measured on the way: memory and open files of the driver.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil

import hpo.sync
from tests.chaos.figures import FULL, by_night, figure, form
from tests.chaos.harness import Driver, finished, the_journal, trials, wait_for_publisher
from tests.chaos.proxy import DROP, RESET, UNAVAILABLE, ChaosProxy, always, sometimes
from tests.chaos.test_publishing import runs_once
from tests.conftest import Server

OBJECTIVE = """
import os

def loss(params, trial):
    match trial.number % 100:
        case 13: raise ValueError("no value")
        case 37: os._exit(3)
        case 51: return float("nan")
        case 77 if trial.attempt == 1: os.kill(os.getpid(), 9)
    for step in range(5):
        trial.report(params["x"] ** 2 / (step + 1), step)
    return params["x"] ** 2
"""
SWEEP = """
name: r31
objective: objective:loss
metric: {{name: loss, direction: minimize}}
space: {{x: {{float: [-5, 5]}}, kind: {{choice: [a, b, c]}}}}
search: {{engine: random, trials: {trials}, workers: 2, seed: 31}}
"""
CREEP = 100.0  # MiB; 10,000 trials with five reports each, which the driver keeps, are 30 to 40


@by_night
def test_r31_a_long_sweep_under_all_faults(tmp_path: Path, server: Server) -> None:
    count, kills = int(os.environ.get("HPO_SOAK", form(120, 20_000))), form(2, 20)
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(trials=count))
    rules = sometimes(31, (0.01, "/mlflow/", DROP), (0.01, "/mlflow/", RESET), (0.01, "/mlflow/", UNAVAILABLE))
    begun = time.monotonic()
    with ChaosProxy(server.uri, rules) as proxy:
        arguments = ("--space", "sweep.yaml", "--tracking-uri", proxy.uri)
        for kill in range(kills):
            driver = Driver(tmp_path, *arguments)
            assert driver.kill_at((kill + 1) * count // (2 * kills))
            driver.reap()
        driver = Driver(tmp_path, *arguments)
        sampled: list[Sample] = []
        start = count // 2
        for goal in range(start + count // 20, count, count // 20):
            while finished(tmp_path) < goal:
                assert driver.process.poll() is None, driver.reap()
                time.sleep(0.05)
            sampled.append(sample(driver.process.pid, goal))
        driver.reap(None if FULL else 180)
        wait_for_publisher(tmp_path)
        path = the_journal(tmp_path)
        assert path is not None
        proxy.decide = always(None)
        assert hpo.sync.deliver(path) is None
    wrong = [trial.state for trial in trials(tmp_path)] != [_state(number) for number in range(count)]
    per = 10_000 / (sampled[-1].trials - sampled[1].trials)  # the first still imports
    ours, theirs = (per * (getattr(sampled[-1], who) - getattr(sampled[1], who)) for who in ("driver", "publisher"))
    # The least of the later ones: what creeps is in all of them, what a worker's replacement opens is in one or two.
    opened = min(one.files for one in sampled[len(sampled) // 2 :]) - sampled[0].files
    creeps = (ours > CREEP) + (theirs > CREEP) if count >= 2000 else 0  # in fewer it is not to be seen
    calls, spoilt = proxy.played.total(), proxy.played.total() - proxy.played[""]
    figure(
        "R31", "a long sweep, each kind of fault: every trial once, memory and open files do not creep",
        f"{count} trials, {kills} kills, {(time.monotonic() - begun) / 60:.1f} min, {spoilt} of {calls} "
        f"calls spoilt; 10,000 trials are {ours:.0f} MiB of the driver, {theirs:.0f} of the "
        f"publisher, {opened:+d} files", runs_once(server.uri, "r31", count) + wrong + (opened > 4) + creeps,
    )  # fmt: skip


class Sample(NamedTuple):
    """MiB of the driver and of the publisher beside it, and the driver's open files, at so many trials."""

    trials: int
    driver: float
    publisher: float
    files: int


def sample(pid: int, trials: int) -> Sample:
    driver = psutil.Process(pid)
    publishers = [child for child in driver.children() if "hpo.sync" in child.cmdline()]
    sizes = [process.memory_info().rss / 2**20 for process in [driver, *publishers]]
    return Sample(trials, sizes[0], sum(sizes[1:]), driver.num_fds())


def _state(number: int) -> str:
    return "failed" if number % 100 in (13, 37, 51) else "complete"
