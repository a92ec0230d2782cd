"""How good is the score after so many trials: whole trials, our searchers and the usual ones. A part of `quality`.

Every searcher meets every problem with the same seeds, one trial after the other (`auto, 8 in flight` with eight at a
time). CPU is that of asking and telling. Ratios are to Optuna's default sampler, side by side in this run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
import recorded
from competing import Found, Kept, searcher_of, seed_of

from hpo.searchers.optuna import OptunaSearcher, _Kind

MARKS = (10, 25, 50, 100)


def ours(name: str, in_flight: int = 1) -> tuple[Callable[[recorded.Problem, int], Any], int]:
    return lambda problem, seed: searcher_of(name, problem, seed), in_flight


def optuna_gp(problem: recorded.Problem, seed: int) -> OptunaSearcher:
    """Optuna's own, which our engine does not offer: it needs torch."""
    sampler = optuna.samplers.GPSampler(seed=seed)
    return OptunaSearcher(problem.space, (problem.metric,), lambda number: sampler, _Kind("GPSampler"))


COMPETITORS: dict[str, tuple[Callable[[recorded.Problem, int], Any], int]] = {
    "random": ours("random"),
    "hyperopt tpe": ours("hyperopt tpe"),
    "optuna tpe": ours("tpe"),  # Optuna's default sampler with its default options
    "gp": ours("gp"),
    "auto": ours("auto"),
    "auto, no portfolio": ours("auto, no portfolio"),  # nothing from other data; the library's defaults go first
    "auto, 8 in flight": ours("auto", 8),
}
if find_spec("torch"):
    COMPETITORS["optuna gp"] = (optuna_gp, 1)


def compare(
    problems: list[recorded.Problem], names: list[str], seeds: int, trials: int, kept: Kept
) -> dict[str, dict[str, Any]]:
    """By competitor: the course of its regret on each problem and in the mean."""
    found: dict[str, dict[str, Any]] = {}
    print(f"{len(problems)} problems, {seeds} seeds: mean regret after so many trials")
    print(f"{'':30} " + " ".join(f"@{mark:<6}" for mark in MARKS if mark <= trials) + " CPU ms a trial", flush=True)
    for name in names:
        courses, cpu = {}, []
        for problem in problems:
            runs = [
                kept.get((name, problem.name, seed, trials), partial(_course, name, problem, seed, trials))
                for seed in range(seeds)
            ]
            courses[problem.name] = np.mean([course for course, _ in runs], 0)
            cpu += [seconds for _, seconds in runs]
        mean, ms = np.mean(list(courses.values()), 0), 1e3 * float(np.mean(cpu))
        found[name] = {"courses": courses, "mean": mean}
        print(f"{name:30} " + " ".join(f"{mean[m - 1]:<7.3f}" for m in MARKS if m <= trials) + f" {ms:.1f}", flush=True)
    return found


def _course(name: str, problem: recorded.Problem, seed: int, trials: int) -> Found:
    """The regret of the best after each finished trial, and CPU seconds of a trial, over the last tenth of them."""
    make, in_flight = COMPETITORS.get(name) or ours(name)
    searcher = make(problem, seed_of(seed, problem))
    best, course, running, cpu = np.inf, [], [], np.zeros(trials)
    for number in range(trials + in_flight - 1):
        begun = time.process_time()
        if number < trials:
            running.append(searcher.ask(number))
        asked = time.process_time() - begun
        if number >= in_flight - 1:
            trial = running.pop(0)
            loss = problem.loss(dict(trial.params))
            best = min(best, loss)
            begun = time.process_time()
            searcher.tell(replace(trial, started=0.0, finished=1.0, values=(problem.value(loss),)))
            cpu[trial.number] += time.process_time() - begun
            course.append(round(float(problem.regret(best)), 6))
        cpu[min(number, trials - 1)] += asked
    return course, float(cpu[-max(1, trials // 10) :].mean())


def ratios(found: dict[str, dict[str, Any]], trials: int) -> dict[str, float]:
    """Ours over Optuna's default; a problem that both have solved to a hundredth is no problem for anybody."""
    if "optuna tpe" not in found:
        return {}
    theirs, figures = found["optuna tpe"], {}
    marks = [mark for mark in MARKS if mark <= trials]
    for name, short in (("auto", "auto"), ("auto, no portfolio", "no_portfolio"), ("gp", "gp")):
        for mark in marks:
            if name in found:
                figures[f"{short}_at_{mark}"] = float(found[name]["mean"][mark - 1] / theirs["mean"][mark - 1])
    if "auto" in found and trials >= 100:
        courses = found["auto"]["courses"]
        pairs = [(max(courses[n][99], 0.01), max(theirs["courses"][n][99], 0.01)) for n in courses]
        figures["auto_worst_problem_at_100"] = max(float(o / t) for o, t in pairs)
    if "auto, 8 in flight" in found and "auto" in found and trials >= 100:
        serial = max(found["auto"]["mean"][99], 0.005)
        figures["in_flight_at_100"] = float(max(found["auto, 8 in flight"]["mean"][99], 0.005) / serial)
    return figures


def cost(problem: recorded.Problem) -> dict[str, float]:
    """CPU of an ask around trial 100 and trial 1,000, refits included, and of a replay of 1,000."""
    random = searcher_of("random", problem, 0)
    trials = [random.ask(number) for number in range(1000)]
    losses = problem.recorded.losses([dict(trial.params) for trial in trials])
    done = [
        replace(t, started=0.0, finished=1.0, values=(problem.value(v),)) for t, v in zip(trials, losses, strict=True)
    ]
    figures = {}
    for count in (100, 1000):
        searcher, asking = searcher_of("auto", problem, 0), 0.0
        begun = time.process_time()
        for trial in done[: count - 10]:
            searcher.tell(trial)
        figures[f"replay_s_of_{count}"] = (time.process_time() - begun) * count / (count - 10)
        for number in range(count - 10, count + 10):
            begun = time.process_time()
            trial = searcher.ask(number)
            asking += time.process_time() - begun
            value = problem.value(problem.loss(dict(trial.params)))
            searcher.tell(replace(trial, started=0.0, finished=1.0, values=(value,)))
        figures[f"ask_ms_at_{count}"] = 1e3 * asking / 20
    return figures
