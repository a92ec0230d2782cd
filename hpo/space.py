"""The search space: an ordered set of parameters, some of them active only under a condition.

Built by the loader, walked by every searcher. `sample` visits parents before children, so that a searcher
of any kind only answers "which value for this one?" and never sees a condition.
"""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hpo.errors import did_you_mean
from hpo.trial import Params, Value

Condition = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Float:
    """A real number in [low, high]; on a log scale; or on the grid low, low + step, …"""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Condition = field(default_factory=dict)

    @property
    def size(self) -> float:
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def grid(self) -> Iterator[float]:
        """The values on the grid; only for a parameter with a finite size."""
        for k in range(int(self.size)):
            yield min(self.low + k * (self.step or 0.0), self.high)

    def check(self, value: Value) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{value!r} is not a number"
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack:
            return f"{value!r} is outside [{self.low:g}, {self.high:g}]"
        if self.step is not None:
            k = (value - self.low) / self.step
            if abs(k - round(k)) > 1e-6:
                return f"{value!r} is not on the grid {self.low:g} + k * {self.step:g}"
        return None


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high], both included; on a log scale; or every `step`-th."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    when: Condition = field(default_factory=dict)

    @property
    def size(self) -> float:
        return (self.high - self.low) // self.step + 1

    def grid(self) -> Iterator[int]:
        yield from range(self.low, self.high + 1, self.step)

    def check(self, value: Value) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{value!r} is not a whole number"
        if not self.low <= value <= self.high:
            return f"{value!r} is outside [{self.low}, {self.high}]"
        if (value - self.low) % self.step:
            return f"{value!r} is not on the grid {self.low} + k * {self.step}"
        return None


@dataclass(frozen=True)
class Choice:
    """One of some values, without an order."""

    name: str
    values: tuple[Value, ...]
    when: Condition = field(default_factory=dict)

    @property
    def size(self) -> float:
        return len(self.values)

    def grid(self) -> Iterator[Value]:
        yield from self.values

    def check(self, value: Value) -> str | None:
        if any(value == v and type(value) is type(v) for v in self.values):
            return None
        return f"{value!r} is not one of {', '.join(repr(v) for v in self.values[:12])}"


Parameter = Float | Int | Choice


@dataclass(frozen=True)
class Space:
    """Parameters in the order of the file. The loader has checked that conditions name known parameters."""

    parameters: tuple[Parameter, ...]

    def __getitem__(self, name: str) -> Parameter:
        return self._by_name[name]

    def __contains__(self, params: object) -> bool:
        return isinstance(params, Mapping) and not self.check(params)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {p.name: p for p in self.parameters}

    @cached_property
    def walk(self) -> tuple[Parameter, ...]:
        """Parents before children, otherwise in the order of the file. A cycle is a ValueError."""
        done: dict[str, Parameter] = {}
        left = list(self.parameters)
        while left:
            ready = [p for p in left if all(parent in done for parent in p.when)]
            if not ready:
                raise ValueError(f"conditions form a cycle: {', '.join(p.name for p in left)}")
            done.update((p.name, p) for p in ready)
            left = [p for p in left if p.name not in done]
        return tuple(done.values())

    @property
    def conditional(self) -> bool:
        return any(p.when for p in self.parameters)

    @staticmethod
    def is_active(parameter: Parameter, params: Params) -> bool:
        """True if the values chosen so far (its parents among them) switch the parameter on."""
        return all(
            parent in params and any(params[parent] == v for v in values) for parent, values in parameter.when.items()
        )

    @cached_property
    def unreachable(self) -> tuple[str, ...]:
        """Parameters that no choice of their parents can switch on: conditions along the way contradict."""
        needs: dict[str, dict[str, set[Value]] | None] = {}
        for parameter in self.walk:
            need: dict[str, set[Value]] = {}
            possible = True
            for parent, values in parameter.when.items():
                inherited = needs[parent]
                possible = possible and inherited is not None
                for name, allowed in [(parent, set(values)), *(inherited or {}).items()]:
                    need[name] = need.get(name, allowed) & allowed
            needs[parameter.name] = need if possible and all(need.values()) else None
        return tuple(name for name in self.names if needs[name] is None)

    def sample(self, suggest: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Ask `suggest` for each active parameter, parents first; the parameters in the file's order."""
        params: dict[str, Value] = {}
        for parameter in self.walk:
            if self.is_active(parameter, params):
                params[parameter.name] = suggest(parameter)
        return {name: params[name] for name in self.names if name in params}

    def check(self, params: Params) -> tuple[str, ...]:
        """What is wrong with these values, a sentence each; nothing if they are inside the space."""
        wrong = [
            f"{name}: not a parameter of the space ({did_you_mean(name, self.names)})"
            for name in params if name not in self._by_name
        ]  # fmt: skip
        for parameter in self.walk:
            name = parameter.name
            if not self.is_active(parameter, params):
                if name in params:
                    wrong.append(f"{name}: only allowed when {_say(parameter.when)}")
            elif name not in params:
                wrong.append(f"{name}: missing")
            elif problem := parameter.check(params[name]):
                wrong.append(f"{name}: {problem}")
        return tuple(wrong)

    def count(self, limit: float = 1e6) -> float:
        """How many different parameter sets there are: exact without conditions or below `limit`, else inf."""
        if any(math.isinf(p.size) for p in self.parameters):
            return math.inf
        if not self.conditional:
            return math.prod(int(p.size) for p in self.parameters)
        total = 0
        for total, _ in enumerate(self.grid(), 1):
            if total >= limit:
                return math.inf
        return total

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every parameter set, lazily; only for a space whose parameters all have a finite size."""

        def extend(params: dict[str, Value], rest: tuple[Parameter, ...]) -> Iterator[dict[str, Value]]:
            if not rest:
                yield {name: params[name] for name in self.names if name in params}
            elif self.is_active(rest[0], params):
                for value in rest[0].grid():
                    yield from extend({**params, rest[0].name: value}, rest[1:])
            else:
                yield from extend(params, rest[1:])

        return extend({}, self.walk)


def _say(when: Condition) -> str:
    return " and ".join(f"{k} is {' or '.join(repr(v) for v in vs)}" for k, vs in when.items())


if __name__ == "__main__":  # `python -m hpo.space`: a command of this name, which a word must not know
    runpy.run_module("hpo.spaces", run_name="__main__")
