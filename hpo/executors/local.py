"""The executor for one machine: a process per slot, kept warm, watched, replaced when lost.

Built by `hpo.executors.build`, driven by the loop. All waiting happens in one place, on all pipes at once; time is
the monotonic clock's. What ended a worker is told apart (exception, time-out, out of memory, signal, exit), because
only a loss that the parameters cannot have caused is worth another attempt.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection as mp
from pathlib import Path
from typing import Any

from hpo.errors import InputError
from hpo.executors import cgroup
from hpo.executors.birth import Births, Child
from hpo.executors.logs import keep_log, recover_logs, trim_log
from hpo.executors.port import KeepTrial
from hpo.executors.worker import Broken, Job, Lost, Message, Ready, pack, trial_folder
from hpo.redact import redact
from hpo.trial import Failure, Report, Trial

KILL_AFTER = 5.0  # seconds between the polite and the final signal
_BY_OTHERS = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT}


@dataclass(frozen=True)
class Asked:
    """A trial waits to be told whether it should go on."""

    number: int
    attempt: int
    report: Report


class Local:
    """`deadline` in seconds per trial, counted from the moment its worker takes it up.

    `environments`: what each slot's processes have in their environment besides; None takes a variable away.
    """

    def __init__(
        self,
        job: Job,
        workers: int,
        deadline: float | None = None,
        environments: Sequence[Mapping[str, str | None]] = (),
        births: Births | None = None,
    ) -> None:
        self._deadline = deadline
        logs = job.folder / "workers"
        logs.mkdir(parents=True, exist_ok=True)
        recover_logs(logs, partial(trial_folder, job.folder))
        if job.memory is not None:
            cgroup.own_home()  # it moves this process: before any other is there that would have to be moved as well
        packed = pack(job)
        given = [*environments, *[{}] * workers]
        self._births = births or Births(job.threads, given, job.imports)
        self._slots = [
            _Slot(job, packed, str(n + 1), logs / f"{n}.log", given[n], self._births) for n in range(workers)
        ]

    @property
    def free(self) -> int:
        return sum(slot.trial is None for slot in self._slots)

    @property
    def busy(self) -> int:
        return sum(slot.trial is not None for slot in self._slots)

    def submit(self, trial: Trial) -> None:
        # A ready worker before one that still imports its engine.
        slot = min((s for s in self._slots if s.trial is None), key=lambda s: not s.ready)
        slot.submit(trial)

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> Sequence[Trial]:
        until = None if timeout is None else time.monotonic() + timeout
        finished: list[Trial] = []
        while self.busy and not finished:
            for event in self.events(until):
                if isinstance(event, Trial):
                    finished.append(event)
                else:
                    self.answer(event.number, event.attempt, keep is None or keep(event.number, event.report))
            if not finished and until is not None and time.monotonic() >= until:
                break
        return finished

    def events(self, until: float | None, wake: Any = None) -> list[Trial | Asked]:
        """One look at all pipes: what ended, and what waits for `answer`. Returns at the monotonic moment `until`, or
        when `wake`, something with a file descriptor, can be read."""
        seen: list[Trial | Asked] = []
        self._greet()
        watched: list[Any] = [slot.connection for slot in self._slots] + self._births.watched
        ready = mp.wait(watched if wake is None else [*watched, wake], self._seconds_left(until))
        self._greet()
        for slot in self._slots:
            if slot.connection in ready:
                seen += self._receive(slot)
            slot.enforce(self._deadline)
            trim_log(slot.log)
        return seen

    def answer(self, number: int, attempt: int, keep: bool) -> None:
        """To what `events` said was asked; a trial that has ended meanwhile needs no answer."""
        for slot in self._slots:
            if slot.asking and slot.trial is not None and (slot.trial.number, slot.trial.attempt) == (number, attempt):
                slot.answer(keep)

    def stop(self, number: int) -> bool:
        """By killing its process: what it had not reported is lost."""
        held = [slot for slot in self._slots if slot.ready and slot.trial is not None and slot.trial.number == number]
        for slot in held:
            slot.stop()
        return bool(held)

    def close(self) -> None:
        for slot in self._slots:
            slot.kill()
            if slot.trial is not None:  # stopped with it
                keep_log(slot.log, trial_folder(slot.job.folder, slot.trial.number))
            slot.log.with_suffix(".trial").unlink(missing_ok=True)
            slot.log.unlink(missing_ok=True)  # what it said about trials that ended is with them, redacted
        self._births.close()

    def _greet(self) -> None:
        for child in self._births.look():
            for slot in self._slots:
                slot.greet(child)

    def _receive(self, slot: _Slot) -> Iterator[Trial | Asked]:
        match slot.receive():
            case Broken(problems):
                raise InputError(*problems)
            case Report() as report if slot.trial is not None:
                slot.asking = True
                yield Asked(slot.trial.number, slot.trial.attempt, report)
            case Lost(failure):
                if slot.trial is not None and slot.ready:
                    yield slot.lost(slot.trial, failure)
                slot.replace()
            case Trial() as trial:
                slot.trial = None
                if trial.failure is not None and trial.failure.cause == "memory":
                    slot.replace()  # what is left of a process that ran out of memory is suspect
                yield replace(trial, worker=slot.name)
            case _:
                pass

    def _seconds_left(self, until: float | None) -> float | None:
        moments = [slot.alarm(self._deadline) for slot in self._slots]
        moments.append(until)
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None


class _Slot:
    """One worker process and the trial it holds. `since` is when that trial was taken up, once it was."""

    def __init__(
        self, job: Job, packed: bytes, name: str, log: Path, environment: Mapping[str, str | None], births: Births
    ) -> None:  # fmt: skip
        self.job = job
        self.name = name
        self._packed = packed
        self._environment = environment
        self._births = births
        self.log = log
        self._stillborn = 0
        self.trial: Trial | None = None
        self._stopped = False  # by a person; how its process ended says nothing about its trial then
        self._spawn()

    def _spawn(self) -> None:
        self.log.write_bytes(b"")
        self.ready = False
        self.asking = False
        self._since: float | None = None
        self._terminated: float | None = None
        self._overrun: Failure | None = None
        self._group: cgroup.Group | None = None
        self._ooms = self._oom_kills()
        self._process = self._births.bear(self._environment)
        self.connection = self._process.connection
        self.greet(self._process)

    def greet(self, child: Child) -> None:
        """Tell it who it is, once it is born: its memory is capped before it does anything."""
        if child is not self._process or child.pid is None:
            return
        self._group = cgroup.cap(child.pid, self.job.memory)
        self._ooms = self._oom_kills()
        with contextlib.suppress(OSError):  # a worker that is dead already is found by `receive`
            self.connection.send(self.log)
            self.connection.send_bytes(self._packed)
            if self.trial is not None:
                self.connection.send(self.trial)

    def submit(self, trial: Trial) -> None:
        self.trial = trial
        self._stopped = False
        self._submitted = time.monotonic()
        if self.ready:
            self._since = time.monotonic()
        if self._process.pid is not None:
            with contextlib.suppress(OSError):
                self.connection.send(trial)

    def lost(self, trial: Trial, failure: Failure) -> Trial:
        """In the trial's own time, from the moment it was taken up: no step of the clock makes it end before."""
        taken_up = self._submitted if self._since is None else self._since
        started = (trial.started or time.time()) + taken_up - self._submitted
        if self._stopped:
            return replace(trial, pruned=True, started=started, finished=started + time.monotonic() - taken_up)
        return replace(trial, started=started, worker=self.name).failed(failure, started + time.monotonic() - taken_up)

    def stop(self) -> None:
        self._stopped = True
        self._process.kill()

    def answer(self, keep: bool) -> None:
        self.asking = False
        with contextlib.suppress(OSError):
            self.connection.send(keep)

    def receive(self) -> Message:
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return self._autopsy()
        if isinstance(message, Ready):
            self.ready, self._stillborn = True, 0
            self._since = time.monotonic()
        return message

    def alarm(self, deadline: float | None) -> float | None:
        """The next monotonic moment at which `enforce` has something to do."""
        if self._terminated is not None:
            return self._terminated + KILL_AFTER
        if deadline is None or self.trial is None or self._since is None:
            return None
        return self._since + deadline

    def enforce(self, deadline: float | None) -> None:
        """TERM a trial that is over its deadline, KILL it when that did not help."""
        moment = self.alarm(deadline)
        if moment is None or time.monotonic() < moment:
            return
        if self._terminated is None:
            self._terminated = time.monotonic()
            self._process.terminate()
            self._overrun = Failure("timeout", f"no result after {deadline:g} s (limits.trial_timeout)")
        else:
            self._process.kill()

    def replace(self) -> None:
        """A new process for this slot. One that died before it was ready never saw the trial that waits for it;
        the third such death in a row is nobody's bad luck any more."""
        waiting = None
        if self.ready:
            if self.trial is not None:
                keep_log(self.log, trial_folder(self.job.folder, self.trial.number))
        else:
            self._stillborn += 1
            waiting = self.trial
        if self._stillborn >= 3:
            tail = redact(self.log.read_text(errors="replace"))[-2000:].strip()
            raise InputError(f"workers die while they open the objective ({self._exit()}):\n{tail}")
        self.kill()
        self.trial = None
        self._spawn()
        if waiting is not None:
            self.submit(waiting)

    def kill(self) -> None:
        self._process.close()
        self._process.kill()
        self._process.wait()
        if self._group is not None:
            self._group.close()

    def _oom_kills(self) -> int:
        return cgroup.oom_kills() if self._group is None else self._group.kills

    def _autopsy(self) -> Lost:
        """Why the pipe broke. A worker that closed it but lives on has lost its mind: it is killed."""
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._overrun is not None:
            return Lost(self._overrun)
        code = self._process.wait()
        if self._oom_kills() > self._ooms and code == -signal.SIGKILL:
            return Lost(Failure("memory", "killed by the kernel: out of memory"))
        if code >= 0:
            return Lost(Failure("exit", f"the trial ended its process with exit code {code}"))
        transient = -code in _BY_OTHERS
        return Lost(Failure("signal", f"the worker was killed by {self._exit()}", transient=transient))

    def _exit(self) -> str:
        code = self._process.wait()
        try:
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        except ValueError:
            return f"signal {-code}"
