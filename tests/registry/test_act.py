"""Judging, registering and the alias, with real models in a real registry."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hpo.errors import InputError
from hpo.registry import (
    Candidate,
    Champion,
    Promotion,
    acknowledge,
    choose,
    events,
    evidence_of,
    holder,
    id_of,
    promote,
    promote_by_hand,
    reigns,
    roll_back,
)  # fmt: skip
from hpo.sweep import Promote
from hpo.verdict import Evidence
from tests.conftest import ROOT
from tests.registry.models import Bench, fitted


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return fitted(tmp_path_factory.mktemp("bench"), (1, 5, 10, 40))


@pytest.fixture
def submit(uri: str, bench: Bench, tmp_path: Path) -> partial[Promotion]:
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("segment", (tmp_path / "mlruns").as_uri())
    run_id = client.create_run(experiment).info.run_id
    return partial(promote, client, experiment, run_id, judge=bench.judge)


def champion_of(uri: str) -> str:
    return str(MlflowClient(uri, uri).get_model_version_by_alias("segment", "champion").version)


def test_the_first_becomes_champion_and_a_better_one_takes_its_place(
    uri: str, bench: Bench, submit: partial[Promotion]
) -> None:
    first = submit(bench.candidates[0])
    assert (first.promoted, first.version, first.reasons) == (True, "1", ("there was no champion",))
    second = submit(bench.candidates[1])
    assert (second.promoted, second.version, second.alias) == (True, "2", "champion")
    assert second.champion_scores == pytest.approx(first.scores)  # scored again, by its own code, on our rows
    assert champion_of(uri) == "2"
    version = MlflowClient(uri, uri).get_model_version("segment", "2")
    assert {"hpo.sweep": "segment-1", "hpo.trial": "1", "hpo.metric": "log_loss"}.items() <= version.tags.items()
    assert float(version.tags["holdout_log_loss"]) == second.scores["log_loss"]


def test_a_worse_one_is_kept_as_challenger(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    submit(bench.candidates[2])
    worse = submit(bench.candidates[0])
    assert (worse.promoted, worse.alias, worse.uri) == (False, "challenger", "models:/segment@challenger")
    assert "it is worse by" in worse.reasons[-1]
    assert champion_of(uri) == "1"
    assert str(MlflowClient(uri, uri).get_model_version_by_alias("segment", "challenger").version) == "2"


def test_a_repetition_registers_nothing_twice(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    client = MlflowClient(uri, uri)
    assert submit(bench.candidates[0]).version == submit(bench.candidates[0]).version == "1"
    assert len(client.search_model_versions("name = 'segment'")) == 1
    experiment = client.get_experiment_by_name("segment").experiment_id
    assert len(client.search_logged_models([experiment])) == 1


def test_a_half_written_model_is_replaced(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    """Killed between creating the logged model and its last file."""
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("segment").experiment_id
    client.create_logged_model(experiment, tags={"hpo.sweep": "segment-0", "hpo.trial": "0"})
    assert submit(bench.candidates[0]).promoted
    assert [str(m.status) for m in client.search_logged_models([experiment])] == ["READY"]


def test_a_champion_that_cannot_be_scored_stays(
    uri: str, bench: Bench, submit: partial[Promotion], tmp_path: Path
) -> None:
    """It was trained on other columns; nobody knows whether the new one is better."""
    strange = replace(bench.candidates[0], columns=("no such column",), example=None)
    submit(strange)
    kept = submit(bench.candidates[3])
    assert not kept.promoted
    assert "cannot be scored" in kept.reasons[0]
    assert champion_of(uri) == "1"


def test_without_a_holdout_nothing_is_promoted(bench: Bench, submit: partial[Promotion]) -> None:
    blind = replace(bench, dataset=replace(bench.dataset, holdout_rows=0))
    kept = submit(replace(bench.candidates[0], scores={}, example=None), judge=blind.judge)
    assert (kept.promoted, kept.alias) == (False, "challenger")


def test_a_rollback_by_a_person_is_not_undone_by_an_old_rival(
    uri: str, bench: Bench, submit: partial[Promotion]
) -> None:
    client = MlflowClient(uri, uri)
    for candidate in bench.candidates[:2]:
        submit(candidate)
    client.set_registered_model_alias("segment", "champion", "1")
    assert submit(bench.candidates[2]).promoted
    assert champion_of(uri) == "3"


def test_whoever_writes_last_the_best_one_has_the_alias(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    best = f"segment-{len(bench.candidates) - 1}"
    for _ in range(3):
        client = MlflowClient(uri, uri)
        with ThreadPoolExecutor(len(bench.candidates)) as pool:
            outcomes = list(pool.map(submit, bench.candidates))
        version = client.get_model_version_by_alias("segment", "champion")
        assert version.tags["hpo.sweep"] == best
        assert outcomes[-1].promoted
        client.delete_registered_model("segment")


@pytest.mark.parametrize("model", ["xgboost.XGBClassifier", "sklearn.ensemble.RandomForestClassifier"])
def test_a_served_model_predicts_raw_rows_and_needs_no_pickle(tmp_path: Path, uri: str, model: str) -> None:
    """In a process that has never seen hpo: the folder is whole in itself."""
    made = fitted(tmp_path, (5,), model=model, fixed={"max_depth": 3})
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("segment", (tmp_path / "mlruns").as_uri())
    promote(client, experiment, client.create_run(experiment).info.run_id, made.candidates[0], made.judge)
    code = f"""
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri({uri!r})
rows = pd.read_parquet({str(ROOT / "data" / "segment.parquet")!r})
model = mlflow.pyfunc.load_model("models:/segment@champion")
assert "hpo" not in sys.modules
print((model.predict(rows) == rows["category"].astype(str)).mean())
print(model.predict(rows.astype({{"region-centroid-col": "float32"}}), params={{"output": "probability"}}).shape[1])
if "xgb" in {model!r}:
    print(type(mlflow.xgboost.load_model("models:/segment@champion")).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy, classes, *native = done.stdout.split()
    assert float(accuracy) > 0.8
    assert int(classes) == 7
    assert native in ([], ["Booster"])


def aliases(uri: str) -> dict[str, str]:
    names = {"champion", "challenger", "previous-champion"}
    found = {name: holder(MlflowClient(uri, uri), "segment", name) for name in names}
    return {name: id_of(version) for name, version in found.items() if version is not None}


def test_promote_rollback_promote(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    """And again, while the history tells all of it."""
    client = MlflowClient(uri, uri)
    for candidate in bench.candidates[:3]:
        submit(candidate)
    assert aliases(uri) == {"champion": "3", "previous-champion": "2"}
    event, whose = roll_back(client, "segment", "champion", "complaints", "ada")
    assert (event.to, event.origin, whose) == ("2", "3", "new")
    assert roll_back(client, "segment", "champion", "", "eve") == (replace(event, done=True), "untold")
    assert aliases(uri) == {"champion": "2", "previous-champion": "1"}
    assert submit(bench.candidates[3]).promoted  # and not version 3, which beat version 2 in an earlier reign
    assert aliases(uri) == {"champion": "4", "previous-champion": "2"}
    for back in ("2", "1"):
        event, whose = roll_back(client, "segment", "champion", "", "ada")
        assert (event.to, whose) == (back, "new")
        acknowledge(client, "segment", event)
    with pytest.raises(InputError, match="nothing to go to"):
        roll_back(client, "segment", "champion", "", "ada")
    told = [
        (reign.version, reign.event.why, reign.event.who) for reign in reigns(events(client, "segment", "champion"))
    ]
    assert told == [
        ("1", "sweep", "sweep segment-0"), ("2", "sweep", "sweep segment-1"), ("3", "sweep", "sweep segment-2"),
        ("2", "rollback", "ada"), ("4", "sweep", "sweep segment-3"), ("2", "rollback", "ada"), ("1", "rollback", "ada"),
    ]  # fmt: skip


def test_a_person_decides_where_the_file_says_so(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    submit(bench.candidates[0])
    client = MlflowClient(uri, uri)
    waits = submit(replace(bench.candidates[3], manual=True))
    assert (waits.promoted, waits.alias) == (False, "challenger")
    assert waits.approve == "python -m hpo.promote segment --version 2"
    assert waits.approve in waits.reasons[-1]
    assert aliases(uri) == {"champion": "1", "challenger": "2"}
    chosen = choose(client, "segment", None)
    evidence = evidence_of(chosen)
    assert evidence is not None
    assert evidence.to_json() == waits.evidence
    moved = promote_by_hand(client, "segment", "champion", chosen, "agreed", "ada")
    assert moved is not None
    assert aliases(uri) == {"champion": "2", "previous-champion": "1"}
    assert promote_by_hand(client, "segment", "champion", chosen, "agreed", "ada") is None
    with pytest.raises(InputError, match="no version with the alias challenger"):
        choose(client, "segment", None)
    with pytest.raises(InputError, match="has no version 9"):
        choose(client, "segment", "9")


def test_a_broken_version_is_promoted_by_nobody(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    client = MlflowClient(uri, uri)
    for candidate in bench.candidates[:2]:
        submit(candidate)
    stored = Path(client.get_model_version_download_uri("segment", "1").removeprefix("file://"))
    (stored / "MLmodel").write_text("flavors: {}")
    with pytest.raises(InputError, match="its files are not those that were registered: changed: MLmodel"):
        roll_back(client, "segment", "champion", "", "ada")
    with pytest.raises(InputError, match="its files are not those"):
        promote_by_hand(client, "segment", "champion", choose(client, "segment", "1"), "", "ada")
    assert champion_of(uri) == "2"


def test_a_person_outranks_a_rival(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    """A rollback that falls between a sweep's verdict and its write: the sweep has to judge again, against whoever is
    champion now."""
    client = MlflowClient(uri, uri)
    for candidate in bench.candidates[:2]:
        submit(candidate)
    judged: list[str | None] = []

    def judge(candidate: Candidate, champion: Champion | None) -> Evidence:
        judged.append(champion.version if champion else None)
        found = bench.judge(candidate, champion)
        if len(judged) == 1:
            roll_back(client, "segment", "champion", "at this very moment", "ada")
        return found

    assert submit(bench.candidates[2], judge=judge).promoted
    assert judged == ["2", "1"]
    assert aliases(uri) == {"champion": "3", "previous-champion": "1"}


def test_gates_and_scores_stay_with_the_version(uri: str, bench: Bench, submit: partial[Promotion]) -> None:
    strict = replace(bench, sweep=replace(bench.sweep, promote=Promote(floor=1e-9, size=1)))
    kept = submit(bench.candidates[3], judge=strict.judge)
    assert not kept.promoted
    assert len(kept.reasons) == 2
    version = MlflowClient(uri, uri).get_model_version("segment", "1")
    assert version.tags["hpo.verdict"].startswith("keep: hold-out log_loss")
    found = evidence_of(version)
    assert found is not None
    assert [(gate.kind, gate.passed) for gate in found.gates] == [("floor", False), ("size", False)]
