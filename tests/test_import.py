"""Moving in: an Optuna study with its results, a W&B sweep file, and what cannot be carried over."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

import hpo
from hpo.foreign.wandb import read
from hpo.loader import load

TRAIN = """
def objective(params, trial):
    return -(params["lr_rate"] - 0.01) ** 2 - params.get("drop", 0)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def say(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(importlib.import_module("hpo.import").command, [*arguments])
    assert done.exit_code == code, done.output
    return done.output


def study(storage: str, name: str = "old study") -> optuna.Study:
    made = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1)
    )

    def objective(trial: optuna.Trial) -> float:
        booster = trial.suggest_categorical("booster", ["gbtree", "dart", None])
        drop = trial.suggest_float("drop", 0, 0.5) if booster == "dart" else 0.0
        trial.suggest_int("max.depth", 2, 10, step=2)
        if trial.number == 3:
            raise optuna.TrialPruned
        return -((trial.suggest_float("lr-rate", 1e-5, 1e-1, log=True) - 0.01) ** 2) - drop

    made.optimize(objective, n_trials=12)
    return made


def test_a_study_with_its_results(home: Path) -> None:
    old = study(f"sqlite:///{home}/study.db")
    out = say(f"sqlite:///{home}/study.db", "--objective", "train:objective")
    assert "lr-rate is called lr_rate here" in out
    assert "are not carried over: 1" in out
    sweep = load("old-study.yaml")
    shapes = {p.name: (type(p).__name__, p.when) for p in sweep.space.parameters}
    assert shapes == {
        "booster": ("Choice", {}), "lr_rate": ("Float", {}), "max_depth": ("Int", {}),
        "drop": ("Float", {"booster": ("dart",)}),
    }  # fmt: skip
    assert (sweep.metric.name, sweep.metric.direction) == ("value", "maximize")
    before = {path.name for path in (home / ".hpo").glob("*.journal")}
    assert len(before) == 1
    sweep = load("old-study.yaml", ["search.trials=3"])
    result = hpo.run(sweep, tracking=None, executor="inline")
    best = {name.replace("-", "_").replace(".", "_"): value for name, value in old.best_params.items()}
    assert best in [dict(trial.params) for trial in result.all_trials]
    assert hpo.journal.Journal(result.journal, writable=False).fact("said") == (
        f"warm start from {next(iter(before)).removesuffix('.journal')}: 3 configurations and 11 results"
    )
    assert "is there already" in say(f"sqlite:///{home}/study.db", code=2)


def test_which_study(home: Path) -> None:
    for name in ("one", "two"):
        study(f"sqlite:///{home}/study.db", name)
    assert "--study one|two" in say(f"sqlite:///{home}/study.db", code=2)
    assert "did you mean 'one'" in say(f"sqlite:///{home}/study.db", "--study", "ones", code=2)
    assert "name it in two.yaml" in say(f"sqlite:///{home}/study.db", "--study", "two")
    assert "cannot be read" in say(f"sqlite:///{home}/nothing.db", code=2)
    assert not (home / "nothing.db").exists()


WANDB: dict[str, Any] = {
    "program": "train.py", "method": "bayes", "metric": {"name": "val_loss", "goal": "minimize"}, "run_cap": 30,
    "early_terminate": {"type": "hyperband", "min_iter": 3},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1}, "batch": {"values": [16, 32]},
        "epochs": {"value": 10}, "layers": {"min": 1, "max": 5}, "dropout": {"min": 0.0, "max": 0.5},
        "width": {"distribution": "q_uniform", "min": 8, "max": 128, "q": 8},
        "decay": {"distribution": "log_uniform", "min": 0.0, "max": 1.0},
        "shift": {"distribution": "normal", "mu": 1, "sigma": 2}, "odd": {"distribution": "beta"},
        "optimizer": {"parameters": {"kind": {"values": ["adam", "sgd"]}, "nesterov": {"value": True}}},
    },
}  # fmt: skip


def test_a_sweep_of_wandb() -> None:
    draft = read(WANDB)
    assert draft.space == {
        "lr": {"float": [1e-5, 0.1], "log": True}, "batch": {"choice": [16, 32]}, "layers": {"int": [1, 5]},
        "dropout": {"float": [0.0, 0.5]}, "width": {"int": [8, 128], "step": 8},
        "decay": {"float": [1.0, pytest.approx(2.718281828)], "log": True}, "shift": {"float": [-5.0, 7.0]},
        "optimizer__kind": {"choice": ["adam", "sgd"]},
    }  # fmt: skip
    assert draft.fixed == {"epochs": 10, "optimizer__nesterov": True}
    assert draft.metrics == (("val_loss", "minimize"),)
    assert draft.search == {"engine": "optuna", "trials": 30, "pruner": "hyperband"}
    notes = " | ".join(draft.notes)
    for said in ("odd: ", "shift: normal has no ends", "program: 'train.py'", "without min_iter: 3", "optimizer__"):
        assert said in notes


def test_its_file_is_checked_and_runs(home: Path) -> None:
    import json

    (home / "w.yaml").write_text(json.dumps({**WANDB, "name": "net/1", "method": "random"}))
    out = say("w.yaml", "--objective", "train:objective", "--out", "net.yaml")
    assert "to be mended" not in out
    sweep = load("net.yaml")
    assert (sweep.name, sweep.search.engine, sweep.search.trials) == ("net-1", "random", 30)
    (home / "none.yaml").write_text("a: 1\n")
    assert "this is no W&B sweep file" in say("none.yaml", code=2)
