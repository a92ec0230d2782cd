"""The driver's handle on the process that publishes its journal: start it beside the search, wait for it after.

Used by `hpo.search`. The driver itself never imports mlflow and never waits for a server while it searches; what is
not published when the user has waited long enough stays in the journal for `python -m hpo.sync`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hpo.journal import Journal


class Publisher:
    """`python -m hpo.sync --follow JOURNAL`; in a group of its own, so that it outlives a killed driver."""

    def __init__(self, journal: Journal, folder: Path, uri: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = journal
        self._log = folder / "sync.log"
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hpo.sync", "--follow", str(journal.path.absolute())],
                env={**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": uri},  # the journal keeps no password
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        # It may outlive the search, in a process that goes on: somebody must hear of its end.
        threading.Thread(target=self._process.wait, name="hpo publisher", daemon=True).start()

    def wait(self, tick: Callable[[int], None], enough: Callable[[], bool]) -> str | None:
        """Wait until everything is published; `tick` hears how many trials are left. Returns what went wrong. After
        `enough` it goes on without us, to its end or until the server is silent."""
        while (code := self._process.poll()) is None:
            if enough():
                return "not waited for"
            tick(self._journal.count_unpublished())
            time.sleep(0.1)
        if code == 0:
            return None
        error = (self._journal.fact("sync") or {}).get("error")
        error = error or f"the publishing process ended with code {code}, see {self._log}"
        left = self._journal.count_unpublished()
        return f"{left} trial{'s' * (left != 1)} not yet published: {error}" if left else error

    def stop(self) -> str | None:
        """End it if it has not ended; what it leaves is for `python -m hpo.sync`."""
        if self._process.poll() is not None:
            return None
        self._process.kill()  # other signals are not for it: see `hpo.sync`
        self._process.wait()
        return "stopped by the user"
