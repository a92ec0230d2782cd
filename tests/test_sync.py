"""The process that publishes: killed, cut off, refused, without a server; everything arrives exactly once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import hpo.sync
from hpo.data import prepare
from hpo.errors import InputError
from hpo.journal import Journal
from hpo.lease import Lease
from hpo.loader import build
from hpo.trial import Trial
from tests.chaos.proxy import DROP, UNAVAILABLE, ChaosProxy, Fault
from tests.conftest import ROOT, Server, free_port
from tests.tracking.sweeps import delivered_once, finished, journal_of, runs_of, until


def follower(journal: Journal) -> subprocess.Popen[bytes]:
    """As the driver starts it."""
    log = (journal.path.parent / "sync.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "hpo.sync", "--follow", str(journal.path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=journal.path.parent, stdout=log, stderr=log,
        )  # fmt: skip


def log_of(journal: Journal) -> str:
    return (journal.path.parent / "sync.log").read_text()


def parent_of(uri: str, name: str = "flights") -> Run:
    return next(run for run in runs_of(uri, name) if "hpo.trial" not in run.data.tags)


def test_it_follows_a_driver_to_the_end(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, state="running", dataset=None)
    with Lease(journal.path.with_suffix(".lock"), "the sweep"):
        process = follower(journal)
        journal.record(finished(0))
        until(lambda: journal.runs().keys() == {-1, 0})
        assert parent_of(uri).info.status == "RUNNING"
        process.send_signal(signal.SIGINT)  # Ctrl-C means the search
        journal.record(finished(1), finished(2))
        journal.record(state="finished")
        assert process.wait(60) == 0, log_of(journal)
    assert parent_of(uri).info.status == "FINISHED"
    experiment = parent_of(uri).info.experiment_id
    assert journal.fact("sync") == {"error": None, "published": 3, "experiment": experiment}
    assert log_of(journal) == ""
    delivered_once(uri, "flights", 3)


def test_killed_again_and_again_it_doubles_nothing(tmp_path: Path, uri: str) -> None:
    """Struck on progress, in the middle of its work."""
    trials = 40
    journal = journal_of(tmp_path, uri, map(finished, range(trials)))
    for goal in (0, 5, 15, 30):
        process = follower(journal)
        until(lambda goal=goal: len(journal.runs()) > goal)
        process.kill()
        process.wait()
    assert journal.count_unpublished() > 0, "it was never struck in the middle of its work"
    assert follower(journal).wait(120) == 0, log_of(journal)
    delivered_once(uri, "flights", trials)


def test_a_dead_driver_leaves_a_killed_run_that_a_resume_revives(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(2)), state="running")  # nobody holds its lease
    assert follower(journal).wait(60) == 0, log_of(journal)
    run = parent_of(uri)
    assert (run.info.status, run.data.tags["hpo.reason"]) == ("KILLED", "the driver is gone")
    with Lease(journal.path.with_suffix(".lock"), "the sweep"):
        process = follower(journal)
        until(lambda: parent_of(uri).info.status == "RUNNING")
        journal.record(finished(2), state="finished")
        assert process.wait(60) == 0, log_of(journal)
    assert parent_of(uri).info.status == "FINISHED"
    delivered_once(uri, "flights", 3)


def test_without_a_server_everything_waits(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hpo.sync, "PATIENCE", 1.0)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process is the test's
    nowhere = f"http://ada:s3cret@127.0.0.1:{free_port()}"
    journal = journal_of(tmp_path, nowhere, map(finished, range(3)), id="absent-1", name="absent")
    with pytest.raises(InputError, match="the password for http://ada:"):  # the journal has none
        hpo.sync.follow(journal.path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nowhere)
    assert hpo.sync.follow(journal.path) == hpo.sync.PENDING
    assert journal.count_unpublished() == 3
    assert "s3cret" not in journal.fact("sync")["error"]
    with pytest.raises(SystemExit) as stopped:
        hpo.sync.command.main(["--folder", str(tmp_path)], standalone_mode=False)
    assert stopped.value.code == 1
    said = capsys.readouterr().out
    assert said.startswith("absent-1: 3 trials not delivered to http://ada:***@127.0.0.1")
    journal.record(tracking_uri=server.uri)
    with pytest.raises(SystemExit) as stopped:
        hpo.sync.command.main(["absent", "--folder", str(tmp_path)], standalone_mode=False)
    assert stopped.value.code == 0
    assert capsys.readouterr().out == "absent-1: delivered\n"
    delivered_once(server.uri, "absent", 3)


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, server: Server) -> None:
    journal = journal_of(tmp_path, server.uri, id="outage-1", name="outage", state="running")
    with Lease(journal.path.with_suffix(".lock"), "the sweep"):
        process = follower(journal)
        journal.record(*map(finished, range(3)))
        until(lambda: journal.count_unpublished() == 0)
        server.stop()
        journal.record(*map(finished, range(3, 8)))
        until(lambda: (journal.fact("sync") or {}).get("error") is not None)
        server.start()  # first, for it may need longer than the patience with a search that is over
        journal.record(state="finished")
        assert process.wait(120) == 0, log_of(journal)
    delivered_once(server.uri, "outage", 8)


def test_lost_answers_make_no_second_run(tmp_path: Path, server: Server) -> None:
    creates = itertools.count(1)

    def every_third_create(line: str) -> Fault | None:
        return DROP if "runs/create" in line and next(creates) % 3 == 0 else None

    with ChaosProxy(server.uri, every_third_create) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(10)), id="careless-1", name="careless")
        assert follower(journal).wait(120) == 0, log_of(journal)
    assert next(creates) == 11 + 1, "a lost answer was followed by a second create"
    delivered_once(server.uri, "careless", 10)


def test_an_end_that_is_refused_each_time_is_left(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trials are there and the server answers: only its report is refused, now and for good."""
    monkeypatch.setattr(hpo.sync, "LAST", 1.0)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    refusing = True
    with ChaosProxy(server.uri, lambda line: UNAVAILABLE if refusing and "report.html" in line else None) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(2)), id="refused-1", name="refused")
        assert hpo.sync.follow(journal.path) == hpo.sync.PENDING
        assert journal.count_unpublished() == 0
        refusing = False
        assert hpo.sync.deliver(journal.path) is None
    assert parent_of(server.uri, "refused").info.status == "FINISHED"


def test_a_sweep_that_was_removed_is_left(tmp_path: Path) -> None:
    """Its publisher would try forever what its files are missing for, beside the next sweep's workers."""
    journal = journal_of(tmp_path, f"http://127.0.0.1:{free_port()}", [finished(0)], id="gone-1", name="gone")
    process = follower(journal)
    until(lambda: (journal.fact("sync") or {}).get("error") is not None)
    for path in tmp_path.glob("gone-1*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    assert process.wait(60) == 0


def test_two_are_not_let_in(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(2)))
    with Lease(journal.path.with_suffix(".sync"), "publishing"):
        assert "is held by process" in (hpo.sync.deliver(journal.path) or "")
        process = follower(journal)  # waits for its turn
        until(lambda: process.poll() is None)
        assert journal.runs() == {}
    assert process.wait(60) == 0, log_of(journal)
    delivered_once(uri, "flights", 2)


def test_a_fresh_store_is_made_by_one_of_many(tmp_path: Path) -> None:
    """Eight processes on a cold database: seven die in the migration race, without the lock."""
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    journals = [journal_of(tmp_path / name, uri, [finished(0)], id=f"{name}-1", name=name) for name in ("one", "two")]
    followers = [follower(journal) for journal in journals]
    for journal, process in zip(journals, followers, strict=True):
        assert process.wait(180) == 0, log_of(journal)
        delivered_once(uri, journal.fact("name"), 1)


def test_artifacts_lie_beside_the_store(tmp_path: Path, uri: str) -> None:
    """Where `mlflow ui --backend-store-uri sqlite:///mlflow.db`, started there, finds them; not in our cwd."""
    journal = journal_of(tmp_path / "elsewhere", uri, [finished(3)])
    assert hpo.sync.deliver(journal.path) is None
    run_id = journal.runs()[3]
    assert (tmp_path / "mlruns" / "flights" / run_id / "artifacts" / "traceback.txt").read_text() == "Traceback: here"
    assert MlflowClient(uri).get_run(run_id).info.artifact_uri.startswith((tmp_path / "mlruns").as_uri())


def test_the_best_model_is_promoted_once_the_server_is_there(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refitted and judged at the end of the search, server or not; registered when there is one."""
    monkeypatch.setattr(hpo.sync, "PATIENCE", 0.5)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    sweep = build(**{
        "name": "segment", "data": {"path": str(ROOT / "data" / "segment.parquet"), "target": "category"},
        "model": "xgboost.XGBClassifier", "metric": "log_loss", "space": {"n_estimators": {"int": [2, 9]}},
    })  # fmt: skip
    trial = Trial(0, {"n_estimators": 5}, started=1.0, finished=2.0, values=(0.5,), scores={"log_loss": (0.4, 0.6)})
    journal = journal_of(
        tmp_path, f"http://127.0.0.1:{free_port()}", [trial], id="segment-1", name="segment", promote=True,
        document=dict(sweep.document), metrics=[["log_loss", "minimize"]],
        dataset=prepare(sweep, tmp_path / "data").to_json(),
    )  # fmt: skip
    assert hpo.sync.follow(journal.path) == hpo.sync.PENDING
    staged = journal.fact("model")
    assert staged["scores"]["log_loss"] > 0
    assert journal.fact("promotion") is None
    journal.record(tracking_uri=uri)
    assert [hpo.sync.deliver(journal.path) for _ in range(2)] == [None, None]
    promotion = journal.fact("promotion")
    assert (promotion["promoted"], promotion["version"], promotion["error"]) == (True, "1", None)
    assert promotion["scores"] == staged["scores"]
    client = MlflowClient(uri, uri)
    assert len(client.search_model_versions("name = 'segment'")) == 1
    run = client.get_run(journal.runs()[-1])
    assert run.data.metrics["holdout_log_loss"] == staged["scores"]["log_loss"]
    assert run.data.tags["hpo.model"] == "models:/segment@champion"
    version = client.get_model_version("segment", "1")
    assert version.description.startswith("# segment, version 1")
    assert {"hpo.judged", "hpo.evidence", "hpo.verdict", "hpo.who"} <= version.tags.keys()
    made = client.download_artifacts(run.info.run_id, "promotion.json")
    assert json.loads(Path(made).read_text())["promotion"] == json.loads(json.dumps(promotion))
    shown = Path(client.download_artifacts(run.info.run_id, "report.html"))
    assert "Promoted: segment version 1 is the champion" in shown.read_text(encoding="utf-8")
    [opened] = journal.fact("holdout")
    assert (opened["trials"], opened["best"]) == (1, 0)
    assert (run.info.status, run.data.tags["hpo.best_trial"]) == ("FINISHED", "0")


def test_a_promotion_that_fails_is_said_and_tried_again(tmp_path: Path, uri: str) -> None:
    """The trials are delivered all the same, and their run is closed."""
    document = {"name": "flights", "data": {"path": "/nowhere.parquet", "target": "late"}}
    journal = journal_of(tmp_path, uri, [finished(0)], promote=True, document=document)
    for _ in range(2):
        assert "nowhere.parquet" in (hpo.sync.deliver(journal.path) or "")
    assert journal.count_unpublished() == 0
    assert parent_of(uri).info.status == "FINISHED"
