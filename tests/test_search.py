"""The whole story: budgets and what ends a sweep, failures, pruning, resume; with real workers where they matter."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpo
from hpo import search, searchers
from hpo.errors import InputError
from hpo.executors.port import KeepTrial
from hpo.journal import Journal
from hpo.progress import Progress, Show
from hpo.searchers import Searcher
from hpo.status import status
from hpo.trial import Failure, Report, Trial
from tests.data.sweeps import BUNDLED
from tests.sweeps import dies, dies_once, every_third_fails, function_sweep, inline, loss, naps, raises, same, two


def states(result: hpo.Result) -> list[str]:
    return [trial.state for trial in result.all_trials]


# What ends a sweep.


@pytest.mark.parametrize("trials", [1, 7])
def test_the_budget_is_met_exactly(tmp_path: Path, trials: int) -> None:
    result = inline(tmp_path, function_sweep(search={"trials": trials}))
    assert result.state == "finished"
    assert [trial.number for trial in result.all_trials] == list(range(trials))
    assert result.best is not None
    assert result.best_value == min(trial.values[0] for trial in result.all_trials if trial.values)


def test_one_trial_for_eight_workers(tmp_path: Path) -> None:
    sweep = function_sweep(search={"trials": 1, "workers": 8})
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert states(result) == ["complete"]


def test_nothing_starts_after_the_timeout(tmp_path: Path) -> None:
    result = inline(tmp_path, function_sweep(naps, search={"trials": 1000, "timeout": 0.35}))
    assert result.state == "finished"
    assert 2 <= len(result.all_trials) <= 4
    assert set(states(result)) == {"complete"}


def test_a_timeout_shorter_than_a_worker_takes_to_start(tmp_path: Path) -> None:
    sweep = function_sweep(naps, search={"trials": 100, "timeout": 0.1, "workers": 2})
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert states(result) == ["complete", "complete"], "what was started is finished, and no more"


def test_the_time_of_an_earlier_session_counts(tmp_path: Path) -> None:
    sweep = function_sweep(naps, search={"trials": 1000, "timeout": 0.35})
    first = inline(tmp_path, sweep)
    again = inline(tmp_path, sweep, resume="last")
    assert again.all_trials == first.all_trials
    assert again.state == "finished"


def test_failures_in_a_row_end_it(tmp_path: Path) -> None:
    result = inline(tmp_path, function_sweep(raises, search={"trials": 1000}, limits={"failures": 5}))
    assert states(result) == ["failed"] * 5
    assert (result.best, result.best_value, result.best_params) == (None, None, {})


def test_single_failures_do_not_end_it_and_nan_is_never_the_best(tmp_path: Path) -> None:
    sweep = function_sweep(every_third_fails, search={"trials": 30}, limits={"failures": 3, "failure_share": 1.0})
    result = inline(tmp_path, sweep)
    assert states(result) == ["complete", "failed", "failed"] * 10
    assert result.best is not None
    assert result.best.number % 3 == 0
    failures = [trial.failure for trial in result.all_trials[1:3]]
    assert [failure and failure.cause for failure in failures] == ["exception", "not finite"]


def test_workers_that_all_die_end_it(tmp_path: Path) -> None:
    sweep = function_sweep(dies, search={"trials": 1000, "workers": 2}, limits={"failures": 3, "failure_share": 1.0})
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    assert 3 <= len(result.all_trials) <= 4
    assert set(states(result)) == {"failed"}
    assert result.all_trials[0].failure is not None
    assert result.all_trials[0].failure.cause == "exit"


def test_what_others_killed_is_tried_again_as_often_as_the_limit_says(tmp_path: Path) -> None:
    sweep = function_sweep(dies_once, search={"trials": 2})
    result = hpo.run(sweep, folder=tmp_path / "once", tracking=None)
    assert [(trial.state, trial.attempt) for trial in result.all_trials] == [("complete", 2)] * 2
    never = hpo.run(replace(sweep, limits=replace(sweep.limits, retries=0)), folder=tmp_path / "never", tracking=None)
    assert [(trial.state, trial.attempt) for trial in never.all_trials] == [("failed", 1)] * 2


class Pairs:
    """An executor of two slots whose trials come back together; the first attempt at the first is lost."""

    def __init__(self) -> None:
        self._running: list[Trial] = []

    @property
    def free(self) -> int:
        return 2 - len(self._running)

    @property
    def busy(self) -> int:
        return len(self._running)

    def submit(self, trial: Trial) -> None:
        self._running.append(trial)

    def wait(self, keep: KeepTrial | None = None, timeout: float | None = None) -> list[Trial]:
        done = [replace(trial, finished=trial.started, values=(1.0,)) for trial in self._running]
        self._running.clear()
        lost = Failure("signal", "SIGKILL", transient=True)
        return [t.failed(lost, t.finished or 0.0) if (t.number, t.attempt) == (0, 1) else t for t in done]

    def stop(self, number: int) -> bool:
        return False

    def close(self) -> None:
        self._running.clear()


def test_another_attempt_beside_a_new_trial_leaves_no_number_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hpo.executors, "build", lambda *_: Pairs())
    result = hpo.run(function_sweep(search={"trials": 5}), folder=tmp_path, tracking=None)
    assert [(trial.number, trial.attempt) for trial in result.all_trials] == [(0, 2), (1, 1), (2, 1), (3, 1), (4, 1)]


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_space_that_is_used_up_ends_it(tmp_path: Path, sampler: str) -> None:
    space = {"x": {"int": [0, 2]}, "kind": {"choice": ["a", "b"]}}
    sweep = function_sweep(space=space, search={"engine": "optuna", "sampler": sampler, "trials": 100})
    result = inline(tmp_path, sweep)
    assert result.state == "finished"
    assert sorted((trial.params["x"], trial.params["kind"]) for trial in result.all_trials) == [
        (x, kind) for x in range(3) for kind in "ab"
    ]


# Pruning and several metrics.


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband", "percentile"])
def test_a_hopeless_trial_is_stopped(tmp_path: Path, pruner: str) -> None:
    result = inline(tmp_path, function_sweep(search={"trials": 40, "pruner": pruner}))
    counts = {state: states(result).count(state) for state in ("complete", "pruned")}
    assert counts["pruned"] >= 5
    assert sum(counts.values()) == 40
    assert result.best is not None
    assert result.best.state == "complete"
    assert all(len(trial.reports) < 4 or trial.reports[-1].step == 3 for trial in result.all_trials)


def test_reports_are_answered_across_processes(tmp_path: Path) -> None:
    sweep = function_sweep(search={"trials": 20, "pruner": {"name": "median", "n_startup": 2}, "workers": 1})
    assert same(hpo.run(sweep, folder=tmp_path / "real", tracking=None).all_trials, inline(tmp_path, sweep).all_trials)


def test_several_metrics_have_a_front(tmp_path: Path) -> None:
    metrics = [{"name": "near", "direction": "minimize"}, {"name": "far", "direction": "minimize"}]
    result = inline(tmp_path, function_sweep(two, metric=metrics, search={"engine": "optuna", "trials": 30}))
    front = result.pareto_front
    assert 1 < len(front) < 30
    assert {trial.number for trial in result.all_trials if 0 <= float(trial.params["x"] or 0) <= 2} <= {
        trial.number for trial in front
    }, "between the two optima nothing is dominated"


# What must not be lost.


class Buggy:
    """A searcher that fails when it is told of its fifth result."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._told = 0

    def ask(self, number: int) -> Trial:
        return self._searcher.ask(number)

    def tell(self, trial: Trial) -> None:
        self._told += trial.state == "complete"
        if self._told == 5:
            raise RuntimeError("a bug in the sampler")
        self._searcher.tell(trial)

    def keep(self, number: int, report: Report) -> bool:
        return self._searcher.keep(number, report)


def test_a_buggy_searcher_loses_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = function_sweep(search={"trials": 12})
    with monkeypatch.context() as patch:
        patch.setattr(searchers, "build", lambda sweep, known: Buggy(build(sweep, known)))
        with pytest.raises(RuntimeError, match="a bug in the sampler"):
            inline(tmp_path, sweep)
    shown: list[int] = []
    result = inline(tmp_path, sweep, show=lambda progress: shown.append(len(progress.ended)))
    assert shown[0] == 5, "the result that the searcher could not take is in the journal"
    assert result.resumed
    assert same(result.all_trials, inline(tmp_path / "straight", sweep).all_trials)


build = searchers.build


class Cut(Exception):
    """The driver goes away."""


def cut_at(trials: int) -> Show:
    def show(progress: Progress) -> None:
        if len(progress.ended) >= trials:
            raise Cut

    return show


@pytest.mark.parametrize("engine", ["random", "optuna", "hyperopt"])
def test_resume_goes_on_as_if_nothing_had_happened(tmp_path: Path, engine: str) -> None:
    sweep = function_sweep(search={"engine": engine, "trials": 24, "pruner": {"name": "median", "n_startup": 4}})
    straight = inline(tmp_path / "straight", sweep)
    assert "pruned" in states(straight)
    for cut in (1, 11, 12, 23):
        with pytest.raises(Cut):
            inline(tmp_path / "cut", sweep, show=cut_at(cut))
    result = inline(tmp_path / "cut", sweep)
    assert result.resumed
    assert result.state == "finished"
    assert same(result.all_trials, straight.all_trials)


def test_a_raised_budget_extends_a_finished_sweep(tmp_path: Path) -> None:
    first = inline(tmp_path, function_sweep(search={"trials": 5}))
    more = inline(tmp_path, function_sweep(search={"trials": 9}), resume=first.id)
    assert more.id == first.id
    assert more.all_trials[:5] == first.all_trials
    assert same(more.all_trials, inline(tmp_path / "other", function_sweep(search={"trials": 9})).all_trials)


def test_the_same_again_after_a_finished_sweep_is_a_new_one(tmp_path: Path) -> None:
    first, second = inline(tmp_path, function_sweep()), inline(tmp_path, function_sweep())
    assert first.id != second.id
    assert not second.resumed
    assert same(first.all_trials, second.all_trials)


# What the input can have wrong: no journal is left behind.


def test_errors_in_the_data_leave_no_journal(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,4\n")
    sweep = hpo.build(
        name="bad", data={"path": str(tmp_path / "table.csv"), "target": "c"}, metric="rmse",
        model="sklearn.linear_model.Ridge", space={"alpha": {"float": [0, 1]}},
    )  # fmt: skip
    with pytest.raises(InputError, match="'c'"):
        inline(tmp_path / "hpo", sweep)
    assert not list(tmp_path.rglob("*.journal"))


def test_an_unknown_option_of_the_sampler_is_input(tmp_path: Path) -> None:
    sweep = function_sweep(search={"engine": "optuna", "sampler": {"name": "tpe", "startup": 3}})
    with pytest.raises(InputError, match="no option 'startup'"):
        inline(tmp_path, sweep)


# From Python.


def test_a_real_model_and_its_table(tmp_path: Path) -> None:
    sweep = hpo.build(
        name="segments", data={"path": str(BUNDLED / "segment.parquet"), "target": "category"}, metric="accuracy",
        metrics=["log_loss"], model="sklearn.tree.DecisionTreeClassifier", validation={"folds": 3},
        space={"max_depth": {"int": [1, 12]}}, search={"trials": 4, "seed": 1},
    )  # fmt: skip
    result = hpo.run(sweep, folder=tmp_path, tracking=None)
    table = result.trials
    assert list(table["number"]) == [0, 1, 2, 3]
    assert {"accuracy", "params_max_depth", "seconds"} <= set(table.columns)
    assert result.best is not None
    assert [len(folds) for folds in result.best.scores.values()] == [3, 3]
    assert result.best_value == table["accuracy"].max()
    assert result.model_uri is None


def test_run_in_a_thread_and_two_at_once(tmp_path: Path) -> None:
    """Signals belong to the main thread; a notebook's or a server's thread can search all the same."""
    results: dict[str, Any] = {}

    def work(name: str) -> None:
        results[name] = inline(tmp_path, function_sweep(name=name))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [result.state for result in results.values()] == ["finished"] * 2
    assert {result.id.split("-")[0] for result in results.values()} == {"one", "other"}


def test_show_sees_every_step(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def show(progress: Progress) -> None:
        seen.append((len(progress.ended), progress.counts["running"]))

    inline(tmp_path, function_sweep(search={"trials": 3}), show=show)
    assert seen == [(0, 1), (1, 1), (2, 1), (3, 0)]


def test_a_sweep_takes_the_time_of_its_trials(tmp_path: Path) -> None:
    begun = time.monotonic()
    result = inline(tmp_path, function_sweep(naps, search={"trials": 3}))
    assert 0.3 <= result.seconds <= time.monotonic() - begun
    assert loss.__module__ == "tests.sweeps"


# The command.

YAML = """\
name: toy
objective: tests.sweeps:{objective}
metric: {{name: loss, direction: minimize}}
space: {{x: {{float: [-5, 5]}}, kind: {{choice: [a, b]}}}}
search: {{engine: random, trials: 4, seed: 1, workers: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy.yaml").write_text(YAML.format(objective="loss"))
    (tmp_path / "raises.yaml").write_text(YAML.format(objective="raises"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(
        search.command, ["--tracking-uri", "none", "--allow-import", "tests", *arguments], catch_exceptions=False
    )
    assert done.exit_code == code, done.output
    return done.output


def test_a_log_and_a_summary(folder: Path) -> None:
    lines = call("--space", "toy.yaml").splitlines()
    assert lines[0].startswith("sweep toy-")
    assert lines[1].startswith("1/4  trial 0  complete  loss ")
    assert any(": 4 complete in " in line for line in lines)
    assert any(line.startswith("best: trial ") for line in lines)


def test_flags_are_overrides(folder: Path) -> None:
    said = json.loads(call("--space", "toy", "--trials", "2", "--set", "search.seed=5", "--workers", "8", "--json"))
    assert said["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0}
    engine = json.loads(
        call("--space", "toy", "--engine", "optuna", "--sampler", "qmc", "--pruner", "median", "--json")
    )
    assert engine["trials"]["complete"] == 4
    with closing(Journal(Path(engine["journal"]))) as journal:
        meaning = journal.fact("meaning")
    assert (meaning["search.sampler"], meaning["search.pruner"]) == ("qmc", "median")


def test_resume_by_name_with_a_raised_budget(folder: Path) -> None:
    first = json.loads(call("--space", "toy", "--json"))
    more = json.loads(call("--space", "toy", "--json", "--resume", "last", "--trials", "6"))
    assert (more["sweep"], more["trials"]["complete"], more["resumed"]) == (first["sweep"], 6, True)
    assert f"sweep {first['sweep']}, resumed after 6 trials" in call(
        "--space", "toy", "--resume", "toy", "--trials", "7"
    )


def test_no_usable_model_is_exit_code_3(folder: Path) -> None:
    said = call("--space", "raises", code=3)
    assert "4 failed" in said
    assert "1 failed: ValueError: no value for trial 0\n" in said
    assert "second line" not in said


def test_what_a_worker_finds_wrong_is_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same command goes on with the same sweep once it is put right."""
    monkeypatch.chdir(tmp_path)
    good = "def loss(params, trial):\n    return params['x']\n"
    (tmp_path / "mine.py").write_text(f"import nothing_like_it\n{good}")
    text = "name: mine\nobjective: mine:loss\nmetric: {name: loss, direction: minimize}\n"
    (tmp_path / "mine.yaml").write_text(
        f"{text}space: {{x: {{float: [0, 1]}}}}\nsearch: {{engine: random, trials: 2}}\n"
    )
    with pytest.raises(InputError, match="nothing_like_it"):
        hpo.run(hpo.load("mine.yaml"), tracking=None)
    (path,) = (tmp_path / ".hpo").glob("*.journal")
    assert "ModuleNotFoundError: No module named 'nothing_like_it'" in status(path)["stopped"]
    (tmp_path / "mine.py").write_text(good)
    assert len(hpo.run(hpo.load("mine.yaml"), tracking=None).all_trials) == 2
    assert status(sorted((tmp_path / ".hpo").glob("*.journal"))[-1])["stopped"] is None
