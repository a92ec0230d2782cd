"""The record of a promotion: `promotion.json` for machines, and the model card in Markdown for whoever asks later.

Called by `hpo.promotion` when a version has been judged. Pure: from what the journal holds and what the registry said,
so that the same promotion, delivered twice, leaves the same record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from hpo.phrase import between
from hpo.redact import redact
from hpo.trial import Trial

LIMIT = 4900  # characters of a version's description that MLflow's database keeps


def record(
    facts: Mapping[str, Any], trial: Trial, counts: Mapping[str, int], outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that the decision rests on, and what it takes to repeat it."""
    dataset = facts["dataset"]
    model = facts.get("model") or {}
    return {
        **source(facts),
        "promotion": dict(outcome),
        "trial": trial.to_json(),
        "search": {
            "engine": facts.get("engine"), "metrics": facts["metrics"], "trials": dict(counts),
            "seconds": facts.get("seconds"), "estimate": facts.get("estimate"), "holdout": facts.get("holdout"),
        },
        "data": {
            "path": facts["document"]["data"]["path"], "sha256": dataset["file_digest"], "digest": dataset["digest"],
            "version": (facts.get("origin") or {}).get("tags"),
            **{key: dataset[key] for key in ("target", "task", "rows", "holdout_rows", "folds", "balance")},
            "columns": {column["name"]: column["kind"] for column in dataset["columns"]},
        },
        "model": {"sha256": model.get("sha256"), "threads": model.get("threads")},
        "when": facts.get("judged"),
    }  # fmt: skip


def source(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial was made of, beside its parameters."""
    origin = facts.get("provenance") or {}
    return {
        "sweep": facts["id"], "name": facts["name"], "identity": facts["identity"], "document": facts["document"],
        "root": facts.get("root"), "allowed": facts.get("allowed"), "threads": origin.get("threads"),
        "git": origin.get("git") or {}, "packages": origin.get("packages") or {}, "python": origin.get("python"),
        "who": origin.get("user"), "command": origin.get("command"), "session": origin.get("session"),
        "folder": origin.get("folder"),
        "data": {"sha256": facts["dataset"]["file_digest"]} if facts.get("dataset") else {},
    }  # fmt: skip


def card(made: Mapping[str, Any]) -> str:
    """For a version's description; whole sections at the end are dropped where it would be too long."""
    parts = [_head(made), _decision(made), _scores(made), _data(made), _search(made), _use(made), _slices(made)]
    text = ""
    for part in parts:
        section = "\n".join(part)
        if section and len(text) + len(section) + 2 <= LIMIT:
            text = f"{text}\n\n{section}" if text else section
    return redact(text)


def _head(made: Mapping[str, Any]) -> Iterator[str]:
    data = made["data"]
    yield f"# {made['promotion']['model']}, version {made['promotion']['version']}"
    model = made["document"].get("model")
    yield f"Predicts `{data['target']}` ({data['task']}) with `{model}` from {len(data['columns'])} columns."


def _decision(made: Mapping[str, Any]) -> Iterator[str]:
    said = made["promotion"]
    when = made.get("when")
    moment = time.strftime(" on %Y-%m-%d %H:%M UTC", time.gmtime(when)) if when else ""
    who = f" for {made['who']}" if made.get("who") else ""
    yield "## Decision"
    yield f"**{'Promoted' if said['promoted'] else 'Kept as challenger'}**{moment}{who}, by sweep `{made['sweep']}`:"
    yield ""
    yield from (f"- {reason}" for reason in said["reasons"])


def _scores(made: Mapping[str, Any]) -> Iterator[str]:
    evidence = made["promotion"].get("evidence") or {}
    estimate = made["search"].get("estimate") or {}
    metric = made["search"]["metrics"][0][0]
    yield "## Scores"
    yield "| | " + metric + " | |"
    yield "|---|---|---|"
    values = made["trial"].get("values")
    if values:
        yield f"| best of the search (biased: the best of many) | {values[0]:.6g} | |"
    if estimate.get("value") is not None:
        yield f"| on fresh folds | {estimate['value']:.6g} | {between(estimate)} |"
    for name, who in (("challenger", "held-out rows"), ("champion", "the champion then, same rows")):
        if found := evidence.get(name):
            yield f"| {who} | {found['value']:.6g} | {between(found, confidence=evidence['confidence'])} |"
    if found := evidence.get("gain"):
        sure = between(found, confidence=evidence["confidence"])
        yield f"| gain ({evidence['method']}) | {found['value']:.6g} | {sure} |"
    others = {name: value for name, value in made["promotion"]["scores"].items() if name != metric}
    if others:
        yield ""
        yield "Also on the held-out rows: " + ", ".join(f"{name} {value:.6g}" for name, value in others.items()) + "."


def _data(made: Mapping[str, Any]) -> Iterator[str]:
    data, git = made["data"], made["git"]
    yield "## Data and source"
    yield f"- `{PurePath(data['path']).name}`, SHA-256 `{data['sha256']}`"
    yield from (f"- {name} `{value}`" for name, value in (data.get("version") or {}).items())
    yield f"- {data['rows']} rows for training and {data['folds']} folds, {data['holdout_rows']} held out"
    if git:
        dirty = ", with uncommitted changes" if git.get("dirty") else ""
        yield f"- commit `{git.get('commit')}`{dirty}"


def _search(made: Mapping[str, Any]) -> Iterator[str]:
    search = made["search"]
    trials = ", ".join(f"{count} {state}" for state, count in search["trials"].items() if count)
    yield "## Search"
    yield f"{search['engine']}: {trials}. Chosen: trial {made['trial']['number']}"
    yield ""
    yield from (f"- `{name}`: {value}" for name, value in made["trial"]["params"].items())


def _use(made: Mapping[str, Any]) -> Iterator[str]:
    name, version = made["promotion"]["model"], made["promotion"]["version"]
    yield "## Use"
    yield "```python"
    yield f'model = mlflow.pyfunc.load_model("models:/{name}/{version}")'
    yield "model.predict(rows)                                       # raw rows, strings and gaps as they are"
    if made["data"]["task"] != "regression":
        yield 'model.predict(rows, params={"output": "probability"})    # a column per class'
    yield "```"
    yield f"Batches: `python -m hpo.predict {name}/{version} --data rows.parquet --out predictions.parquet`. "
    yield f"Made again: `python -m hpo.reproduce {name}/{version}`."
    yield ""
    yield "Limits: a category that training has not seen counts as missing; a column that is not there is an error."
    yield "It was judged on rows like those described here, and on no others."


def _slices(made: Mapping[str, Any]) -> Iterator[str]:
    gates = (made["promotion"].get("evidence") or {}).get("gates") or []
    if not gates:
        return
    yield "## Gates"
    for gate in gates:
        mark = "holds" if gate.get("passed") else "**fails**"
        numbers = f"{gate['value']:.6g}, limit {gate['limit']:.6g}"
        about = gate["about"] if gate["kind"] in ("metric", "slice") else numbers
        yield f"- {gate['name']}: {mark} ({about})"
