"""What a battery test measured, as one JSON line, and how long its form is.

Called at the end of each test of the fault battery; `scripts/torture` runs them with `-s` and collects the lines. It
sets the environment variable HPO_TORTURE to quick or full; CI leaves it unset, and leaves out what takes long.
"""

from __future__ import annotations

import json
import os

import pytest

FULL = os.environ.get("HPO_TORTURE") == "full"

by_night = pytest.mark.skipif("HPO_TORTURE" not in os.environ, reason="takes long: scripts/torture runs it")


def form(short: int, full: int) -> int:
    """How often: in CI and `scripts/torture --quick`, and in the full `scripts/torture`."""
    return full if FULL else short


def figure(row: str, promise: str, figure: str, violations: int = 0) -> None:
    """Print the line, then hold the promise."""
    line = {"row": row, "promise": promise, "figure": figure, "violations": violations}
    print(f"\n{json.dumps(line, ensure_ascii=False)}", flush=True)
    assert violations == 0, f"{row}: {promise}: {figure}"
