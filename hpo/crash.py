"""Named places where a test may have this process die: `HPO_CRASH_AT=created:2` is the second time it gets there.

Called by journal, projection and registry around each step that cannot be undone: the instants that matter most are
those that random kills seldom hit. Without the variable it compares two short texts.
"""

from __future__ import annotations

import itertools
import os
import signal

_NAME, _, _TIMES = os.environ.get("HPO_CRASH_AT", "").partition(":")
_passed = itertools.count(1)


def point(name: str) -> None:
    """SIGKILL for this process if this is the place, for the n-th time."""
    if name == _NAME and next(_passed) == int(_TIMES):
        os.kill(os.getpid(), signal.SIGKILL)
