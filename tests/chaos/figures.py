"""What a battery test measured, as one JSON line, and how long its form is.

Called at the end of each test of the fault battery; `scripts/torture` runs them with `-s` and collects the lines. It
sets the environment variable HPO_TORTURE to quick or full; CI leaves it unset, and leaves out what takes long. Times
are held there and not in CI, whose machines are everybody's.
"""

from __future__ import annotations

import json
import os

import pytest

TORTURE = "HPO_TORTURE" in os.environ
FULL = os.environ.get("HPO_TORTURE") == "full"

by_night = pytest.mark.skipif(not TORTURE, reason="takes long: scripts/torture runs it")


def form(short: int, full: int) -> int:
    """How often: in CI and `scripts/torture --quick`, and in the full `scripts/torture`."""
    return full if FULL else short


def limit(promised: float, hung: float) -> float:
    """Seconds: what is promised, on a machine of our own, in the battery; in CI what counts as hung. Where others
    keep the cores busy, it is that much more."""
    if not TORTURE:
        return hung
    return promised * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def figure(row: str, promise: str, figure: str, violations: int = 0) -> None:
    """Print the line, then hold the promise."""
    line = {"row": row, "promise": promise, "figure": figure, "violations": violations}
    print(f"\n{json.dumps(line, ensure_ascii=False)}", flush=True)
    assert violations == 0, f"{row}: {promise}: {figure}"
