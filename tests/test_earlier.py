"""Warm start from journals and MLflow, and sweeps that go on in a changed space: what carries over, and what not."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from click.testing import CliRunner

import hpo
from hpo.earlier import GUESSES, TRUST, Warmth, carried, warmth
from hpo.errors import HeldError, InputError
from hpo.journal import Journal
from hpo.lease import Lease, holder
from hpo.plan import command
from hpo.result import Result
from hpo.sweep import Sweep
from hpo.sync import deliver
from hpo.trial import Params
from tests.sweeps import SPACE, every_third_fails, function_sweep, inline, raises, same

ROOT = Path(__file__).resolve().parent.parent


def warm(source: str, **search: Any) -> dict[str, Any]:
    return {"engine": "optuna", "sampler": "gp", "trials": 12, "warm_start": source, **search}


def found(sweep: Sweep, folder: Path, uri: str | None = None) -> Warmth:
    learned = warmth(sweep, folder, uri)
    assert learned is not None
    return learned


def first(tmp_path: Path, **keys: Any) -> Result:
    return inline(tmp_path, function_sweep(**{"search": {"trials": 20}, **keys}))


def best(result: Result, count: int) -> list[Params]:
    done = sorted((t for t in result.all_trials if t.values), key=lambda t: t.values or ())
    return [trial.params for trial in done[:count]]


@pytest.mark.parametrize("source", ["last", "toy", "id"])
def test_the_best_of_an_earlier_sweep_go_first(tmp_path: Path, source: str) -> None:
    before = first(tmp_path)
    sweep = function_sweep(search=warm(before.id if source == "id" else source, portfolio="off"))
    after = inline(tmp_path, sweep)
    assert [trial.params for trial in after.all_trials[:GUESSES]] == best(before, GUESSES)
    assert after.best_value is not None
    assert before.best_value is not None
    assert after.best_value <= before.best_value


def test_in_another_space_the_best_are_clipped_into_it(tmp_path: Path) -> None:
    first(tmp_path)
    space = {"x": {"float": [2, 5]}, "more": {"int": [1, 9]}, "kind": {"choice": ["b", "c"]}}
    sweep = function_sweep(space=space, search=warm("last", trials=3))
    assert not found(sweep, tmp_path).evidence
    after = inline(tmp_path, sweep)
    assert all(trial.params in sweep.space for trial in after.all_trials)
    assert after.all_trials[0].params["x"] == 2.0


def test_with_the_same_space_the_results_count(tmp_path: Path) -> None:
    """The Gaussian process knows at its first own trial what random search had found."""
    before = first(tmp_path)
    learned = found(function_sweep(search=warm("last")), tmp_path)
    assert {t.number for t in learned.evidence} == {*range(-len(before.all_trials), 0)}
    assert f"{GUESSES} configurations and 20 results" in str(learned)
    other_code = function_sweep(every_third_fails, search=warm("last"))
    assert not found(other_code, tmp_path).evidence, "its values mean something else"
    deaf = function_sweep(search=warm("last", sampler="random"))
    assert not found(deaf, tmp_path).evidence, "it takes no advice"
    after = inline(tmp_path, function_sweep(search=warm("last", trials=GUESSES + 4)))
    own = [abs(float(trial.params["x"] or 0)) for trial in after.all_trials[GUESSES:]]
    assert min(own) < 1.0


def flights(tmp_path: Path, rows: int, **search: Any) -> Sweep:
    """A sweep of XGBoost on the first rows of a file that grows."""
    table = pd.read_parquet(ROOT / "data" / "flights.parquet").iloc[:: 40919 // 600].iloc[:rows]
    table.to_parquet(tmp_path / "flights.parquet")
    return hpo.build(
        name="flights", data={"path": str(tmp_path / "flights.parquet"), "target": "late"},
        model="xgboost.XGBClassifier", fixed={"n_estimators": 5}, metric="roc_auc", recheck=False, promote=False,
        space={"max_depth": {"int": [2, 6]}, "learning_rate": {"float": [0.01, 1.0], "log": True},
               "subsample": {"float": [0.5, 1.0]}},
        search={"trials": 14, "workers": 1, "threads": 1, **search},
    )  # fmt: skip


def test_results_on_other_data_count_less(tmp_path: Path) -> None:
    before = inline(tmp_path, flights(tmp_path, 400))
    assert any(trial.pruned for trial in before.all_trials), "nothing was stopped: the test shows less"
    grown = flights(tmp_path, 500, warm_start="last", trials=10)
    learned = found(grown, tmp_path)
    assert len(learned.evidence) == len(before.all_trials), "those that were stopped have something to say as well"
    assert {trial.memo["trust"] for trial in learned.evidence} == {TRUST}
    assert "14 results, all of them on other data" in str(learned)
    after = inline(tmp_path, grown)
    opened = [trial.params for trial in before.all_trials[:8]]
    again = [trial.params for trial in after.all_trials[1 + GUESSES :]]
    assert not any(params in opened for params in again), "the portfolio was tried before"
    chained = found(flights(tmp_path, 600, warm_start="last"), tmp_path)
    assert Counter(trial.memo["trust"] for trial in chained.evidence) == {TRUST: 10, TRUST * TRUST: 14}
    same_data = found(flights(tmp_path, 500, warm_start="last"), tmp_path)
    assert Counter(trial.memo.get("trust") for trial in same_data.evidence) == {None: 10, TRUST: 14}
    tpe = found(flights(tmp_path, 500, warm_start="last", sampler="tpe"), tmp_path)
    assert Counter(trial.memo.get("trust") for trial in tpe.evidence) == {None: 10}, "it cannot weigh them"
    other = replace(flights(tmp_path, 600, warm_start="last"), fixed={"n_estimators": 6})
    assert not found(other, tmp_path).evidence, "more than the data has changed"


def test_a_sweep_without_a_result_is_passed_over(tmp_path: Path) -> None:
    before = first(tmp_path)
    inline(tmp_path, function_sweep(raises, search={"trials": 2}), fresh=True)
    assert found(function_sweep(search=warm("last")), tmp_path).source == before.id


def test_a_resumed_warm_start_is_the_same_whatever_came_since(tmp_path: Path) -> None:
    first(tmp_path)
    whole = inline(tmp_path / "w", sweep := function_sweep(search=warm("last")))
    assert whole.best is not None
    cut = function_sweep(search=warm("last", trials=7))
    (tmp_path / "c").mkdir()
    for path in [path for path in tmp_path.glob("toy-*") if path.is_file()]:
        for folder in ("c", "d"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    straight = inline(tmp_path / "d", sweep)
    half = inline(tmp_path / "c", cut)
    for path in (tmp_path / "c").glob("*.journal"):
        if path.stem != half.id:
            path.unlink()
    resumed = inline(tmp_path / "c", sweep, resume=half.id)
    assert same(resumed.all_trials, straight.all_trials)
    assert not same(resumed.all_trials, whole.all_trials), "without the earlier sweep it would have gone another way"


def test_last_of_none_is_no_mistake_and_an_unknown_name_is(tmp_path: Path) -> None:
    assert len(first(tmp_path, search=warm("last", trials=2)).all_trials) == 2
    with pytest.raises(InputError, match="no sweep 'nobody'"):
        inline(tmp_path, function_sweep(name="another", search=warm("nobody")))
    assert not [*tmp_path.glob("another-*.journal")], "and no sweep is begun"


def test_runs_of_anybody_are_known_by_their_parameters_and_metrics(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("by hand", artifact_location=str(tmp_path / "artifacts"))
    for x, kind, loss in ((0.5, "a", 0.7), (-0.25, "b", 0.3), (4.0, "b", 9.0)):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "x", x)
        client.log_param(run.info.run_id, "kind", kind)
        client.log_param(run.info.run_id, "owner", "me")
        client.log_metric(run.info.run_id, "loss", loss)
        client.set_terminated(run.info.run_id)
    client.create_run(experiment)  # still running, and without a loss
    learned = found(function_sweep(search=warm("by hand")), tmp_path / "none", uri)
    assert [dict(guess) for guess in learned.guesses] == [
        {"x": -0.25, "kind": "b"}, {"x": 0.5, "kind": "a"}, {"x": 4.0, "kind": "b"},
    ]  # fmt: skip
    client.create_registered_model("model")
    client.create_model_version("model", str(tmp_path), run_id=run.info.run_id)
    of_model = found(function_sweep(search=warm("model")), tmp_path / "none", uri)
    assert [dict(guess) for guess in of_model.guesses] == [{"x": 4.0, "kind": "b"}]
    with pytest.raises(InputError, match="nothing earlier is named 'nothing'"):
        warmth(function_sweep(search=warm("nothing")), tmp_path / "none", uri)


def test_our_own_runs_in_mlflow_bring_their_results_too(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    sweep = function_sweep(search={"engine": "optuna", "sampler": "gp", "trials": 6})
    journal = hpo.run(sweep, folder=tmp_path / "hpo", tracking=uri, executor="inline").journal
    while holder(journal.with_suffix(".sync")) is not None:  # on a slow machine they are still being brought there
        time.sleep(0.1)
    assert deliver(journal) is None
    again = function_sweep(search={"engine": "optuna", "sampler": "gp", "trials": 6, "warm_start": "toy"})
    learned = found(again, tmp_path / "none", uri)
    assert (len(learned.guesses), len(learned.evidence)) == (GUESSES, 6)
    assert all(trial.params in again.space for trial in learned.evidence)


# Evolving.


def evolve(tmp_path: Path, sweep: Sweep, **options: Any) -> Result:
    return inline(tmp_path, sweep, evolve=True, **options)


def test_a_widened_range_and_a_new_choice_keep_every_trial(tmp_path: Path) -> None:
    before = first(tmp_path)
    space = {**SPACE, "x": {"float": [-9, 9]}, "kind": {"choice": ["a", "b", "c"]}}
    after = evolve(tmp_path, function_sweep(space=space, search={"trials": 25}))
    assert after.id != before.id
    assert same(after.all_trials[:20], before.all_trials)
    assert len(after.all_trials) == 25
    with closing(Journal(after.journal, writable=False)) as journal:
        assert journal.fact("follows") == before.id
        assert "20 trials carry over" in journal.fact("said")


def test_a_narrowed_range_and_a_frozen_parameter_keep_what_fits(tmp_path: Path) -> None:
    before = first(tmp_path)
    narrow = function_sweep(space={**SPACE, "x": {"float": [-1, 1]}}, search={"trials": 20})
    fits = carried(narrow, before.journal)
    inside = [t.params for t in before.all_trials if abs(float(t.params["x"] or 0)) <= 1]
    assert [t.params for t in fits.trials] == inside
    assert len(fits.left) == 20 - len(inside)
    assert all("is outside [-1, 1]" in why for _, why in fits.left)
    frozen = function_sweep(space={"x": SPACE["x"]}, fixed={"kind": "b"}, search={"trials": 20})
    fits = carried(frozen, before.journal)
    assert [t.params for t in fits.trials] == [
        {"x": t.params["x"]} for t in before.all_trials if t.params["kind"] == "b"
    ]
    assert {why for _, why in fits.left} == {"kind was not 'b'"}
    thawed = evolve(tmp_path, frozen)
    back = carried(function_sweep(search={"trials": 20}), thawed.journal)
    assert len(back.trials) == 20
    assert {t.params["kind"] for t in back.trials} == {"b"}, "what was fixed is known of each trial"


def test_a_new_parameter_says_why_nothing_fits(tmp_path: Path) -> None:
    before = first(tmp_path)
    fits = carried(function_sweep(space={**SPACE, "z": {"int": [1, 3]}}), before.journal)
    assert (fits.trials, {why for _, why in fits.left}) == ((), {"z: missing"})


def test_another_meaning_is_no_evolution(tmp_path: Path) -> None:
    first(tmp_path)
    with pytest.raises(InputError, match=r"would have other values(.|\n)*search.seed: 3 -> 4(.|\n)*warm_start"):
        evolve(tmp_path, function_sweep(search={"seed": 4}))
    with pytest.raises(InputError, match="no earlier sweep 'new'"):
        evolve(tmp_path, function_sweep(name="new"))


def test_evolving_without_a_change_resumes_and_a_held_sweep_is_left_alone(tmp_path: Path) -> None:
    before = first(tmp_path)
    assert evolve(tmp_path, function_sweep(search={"trials": 20}), resume=before.id).id == before.id
    lease = Lease(tmp_path / f"{before.id}.lock", "sweep")
    with pytest.raises(HeldError):
        evolve(tmp_path, function_sweep(space={"x": {"float": [-9, 9]}}))
    lease.release()


def test_a_crash_after_the_journal_was_made_loses_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first(tmp_path)
    sweep = function_sweep(space={**SPACE, "x": {"float": [-9, 9]}}, search={"trials": 22})
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            evolve(tmp_path, sweep)
    assert len(inline(tmp_path, sweep).all_trials) == 22
    latest = sorted(tmp_path.glob("*.journal"))[-1]
    with closing(Journal(latest, writable=False)) as journal:
        assert len(journal.trials()) == 22


def test_the_plan_says_what_carries_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def loss(params, trial):\n    return params['x'] ** 2\n")
    text = "name: mine\nobjective: mine:loss\nmetric: {name: loss, direction: minimize}\n"
    text += "space: {x: {float: [-2, 2]}}\nsearch: {engine: random, trials: 9}\n"
    (tmp_path / "mine.yaml").write_text(text)
    inline(tmp_path / ".hpo", hpo.load("mine.yaml"))
    narrow = ["--space", "mine.yaml", "--no-probe", "--set", "space.x.float=[-1, 1]", "--evolve", "last"]
    said = CliRunner().invoke(command, narrow).output
    assert "trials carry over" in said
    assert "is outside [-1, 1]" in said
    warmed = CliRunner().invoke(command, ["--space", "mine.yaml", "--no-probe", "--set", "search.warm_start=last"])
    assert f"{GUESSES} configurations and" not in warmed.output, "random takes no results"
    assert f"{GUESSES} configurations" in warmed.output
