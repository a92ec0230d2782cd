"""The verdict: whether a challenger takes the champion's place, from evidence alone.

Called by `hpo.registry` with what `hpo.objectives.judging` measured; kept as JSON in the journal, on the version and
in `promotion.json`. Pure and without an engine, so that a person can read the whole policy in one place and a test can
ask it anything. Nothing is promoted because something is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Unscorable = Literal["keep", "floor"]


@dataclass(frozen=True)
class Interval:
    """Each end holds by itself with the evidence's confidence: `low` to `high` is its two-sided interval at 2c - 1."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.6g} [{self.low:.6g}, {self.high:.6g}]"


@dataclass(frozen=True)
class Gate:
    """One condition beside the gain. `kind`: floor, metric, slice, latency, size, missing, unseen.

    It holds if `value` is at least `limit`, or at most where `at_most`; `about` says in words what was measured.
    """

    kind: str
    name: str
    value: float
    limit: float
    at_most: bool = False
    about: str = ""

    @property
    def passed(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit  # NaN passes neither

    def __str__(self) -> str:
        if self.kind in ("metric", "slice"):  # their words hold the numbers
            return f"{self.name}: {self.about}"
        verb = "is" if self.passed else "is not"
        side = "at most" if self.at_most else "at least"
        return f"{self.name} {self.value:.6g} {verb} {side} {self.limit:.6g}{f' ({self.about})' if self.about else ''}"


@dataclass(frozen=True)
class Evidence:
    """What is known about a challenger and a champion on the same held-out rows.

    `gain` is challenger minus champion, positive where the challenger is better, whatever the metric's direction.
    `champion_version` None: there is none. `unscorable`: why there is one and no score of it. `method` says how the
    intervals were made, `scores` are all metrics of the sweep. Without a hold-out `challenger` is None.
    """

    metric: str
    rows: int
    confidence: float
    min_gain: float = 0.0
    method: str = ""
    challenger: Interval | None = None
    champion: Interval | None = None
    gain: Interval | None = None
    champion_version: str | None = None
    unscorable: str | None = None
    when_unscorable: Unscorable = "keep"
    gates: tuple[Gate, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    champion_scores: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"gates": [asdict(gate) | {"passed": gate.passed} for gate in self.gates]}

    def lines(self) -> list[str]:
        """For a person: scores with their intervals, the gain, every gate."""
        said = []
        if self.challenger is not None:
            said.append(f"hold-out {self.metric}  {self.challenger} on {self.rows} rows")
        if self.champion is not None:
            said.append(f"  the champion's  {self.champion}, version {self.champion_version}, same rows")
        if self.gain is not None:
            said.append(f"  the gain        {self.gain}, {self.method}, each end at confidence {self.confidence:g}")
        if self.unscorable is not None:
            said.append(f"  the champion, version {self.champion_version}, cannot be scored: {self.unscorable}")
        return said + [f"  {'holds' if gate.passed else 'FAILS'}  {gate}" for gate in self.gates]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Evidence:
        intervals = {name: row[name] and Interval(**row[name]) for name in ("challenger", "champion", "gain")}
        gates = tuple(Gate(**{k: v for k, v in gate.items() if k != "passed"}) for gate in row["gates"])
        return cls(**{**row, **intervals, "gates": gates})


@dataclass(frozen=True)
class Verdict:
    promote: bool
    reasons: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """Promote only a challenger that passes every gate and surely gains more than `min_gain`."""
    mine = evidence.challenger
    if mine is None:
        return Verdict(False, ("the sweep held no rows out to judge it on",))
    if not math.isfinite(mine.value):
        return Verdict(False, (f"its hold-out {evidence.metric} is {mine.value}",))
    failed = tuple(str(gate) for gate in evidence.gates if not gate.passed)
    if evidence.champion_version is None:
        return Verdict(not failed, failed or ("there was no champion",))
    if evidence.unscorable is not None:
        return _without_comparison(evidence, evidence.unscorable, failed)
    compared, gained = _compare(evidence)
    return Verdict(gained and not failed, (*compared, *failed))


def _compare(evidence: Evidence) -> tuple[tuple[str, ...], bool]:
    mine, theirs, gain = evidence.challenger, evidence.champion, evidence.gain
    if mine is None or theirs is None or gain is None or not math.isfinite(gain.low):
        return ("the difference to the champion is not known",), False
    said = (
        f"hold-out {evidence.metric} {mine.value:.6g} against the champion's {theirs.value:.6g} "
        f"on the same {evidence.rows} rows"
    )
    asked = f"more than {evidence.min_gain:.6g}" if evidence.min_gain else "a gain"
    sure = f"at confidence {evidence.confidence:g} ({evidence.method})"
    if gain.value == 0:
        return (said, "it is no better"), False
    if gain.value < 0:
        return (said, f"it is worse by {-gain.value:.6g}"), False
    if not gain.low > evidence.min_gain:
        low = f"it gains {gain.value:.6g}, and surely no more than {gain.low:.6g} {sure}: {asked} is not shown"
        return (said, low), False
    return (said, f"it gains {gain.value:.6g}, surely more than {gain.low:.6g} {sure}"), True


def _without_comparison(evidence: Evidence, why: str, failed: tuple[str, ...]) -> Verdict:
    """Not knowing a champion's score is no reason to replace it, unless the file says what is good enough by itself."""
    said = f"the champion, version {evidence.champion_version}, cannot be scored on these rows: {why}"[:500]
    floors = [gate for gate in evidence.gates if gate.kind == "floor"]
    if evidence.when_unscorable == "floor" and floors and not failed:
        return Verdict(True, (said, f"when_unscorable: floor, and {floors[0]}"))
    return Verdict(False, (said, *failed, "it stays until a person decides"))
