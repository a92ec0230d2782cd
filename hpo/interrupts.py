"""Ctrl-C, SIGTERM and SIGHUP, as the loop wants them: the first asks it to finish, the second ends it now.

Used by `hpo.search` around everything that takes time. Only the main thread can own signals; in any other (a notebook's
helper thread, a web worker) the sweep simply cannot be interrupted this way.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The second signal. Not an Exception: no `except Exception` on the way may swallow it."""


class Interrupts:
    """`number` is the first signal that came, None while there is none."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._terminal = [fd for fd in (1, 2) if os.isatty(fd)]

    @property
    def name(self) -> str | None:
        """SIGINT, SIGTERM or SIGHUP."""
        return None if self.number is None else signal.Signals(self.number).name

    def __bool__(self) -> bool:
        return self.number is not None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            # `nohup` and a shell's `&` have one ignored on purpose: the sweep is to outlive it.
            heard = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
            self._before = {s: signal.signal(s, self._note) for s in heard}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Interrupted
        self.number = number
        for fd in self._terminal:
            if not os.isatty(fd):  # closed: what we print now would fail, and the sweep with it
                os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
