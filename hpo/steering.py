"""Steering: what people have ordered while the sweep runs, carried out by the driver, each order once.

Used by `hpo.driver`. Orders come by a queue beside the journal (`hpo.orders`); what the driver makes of one goes into
the journal's fact `orders`, in one commit with what follows from it, the answer to whoever asked included. So a driver
that dies has either not taken an order, or taken it whole, and a resumed sweep is steered as the interrupted one was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from hpo.errors import InputError, Problem, did_you_mean
from hpo.journal import Journal
from hpo.metric import Metric
from hpo.orders import Answer, Order, Orders
from hpo.progress import Progress
from hpo.sweep import Sweep
from hpo.trial import Params, Value

KEPT = 100  # answers; whoever asked reads his at once

Stop = Callable[[int], bool]


class Waiting(NamedTuple):
    """Parameters that a person wants to be tried, by the number of the order."""

    order: int
    params: Params


class Steering:
    """`paused`: start nothing. `condemned`: trials that are to stop at their next report."""

    def __init__(self, journal: Journal, progress: Progress, stop: Stop) -> None:
        kept = journal.fact("orders") or {}
        self._orders = Orders(journal.path)
        self._progress = progress
        self._stop = stop
        self._seen: int = kept.get("seen", 0)
        self._extra: int = kept.get("extra", 0)
        self._waiting = [Waiting(order, params) for order, params in kept.get("waiting", [])]
        self._asked: dict[int, Waiting] = {}
        self._answers: dict[str, Any] = dict(kept.get("answers", {}))
        self.condemned: set[int] = set(kept.get("condemned", ()))
        self.paused: bool = kept.get("paused", False)
        self._stopped: str | None = kept.get("stopped")
        self._closed = False
        self._news = bool(kept)
        self._extend(self._extra)
        progress.enough = self._stopped or progress.enough
        progress.paused = self.paused

    def look(self) -> bool:
        """Take what was ordered since the last look; whether there was anything."""
        if not self._orders.changed:
            return False
        orders = self._orders.after(self._seen)
        for order in orders:
            self._answers[str(order.number)] = asdict(self._carry_out(order))
            self._seen = order.number
            self._news = True
        self._answers = dict(list(self._answers.items())[-KEPT:])
        self._progress.paused = self.paused
        return bool(orders)

    def next(self, number: int) -> Params | None:
        """What a person wants trial `number` to be, if anything."""
        if not self._waiting:
            return None
        self._asked[number] = self._waiting.pop(0)
        return self._asked[number].params

    def news(self, started: Collection[int] = ()) -> dict[str, Any]:
        """Facts for the commit in which these trials start; none if nothing has changed."""
        tried = [self._asked.pop(number) for number in started if number in self._asked]
        if not tried and not self._news:
            return {}
        self._news = False
        waiting = sorted([*self._asked.values(), *self._waiting])
        return {
            "trials": self._progress.sweep.search.trials,
            "orders": {
                "seen": self._seen, "extra": self._extra, "waiting": [list(each) for each in waiting],
                "condemned": sorted(self.condemned), "paused": self.paused, "stopped": self._stopped,
                "closed": self._closed, "answers": self._answers,
            },
        }  # fmt: skip

    def close(self) -> dict[str, Any]:
        """Facts for the end of the search: who asks from now on is told that it is over."""
        self._closed = self._news = self._orders.path.exists()
        return self.news()

    def _carry_out(self, order: Order) -> Answer:
        running = self._progress.counts["running"]
        still = f"; {running} trial{'s' * (running != 1)} still run{'s' * (running == 1)}" if running else ""
        match order.verb:
            case "pause":
                before, self.paused = self.paused, True
                return Answer(True, "it was paused already" if before else f"no trial is started{still}")
            case "resume":
                before, self.paused = self.paused, False
                return Answer(before, "it goes on" if before else "it was not paused")
            case "stop":
                self._stopped = self._progress.enough = f"stopped by {order.who}"
                return Answer(True, f"the search ends here{still}")
            case "extend":
                self._extra += order.argument
                self._extend(order.argument)
                return Answer(True, f"the budget is {self._progress.sweep.search.trials} trials now")
            case "enqueue":
                self._waiting.append(Waiting(order.number, order.argument))
                left = self._progress.sweep.search.trials - len(self._progress.trials)
                late = "" if left >= len(self._waiting) else "; the budget is used up, extend it as well"
                return Answer(True, f"it is tried next{late}")
            case _:
                return self._condemn(order.argument)

    def _condemn(self, number: int) -> Answer:
        trial = self._progress.trials.get(number)
        if trial is None or trial.state != "running":
            return Answer(False, f"trial {number} is {trial.state}" if trial else f"there is no trial {number}")
        self.condemned.add(number)
        if self._progress.sweep.pruner is not None:
            return Answer(True, f"trial {number} stops at its next report")
        if self._stop(number):
            return Answer(True, f"trial {number} is stopped")
        self.condemned.discard(number)
        return Answer(False, "its trials are not asked whether to go on (search.pruner), and run elsewhere")

    def _extend(self, by: int) -> None:
        sweep = self._progress.sweep
        self._progress.sweep = replace(sweep, search=replace(sweep.search, trials=sweep.search.trials + by))


def reopened(journal: Journal, sweep: Sweep) -> dict[str, Any]:
    """Facts for a session's begin: the file's budget, and, where the sweep was finished, that an order to stop has been
    carried out."""
    kept = journal.fact("orders")
    done = {"orders": {**kept, "stopped": None, "paused": False}} if kept else {}
    return {"trials": sweep.search.trials, **(done if journal.fact("state") == "finished" else {})}


def whole(journal: Journal, guess: Params) -> dict[str, Value]:
    """These parameters, and those of the best trial so far for what they leave open. InputError: they are not in the
    sweep's space."""
    from hpo.searchers.beginning import complete
    from hpo.sweepfile import rules, shape

    space = rules.space(shape.read(journal.fact("document"))[0])
    problems = []
    for name, value in guess.items():
        if name not in space.names:
            problems.append(Problem(f"there is no parameter {name!r}", "enqueue", did_you_mean(name, space.names)))
        elif wrong := space[name].check(value):
            problems.append(Problem(f"{name}: {wrong}", "enqueue"))
    if problems:
        raise InputError(*problems)
    metric = Metric(*journal.fact("metrics")[0])
    done = [trial for trial in journal.trials() if trial.state == "complete" and trial.values]
    best = max(done, key=lambda trial: metric.sign * trial.values[0] if trial.values else 0.0, default=None)
    found = dict(complete(space, guess, best.params if best else {}))
    if wrong_here := space.check({**found, **guess}):
        raise InputError(*(Problem(text, "enqueue") for text in wrong_here))
    return found
