"""SIGKILL between every two steps of a promotion over a champion, and of a rollback; then the same call again.

The calls are made in forks of one process that has imported mlflow, since that takes longer than all they do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from hpo.registry import events, reigns
from tests.chaos.figures import FULL, figure
from tests.conftest import ROOT

PROMOTING = ["upload", "uploaded", "registered", "judged", "intended", "pointed", "previous", "challenger", "done"]
ROLLING = ["intended", "pointed", "previous", "challenger", "done", "telling"]
CALLS = """
import json, os, pickle, sys
from dataclasses import replace
from pathlib import Path
from mlflow import MlflowClient
import hpo.crash
from hpo import rollback
from hpo.registry import promote
from tests.registry.models import fitted

uri, folder, points = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
if not os.fork():  # whoever has trained XGBoost has threads, which a fork does not have
    (folder / "bench").write_bytes(pickle.dumps(fitted(folder, (1, 40))))
    os._exit(0)
os.wait()
bench = pickle.loads((folder / "bench").read_bytes())
client = MlflowClient(uri, uri)
experiment = client.create_experiment("moves", (folder / "mlruns").as_uri())
run = client.create_run(experiment).info.run_id

def call(model, number):
    sweep = f"of {model}"  # its own, or its logged model would be there already
    promote(client, experiment, run, replace(bench.candidates[number], model=model, sweep=sweep), bench.judge)

def rolls(arguments):  # the command that an operator types, output and all
    sys.stdout = open(os.devnull, "w")
    rollback.command.main(arguments, standalone_mode=False)

def forked(point, what, *args):
    child = os.fork()
    if not child:
        hpo.crash._NAME, hpo.crash._TIMES = point, "1"
        code = 1
        try:
            what(*args)
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

codes = []
for kind, point in points:
    model = f"{kind} {point}"
    assert forked("", call, model, 0) == 0
    if kind == "promote":
        codes += [forked(point, call, model, 1), forked("", call, model, 1)]
    else:
        assert forked("", call, model, 1) == 0
        back = [model, "--reason", "in the night", "--tracking-uri", uri]
        codes += [forked(point, rolls, back), forked("", rolls, back)]
print(json.dumps(codes))
"""


def test_r2_a_move_dies_between_any_two_steps(tmp_path: Path, uri: str) -> None:
    points = [("promote", point) for point in (PROMOTING if FULL else PROMOTING[2:])]
    points += [("rollback", point) for point in ROLLING]
    done = subprocess.run(
        [sys.executable, "-c", CALLS, uri, str(tmp_path), json.dumps(points)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [-signal.SIGKILL, 0] * len(points), done.stderr
    client = MlflowClient(uri, uri)
    wrong = []
    for kind, point in points:
        model = f"{kind} {point}"
        versions = sorted(str(v.version) for v in client.search_model_versions(f"name = '{model}'"))
        held = {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}
        told = [reign.version for reign in reigns(events(client, model, "champion"))]
        if kind == "promote":
            right = held == {"champion": "2", "previous-champion": "1"} and told == ["1", "2"]
        else:
            right = held == {"champion": "1"} and told == ["1", "2", "1"]
        unfinished = [event.id for event in events(client, model, "champion") if not event.done]
        if not right or versions != ["1", "2"] or unfinished:
            wrong.append(f"{model}: {versions} {held} {told} {unfinished}")
    promise = "a promotion or a rollback that dies between any two steps is complete, once, after the same call again"
    figure("R2 moves", promise, f"{len(points)} points, wrong: {wrong}", len(wrong))
