"""The executor without processes: a trial runs inside `wait`, in the driver itself.

For tests, for debugging an objective with a debugger, and for objectives that take less time than a message. It
can catch an exception but not a crash, and it has no deadline and no memory cap; `Local` has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hpo.attempt import Attempt, Evaluate, run_attempt
from hpo.executors.port import KeepTrial
from hpo.executors.worker import Job, trial_folder
from hpo.trial import Report, Trial


class Inline:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._evaluate: Evaluate | None = None
        self._queue: deque[Trial] = deque()

    @property
    def free(self) -> int:
        return 1 - len(self._queue)

    @property
    def busy(self) -> int:
        return len(self._queue)

    def submit(self, trial: Trial) -> None:
        self._queue.append(trial)

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> Sequence[Trial]:
        if not self._queue:
            return ()
        job = self._job
        if self._evaluate is None:
            self._evaluate = job.objective.open()
        trial = self._queue[0]

        def answer(report: Report) -> bool:
            return keep is None or keep(trial.number, report)

        attempt = Attempt(
            trial,
            seed=job.seed,
            threads=job.threads,
            keep=answer if job.two_way else None,
            folder=trial_folder(job.folder, trial.number),
        )
        done = run_attempt(self._evaluate, trial, attempt, job.metrics)
        self._queue.popleft()
        return (done,)

    def stop(self, number: int) -> bool:
        return False  # the trial is this process

    def close(self) -> None:
        self._queue.clear()
