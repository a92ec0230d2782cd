"""A clock that stands still until it is told: the wall clock may be set, the monotonic one only ever goes on.

For tests in one process; both are what every module sees as `time.time` and `time.monotonic`.
"""

from __future__ import annotations

import time

import pytest


class FakeClock:
    def __init__(self, patch: pytest.MonkeyPatch, wall: float = 1_790_000_000.0) -> None:
        self.wall = wall
        self.monotonic = 1000.0
        patch.setattr(time, "time", lambda: self.wall)
        patch.setattr(time, "monotonic", lambda: self.monotonic)

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def set_wall(self, by: float) -> None:
        """As NTP, a person or a resumed virtual machine does it."""
        self.wall += by
