"""A lease is held by one process at a time, and goes with it however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo.errors import HeldError
from hpo.lease import Lease, holder

HOLD = "import sys, time; from pathlib import Path; from hpo.lease import Lease\n"
HOLD += "lease = Lease(Path(sys.argv[1]), 'it'); print('held', flush=True); time.sleep(600)"


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert holder(path) is None
    with Lease(path, "sweep a"):
        who = holder(path)
        assert who is not None
        assert who["pid"] == os.getpid()
        with pytest.raises(HeldError, match=rf"sweep a is held by process {os.getpid()} on"):
            Lease(path, "sweep a")
    assert holder(path) is None
    Lease(path, "sweep a").release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_the_process(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        who = holder(path)
        assert who is not None
        assert who["pid"] == other.pid
        begun = time.monotonic()
        with pytest.raises(HeldError, match=f"process {other.pid}"):
            Lease(path, "it")
        assert time.monotonic() - begun < 30  # it refuses; it does not wait
        other.send_signal(number)
    Lease(path, "it").release()


def test_a_frozen_holder_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(HeldError):
            Lease(path, "it")
        other.kill()


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lease = Lease(path, "it")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False) as child:
        lease.release()
        # The kernel closes what a new program must not have one by one, and Popen may return in the middle of it.
        until = time.monotonic() + 10
        while holder(path) is not None and time.monotonic() < until:
            time.sleep(0.01)
        child.kill()
    assert time.monotonic() < until
