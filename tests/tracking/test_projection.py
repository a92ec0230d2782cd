"""What MLflow shows of a journal, and that it can be told twice."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Param, Run, ViewType

from hpo.journal import PARENT, Journal
from hpo.tracking.projection import Projection
from hpo.tracking.runs import GHOST
from hpo.tracking.server import Away, Refused
from tests.chaos.proxy import ChaosProxy, Fault
from tests.conftest import Server
from tests.tracking.sweeps import BEGUN, delivered_once, finished, journal_of, runs_of


def publish(journal: Journal, uri: str, folder: Path) -> Projection:
    projection = Projection(journal, uri, folder)
    while projection.publish():
        pass
    projection.mark("FINISHED", **{"hpo.state": "finished"})
    return projection


def child(runs: list[Run], number: int) -> Run:
    return next(run for run in runs if run.data.tags.get("hpo.trial") == str(number))


def parent(runs: list[Run]) -> Run:
    return next(run for run in runs if "hpo.trial" not in run.data.tags)


def metric_rows(uri: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as db:
        return sorted(db.execute("SELECT run_uuid, key, value, timestamp, step FROM metrics"))


def test_the_sweep_is_the_parent_run(tmp_path: Path, uri: str) -> None:
    publish(journal_of(tmp_path, uri, map(finished, range(5))), uri, tmp_path)
    run = parent(runs_of(uri))
    assert run.info.run_name == "1", "its id, without the name of its experiment"
    assert (run.info.status, run.info.start_time, run.info.end_time) == (
        "FINISHED", int(BEGUN * 1000), int((BEGUN + 5) * 1000),
    )  # fmt: skip
    expected = {
        "hpo.sweep": "flights-1", "hpo.engine": "optuna", "hpo.identity": "1d", "hpo.state": "finished",
        "mlflow.user": "ada", "mlflow.source.type": "LOCAL", "mlflow.source.name": "hpo search",
        "mlflow.source.git.commit": "c0ffee", "hpo.git.dirty": "true",
    }  # fmt: skip
    assert expected.items() <= run.data.tags.items()
    assert run.data.params["search.trials"] == "5"
    client = MlflowClient(uri)
    best = [(m.step, round(m.value, 6)) for m in client.get_metric_history(run.info.run_id, "best_roc_auc")]
    assert best == [(0, 0.75), (1, 0.750333), (2, 0.750667)]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"sweep.yaml", "provenance.json", "sweep.log"}
    log = Path(client.download_artifacts(run.info.run_id, "sweep.log", str(tmp_path))).read_text()
    assert log.splitlines()[0].endswith("sweep flights-1 begins: hpo search")
    assert " trial 0 complete after 1 s: roc_auc 0.75" in log
    assert " trial 3 failed after 1 s: exception: ValueError: no" in log
    assert log.endswith(" trial 4 pruned after 1 s\nFINISHED\n")
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("flights", "d" * 32)
    assert json.loads(dataset.schema)["mlflow_colspec"][0] == {"name": "carrier", "type": "string"}


def test_a_trial_is_a_child_run(tmp_path: Path, uri: str) -> None:
    publish(journal_of(tmp_path, uri, map(finished, range(5))), uri, tmp_path)
    runs = runs_of(uri)
    run = child(runs, 0)
    assert (run.info.run_name, run.info.status) == ("trial-0000", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (int(BEGUN * 1000), int((BEGUN + 1) * 1000))
    assert run.data.tags["mlflow.parentRunId"] == parent(runs).info.run_id
    assert run.data.params == {"learning_rate": "0.1", "booster": "gbtree"}
    expected = {"roc_auc": 0.75, "accuracy": 0.6, "fit_seconds": 0.5, "roc_auc_std": 0.0408248}
    assert {name: run.data.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert run.inputs.dataset_inputs[0].dataset.name == "flights"
    folds = MlflowClient(uri).get_metric_history(run.info.run_id, "roc_auc_fold")
    assert [(m.step, m.value) for m in folds] == [(0, 0.7), (1, 0.75), (2, 0.8)]
    assert {m.timestamp for m in folds} == {int((BEGUN + 1) * 1000)}


def test_failed_and_pruned_trials_say_so(tmp_path: Path, uri: str) -> None:
    publish(journal_of(tmp_path, uri, map(finished, range(5))), uri, tmp_path)
    failed, pruned = (child(runs_of(uri), number) for number in (3, 4))
    assert (failed.info.status, failed.data.tags["hpo.error"]) == ("FAILED", "exception: ValueError: no")
    assert (pruned.info.status, pruned.data.tags["hpo.state"]) == ("KILLED", "pruned")
    assert "roc_auc" not in failed.data.metrics  # a headline only where it can be compared
    assert "roc_auc" not in pruned.data.metrics
    assert pruned.data.metrics["roc_auc_fold"] == 0.7
    assert [f.path for f in MlflowClient(uri).list_artifacts(failed.info.run_id)] == ["traceback.txt"]


def test_files_of_a_trial_are_uploaded(tmp_path: Path, uri: str) -> None:
    files = tmp_path / "flights-1" / "trials" / "0001"
    files.mkdir(parents=True)
    (files / "confusion.txt").write_text("none", encoding="utf-8")
    publish(journal_of(tmp_path, uri, map(finished, range(2))), uri, tmp_path / "flights-1")
    run_id = child(runs_of(uri), 1).info.run_id
    assert [f.path for f in MlflowClient(uri).list_artifacts(run_id)] == ["confusion.txt"]


def test_telling_it_again_changes_nothing(tmp_path: Path, uri: str) -> None:
    """Even if the journal forgot what was published: runs are found by their tags."""
    journal = journal_of(tmp_path, uri, map(finished, range(5)))
    publish(journal, uri, tmp_path)
    before, rows = {r.info.run_id for r in runs_of(uri)}, metric_rows(uri)
    with sqlite3.connect(journal.path) as db:
        db.execute("DELETE FROM runs")
    publish(journal, uri, tmp_path).reconcile()
    assert ({r.info.run_id for r in runs_of(uri)}, metric_rows(uri)) == (before, rows)


def test_a_resumed_sweep_continues_its_run(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(2)))
    publish(journal, uri, tmp_path)
    journal.record(finished(2), document={**journal.fact("document"), "search": {"trials": 9, "seed": 7}})
    projection = Projection(journal, uri, tmp_path)
    projection.publish()
    projection.mark("RUNNING", **{"hpo.state": "running"})
    run = parent(runs_of(uri))
    assert (run.info.status, run.data.tags["hpo.state"]) == ("RUNNING", "running")
    best = MlflowClient(uri).get_metric_history(run.info.run_id, "best_roc_auc")
    assert [m.step for m in best] == [0, 1, 2]


def test_a_refused_trial_does_not_stop_the_others(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(2)))
    run_id = publish(journal, uri, tmp_path).client.create_run("0").info.run_id  # elsewhere: must not matter
    client = MlflowClient(uri)
    mine = runs_of(uri)[0].info.experiment_id
    run_id = client.create_run(mine, tags={"hpo.sweep": "flights-1", "hpo.trial": "2"}).info.run_id
    client.log_batch(run_id, params=[Param("booster", "another")])  # a parameter cannot be changed: 400
    journal.record(*map(finished, range(2, 5)))
    projection = publish(journal, uri, tmp_path)
    assert list(projection.refused) == [2]
    assert list(journal.fact("refused")) == ["2"]
    assert journal.count_unpublished() == 1
    projection.reconcile()
    runs = runs_of(uri)
    assert len(runs) == 6
    assert child(runs, 2).info.status == "FINISHED"
    assert "booster" in child(runs, 2).data.tags["hpo.refused"]
    assert child(runs, 4).info.status == "KILLED"


def test_ghosts_are_removed(tmp_path: Path, uri: str) -> None:
    """Runs that a late server created after the answer was given up on."""
    projection = publish(journal_of(tmp_path, uri, map(finished, range(3))), uri, tmp_path)
    for tags in ({"hpo.trial": "1"}, {"hpo.trial": "2"}, {}):
        projection.client.create_run(projection.experiment, tags={"hpo.sweep": "flights-1", **tags})
    stranger = projection.client.create_run(projection.experiment, tags={"hpo.sweep": "flights-2"}).info.run_id
    assert projection.reconcile() == 3
    projection.client.set_terminated(stranger)
    assert stranger in {run.info.run_id for run in runs_of(uri)}
    projection.client.delete_run(stranger)
    delivered_once(uri, "flights", 3)


def test_a_ghost_that_may_not_be_deleted_is_marked(tmp_path: Path, server: Server) -> None:
    """As MLflow answers an account with EDIT on the experiment and no more."""

    def forbidden(line: str) -> Fault | None:
        return Fault("status", status=403) if "runs/delete" in line else None

    with ChaosProxy(server.uri, forbidden) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(3)), id="marked-1", name="marked")
        projection = publish(journal, proxy.uri, tmp_path)
        key = {"hpo.sweep": "marked-1", "hpo.trial": "1"}
        ghost = projection.client.create_run(projection.experiment, tags=key).info.run_id
        assert projection.reconcile() == 1
        assert projection.reconcile() == 0, "it is dealt with"
        assert publish(journal, proxy.uri, tmp_path).reconcile() == 0
    run = MlflowClient(server.uri).get_run(ghost)
    assert (run.info.status, run.data.tags[GHOST]) == ("KILLED", "true")
    others = [run for run in runs_of(server.uri, "marked") if run.info.run_id != ghost]
    assert sorted(run.info.run_id for run in others) == sorted(journal.runs().values())
    journal.close()


def test_an_unnoted_run_is_adopted(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(3)))
    publish(journal, uri, tmp_path)
    with sqlite3.connect(journal.path) as db:
        db.execute("DELETE FROM runs WHERE number IN (?, 1)", (PARENT,))
    publish(journal, uri, tmp_path)
    delivered_once(uri, "flights", 3)
    assert journal.runs().keys() == {PARENT, 0, 1, 2}


def test_what_a_person_deleted_stays_deleted(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(3)))
    publish(journal, uri, tmp_path)
    MlflowClient(uri).delete_run(journal.runs()[1])
    assert publish(journal, uri, tmp_path).reconcile() == 0
    assert len(runs_of(uri)) == 3
    assert len(runs_of(uri, view=ViewType.ALL)) == 4


def test_a_store_that_lost_runs_gets_them_again(tmp_path: Path, uri: str, migrated: Path) -> None:
    """The database was restored from a backup, or the sweep is resumed with another server."""
    journal = journal_of(tmp_path, uri, map(finished, range(3)))
    publish(journal, uri, tmp_path)
    other = tmp_path / "other.db"
    other.write_bytes(migrated.read_bytes())
    publish(journal, f"sqlite:///{other}", tmp_path)
    delivered_once(f"sqlite:///{other}", "flights", 3)


def test_a_deleted_experiment_is_said_in_words(tmp_path: Path, uri: str) -> None:
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("flights"))
    with pytest.raises(Refused, match="mlflow experiments restore"):
        publish(journal_of(tmp_path, uri), uri, tmp_path)


def test_an_absent_server_is_away_and_names_no_password(tmp_path: Path) -> None:
    uri = "http://ada:s3cret@127.0.0.1:9"
    with pytest.raises(Away) as away:
        publish(journal_of(tmp_path, uri), uri, tmp_path)
    assert "s3cret" not in str(away.value)


def test_functions_and_several_metrics(tmp_path: Path, uri: str) -> None:
    from hpo.trial import Report, Trial

    trial = Trial(0, {}, started=BEGUN, finished=BEGUN + 1, values=(2.0, 3.0), reports=(Report(1, 9.0), Report(2, 8.0)))
    metrics = [["cost", "minimize"], ["gain/now", "maximize"]]
    publish(journal_of(tmp_path, uri, [trial], metrics=metrics, dataset=None), uri, tmp_path)
    runs = runs_of(uri)
    assert child(runs, 0).data.metrics == {"cost": 2.0, "gain/now": 3.0, "cost_curve": 8.0}
    assert parent(runs).data.metrics == {"best_cost": 2.0, "best_gain/now": 3.0}


def test_the_version_of_the_data_is_on_every_run(tmp_path: Path, uri: str) -> None:
    """And on the data sets, one for each split; nothing says that a trial saw the hold-out."""
    tags = {"hpo.data": "5a" * 32, "hpo.data.version": "v2", "hpo.data.md5": "0d" * 16}
    origin = {"kind": "dvc", "source": "data/flights.parquet", "name": "flights", "tags": tags}
    publish(journal_of(tmp_path, uri, map(finished, range(2)), origin=origin), uri, tmp_path)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("flights").experiment_id
    found = client.search_runs([experiment], "tags.`hpo.data.version` = 'v2' AND tags.`hpo.data.md5` LIKE '0d0d%'")
    assert len(found) == 3
    sets = {
        input.dataset.name: {tag.key: tag.value for tag in input.tags}
        for run in found for input in run.inputs.dataset_inputs
    }  # fmt: skip
    assert sets["flights"].items() >= tags.items()
    contexts = {
        run.data.tags.get("hpo.trial", "parent"): sorted(
            tag.value for input in run.inputs.dataset_inputs for tag in input.tags if tag.key == "mlflow.data.context"
        )
        for run in found
    }
    assert contexts == {"parent": ["holdout", "training"], "0": ["training"], "1": ["training"]}
    (training,) = child(found, 0).inputs.dataset_inputs
    profile = json.loads(training.dataset.profile)
    assert (profile["rows"], profile["balance"], profile["distinct"]) == (80, {"0": 0.5, "1": 0.5}, {"carrier": 14})
    assert profile["missing"] == {"distance": 3}
    source = mlflow.data.get_source(training.dataset)
    assert source.uri == "data/flights.parquet"
