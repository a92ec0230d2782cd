"""An Optuna study behind a storage URL: the space that its trials were drawn from, and what came of them.

Called by `hpo.import`. A study has no space of its own, only the distribution of each trial's parameters: the latest
one counts, and a parameter that only some trials have gets a condition where one of the others explains it. The storage
is only read; attributes in it are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.errors import InputError, Problem, did_you_mean
from hpo.foreign import Draft
from hpo.redact import redact
from hpo.trial import Trial, Value

_PLAIN = (bool, int, float, str, type(None))


def read(storage: str, name: str | None) -> Draft:
    """InputError: no such storage or study, or more than one where none is named."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        opened = _open(storage)
        names = optuna.get_all_study_names(opened)
    except Exception as error:  # of SQLAlchemy, of a driver, of a file that is none
        said = redact(str(error).strip().partition("\n")[0])
        raise InputError(Problem(f"{redact(storage)} cannot be read: {said}", hint="sqlite:///study.db")) from None
    if name is None and len(names) != 1:
        raise InputError(Problem(f"it has {len(names)} studies", hint=f"--study {'|'.join(names[:12])}"))
    if name is not None and name not in names:
        raise InputError(Problem(f"there is no study {name!r}", hint=did_you_mean(name, names)))
    study = optuna.load_study(study_name=name or names[0], storage=opened)
    trials = study.get_trials(deepcopy=False)
    notes: list[str] = []
    space = _space(trials, notes)
    directions = ["maximize" if d == StudyDirection.MAXIMIZE else "minimize" for d in study.directions]
    plain = ["value"] if len(directions) == 1 else [f"value_{k}" for k in range(len(directions))]
    called = study.metric_names or plain
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    known = tuple(_trial(k, trial, space) for k, trial in enumerate(complete))
    left = len(trials) - len(known)
    if left:
        notes.append(f"trials without a value (pruned, failed, running) are not carried over: {left}")
    metrics = tuple(zip(called, directions, strict=True))
    return Draft(study.study_name, space, metrics, search={"engine": "optuna"}, trials=known, notes=tuple(notes))


def _open(storage: str) -> optuna.storages.BaseStorage:
    """A URL of a database, or a journal file; nothing is created that is not there."""
    if "://" not in storage:
        with open(storage, encoding="utf-8"):
            backend = JournalFileBackend(storage)
        return optuna.storages.JournalStorage(backend)
    if storage.startswith("sqlite:///"):
        with open(storage.removeprefix("sqlite:///"), "rb"):
            pass
    return optuna.storages.RDBStorage(storage, skip_compatibility_check=False)


def _space(trials: Sequence[FrozenTrial], notes: list[str]) -> dict[str, dict[str, Any]]:
    latest: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if name in latest and latest[name] != distribution:
                text = f"{name} was drawn from different ranges in different trials: the latest one counts"
                notes.append(text) if text not in notes else None
            latest[name] = distribution
    space: dict[str, dict[str, Any]] = {}
    for name, distribution in latest.items():
        if (shape := _shape(distribution)) is None:
            notes.append(f"{name} has choices that are no plain number or text, and is left out")
        else:
            space[name] = shape
    for name in space:
        having = [name in trial.params for trial in trials if trial.params]
        if not all(having):
            if when := _condition(name, space, [trial for trial in trials if trial.params]):
                space[name]["when"] = when
            else:
                notes.append(f"{name} is missing in {having.count(False)} trials, and no choice explains it: "
                             "say when it is needed (when: {…}), or give it a value everywhere")  # fmt: skip
    return space


def _shape(distribution: BaseDistribution) -> dict[str, Any] | None:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return {"float": [low, high], **({"log": True} if log else {}), **({"step": step} if step else {})}
        case IntDistribution(low=low, high=high, log=log, step=step):
            return {"int": [low, high], **({"log": True} if log else {}), **({"step": step} if step != 1 else {})}
        case CategoricalDistribution(choices=choices) if all(isinstance(value, _PLAIN) for value in choices):
            return {"choice": list(choices)}
    return None


def _condition(name: str, space: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> dict[str, Any] | None:
    """A choice whose value says whether a trial has this parameter."""
    for parent, shape in space.items():
        if parent == name or "choice" not in shape or not all(parent in trial.params for trial in trials):
            continue
        on = {json.dumps(trial.params[parent]) for trial in trials if name in trial.params}
        off = {json.dumps(trial.params[parent]) for trial in trials if name not in trial.params}
        if not on & off:
            values = [value for value in shape["choice"] if json.dumps(value) in on]
            return {parent: values[0] if len(values) == 1 else values}
    return None


def _trial(number: int, trial: FrozenTrial, space: Mapping[str, Any]) -> Trial:
    params: dict[str, Value] = {name: trial.params[name] for name in space if name in trial.params}
    started = trial.datetime_start.timestamp() if trial.datetime_start else None
    finished = trial.datetime_complete.timestamp() if trial.datetime_complete else None
    return Trial(number, params, started=started, finished=finished, values=tuple(map(float, trial.values)))
