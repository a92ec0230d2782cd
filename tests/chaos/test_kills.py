"""Whole sweeps, killed: nothing lost, nothing doubled, and the same trials as if nothing had happened.

Real drivers, real SIGKILLs on journal progress, real MLflow on SQLite. The long form with hundreds of kills belongs to
`scripts/torture`.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

import hpo
from hpo import searchers
from hpo.journal import PARENT, Journal
from hpo.trial import Trial
from tests.chaos.figures import FULL, figure, form
from tests.chaos.harness import ROOT, Driver, finished, same, the_journal, trials, wait_for_publisher

OBJECTIVE = """
def loss(params, trial):
    for step in range(3):
        trial.report(params["x"] ** 2 / (step + 1), step)
    return params["x"] ** 2 + params.get("y", 0.5) + {"a": 0, "b": 1, "c": 2}[params["kind"]]
"""
SWEEP = """
name: killed
objective: objective:loss
metric: {{name: loss, direction: minimize}}
space:
  x: {{float: [-5, 5]}}
  kind: {{choice: [a, b, c]}}
  y: {{float: [0.001, 1], log: true, when: {{kind: [a, b]}}}}
  z: {{int: [1, 9], when: {{kind: a}}}}
search: {{engine: {engine}, trials: {trials}, workers: {workers}, seed: 11}}
"""


def sweep(folder: Path, engine: str, trials: int, workers: int) -> Path:
    folder.mkdir()
    (folder / "objective.py").write_text(OBJECTIVE)
    (folder / "killed.yaml").write_text(SWEEP.format(engine=engine, trials=trials, workers=workers))
    return folder


def runs_in_mlflow(folder: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=5000))


@pytest.mark.parametrize("engine", ["optuna", "hyperopt"])
def test_a_killed_serial_sweep_ends_with_the_trials_of_an_uninterrupted_one(tmp_path: Path, engine: str) -> None:
    """Row R26."""
    straight = sweep(tmp_path / "straight", engine, trials=40, workers=1)
    Driver(straight, "--space", "killed.yaml", "--tracking-uri", "none").finish()
    killed = sweep(tmp_path / "killed", engine, trials=40, workers=1)
    kills = 0
    moments = (1, 4, 9, 15, 22, 28, 34) if FULL else (1, 9, 22, 34)
    for at in moments:
        driver = Driver(killed, "--space", "killed.yaml", "--tracking-uri", "none")
        kills += driver.kill_at(at)
        driver.reap()
    Driver(killed, "--space", "killed.yaml", "--tracking-uri", "none", "--json").finish(0)
    assert kills >= len(moments) - 2
    pairs = zip(trials(killed), trials(straight), strict=True)
    other = sum(not same([left], [right]) for left, right in pairs)
    promise = "a killed and resumed sweep has the trials of an uninterrupted one"
    figure(f"R26 {engine}", promise, f"{kills} kills, identical {40 - other}/40", other)


BOTH = [("optuna", 4), ("hyperopt", 1)]


@pytest.mark.parametrize(("engine", "workers"), [*BOTH, *([("optuna", 1), ("hyperopt", 4)] if FULL else [])])
def test_sigkill_of_the_driver_loses_and_doubles_nothing(
    tmp_path: Path, migrated: Path, engine: str, workers: int
) -> None:
    """R1."""
    strikes = form(5, 200 if engine == "optuna" else 40)
    folder = sweep(tmp_path / "s", engine, trials=36, workers=workers)
    shutil.copyfile(migrated, folder / "mlflow.db")
    acknowledged: dict[int, Trial] = {}
    kills, dice = 0, Random(workers)
    for _ in range(strikes):  # no end in sight, however slow we are to strike
        driver = Driver(folder, "--space", "killed.yaml", "--trials", "100000")
        kills += driver.kill_at(len(acknowledged) + dice.randint(1, 5), late=0.02 * dice.random())
        driver.reap()
        now = {trial.number: trial for trial in trials(folder) if trial.state != "running"}
        assert {n: now[n] for n in acknowledged} == acknowledged, "what was recorded is never changed"
        acknowledged = now
    budget = len(trials(folder)) + 10
    out = Driver(folder, "--space", "killed.yaml", "--trials", str(budget)).finish()
    assert "resumed" in out
    assert kills == strikes

    done = trials(folder)
    assert [trial.number for trial in done] == list(range(budget)), "the budget is met exactly"
    assert {trial.state for trial in done} == {"complete"}
    wait_for_publisher(folder)
    runs = runs_in_mlflow(folder)
    [parent] = [run for run in runs if "hpo.trial" not in run.data.tags]
    children = {int(run.data.tags["hpo.trial"]): run for run in runs if "hpo.trial" in run.data.tags}
    assert len(runs) == budget + 1, "every trial once"
    assert {run.info.status for run in runs} == {"FINISHED"}
    for trial in done:
        run = children[trial.number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        assert trial.values is not None
        assert run.data.metrics["loss"] == pytest.approx(trial.values[0])
    path = the_journal(folder)
    assert path is not None
    with closing(Journal(path)) as journal:
        assert journal.runs() == {PARENT: parent.info.run_id, **{n: r.info.run_id for n, r in children.items()}}
    figure(
        f"R1 {engine} {workers}", "driver's process group killed again and again, resumed each time: every trial once",
        f"{kills} kills, {budget} trials: 0 lost, 0 doubled, 0 RUNNING, 0 extra",
    )  # fmt: skip


SLOW = """
import time
def loss(params, trial):
    time.sleep(0.15)
    return params["x"] ** 2
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_sweep_resumable(tmp_path: Path, number: int, code: int) -> None:
    """Row R14, with tests/chaos/test_drivers.py."""
    folder = sweep(tmp_path / "s", "random", trials=12, workers=2)
    (folder / "objective.py").write_text(SLOW)
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    assert driver.kill_at(3, number)
    out = driver.finish(code)
    assert "--resume" in out
    assert {trial.state for trial in trials(folder)} == {"complete"}, "running trials were allowed to finish"
    before = finished(folder)
    assert before < 12
    Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish()
    assert finished(folder) == 12


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """Row R14: what is printed then fails; the sweep ends as after any SIGHUP."""
    folder = sweep(tmp_path / "s", "random", trials=12, workers=1)
    (folder / "objective.py").write_text(SLOW)
    ours, theirs = pty.openpty()
    command = (
        f"import fcntl, os, sys, termios; fcntl.ioctl({theirs}, termios.TIOCSCTTY, 0)\n"
        f"[os.dup2({theirs}, fd) for fd in (0, 1, 2)]; os.close({theirs})\n"
        f"from hpo.search import command; command(['--space', 'killed.yaml', '--tracking-uri', 'none'])"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", command], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, pass_fds=[theirs],
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    while finished(folder) < 2:
        assert driver.poll() is None
        if select.select([ours], [], [], 0.01)[0]:
            os.read(ours, 65536)
    os.close(ours)
    assert driver.wait(60) == 129
    assert {trial.state for trial in trials(folder)} == {"complete"}, "running trials were allowed to finish"
    assert finished(folder) < 12


def test_a_second_signal_ends_it_now(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", "random", trials=12, workers=1)
    (folder / "objective.py").write_text(SLOW.replace("0.15", "0.01 if trial.number < 2 else 600"))
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    assert driver.kill_at(2, signal.SIGINT)
    time.sleep(0.3)  # two Ctrl-C in the same instant are one
    driver.signal(signal.SIGINT)
    driver.finish(130)
    assert finished(folder) == 2


def test_two_drivers_on_one_sweep(tmp_path: Path) -> None:
    """Row R22, with tests/chaos/test_drivers.py."""
    folder = sweep(tmp_path / "s", "random", trials=30, workers=1)
    (folder / "objective.py").write_text(SLOW)
    first = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    while finished(folder) < 1:
        assert first.process.poll() is None
        time.sleep(0.01)
    out = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish(4)
    assert f"held by process {first.process.pid}" in out
    first.finish()
    assert finished(folder) == 30


def test_another_meaning_is_refused_with_the_difference_and_fresh_starts_anew(tmp_path: Path) -> None:
    """Row R27; which changes are one: tests/test_sweep.py."""
    folder = sweep(tmp_path / "s", "random", trials=30, workers=1)
    (folder / "objective.py").write_text(SLOW)
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    assert driver.kill_at(2)
    driver.reap()
    changed = ["--space", "killed.yaml", "--tracking-uri", "none", "--set", "search.seed=12", "--trials", "3"]
    before = the_journal(folder)
    assert before is not None
    out = Driver(folder, *changed).finish(2)
    refused = "search.seed: 11 -> 12" in out and "--fresh" in out and "Traceback" not in out
    (folder / "objective.py").write_text(SLOW.replace("0.15", "0.1"))
    out = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish(2)
    refused = refused and "code: " in out
    Driver(folder, *changed, "--fresh").finish(0)
    [after] = set((folder / ".hpo").glob("*.journal")) - {before}
    with closing(Journal(after)) as journal:
        linked = journal.fact("follows") == before.stem
    promise = (
        "an edited space or objective is refused with the difference; --fresh starts a sweep that names the former"
    )
    figure("R27", promise, f"refused: {refused}, linked: {linked}", (not refused) + (not linked))


def test_a_lost_worker_costs_a_retry_and_not_the_trial(tmp_path: Path) -> None:
    """Row R4, with tests/chaos/test_bad_trials.py."""
    folder = sweep(tmp_path / "s", "random", trials=8, workers=2)
    (folder / "objective.py").write_text(SLOW.replace("0.15", "0.6"))
    driver = Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none")
    while finished(folder) < 2:
        assert driver.process.poll() is None
        time.sleep(0.01)
    workers = [
        child
        for template in psutil.Process(driver.process.pid).children()
        if "hpo.executors" in " ".join(template.cmdline())
        for child in template.children()
    ]
    assert len(workers) == 2
    workers[0].kill()
    driver.finish()
    done = trials(folder)
    lost = [trial.number for trial in done if trial.state != "complete"]
    again = [trial.number for trial in done if trial.attempt == 2]
    ask = searchers.build(hpo.load(folder / "killed.yaml")).ask  # at random: by the number alone
    other = [trial.number for trial in done if trial.params != ask(trial.number).params]
    figure(
        "R4 killed", "a trial whose worker is killed from outside is run again, once, with the same parameters",
        f"{len(done)} trials, {len(again)} run again, {len(other)} with other parameters, {len(lost)} lost",
        len(lost) + len(other) + abs(len(again) - 1) + abs(len(done) - 8),
    )  # fmt: skip


def test_it_needs_no_mlflow_and_the_driver_never_imports_it(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", "optuna", trials=5, workers=1)
    code = (
        "import sys, hpo\n"
        "result = hpo.run(hpo.load('killed.yaml'), tracking=sys.argv[1] if len(sys.argv) > 1 else None)\n"
        "assert len(result.all_trials) == 5 and result.best is not None and not result.unpublished, result\n"
        "assert 'mlflow' not in sys.modules\n"
        "print(len(result.trials))\n"
    )
    for arguments in ([], [f"sqlite:///{folder}/other.db"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "5\n"
    assert not (folder / "mlflow.db").exists()
