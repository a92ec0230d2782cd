"""A scheduler in a process of its own, and the work of its slots: `python -m tests.chaos.schedulers LEDGER FOLDER N`.

The work stands in for a sweep: a few steps, each of them durable, gone on with by whoever is asked next, and an end
that is found again. It notes what must never be: that two are at the same slot at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = 3


def jobs(count: int) -> list[str]:
    return [f"job-{number}" for number in range(count)]


def work(folder: Path) -> None:
    """One slot: the request on stdin, the outcome on stdout."""
    request = json.load(sys.stdin)
    place = folder / f"{request['schedule']}-{request['planned']}"
    busy = os.open(f"{place}.busy", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        Path(f"{place}.doubled").touch()
        raise
    steps = Path(f"{place}.steps")
    for _ in range(len(steps.read_bytes()) if steps.exists() else 0, STEPS):
        time.sleep(0.02)
        with steps.open("ab") as file:
            file.write(b".")
    print(json.dumps({"outcome": "kept", "reason": "done", "steps": len(steps.read_bytes())}))


def run(url: str, folder: Path, count: int) -> None:
    from hpo.recurrence import Recurrence
    from hpo.schedule.ledger import Ledger, connect
    from hpo.schedule.process import Processes
    from hpo.schedule.scheduler import Job, Scheduler

    made = [Job(name, Recurrence("* * * * *", catch_up="all", overlap="wait", retries=20)) for name in jobs(count)]
    processes = Processes(folder, lambda request: [sys.executable, "-S", __file__, "work", str(folder)])
    scheduler = Scheduler(made, Ledger(connect(url)), processes, at_once=2)
    signal.signal(signal.SIGTERM, lambda number, frame: scheduler.stop())
    while not (scheduler.stopping and not scheduler.busy):
        if not scheduler.look():
            time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(Path(sys.argv[2]))
    else:
        run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
