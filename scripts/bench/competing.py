"""What both parts of `quality` share: how a competitor is named, which seed it has, and searches kept in a file.

A name is `[hyperopt ]SAMPLER[, no portfolio]`: any searcher of ours. What it competes in says what may follow.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import recorded

from hpo import searchers
from hpo.sweep import Named, Search, Sweep

PLAIN = ", no portfolio"
Found = tuple[list[float], float]


def search_of(name: str, seed: int, pruner: Named | None = None) -> Search:
    words = name.removesuffix(PLAIN).split()
    *engine, sampler = ["random", "random"] if words == ["random"] else words
    if engine not in ([], ["hyperopt"], ["random"]):
        raise SystemExit(f"there is no competitor {name!r}: [hyperopt ]SAMPLER[{PLAIN}]")
    portfolio = 0 if name.endswith(PLAIN) else None
    made: Any = engine[0] if engine else "optuna"
    return Search(engine=made, sampler=Named(sampler), pruner=pruner, portfolio=portfolio, seed=seed)


def searcher_of(name: str, problem: recorded.Problem, seed: int) -> Any:
    """Of whole trials of a function, about which nothing is known but its space."""
    sweep = Sweep(
        problem.name, problem.space, (problem.metric,), objective="recorded:loss", search=search_of(name, seed)
    )
    return searchers.build(sweep)


def seed_of(seed: int, problem: recorded.Problem) -> int:
    """Problems of one space must not share their first trials."""
    return (seed * 7919 + zlib.crc32(problem.name.encode())) % 2**31


class Kept:
    """Finished searches in a file, a line each; all in memory without one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        self._known: dict[tuple[object, ...], Found] = {
            tuple(key): (course, share) for key, course, share in map(json.loads, lines)
        }

    def get(self, key: tuple[object, ...], search: Callable[[], Found]) -> Found:
        if key not in self._known:
            self._known[key] = course, share = search()
            if self._path:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, course, share]) + "\n")
        return self._known[key]
