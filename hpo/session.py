"""A session: one start of a search on a sweep, and all that it ran with, as files beside the journal.

Begun by `hpo.search`; `hpo.tracking` uploads what lies in `sessions/`. A resumed sweep has several: each keeps its
own command, code and packages, so that no trial is shown with those of another day.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.executors import share
from hpo.provenance import patch, provenance, requirements
from hpo.redact import clean, redact
from hpo.sweep import Sweep


def begin(sweep: Sweep, folder: Path) -> dict[str, Any]:
    """What `provenance` found, with the session's number; its files are `folder/sessions/<number>/`:
    `provenance.json`, `requirements.txt`, `source.patch` if there is one, and the sweep: as given (`sweep.yaml`), as
    resolved (`sweep.resolved.json`), and as it is read again (`sweep.json`)."""
    sessions = folder / "sessions"
    number = 1 + sum(path.name.isdecimal() for path in sessions.glob("*"))
    found = {"session": number, "started": time.time(), "threads": share(sweep)[1], **provenance()}
    files = {
        "provenance.json": _json(found),
        "requirements.txt": redact(requirements()),
        "source.patch": redact(patch()),
        "sweep.yaml": redact(sweep.source),
        "sweep.resolved.json": _json(resolved(sweep)),
        "sweep.json": _json(again(sweep)),
    }
    place = sessions / str(number)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text:
            (place / name).write_text(text, encoding="utf-8")
    return found


def resolved(sweep: Sweep) -> dict[str, Any]:
    """The sweep's file with the flags applied and every default filled in."""
    sections = {
        name: asdict(value) for name in ("data", "validation", "search", "limits", "promote")
        if (value := getattr(sweep, name)) is not None
    }  # fmt: skip
    metrics = [f"{metric.name} ({metric.direction})" for metric in (*sweep.metrics, *sweep.extra_metrics)]
    return {**sweep.document, **sections, "metrics": metrics, "identity": sweep.identity, "root": sweep.root}


def again(sweep: Sweep) -> dict[str, Any]:
    """What `hpo.loader.from_document` makes the same sweep of, and what it is called."""
    kept = {"name": sweep.name, "identity": sweep.identity, "document": dict(sweep.document)}
    return {**kept, "root": sweep.root, "allowed": sweep.allowed}


def _json(value: Any) -> str:
    plain = json.loads(json.dumps(value, default=str))
    return json.dumps(clean(plain), indent=2, ensure_ascii=False) + "\n"
