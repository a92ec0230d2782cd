"""What trials print, whatever ends them: the trial itself, its worker, or the whole sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hpo.executors import logs
from hpo.executors.logs import begin_log, keep_log, recover_logs, trim_log
from hpo.executors.worker import trial_folder
from tests.conftest import ROOT
from tests.tracking.sweeps import until

SWEEP = """
import sys, time
import hpo

which = sys.argv[1]

def talk(params, trial):
    print("trial", trial.number, "says", "password=hunter22")
    if trial.number == 1:
        time.sleep(3600 if which == "first" else 0)
    return params["x"]

sweep = hpo.build(
    name="talk", objective=talk, metric={"name": "loss", "direction": "minimize"}, space={"x": {"float": [0, 1]}},
    search={"trials": 3, "workers": 1, "engine": "random"},
)
hpo.run(sweep, tracking=None)
"""


def test_a_killed_sweep_leaves_the_log_of_its_running_trial(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(SWEEP)

    def start(which: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "talk.py", which], cwd=tmp_path, env=environment)

    driver = start("first")
    try:
        until(lambda: any(b"trial 1" in path.read_bytes() for path in tmp_path.glob(".hpo/*/workers/0.log")))
    finally:
        driver.kill()
        driver.wait()
    assert start("second").wait(120) == 0
    (folder,) = tmp_path.glob(".hpo/talk-*/trials")
    texts = [(folder / f"{number:04d}" / "log.txt").read_text() for number in range(3)]
    said = "trial {} says password=***\n"
    again = f"{said.format(1)}\n--- the next attempt\n{said.format(1)}"
    assert texts == [said.format(0), again, said.format(2)]


def test_a_long_log_keeps_its_two_ends(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("first\n" + "x" * 2_000_000 + "\nlast\n")
    keep_log(log, tmp_path / "trial")
    kept = (tmp_path / "trial" / "log.txt").read_text()
    assert kept.startswith("first\nxxx")
    assert kept.endswith("xxx\nlast\n")
    assert f"… {2_000_012 - logs.HEAD - logs.TAIL} bytes left out …" in kept
    assert len(kept) < logs.HEAD + logs.TAIL + 100
    assert log.stat().st_size == 0


def test_a_silent_trial_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_bytes(b"")
    keep_log(tmp_path / "0.log", tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_a_log_of_a_running_trial_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"begin")
        writer.truncate(logs.LARGEST + 1)  # a hole: as large, and nothing on disk
        trim_log(log)
        writer.write(b"end")
    assert log.stat().st_size == logs.HEAD + 3
    assert log.read_bytes().startswith(b"begin")
    assert log.read_bytes().endswith(b"end")


def test_logs_of_nobody_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_text("whose?")
    (tmp_path / "1.log").write_text("mine")
    begin_log(tmp_path / "1.log", 7)
    recover_logs(tmp_path, lambda number: trial_folder(tmp_path, number))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("trials/*/*")] == ["trials/0007/log.txt"]
