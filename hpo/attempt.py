"""One attempt at a trial, seen from inside the objective; the `trial` that a user's function is handed.

Made by an executor's worker, filled by an objective, turned back into a frozen `Trial` by `run_attempt`. It
records everything before it asks anything, so that a trial that is stopped, raises or returns nonsense keeps
what it had. A worker is a pure function from a trial to a trial: nothing here writes to journal or tracking.
"""

from __future__ import annotations

import math
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hpo.metric import Metric
from hpo.redact import redact
from hpo.trial import Failure, Params, Pruned, Report, Trial

Outcome = float | Sequence[float] | Mapping[str, float] | None
Evaluate = Callable[["Attempt"], Outcome]
Keep = Callable[[Report], bool]


class Objective(Protocol):
    """What is run: pickled to each worker once, opened there once, then called once per trial.

    It may have `imports`, the names of modules that `open` needs and that start no thread: they are imported once for
    all workers of a machine.
    """

    def open(self) -> Evaluate: ...


class Attempt:
    """What an objective may ask of and say about the trial it runs.

    `keep` answers each report with False when the trial should stop; `folder` takes the artifacts.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        seed: int = 0,
        threads: int = 1,
        keep: Keep | None = None,
        folder: Path | None = None,
    ) -> None:
        self.number = trial.number
        self.attempt = trial.attempt
        self.params: Params = dict(trial.params)
        self.threads = threads
        self.seed = seed
        self._keep = keep
        self._folder = folder
        self._stop = False
        self._reports: list[Report] = []
        self._scores: dict[str, dict[int, float]] = {}
        self._metrics: dict[str, float] = {}
        self._artifacts: list[str] = []

    def report(self, value: float, step: int, fold: int | None = None) -> None:
        """Tell a value on the way. A value that is not finite is kept out: it says nothing about the trial."""
        value = float(value)
        if not math.isfinite(value):
            return
        report = Report(int(step), value, fold)
        self._reports.append(report)
        if self._keep is not None and not self._stop:
            self._stop = not self._keep(report)

    def should_prune(self) -> bool:
        """True once a report was answered with "stop"; then `raise hpo.Pruned()`."""
        return self._stop

    def score(self, metric: str, value: float, fold: int) -> None:
        """A fold's score of one metric."""
        self._scores.setdefault(metric, {})[fold] = float(value)

    def log_metric(self, name: str, value: float) -> None:
        """A number that is logged with the trial and not optimised."""
        self._metrics[name] = float(value)

    def log_artifact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Keep a copy of a file with the trial, under its own or the given name."""
        source = Path(path)
        name = name or source.name
        target = self._target(name)
        shutil.copyfile(source, target)
        self._artifacts.append(name)

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as a file with the trial."""
        self._target(name).write_text(text, encoding="utf-8")
        self._artifacts.append(name)

    def _target(self, name: str) -> Path:
        if self._folder is None:
            raise ValueError("this attempt has no folder for artifacts")
        target = (self._folder / name).resolve()
        if not target.is_relative_to(self._folder.resolve()):
            raise ValueError(f"artifact name {name!r} leaves the trial's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def close(self, trial: Trial) -> Trial:
        """The trial with everything that was recorded here."""
        folds = sorted({fold for scores in self._scores.values() for fold in scores})
        return replace(
            trial,
            scores={name: tuple(scores[k] for k in sorted(scores)) for name, scores in self._scores.items()},
            folds=() if folds == [*range(len(folds))] else tuple(folds),
            metrics=dict(self._metrics),
            reports=tuple(self._reports),
            artifacts=tuple(dict.fromkeys(self._artifacts)),
        )


def run_attempt(
    evaluate: Evaluate,
    trial: Trial,
    attempt: Attempt,
    metrics: Sequence[Metric],
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Run the objective once. Never raises, except what asks the whole process to stop.

    Timestamps are the trial's wall-clock start plus a monotonic duration, so none ends before it starts.
    """
    begun = clock()
    wall = trial.started if trial.started is not None else time.time()
    failure: Failure | None = None
    values: tuple[float, ...] | None = None
    pruned = False
    try:
        values = _values(evaluate(attempt), metrics)
    except MemoryError as error:
        failure = Failure("memory", f"out of memory: {error}" if str(error) else "out of memory", _trace(error))
    except Exception as error:
        if isinstance(error, Pruned) or type(error).__name__ == "TrialPruned":  # Optuna's, from moved code
            pruned = True
        elif isinstance(error, _NotFiniteError):
            failure = Failure("not finite", str(error))
        elif "bad_alloc" in str(error):  # how XGBoost and other C++ libraries say MemoryError
            failure = Failure("memory", f"out of memory: {error}", _trace(error))
        else:
            failure = Failure("exception", f"{type(error).__name__}: {error}", _trace(error))
    except SystemExit as error:
        failure = Failure("exit", f"the objective called sys.exit({error.code!r})", _trace(error))
    finished = wall + max(0.0, clock() - begun)
    done = replace(attempt.close(trial), started=wall, values=values, pruned=pruned, finished=finished)
    if failure is None:
        return done
    return done.failed(replace(failure, message=redact(failure.message)[:2000]), finished)


class _NotFiniteError(Exception):
    pass


def _values(outcome: Outcome, metrics: Sequence[Metric]) -> tuple[float, ...]:
    names = [metric.name for metric in metrics]
    if isinstance(outcome, Mapping):
        if missing := [name for name in names if name not in outcome]:
            raise _NotFiniteError(f"the objective returned no value for {', '.join(missing)}")
        found: Sequence[object] = [outcome[name] for name in names]
    elif isinstance(outcome, (str, bytes)) or not isinstance(outcome, Sequence):
        found = [outcome]
    else:
        found = outcome
    if len(found) != len(names):
        raise _NotFiniteError(
            f"the objective returned {len(found)} values for {len(names)} metrics ({', '.join(names)})"
        )
    values = []
    for name, value in zip(names, found, strict=True):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, (str, bytes)) or not math.isfinite(number):
            raise _NotFiniteError(f"{name} is {value!r:.200}, not a finite number")
        values.append(number)
    return tuple(values)


def _trace(error: BaseException) -> str:
    """The traceback from the objective's own frame on, capped from the middle."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    text = redact("".join(traceback.format_exception(type(error), error, frames)))
    return text if len(text) <= 16_000 else f"{text[:6_000]}\n…\n{text[-10_000:]}"
