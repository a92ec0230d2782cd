"""The act: register a candidate, judge it against the champion, move the alias; and the same by a person's hand.

Called by `hpo.promotion` with values and one callable, and by the verbs promote and rollback. An alias is moved by an
unconditional write, so it is written, read again and repaired until all contenders agree.

Who wins among rivals: a version contends only if its own verdict against the champion is positive. Among those that
beat the same champion in the same reign on the same rows nobody is the incumbent, so none has to prove a gain over
another: the best hold-out score wins, then the lowest version. (To ask for confidence between rivals would make the
winner depend on who came first: "surely better" is not transitive.) Who comes later is judged against the new champion,
with the full burden of proof. What a person decides meanwhile outranks every rival.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from hpo import crash
from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.registry.files import UnusableError, fetch_version, load
from hpo.registry.history import CHALLENGER, Clock, Event, events, line, move, settle
from hpo.registry.versions import Candidate, all_of, holder, id_of, point, register, version_of
from hpo.verdict import Evidence, Verdict, verdict

ROUNDS = 10  # how often an alias that others move as well is judged again
EVIDENCE, VERDICT = "hpo.evidence", "hpo.verdict"  # tags of a version
_BEAT = "hpo.beat"

Rolled = Literal["new", "finished", "untold"]  # whose rollback it is: this call's, or that of one that was killed
Judge = Callable[[Candidate, "Champion | None"], Evidence]


@dataclass(frozen=True)
class Champion:
    """The version to beat. `model` None: it cannot be opened; `trouble` says why."""

    version: str
    model: Any = None
    trouble: str = ""


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate; as JSON it is the journal's fact `promotion`."""

    version: str | None
    model: str
    alias: str
    promoted: bool
    reasons: tuple[str, ...]
    scores: Mapping[str, float]
    champion_scores: Mapping[str, float] | None = None
    uri: str | None = None
    run_id: str | None = None
    error: str | None = None
    evidence: Mapping[str, Any] | None = None
    approve: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def failed(cls, model: str, error: str) -> Promotion:
        """Nothing was judged; a later delivery tries again."""
        return cls(None, model, "", False, (), {}, error=error)

    @property
    def summary(self) -> str:
        if self.error is not None:
            return f"failed: {self.error}"
        return f"{'promoted' if self.promoted else 'not promoted'}: {'; '.join(self.reasons)}"


def promote(
    client: MlflowClient, experiment: str, run_id: str, candidate: Candidate, judge: Judge, clock: Clock = time.time
) -> Promotion:
    """Register the candidate and give it the alias if the verdict is that it takes the place of the present holder.

    `judge` gathers the evidence on the candidate's hold-out rows. May raise what MLflow raises; a second call goes on
    where the first one stopped and registers nothing twice. An account that the server does not let move the alias
    leaves a challenger, as `manual` does.
    """
    version = version_of(client, candidate) or register(client, experiment, run_id, candidate)
    crash.point("registered")
    model, alias = candidate.model, candidate.alias
    for _ in range(ROUNDS):
        reign = _reign(client, model, alias)  # before the holder: a newer one makes it a reign of its own
        champion = holder(client, model, alias)
        if champion is not None and id_of(champion) == id_of(version):
            settle(client, model, alias)
            return _outcome(candidate, version, *_noted(client, candidate, version))
        evidence = _gather(client, champion, candidate, judge)
        judged = verdict(evidence)
        _note(client, model, id_of(version), evidence, judged)
        crash.point("judged")
        waits = "approve: manual; a person" if candidate.manual else None
        if judged.promote and not candidate.manual:
            try:
                winner = _take(client, candidate, version, champion, reign, judged, clock)
            except MlflowException as error:
                if error.get_http_status_code() != 403:
                    raise
                waits, winner = f"{_first_line(error)}; who has one", id_of(version)
            if winner is None:
                continue
            if winner != id_of(version):
                rival = f"version {winner}, which came at the same time, is better still"
                judged = Verdict(False, (*judged.reasons, rival))
        command = f"python -m hpo.promote {model} --version {id_of(version)}"
        if judged.promote and waits:
            judged = Verdict(False, (*judged.reasons, f"{waits} says so with: {command}"))
        if not judged.promote:
            point(client, model, CHALLENGER, id_of(version))
            _note(client, model, id_of(version), evidence, judged)
        return _outcome(candidate, version, evidence, judged, command if waits else None)
    raise RuntimeError(f"the alias {alias!r} of {model!r} was moved {ROUNDS} times meanwhile")


def choose(client: MlflowClient, model: str, version: str | None) -> ModelVersion:
    """The named version, else the challenger. InputError: there is none."""
    chosen = holder(client, model, CHALLENGER) if version is None else _version(client, model, version)
    if chosen is None:
        hint = f"name one: --version {_known(client, model)}"
        raise InputError(Problem(f"{model!r} has no version with the alias {CHALLENGER}", hint=hint))
    return chosen


def promote_by_hand(
    client: MlflowClient, model: str, alias: str, chosen: ModelVersion, reason: str, who: str, clock: Clock = time.time
) -> Event | None:
    """The version becomes champion; None: it is already. InputError: its files are not what was registered.

    An interrupted move is finished first.
    """
    settle(client, model, alias)
    now = holder(client, model, alias)
    if now is not None and id_of(now) == id_of(chosen):
        return None
    _check_files(client, chosen)
    origin = id_of(now) if now else None
    event = Event(alias, id_of(chosen), origin, "promote", reason, who, clock())
    return move(client, model, event, clock)


def roll_back(
    client: MlflowClient, model: str, alias: str, reason: str, who: str, clock: Clock = time.time
) -> tuple[Event, Rolled]:
    """The champion before the present one is champion again; a second time the one before that.

    A rollback whose caller died before he was told (`hpo.registry.acknowledge`) is finished, or only told, and nothing
    more: the same command again, after a crash at any line, is the same act.
    """
    unfinished = settle(client, model, alias)
    if unfinished is not None and unfinished.why == "rollback":
        return unfinished, "finished"
    now = holder(client, model, alias)
    if now is None:
        raise InputError(Problem(f"{model!r} has no {alias}", hint=f"python -m hpo.history {model}"))
    moves = events(client, model, alias)
    if moves and moves[-1].why == "rollback" and not moves[-1].told and moves[-1].to == id_of(now):
        return moves[-1], "untold"
    known = line(moves)
    under = known[: known.index(id_of(now))] if id_of(now) in known else known
    if not under:
        raise InputError(
            Problem(f"{model!r} has had no {alias} before version {id_of(now)}: there is nothing to go to")
        )
    back = _version(client, model, under[-1])
    _check_files(client, back)
    event = Event(alias, id_of(back), id_of(now), "rollback", reason, who, clock())
    return move(client, model, event, clock), "new"


def describe(client: MlflowClient, outcome: Promotion, card: str, when: float) -> None:
    """The model card and the moment of the verdict, on the version; the same again if it is called again."""
    if outcome.version is None:
        return
    client.set_model_version_tag(outcome.model, outcome.version, "hpo.judged", repr(when))
    client.update_model_version(outcome.model, outcome.version, card)
    crash.point("described")


def evidence_of(version: ModelVersion) -> Evidence | None:
    """What it was judged by, as its tag keeps it."""
    text = version.tags.get(EVIDENCE)
    return Evidence.from_json(json.loads(text)) if text else None


def _first_line(error: MlflowException) -> str:
    return redact(error.message.strip().partition("\n")[0])[:500]


def _reign(client: MlflowClient, model: str, alias: str) -> str:
    known = events(client, model, alias)
    return known[-1].id if known else "0"


def _gather(client: MlflowClient, champion: ModelVersion | None, candidate: Candidate, judge: Judge) -> Evidence:
    """Not knowing the champion's score is a fact about it, and no error."""
    if champion is None:
        return judge(candidate, None)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            fetch_version(client, champion, Path(scratch))
            model = load(Path(scratch), candidate.available)
        except UnusableError as error:
            return judge(candidate, Champion(id_of(champion), trouble=f"{error}"))
        return judge(candidate, Champion(id_of(champion), model))


def _take(
    client: MlflowClient, candidate: Candidate, version: ModelVersion, champion: ModelVersion | None, reign: str,
    judged: Verdict, clock: Clock,
) -> str | None:  # fmt: skip
    """Claim the alias; who has it in the end, or None if someone else came in between: then judge again.

    All who beat the same champion say so before they write, and each chooses the same winner among them, so
    the last write is right whoever makes it.
    """
    model, alias = candidate.model, candidate.alias
    beaten = id_of(champion) if champion else "none"
    claim = f"{alias} {beaten} {reign}"
    client.set_model_version_tag(model, id_of(version), _BEAT, claim)
    while True:
        rivals = {
            id_of(v): v for v in all_of(client, model)
            if v.tags.get(_BEAT) == claim and v.tags.get("hpo.rows") == candidate.rows
        }  # fmt: skip
        sign = candidate.metric.sign
        winner = id_of(max(rivals.values(), key=lambda v: (sign * float(v.tags["hpo.value"]), -int(v.version))))
        found = holder(client, model, alias)
        now = id_of(found) if found else "none"
        by_hand = [event for event in events(client, model, alias) if event.id > reign and event.by_hand]
        if by_hand:
            if now in rivals:  # our write came after a person's
                point(client, model, alias, by_hand[-1].to)
            return None
        if now == winner:
            settle(client, model, alias)
            return winner
        if now != beaten and now not in rivals:
            return None
        reason = rivals[winner].tags.get(VERDICT, "; ".join(judged.reasons)).removeprefix("promote: ")
        origin = id_of(champion) if champion else None
        who = f"sweep {rivals[winner].tags['hpo.sweep']}"
        move(client, model, Event(alias, winner, origin, "sweep", reason, who, clock()), clock)


def _note(client: MlflowClient, model: str, version: str, evidence: Evidence, judged: Verdict) -> None:
    """Before the alias moves, so that whoever finds it moved finds the reason too."""
    kept = evidence.to_json()
    if len(json.dumps(kept)) > 60_000:  # of hundreds of slices, those that matter
        kept = replace(evidence, gates=tuple(g for g in evidence.gates if not g.passed)[:100]).to_json()
    client.set_model_version_tag(model, version, EVIDENCE, json.dumps(kept))
    what = "promote" if judged.promote else "keep"
    client.set_model_version_tag(model, version, VERDICT, f"{what}: {'; '.join(judged.reasons)}"[:4000])


def _noted(client: MlflowClient, candidate: Candidate, version: ModelVersion) -> tuple[Evidence, Verdict]:
    """Of a call that was interrupted after it had moved the alias."""
    tags = client.get_model_version(candidate.model, id_of(version)).tags
    evidence = Evidence.from_json(json.loads(tags[EVIDENCE])) if EVIDENCE in tags else None
    said = tags.get(VERDICT, "").removeprefix("promote: ")
    return evidence or Evidence(candidate.metric.name, 0, 0.0), Verdict(True, (said or "it is the champion already",))


def _outcome(
    candidate: Candidate, version: ModelVersion, evidence: Evidence, judged: Verdict, approve: str | None = None
) -> Promotion:
    alias = candidate.alias if judged.promote else CHALLENGER
    return Promotion(
        id_of(version), candidate.model, alias, judged.promote, judged.reasons, candidate.scores,
        evidence.champion_scores, uri=f"models:/{candidate.model}@{alias}", run_id=version.run_id,
        evidence=evidence.to_json(), approve=approve,
    )  # fmt: skip


def _check_files(client: MlflowClient, version: ModelVersion) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            fetch_version(client, version, Path(scratch))
        except UnusableError as error:
            raise InputError(Problem(f"version {id_of(version)} of {version.name!r}: {error}")) from None


def _version(client: MlflowClient, model: str, version: str) -> ModelVersion:
    found = {id_of(v): v for v in all_of(client, model)}
    if version not in found:
        raise InputError(Problem(f"{model!r} has no version {version}", hint=f"there are: {', '.join(sorted(found))}"))
    return found[version]


def _known(client: MlflowClient, model: str) -> str:
    return "|".join(sorted((id_of(v) for v in all_of(client, model)), key=int)) or "N"
