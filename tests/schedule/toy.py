"""A project with a scheduled sweep over a plain function, and the commands of a person who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from hpo.journal import Journal
from hpo.resume import journals
from hpo.schedule.command import open_ledger

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = """
name: toy
objective: toy_objective:loss
metric: {name: loss, direction: minimize}
space: {x: {float: [0, 1]}}
search: {engine: random, trials: 50, workers: 1}
schedule: {cron: "0 3 * * *", timezone: Europe/Berlin, budget: {trials: 3}, retries: 1}
"""
CODE = """
import time
def loss(params, trial):
    time.sleep(NAP)
    return params["x"] ** 2
"""


def project(folder: Path, nap: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "toy.yaml").write_text(FILE)
    (folder / "toy_objective.py").write_text(CODE.replace("NAP", str(nap)))
    return folder


def call(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m hpo.schedule …` in the project."""
    return subprocess.run(
        [sys.executable, "-m", "hpo.schedule", *arguments], cwd=folder, capture_output=True, text=True,
        env=environment(env), stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "", **(more or {})}


def due(folder: Path, hours: float = 30.0, schedule: str = "toy") -> None:
    """As if the schedule had been there for so long and its last slot had been missed: one is due now."""
    with closing(open_ledger(None, folder / ".hpo")) as ledger:
        ledger._db.execute("DELETE FROM slots WHERE outcome = 'missed'")
        ledger._db.execute("UPDATE slots SET planned = planned - ? WHERE schedule = ?", round(hours * 3600), schedule)
        ledger._db.execute("UPDATE schedules SET since = since - ? WHERE name = ?", hours * 3600, schedule)
    for path in journals(folder / ".hpo"):  # what has been searched belongs to a slot of the past as well
        with closing(Journal(path)) as journal:
            journal.record(planned=journal.fact("planned") - round(hours * 3600))


def history(folder: Path) -> list[dict[str, Any]]:
    """The latest first, without the missed ones."""
    done = call(folder, "history", "--json", "--limit", "100")
    assert done.returncode == 0, done.stderr
    return [row for row in json.loads(done.stdout) if row["outcome"] != "missed"]
