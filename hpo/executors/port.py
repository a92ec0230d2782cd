"""The port of an executor: where trials run.

Implemented by the adapters beside it, called by the loop in `hpo.search`. An executor turns started trials into
finished ones and decides nothing: whether a failure is tried again, and what a report is answered with, is the
driver's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hpo.trial import Report, Trial

KeepTrial = Callable[[int, Report], bool]


class Executor(Protocol):
    """What the loop needs of an executor.

    Promises. *No exception of a trial escapes*: whatever happens to a worker comes back as a failed trial.
    *Each submitted trial comes back exactly once* from `wait`, unless `close` came first. *Slots heal*: after
    a lost worker, `free` is what it was. *Two ways*: each report is answered by `keep(number, report)` before
    the trial goes on, when `wait` is given a `keep`.
    """

    @property
    def free(self) -> int:
        """How many trials can be submitted now."""
        ...

    @property
    def busy(self) -> int:
        """How many trials are running."""
        ...

    def submit(self, trial: Trial) -> None: ...

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> Sequence[Trial]:
        """The trials that finished, at least one, or none after `timeout` seconds; answers reports meanwhile."""
        ...

    def stop(self, number: int) -> bool:
        """End this running trial now, though it does not ask: it comes back from `wait` as a pruned one. False where
        that cannot be done."""
        ...

    def close(self) -> None:
        """Stop everything now. Trials still running are gone: the journal knows them as started."""
        ...
