"""What the usual loop does under the same faults: Optuna's `optimize` around `mlflow.start_run(nested=True)`.

Called by `scripts/torture` as `python -m tests.chaos.stock ROW`; prints one JSON line. Only what is measured within a
minute or two is here; nothing is configured that the two libraries' quick starts do not configure.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.proxy import DROP, ChaosProxy, sometimes

LOOP = """
import json, os, sys, time
import mlflow, optuna
uri, study, trials, action = sys.argv[1:5]
optuna.logging.set_verbosity(optuna.logging.ERROR)
mlflow.set_tracking_uri(uri)
mlflow.set_experiment("stock")

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    begun = time.monotonic()
    with mlflow.start_run(nested=True):
        mlflow.log_params({"x": x})
        if action == "exit" and trial.number == 9:
            os._exit(3)
        value = float("nan") if action == "nan" and trial.number % 5 == 2 else x * x
        mlflow.log_metric("loss", value)
    print(json.dumps({"number": trial.number, "seconds": time.monotonic() - begun}), flush=True)
    time.sleep(0.1)
    return value

study = optuna.create_study(storage=f"sqlite:///{study}", study_name="stock", load_if_exists=True)
with mlflow.start_run(run_name="parent"):
    study.optimize(objective, n_trials=int(trials))
"""


class Loop:
    """One process of it, in `folder`."""

    def __init__(self, folder: Path, uri: str | None = None, trials: int = 30, action: str = "") -> None:
        self.uri = uri or f"sqlite:///{folder}/mlflow.db"
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_HTTP")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP, self.uri, str(folder / "study.db"), str(trials), action],
            cwd=folder, env={**env, "MLFLOW_DISABLE_TELEMETRY": "true"}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def after(self, trials: int) -> float:
        """Wait for so many trials more; the longest."""
        assert self.process.stdout is not None
        lines = [line for _ in range(trials) if (line := self.process.stdout.readline()).startswith("{")]
        return max((float(json.loads(line)["seconds"]) for line in lines), default=0.0)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def finish(self) -> int:
        self.process.communicate()
        return self.process.returncode


def _count(uri: str) -> dict[str, int]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("stock").experiment_id], max_results=5000)
    parents = sum("mlflow.parentRunId" not in run.data.tags for run in runs)
    running = sum(run.info.status == "RUNNING" for run in runs)
    return {"parents": parents, "running": running, "runs": len(runs)}


def r1(folder: Path) -> str:
    kills = 6
    for kill in range(kills):
        loop = Loop(folder, trials=100)
        loop.after(2 + kill)
        loop.kill()
    found = _count(f"sqlite:///{folder}/mlflow.db")
    return f"{kills} kills: {found['running']} runs left RUNNING, {found['parents']} parents"


def _served(folder: Path, use: Callable[[str], str]) -> str:
    from tests.conftest import Server, free_port

    server = Server(folder / "server.db", free_port())
    try:
        return use(server.uri)
    finally:
        server.stop()


def r3(folder: Path) -> str:
    """Lost answers to creates: the client asks again by itself."""

    def use(uri: str) -> str:
        with ChaosProxy(uri, sometimes(3, (0.2, "runs/create", DROP))) as proxy:
            Loop(folder, proxy.uri, trials=20).finish()
            lost = proxy.played["drop"]
        found = _count(uri)
        return f"20 trials, {lost} answers lost: {found['runs']} runs, {found['running']} of them RUNNING for ever"

    return _served(folder, use)


def r5(folder: Path) -> str:
    def use(uri: str) -> str:
        with ChaosProxy(uri) as proxy:
            loop = Loop(folder, proxy.uri, trials=100_000)
            calm = loop.after(5)
            with proxy.refusing():
                time.sleep(10)
            slowest = loop.after(3)
            loop.kill()
        return f"server refused for 10 s: a trial of {calm:.1f} s took {slowest:.0f} s"

    return _served(folder, use)


def r9(folder: Path) -> str:
    code = Loop(folder, action="exit").finish()
    found = _count(f"sqlite:///{folder}/mlflow.db")
    return f"os._exit in trial 9 of 30: the sweep ends with code {code}, {found['running']} runs left RUNNING"


def r13(folder: Path) -> str:
    import optuna

    Loop(folder, trials=10, action="nan").finish()
    study = optuna.load_study(study_name="stock", storage=f"sqlite:///{folder}/study.db")
    failed = sum(trial.state.name == "FAIL" for trial in study.trials)
    found = _count(f"sqlite:///{folder}/mlflow.db")
    return f"{failed} trials of NaN: FAIL in Optuna, {found['runs'] - 1} of 10 FINISHED in MLflow"


def r14(folder: Path) -> str:
    codes = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop = Loop(folder, trials=100)
        loop.after(3)
        os.killpg(loop.process.pid, number)
        codes.append(str(loop.finish()))
    found = _count(f"sqlite:///{folder}/mlflow.db")
    return f"SIGTERM, SIGHUP: exit {' and '.join(codes)}, {found['running']} of {found['runs']} runs left RUNNING"


def r18(folder: Path) -> str:
    loops = [Loop(folder, trials=2) for _ in range(8)]
    failed = sum(loop.finish() != 0 for loop in loops)
    return f"{failed} of 8 starts on a cold folder failed"


RACE = """
import sys, time
from mlflow import MlflowClient
client, version, at = MlflowClient(sys.argv[1]), sys.argv[2], float(sys.argv[3])
time.sleep(max(0, at - time.time()))
value = float(client.get_model_version("m", version).tags["value"])
try:
    champion = float(client.get_model_version_by_alias("m", "champion").tags["value"])
except Exception:
    champion = -1.0
if value > champion:
    client.set_registered_model_alias("m", "champion", version)
"""


def r24(folder: Path) -> str:
    """Read the champion, compare, move the alias; four at once, one after the other as they get there."""
    from mlflow import MlflowClient

    uri, rounds, wrong = f"sqlite:///{folder}/mlflow.db", 3, 0
    client = MlflowClient(uri)
    client.create_registered_model("m")
    versions = [client.create_model_version("m", f"file://{folder}", tags={"value": str(k)}).version for k in range(4)]
    for _ in range(rounds):
        at = time.time() + 10
        racers = [subprocess.Popen([sys.executable, "-c", RACE, uri, str(v), str(at)]) for v in versions]
        for racer in racers:
            racer.wait()
        wrong += str(client.get_model_version_by_alias("m", "champion").version) != str(versions[-1])
        client.delete_registered_model_alias("m", "champion")
    return f"{rounds} races of 4: {wrong} wrong champions"


def s6(folder: Path) -> str:
    """Readers of changed .ubj files, each in a child process."""
    model = folder / "model.ubj"
    train = (
        "import sys, numpy, xgboost; rows = numpy.random.default_rng(0).normal(size=(200, 5)); "
        "xgboost.train({'nthread': 1}, xgboost.DMatrix(rows, rows[:, 0]), 20).save_model(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", train, str(model)], check=True)
    import xgboost  # imported and not used before the forks: its threads would hang the children

    whole, dice, crashed, loaded = model.read_bytes(), random.Random(6), 0, 0
    for _ in range(150):
        content = bytearray(whole)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        model.write_bytes(content)
        if (child := os.fork()) == 0:
            signal.alarm(10)
            try:
                xgboost.Booster(model_file=str(model))
            except Exception:
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        crashed, loaded = crashed + (code < 0), loaded + (code == 0)
    executed = folder / "executed"

    class Run:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {executed}",)

    pickle.loads(pickle.dumps(Run()))
    return f"150 changed .ubj: {loaded} loaded, {crashed} crashed the process; a swapped pickle is executed"


ROWS = {"R1": r1, "R3": r3, "R5": r5, "R9": r9, "R13": r13, "R14": r14, "R18": r18, "R24": r24, "S6": s6}


def main(row: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"row": row, "stock": ROWS[row](Path(folder))}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
