"""Control groups: what is written where, and by a kernel that lets us, that it holds.

The first tests see files in a plain folder, laid out as the kernel does it; the last one needs cgroup v2 with the
memory controller handed to us, and says so where there is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.executors import cgroup
from tests.conftest import ROOT


def group(folder: Path, controllers: str = "cpu memory pids", handed: str = "", living: str = "") -> Path:
    folder.mkdir()
    (folder / "cgroup.controllers").write_text(f"{controllers}\n")
    (folder / "cgroup.subtree_control").write_text(f"{handed}\n")
    (folder / "cgroup.procs").write_text(f"{living}\n")
    return folder


def test_a_group_of_our_own_is_divided(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", living=str(os.getpid()))
    assert cgroup.home(own) == own
    [leaf] = own.glob("hpo-driver-*")
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+memory"
    assert cgroup.home(leaf) == own, "this is where we are from now on"


def test_one_that_hands_out_memory_already_is_taken_as_it_is(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", handed="cpu memory", living="1")
    assert cgroup.home(own) == own
    assert len(list(own.iterdir())) == 3


@pytest.mark.parametrize(("controllers", "living"), [("cpu pids", ""), ("cpu memory", "1")])
def test_without_the_controller_or_among_others_nothing_is_changed(
    tmp_path: Path, controllers: str, living: str
) -> None:
    own = group(tmp_path / "scope", controllers, living=f"{os.getpid()}\n{living}")
    assert cgroup.home(own) is None
    assert len(list(own.iterdir())) == 3
    assert (own / "cgroup.subtree_control").read_text() == "\n"


def test_a_worker_is_capped_with_all_it_starts(tmp_path: Path) -> None:
    capped = cgroup.Group(tmp_path, 4711, 2**30)
    [path] = tmp_path.glob("hpo-trials-*")
    written = {file.name: file.read_text() for file in path.iterdir()}
    assert written == {
        "memory.max": str(2**30), "memory.swap.max": "0", "memory.oom.group": "1", "cgroup.procs": "4711",
    }  # fmt: skip
    assert capped.kills == 0
    (path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n")
    assert capped.kills == 2


def test_an_empty_group_is_removed(tmp_path: Path) -> None:
    capped = cgroup.Group(tmp_path, 4711, 2**30)
    [path] = tmp_path.glob("hpo-trials-*")
    for file in path.iterdir():  # the kernel does this
        file.unlink()
    capped.close()
    assert not path.exists()
    capped.close()


EATS = """
import os, sys, time
import hpo
from hpo.executors import cgroup

def eats(params, trial):
    if trial.number == 1:
        for _ in range(4):  # each stays below the cap of one process
            if os.fork() == 0:
                kept = bytearray(200 * 2**20)
                kept[::4096] = b"x" * len(kept[::4096])
                time.sleep(600)
        os.wait()
    return params["x"]

if cgroup.own_home() is None:
    sys.exit(9)
result = hpo.run(
    hpo.build(
        name="eats", objective=eats, metric={"name": "loss", "direction": "minimize"}, space={"x": {"float": [0, 1]}},
        search={"engine": "random", "trials": 3, "workers": 1}, limits={"memory": 512 * 2**20, "trial_timeout": 60.0},
    ), tracking=None,
)
print([trial.failure and trial.failure.cause for trial in result.all_trials])
"""


def test_the_kernel_holds_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EATS], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode == 9:
        pytest.skip("no control group of cgroup v2 with memory was handed to us here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[None, 'memory', None]"
