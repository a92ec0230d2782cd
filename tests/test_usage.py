"""What a trial took from the machine: its own processor time and peak, not what came before it."""

from __future__ import annotations

import subprocess
import sys

from hpo.usage import Usage
from tests.conftest import ROOT

SCRIPT = """
from hpo.usage import Usage
def take(megabytes, rounds):
    usage = Usage()
    bytearray(b"x") * (megabytes * 2**20)
    sum(i * i for i in range(rounds))
    return usage.read()
large, small = take(300, 3_000_000), take(1, 1)
assert large["system/peak_memory_mb"] > 300 > small["system/peak_memory_mb"], (large, small)
assert large["system/cpu_seconds"] > small["system/cpu_seconds"] >= 0, (large, small)
"""


def test_each_trial_has_a_peak_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, cwd=ROOT)


def test_children_that_ended_count() -> None:
    usage = Usage()
    subprocess.run([sys.executable, "-c", "sum(i * i for i in range(5_000_000))"], check=True)
    assert usage.read()["system/cpu_seconds"] > 0.05
