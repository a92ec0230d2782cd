"""From the best trial to the registry: refit it, judge it on the hold-out, hand it to `hpo.registry`.

Used by `hpo.delivery` once a search is over; data, objectives and registry meet here. Staged on this machine
first, so that an absent server costs no training and a repetition judges the same model.
"""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpo.card import card, record
from hpo.data import Dataset, holdout_frame
from hpo.digest import difference, digests
from hpo.journal import Journal
from hpo.loader import from_document
from hpo.objectives.explaining import explain
from hpo.objectives.judging import UnlikeError, gather, holdout_scores
from hpo.objectives.refit import refit
from hpo.predictor import Predictor
from hpo.registry import Candidate, Champion, Promotion, describe
from hpo.registry import promote as register
from hpo.sweep import Sweep
from hpo.tracking.projection import Projection
from hpo.tracking.server import Denied, Refused, TrackingError, answered, unhurried
from hpo.verdict import Evidence


def stage(journal: Journal, folder: Path) -> dict[str, Any]:
    """The refitted best model in `folder`; its trial, hold-out scores and digests, which the journal keeps.

    A staged model that is not whole any more is made again.
    """
    facts = journal.facts()
    done: dict[str, Any] | None = facts.get("model")
    if done is not None and done["trial"] == facts["best"] and difference(folder, done["sha256"]) is None:
        return done
    shutil.rmtree(folder, ignore_errors=True)
    sweep, dataset = _restore(facts)
    threads = len(os.sched_getaffinity(0))
    refit(sweep, dataset, journal.trials()[facts["best"]], folder, threads)
    scores, found = {}, {}
    if dataset.holdout_rows:
        _open_holdout(journal)
        scores = holdout_scores(sweep, dataset, model := Predictor(folder))
        found = _explained(sweep, dataset, model, folder, threads)
    done = {"trial": facts["best"], "scores": scores, "sha256": digests(folder), "threads": threads}
    journal.record(model=done, explained=found)
    return done


def _explained(sweep: Sweep, dataset: Dataset, model: Predictor, folder: Path, threads: int) -> dict[str, Any]:
    """For the report. What cannot be shown of a model is no reason not to promote it: it is said there."""
    try:
        return explain(sweep, dataset, model, folder, threads)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _open_holdout(journal: Journal) -> None:
    """Written down before the first row is read: when, and what had been decided by then.

    One entry a search; a second one says that the search was continued after its model had been judged.
    """
    opened = journal.fact("holdout", [])
    now = {"trials": sum(journal.counts().values()), "best": journal.fact("best")}
    if not opened or {key: opened[-1][key] for key in now} != now:
        journal.record(holdout=[*opened, {"opened": time.time(), **now}])


def promote(journal: Journal, folder: Path, projection: Projection) -> None:
    """Judge and register the staged model; the journal and the sweep's run say what came of it.

    An absent server is an `Away`, to be tried again; anything else that goes wrong is noted with the promotion. An
    account that may not even register its version does that with another one, by `hpo.sync`.
    """
    facts = journal.facts()
    try:
        sweep, dataset = _restore(facts)
        model = stage(journal, folder)
        candidate = _candidate(sweep, dataset, facts, model, folder)
        with answered(), unhurried():
            outcome = register(
                projection.client, projection.experiment, projection.parent, candidate, partial(judge, sweep, dataset)
            )  # fmt: skip
            journal.record(judged=facts.get("judged") or time.time())
            made = record(journal.facts(), journal.trials()[model["trial"]], journal.counts(), outcome.to_json())
            describe(projection.client, outcome, card(made), made["when"])
            projection.client.log_dict(projection.parent, made, "promotion.json")
    except Denied as denied:
        hint = f"with an account that may: python -m hpo.sync {facts['id']}"
        outcome = Promotion.failed(facts["name"], f"{denied}; {hint}")
    except Exception as error:
        if isinstance(error, TrackingError) and not isinstance(error, Refused):
            raise
        traceback.print_exc()
        outcome = Promotion.failed(facts["name"], f"{type(error).__name__}: {error}")
    projection.show_model(outcome.scores, outcome.summary, outcome.uri)
    journal.record(promotion=outcome.to_json())


def judge(sweep: Sweep, dataset: Dataset, candidate: Candidate, champion: Champion | None) -> Evidence:
    """Champion and challenger on the same held-out rows; a champion that fails on them cannot be scored."""
    challenger = Predictor(candidate.folder)
    if champion is None:
        return gather(sweep, dataset, challenger, candidate.folder)
    trouble = champion.trouble
    if champion.model is not None:
        try:
            found = gather(sweep, dataset, challenger, candidate.folder, champion.model)
            return replace(found, champion_version=champion.version)
        except Exception as error:  # whatever the code of an older model does on today's rows
            trouble = str(error) if isinstance(error, UnlikeError) else f"{type(error).__name__}: {error}"
    alone = gather(sweep, dataset, challenger, candidate.folder)  # what is wrong with the challenger is raised here
    return replace(alone, champion_version=champion.version, unscorable=trouble)


def _restore(facts: Mapping[str, Any]) -> tuple[Sweep, Dataset]:
    """The data set is the prepared one, whatever has become of the file since."""
    prepared = facts["meaning"].get("data.digest") or ""
    sweep = from_document(facts["document"], Path(facts["root"]), allowed=facts.get("allowed"), prepared=prepared)
    return sweep, Dataset.from_json(facts["dataset"])


def _candidate(
    sweep: Sweep, dataset: Dataset, facts: Mapping[str, Any], model: Mapping[str, Any], folder: Path
) -> Candidate:
    assert sweep.promote is not None
    git = (facts.get("provenance") or {}).get("git") or {}
    estimate = facts.get("estimate") or {}
    known = {
        "hpo.identity": facts["identity"], "hpo.data": dataset.file_digest, "hpo.estimate": estimate.get("value"),
        "hpo.who": (facts.get("provenance") or {}).get("user"),
        **((facts.get("origin") or {}).get("tags") or {}),  # the version of the data, as on the runs
    }  # fmt: skip
    tags = {name: str(value) for name, value in known.items() if value is not None}
    if git:
        tags |= {"hpo.git.commit": git["commit"], "hpo.git.dirty": str(git["dirty"]).lower()}
    example = holdout_frame(dataset)[0] if dataset.holdout_rows else None
    return Candidate(
        sweep=facts["id"], trial=model["trial"], folder=folder, model=sweep.registered_model,
        alias=sweep.promote.alias, metric=sweep.metric, scores=model["scores"],
        rows=f"{dataset.digest} {sweep.metric.name}", columns=tuple(column.name for column in dataset.columns),
        example=None if example is None else example.head(5),
        available=None if example is None else tuple(example.columns),
        manual=sweep.promote.approve == "manual", tags=tags,
    )  # fmt: skip
