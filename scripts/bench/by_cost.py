"""How good is the score after so much training: trials that stop early, and Optuna's pruners. A part of `quality`.

On problems with folds and curves: the tables of real runs, and data sets trained on. A budget is the cost of so many
whole random trials; the trial that crosses the line does not count. Optuna's pruners run as their documentation asks:
over the rounds with all folds trained together, Wilcoxon's over the folds. A competitor of ours is SEARCHER + PRUNER;
`race over rounds` is the race with its option. Last, the share of the cost of 60 whole trials of Optuna's default after
which ours is as good as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, Protocol, cast

import numpy as np
import optuna
from competing import Found, Kept, search_of, seed_of
from recorded import Problem

from hpo import searchers
from hpo.objectives.folds import fold_order
from hpo.searchers.random import RandomSearcher
from hpo.space import Int
from hpo.sweep import Data, Named, Sweep
from hpo.trial import Report

MARKS = (2.5, 5, 10, 20, 40)
TRIALS, PATIENCE = 60, 3.0  # of the usual loop; times its cost, after which ours is given up
MOST = 1000  # trials: a pruner that stops nearly all of them at once would never use its budget up
SOON = 4  # seeds of that last comparison
Spent = Iterator[tuple[float, float | None]]  # after each trial: its seconds, and its loss unless it was pruned


class Folded(Protocol):
    """What a problem must say of a configuration, so that it can be stopped on the way."""

    slower: float  # times the recorded seconds: what a searcher is told
    draws: int  # random configurations whose mean cost is that of a whole trial

    def steps(self, configuration: dict[str, Any]) -> np.ndarray:
        """The rounds of the curve's points, the last one of the configuration last."""
        ...

    def curves(self, configuration: dict[str, Any]) -> np.ndarray:
        """Loss by fold and step."""
        ...

    def folds_of(self, configuration: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and seconds of each fold."""
        ...


def ours(name: str) -> Callable[[Problem, int], Spent]:
    searcher_name, _, pruner = name.partition(" + ")
    chosen = Named("race", {"rounds": True}) if pruner == "race over rounds" else Named(pruner)

    def run(problem: Problem, seed: int) -> Spent:
        data, model, folded = Data(Path("recorded"), "target"), "xgboost.XGBClassifier", _folded(problem)
        search = search_of(searcher_name, seed, chosen)
        sweep = Sweep(problem.name, problem.space, (problem.metric,), data=data, model=model, search=search)
        searcher, clock, number = searchers.build(sweep), 0.0, 0
        while True:
            trial = searcher.ask(number)
            params = dict(trial.params)
            losses, seconds = folded.folds_of(params)
            curves, steps = folded.curves(params), folded.steps(params)
            reports, spent, done = [], 0.0, []
            for fold in fold_order(sweep, len(losses), number):
                stopped = False
                for step, loss in zip(steps, curves[fold], strict=True):
                    reports.append(Report(int(step) - 1, problem.value(float(loss)), fold))
                    if not searcher.keep(number, reports[-1]):
                        stopped = True
                        break
                spent += float(seconds[fold]) * (step / steps[-1] if stopped else 1.0)
                if stopped:
                    break
                done.append(fold)
                reports.append(Report(fold, problem.value(float(losses[fold]))))
                if not searcher.keep(number, reports[-1]):
                    break
            done.sort()
            whole = len(done) == len(losses)
            searcher.tell(
                replace(
                    trial,
                    started=clock,
                    finished=clock + folded.slower * spent,
                    pruned=not whole,
                    reports=tuple(reports),
                    folds=tuple(done),
                    values=(problem.value(float(losses.mean())),) if whole else None,
                    scores={problem.metric.name: tuple(problem.value(float(losses[k])) for k in done)},
                )
            )
            clock += folded.slower * spent
            number += 1
            yield spent, float(losses.mean()) if whole else None

    return run


def theirs(make: Callable[[int], Any], over_folds: bool = False) -> Callable[[Problem, int], Spent]:
    def run(problem: Problem, seed: int) -> Spent:
        folded, most = _folded(problem), next(p for p in problem.space.parameters if p.name == "n_estimators")
        assert isinstance(most, Int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=make(most.high))
        while True:
            trial = study.ask()
            params = {p.name: _suggest(trial, p) for p in problem.space.parameters}
            losses, seconds = folded.folds_of(params)
            if over_folds:  # the mean so far is the value of a pruned trial, as the documentation of Wilcoxon's does
                courses = [(k, float(losses[k]), float(seconds[: k + 1].sum())) for k in range(len(losses))]
            else:
                steps, curve = folded.steps(params), folded.curves(params).mean(0)
                courses = [
                    (int(step), float(loss), float(seconds.sum()) * step / steps[-1])
                    for step, loss in zip(steps, curve, strict=True)
                ]
            seen = []
            for step, loss, _ in courses:
                seen.append(loss)
                trial.report(loss, step)
                if len(seen) < len(courses) and trial.should_prune():
                    break
            whole = len(seen) == len(courses)
            if whole or over_folds:
                study.tell(trial, fmean(seen) if over_folds else seen[-1])
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            yield courses[len(seen) - 1][2], float(losses.mean()) if whole else None

    return run


def _suggest(trial: optuna.Trial, parameter: Any) -> Any:
    if isinstance(parameter, Int):
        return trial.suggest_int(parameter.name, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)


UNPRUNED, OURS = "optuna tpe + nothing", "auto + race"
PEERS = {
    UNPRUNED: theirs(lambda rounds: optuna.pruners.NopPruner()),
    "optuna tpe + median": theirs(lambda rounds: optuna.pruners.MedianPruner()),
    "optuna tpe + halving": theirs(lambda rounds: optuna.pruners.SuccessiveHalvingPruner()),
    "optuna tpe + hyperband": theirs(
        lambda rounds: optuna.pruners.HyperbandPruner(
            min_resource=max(1, rounds // 27), max_resource=rounds, reduction_factor=3
        )
    ),
    "optuna tpe + wilcoxon": theirs(lambda rounds: optuna.pruners.WilcoxonPruner(p_threshold=0.1), over_folds=True),
}
COMPETITORS = (
    *PEERS, OURS, "auto, no portfolio + race", "auto, no portfolio + race over rounds", "tpe + race",
    "auto, no portfolio + none",
)  # fmt: skip


def compare(problems: list[Problem], names: list[str], seeds: int, kept: Kept) -> dict[str, np.ndarray]:
    """By competitor: its mean regret at each mark."""
    print(f"{len(problems)} problems with folds, {seeds} seeds: mean regret after the cost of so many whole trials")
    print(f"{'':30} " + " ".join(f"@{mark:<6}" for mark in MARKS) + " pruned", flush=True)
    units = {problem.name: _unit(problem) for problem in problems}
    found = {}
    for name in names:
        runs = [
            kept.get((name, p.name, s, "cost"), partial(_course, name, p, s, units[p.name]))
            for p in problems for s in range(seeds)
        ]  # fmt: skip
        found[name] = np.mean([regrets for regrets, _ in runs], 0)
        share = fmean(pruned for _, pruned in runs)
        print(f"{name:30} " + " ".join(f"{regret:<7.3f}" for regret in found[name]) + f" {share:.0%}", flush=True)
    return found


def ratios(found: dict[str, np.ndarray], problems: list[Problem], seeds: int, kept: Kept) -> dict[str, float]:
    """The regret of ours over that of Optuna's best, and the share of the cost of 60 of its whole trials."""
    if OURS not in found or not any(name in found for name in PEERS):
        return {}
    best = np.min([found[name] for name in PEERS if name in found], 0)
    figures = {f"race_at_{m:g}": float(r) for m, r in zip(MARKS, found[OURS] / best, strict=True)}
    # What scripts/bench/time_to_score measures on real training, without its start and its idle slots.
    shares = [
        kept.get(("soon", p.name, s), partial(_soon, p, s))[1]
        for p in problems for s in range(min(seeds, SOON))
    ]  # fmt: skip
    return figures | {"cost_to_60": median(shares), "cost_to_60_worst": max(shares)}


def _course(name: str, problem: Problem, seed: int, unit: float) -> Found:
    """The regret at each mark, and the share of the trials that were pruned."""
    run = (PEERS.get(name) or ours(name))(problem, seed_of(seed, problem))
    spent, best, trials, pruned = 0.0, np.inf, 0, 0
    found: list[float] = []
    for seconds, loss in run:
        spent += seconds
        while len(found) < len(MARKS) and spent >= MARKS[len(found)] * unit:
            found.append(1.0 if best == np.inf else float(problem.regret(best)))
        if len(found) == len(MARKS):
            break
        trials, pruned = trials + 1, pruned + (loss is None)
        best = min(best, np.inf if loss is None else loss)
        if trials == MOST:
            break
    end = 1.0 if best == np.inf else float(problem.regret(best))
    return found + [end] * (len(MARKS) - len(found)), pruned / max(trials, 1)


def _soon(problem: Problem, seed: int) -> Found:
    """The cost after which ours has the score of Optuna's default after 60 whole trials, as a share of theirs."""
    seed = seed_of(seed, problem)
    usual = [cost for cost, _ in zip(PEERS[UNPRUNED](problem, seed), range(TRIALS), strict=False)]
    whole, wanted = sum(seconds for seconds, _ in usual), min(loss for _, loss in usual if loss is not None)
    spent = 0.0
    for seconds, loss in ours(OURS)(problem, seed):
        spent += seconds
        if (loss is not None and loss <= wanted) or spent > PATIENCE * whole:
            break
    return [], spent / whole


def with_folds(problems: list[Problem]) -> list[Problem]:
    """Those that have folds: a surrogate has none to race over."""
    return [problem for problem in problems if hasattr(problem.recorded, "folds_of")]


def _folded(problem: Problem) -> Folded:
    return cast(Folded, problem.recorded)


def _unit(problem: Problem) -> float:
    """Seconds of a whole random trial, in the mean."""
    random = RandomSearcher(problem.space, 0)
    of, draws = _folded(problem).folds_of, _folded(problem).draws
    return fmean(float(of(dict(random.ask(number).params))[1].sum()) for number in range(draws))
