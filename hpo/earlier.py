"""What earlier sweeps know: `search.warm_start` (first guesses and evidence for a new sweep) and `--evolve` (a sweep
goes on in a changed space).

Called by `hpo.search` and `hpo.plan` before a sweep begins. What was found is frozen in the new journal: the sweep must
resume the same, whatever becomes of those it learned from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo import searchers
from hpo.errors import InputError, Problem
from hpo.journal import Journal
from hpo.lease import Lease
from hpo.metric import Metric
from hpo.resume import Claim, claim, difference, find, journals
from hpo.searchers import Searcher
from hpo.space import Int
from hpo.sweep import Sweep
from hpo.trial import Params, Trial, Value

GUESSES = 3  # of the best configurations: more of them are much alike, and the searcher knows them as evidence
EVIDENCE = 200  # results, the newest sweep's best of them: a searcher bounds what it looks at anyway
TRUST = 0.9  # in results on other data: how far what they say correlates with what is true of these
DISCOUNTS = ("gp",)  # samplers that can weigh them so; the others are told of the same data only
DATA = "data.digest"  # of a meaning
NEVER = 0.001  # for a run without times: it has ended, and took nothing
LEARNS = {"optuna": ("auto", "gp", "tpe")}  # samplers that take results which they did not ask for
FREE = ("search.", "name")  # keys of a meaning that say nothing about what a trial's value means
EVOLVING = ("space", "fixed.", "search.engine", "search.sampler", "search.pruner", "search.portfolio", "search.enqueue")


@dataclass(frozen=True)
class Warmth:
    """`guesses` to try first, the best one first; `evidence` as trials with negative numbers, and a `trust` in the memo
    of those that were scored on other data."""

    source: str
    guesses: tuple[Params, ...] = ()
    evidence: tuple[Trial, ...] = ()

    def __str__(self) -> str:
        other = sum("trust" in trial.memo for trial in self.evidence)
        also = f" and {len(self.evidence)} results" if self.evidence else ""
        also += f", {other if other < len(self.evidence) else 'all'} of them on other data" if other else ""
        return f"warm start from {self.source}: {len(self.guesses)} configurations{also}"

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, "guesses": [dict(guess) for guess in self.guesses],
                "evidence": [trial.to_json() for trial in self.evidence]}  # fmt: skip

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Warmth:
        return cls(row["source"], tuple(row["guesses"]), tuple(map(Trial.from_json, row["evidence"])))

    def begin(self, sweep: Sweep) -> Sweep:
        """The sweep with the guesses behind the user's own."""
        search = replace(sweep.search, enqueue=(*sweep.search.enqueue, *self.guesses))
        return replace(sweep, search=search)


def begin(
    sweep: Sweep, folder: Path, uri: str | None, *, fresh: bool = False, resume: str | None = None,
    evolve: bool = False, facts: Mapping[str, Any] | None = None,
) -> Claim:  # fmt: skip
    """The sweep's journal, as `hpo.resume.claim` chooses it, with what a new one learns from earlier sweeps inside,
    and the given facts."""
    source = to_evolve(sweep, folder, resume) if evolve else None
    if source is not None:
        Lease(folder / f"{source.stem}.lock", f"sweep {source.stem}").release()  # nobody is at it

    def learned() -> dict[str, Any]:
        if source is not None:
            fits = carried(sweep, source)
            return {"follows": source.stem, "carried": [trial.to_json() for trial in fits.trials], "said": str(fits)}
        warm = warmth(sweep, folder, uri)
        return {} if warm is None else {"warmth": warm.to_json(), "said": str(warm)}

    resume = resume if source is None else None
    claimed = claim(sweep, folder, fresh=fresh or source is not None, resume=resume, begin=learned, **(facts or {}))
    trials = [Trial.from_json(row) for row in claimed.journal.fact("carried", [])]
    if trials and not claimed.journal.counts():  # a crash before this is made up for by the next command
        try:
            claimed.journal.record(*trials)
        except BaseException:
            claimed.journal.close()
            claimed.lease.release()
            raise
    return claimed


def searcher(journal: Journal, sweep: Sweep) -> Searcher:
    """The sweep's searcher, with the guesses and the evidence that its journal began with. The journal is told which
    parameters are the library's defaults, that a report can say what the search has gained."""
    journal.record(defaults=searchers.defaults(sweep))
    row = journal.fact("warmth")
    warm = Warmth.from_json(row) if row else None
    known = warm.evidence if warm else ()
    built = searchers.build(warm.begin(sweep) if warm else sweep, [trial.params for trial in known])
    for trial in known:
        built.tell(trial)
    return built


def to_evolve(sweep: Sweep, folder: Path, name: str | None) -> Path | None:
    """The journal that goes on in a changed space; None if nothing has changed. InputError if there is none."""
    known = [path for path in journals(folder) if _name(path) == sweep.name]
    if name is None and not known:
        raise InputError(Problem(f"there is no earlier sweep {sweep.name!r} to evolve", hint="leave out --evolve"))
    path = known[0] if name is None else find(folder, name)
    with closing(Journal(path, writable=False)) as journal:
        return None if journal.fact("identity") == sweep.identity else path


def warmth(sweep: Sweep, folder: Path, uri: str | None) -> Warmth | None:
    """What the sweep named in `search.warm_start` gives; None where there is none yet. Raises InputError."""
    name = sweep.search.warm_start
    if name is None:
        return None
    if name == "last":
        of_this = (path for path in journals(folder) if _name(path) == sweep.name)
        return next((warm for path in of_this if (warm := _from_journal(path, sweep)) is not None), None)
    if any(path.stem.startswith(name) for path in journals(folder)):
        return _from_journal(find(folder, name), sweep)
    if uri is None:
        hint = "an id or its beginning (hpo.status lists them), or last"
        raise InputError(Problem(f"there is no sweep {name!r} under {folder}", "search.warm_start", hint))
    from hpo.tracking.earlier import runs

    metric, found = sweep.metric, runs(uri, name, sweep.metric.name)
    same = [run for run in found if run.identity == sweep.identity]
    ranked = [(value, _parsed(run.params, sweep)) for run in found if (value := run.value) is not None]
    known = [Trial(-1, _parsed(run.params, sweep), values=(run.value,)) for run in same if run.value is not None]
    return _warm(name, metric, ranked, _ranked(known, metric), sweep)


def _name(path: Path) -> str | None:
    with closing(Journal(path, writable=False)) as journal:
        name: str | None = journal.fact("name")
        return name


def _from_journal(path: Path, sweep: Sweep) -> Warmth | None:
    with closing(Journal(path, writable=False)) as journal:
        trials, before, row = journal.trials(), journal.fact("meaning"), journal.fact("warmth")
        metrics = [Metric(*metric) for metric in journal.fact("metrics")]
        imported = journal.fact("imported") is not None
    metric = metrics[0]
    done = [trial for trial in trials if trial.state == "complete" and trial.values]
    ranked = [(trial.values[0], trial.params) for trial in done if trial.values]
    now = sweep.meaning()
    changed = {key for key in {*before, *now} if not key.startswith(FREE) and before.get(key) != now.get(key)}
    if imported:  # what else it means only the person knows who has named it
        changed = {m.direction for m in metrics} ^ {m.direction for m in sweep.metrics}
    if changed - {DATA} or not _learns(sweep):
        return _warm(path.stem, metric, ranked, [], sweep)
    known = _ranked(searchers.completed(done if sweep.data is None else trials, metric), metric)
    known += Warmth.from_json(row).evidence if row else ()  # and what that sweep had been told
    if changed:
        known = [replace(t, memo={"trust": t.memo.get("trust", 1.0) * TRUST}) for t in known]
    if searchers.sampler_of(sweep) not in DISCOUNTS:
        known = [trial for trial in known if "trust" not in trial.memo]
    return _warm(path.stem, metric, ranked, known, sweep)


def _learns(sweep: Sweep) -> bool:
    samplers = LEARNS.get(sweep.search.engine, ())
    return bool(samplers) and (sweep.search.sampler is None or sweep.search.sampler.name in samplers)


def _ranked(trials: Iterable[Trial], metric: Metric) -> list[Trial]:
    return sorted(trials, key=lambda trial: -metric.sign * trial.values[0] if trial.values else 0.0)


def _warm(
    source: str, metric: Metric, ranked: Iterable[tuple[float, Params]], known: Iterable[Trial], sweep: Sweep
) -> Warmth | None:
    """`ranked`: whose configurations may be guesses; `known`: whose results may be evidence, the first ones sooner."""
    guesses: list[Params] = []
    for _, params in sorted(ranked, key=lambda pair: -metric.sign * pair[0]):
        guess = {name: value for name, value in params.items() if name in sweep.space.names}
        if guess and guess not in guesses:
            guesses.append(guess)
    fits = [t for t in known if t.params in sweep.space and t.values and len(t.values) == len(sweep.metrics)]
    told = [
        # Without fold scores: their folds may be others, and this sweep's trials race among themselves.
        Trial(-1 - k, t.params, started=t.started or NEVER, finished=t.finished or NEVER, values=t.values,
              memo={"trust": t.memo["trust"]} if "trust" in t.memo else {})
        for k, t in enumerate(fits[:EVIDENCE] if _learns(sweep) else [])
    ]  # fmt: skip
    return Warmth(source, tuple(guesses[:GUESSES]), tuple(told)) if guesses else None


def _parsed(params: Mapping[str, str], sweep: Sweep) -> dict[str, Value]:
    """MLflow keeps text; what it says is found among the values of the space."""
    found: dict[str, Value] = {}
    for parameter in sweep.space.parameters:
        text = params.get(parameter.name)
        if text is None:
            continue
        values: tuple[Value, ...] = getattr(parameter, "values", ())
        if values:
            for value in values:
                if str(value) == text:
                    found[parameter.name] = value
            continue
        try:
            number = float(text)
        except ValueError:
            continue
        found[parameter.name] = int(number) if isinstance(parameter, Int) and number.is_integer() else number
    return found


@dataclass(frozen=True)
class Carried:
    """Trials of an earlier sweep in a changed one: those that fit, under their new numbers, and why others do not."""

    source: str
    trials: tuple[Trial, ...]
    left: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        said = f"evolved from {self.source}: {len(self.trials)} trials carry over"
        reasons = Counter(why for _, why in self.left)
        return said + "".join(f"; {n} not: {why}" for why, n in reasons.most_common(5))


def carried(sweep: Sweep, path: Path) -> Carried:
    """What of the sweep at `path` still holds. InputError where more has changed than its space."""
    with closing(Journal(path, writable=False)) as journal:
        before, trials = journal.fact("meaning"), journal.trials()
    now = sweep.meaning()
    others = {key for key in {*before, *now} if not key.startswith(EVOLVING)}
    if changes := difference({k: before.get(k) for k in others}, {k: now.get(k) for k in others}):
        hint = f"start a new sweep with --fresh; search.warm_start: {path.stem} gives it the best configurations"
        what = f"trials of {path.stem} would have other values now:\n  " + "\n  ".join(sorted(changes))
        raise InputError(Problem(what, hint=hint))
    fixed = {key[6:]: json.loads(text) for key, text in before.items() if key.startswith("fixed.")}
    kept: list[Trial] = []
    left: list[tuple[int, str]] = []
    for trial in trials:
        why = "it was still running" if trial.state == "running" else ""
        params, why = ({}, why) if why else _fitted({**fixed, **trial.params}, sweep)
        if why:
            left.append((trial.number, why))
        else:
            kept.append(replace(trial, number=len(kept), params=params, memo={}, artifacts=()))
    return Carried(path.stem, tuple(kept), tuple(left))


def _fitted(given: Mapping[str, Any], sweep: Sweep) -> tuple[dict[str, Value], str]:
    """All that the model was given, as parameters of the sweep, or why it would not be given that any more."""
    params = {name: given[name] for name in sweep.space.names if name in given}
    if problems := sweep.space.check(params):
        return {}, str(problems[0])
    rest = {name: value for name, value in given.items() if name not in params}
    for name in {**rest, **sweep.fixed}:
        if name not in sweep.fixed:
            return {}, f"{name} is not set any more"
        if name not in rest:
            return {}, f"{name} was not set"
        if json.dumps(rest[name]) != json.dumps(sweep.fixed[name]):
            return {}, f"{name} was not {sweep.fixed[name]!r}"
    return params, ""
