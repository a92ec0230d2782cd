"""Row R2: a driver and a publisher that die by SIGKILL at each named point, the first, a middle and the last time.

`hpo.crash` knows the points. The publishers are forked off one process that has imported mlflow, since the import takes
longer than all they do; the drivers are real ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient

from hpo.data import prepare
from hpo.journal import PARENT, Journal
from hpo.loader import build
from hpo.trial import Trial
from tests.chaos.figures import FULL, figure
from tests.chaos.harness import Driver, same, trials
from tests.chaos.test_kills import sweep
from tests.conftest import ROOT
from tests.tracking.sweeps import delivered_once, finished, journal_of, runs_of

TRIALS = 5
PUBLISHING = [
    ("create parent", 1), ("created parent", 1),
    *[(point, n) for point in ("create", "created", "logged") for n in ((1, 3, TRIALS) if FULL else (3,))],
]  # fmt: skip
# Those of a move over a champion, and of rollbacks: test_moves.py.
PROMOTING = [("uploaded", 1), ("registered", 1), *([("upload", 1), ("described", 1)] if FULL else [])]
RECORDING = [("record", 1), ("record", 5), ("record", 11), ("recorded", 1), ("recorded", 5), ("recorded", 10)]
FOLLOW = """
import json, os, sys
from pathlib import Path
import hpo.crash, hpo.delivery, hpo.promotion, hpo.sync
import sklearn.tree, skops.io

def follow(path, point, n):
    child = os.fork()
    if not child:
        hpo.crash._NAME, hpo.crash._TIMES = point, n
        try:
            code = hpo.sync.follow(Path(path))
        finally:
            os._exit(code if "code" in dir() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(json.dumps([[follow(path, point, n), follow(path, "", "0")] for path, point, n in json.loads(sys.argv[1])]))
"""


def follow(*work: tuple[Journal, str, int]) -> list[list[int]]:
    """The exit codes of each publisher and of the one after it."""
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW, json.dumps([(str(journal.path), point, str(n)) for journal, point, n in work])],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes: list[list[int]] = json.loads(done.stdout)
    assert codes == [[-signal.SIGKILL, 0]] * len(work), done.stderr
    return codes


def test_r2_the_publisher_dies_at_each_point(tmp_path: Path, uri: str) -> None:
    work = []
    for k, (point, n) in enumerate(PUBLISHING):
        journal = journal_of(tmp_path, uri, map(finished, range(TRIALS)), id=f"points-{k}", name=f"points-{k}")
        work.append((journal, point, n))
    follow(*work)
    violations = 0
    for k, (journal, _, _) in enumerate(work):
        delivered_once(uri, f"points-{k}", TRIALS)
        runs = {int(run.data.tags.get("hpo.trial", PARENT)): run.info.run_id for run in runs_of(uri, f"points-{k}")}
        violations += journal.runs() != runs
        journal.close()
    promise = "a publisher that dies at any named point leaves one run a trial after the next one"
    figure("R2 publisher", promise, f"{len(work)} points, {violations} violations", violations)


def test_r2_a_promotion_dies_at_each_point(tmp_path: Path, uri: str) -> None:
    work = []
    for k, (point, n) in enumerate(PROMOTING):
        name = f"segment-{k}"
        sweep = build(**{
            "name": name, "data": {"path": str(ROOT / "data" / "segment.parquet"), "target": "category"},
            "model": "sklearn.tree.DecisionTreeClassifier", "metric": "accuracy",
            "space": {"max_depth": {"int": [2, 9]}},
        })  # fmt: skip
        trial = Trial(0, {"max_depth": 5}, started=1.0, finished=2.0, values=(0.5,), scores={"accuracy": (0.4, 0.6)})
        journal = journal_of(
            tmp_path, uri, [trial], id=f"{name}-1", name=name, promote=True, document=dict(sweep.document),
            metrics=[["accuracy", "maximize"]], dataset=prepare(sweep, tmp_path / "data").to_json(),
        )  # fmt: skip
        work.append((journal, point, n))
    follow(*work)
    client = MlflowClient(uri, uri)
    wrong = []
    for k, (journal, point, _) in enumerate(work):
        versions = client.search_model_versions(f"name = 'segment-{k}'")
        champion = client.get_model_version_by_alias(f"segment-{k}", "champion").version
        promotion = journal.fact("promotion")
        if len(versions) != 1 or str(champion) != promotion["version"] or not promotion["promoted"]:
            wrong.append(point)
        journal.close()
    promise = "a promotion that dies at any named point is one version with the alias after the next try"
    figure("R2 promotion", promise, f"{len(work)} points, wrong: {wrong}", len(wrong))


def test_r2_the_driver_dies_at_each_point(tmp_path: Path) -> None:
    straight = sweep(tmp_path / "straight", "random", trials=8, workers=1)
    Driver(straight, "--space", "killed.yaml", "--tracking-uri", "none").finish()
    wrong = []
    for point, n in RECORDING:
        folder = sweep(tmp_path / f"{point}-{n}", "random", trials=8, workers=1)
        driver = Driver(
            folder, "--space", "killed.yaml", "--tracking-uri", "none", env={"HPO_CRASH_AT": f"{point}:{n}"}
        )
        driver.finish(-signal.SIGKILL)
        Driver(folder, "--space", "killed.yaml", "--tracking-uri", "none").finish()
        if not same(trials(folder), trials(straight)):
            wrong.append((point, n))
    promise = "a driver that dies before or after any commit goes on with the trials of an uninterrupted sweep"
    figure("R2 driver", promise, f"{len(RECORDING)} points, wrong: {wrong}", len(wrong))
    with closing(Journal(next((folder / ".hpo").glob("*.journal")))) as journal:
        assert journal.fact("state") == "finished"
