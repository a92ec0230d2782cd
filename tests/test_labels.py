"""Ranks and descriptions in MLflow: kept up to date, sent once, and never over what a person wrote."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from hpo.delivery import Delivery
from hpo.journal import PARENT, Journal
from hpo.labels import NOTE, RANK
from hpo.tracking.server import Away
from tests.chaos.proxy import UNAVAILABLE, ChaosProxy, Fault
from tests.conftest import Server
from tests.tracking.sweeps import finished, journal_of, runs_of


def runs(uri: str) -> dict[int, Run]:
    return {int(run.data.tags.get("hpo.trial", PARENT)): run for run in runs_of(uri)}


def ranks(uri: str) -> dict[int, str]:
    return {number: run.data.tags[RANK] for number, run in runs(uri).items() if run.data.tags.get(RANK)}


def end(journal: Journal) -> None:
    delivery = Delivery(journal)
    delivery.publish(live=False)
    delivery.finish()


def test_the_best_have_a_rank_and_the_chosen_one_a_description(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, map(finished, range(3)), best=2)
    end(journal)
    assert ranks(uri) == {2: "01", 1: "02", 0: "03"}
    found = runs(uri)
    note = found[PARENT].data.tags[NOTE]
    assert note.startswith("**Trial 2 is the best; no model was to be promoted**")
    assert "| learning\\_rate | **0.3** | 0.1 |" in note
    assert "python -m hpo.ui flights-1" in note
    said = "**Trial 2 is chosen**: roc_auc 0.750667, number 1 of 3 complete trials."
    assert found[2].data.tags[NOTE].startswith(said)
    assert NOTE not in found[1].data.tags
    journal.record(*map(finished, range(3, 40)), best=37)
    end(journal)
    best = [number for number in range(39, -1, -1) if number % 5 < 3][:20]
    assert ranks(uri) == {number: f"{rank:02}" for rank, number in enumerate(best, 1)}, "and the first three none"


def test_what_a_person_has_written_stays(tmp_path: Path, uri: str) -> None:
    journal = journal_of(tmp_path, uri, [finished(0)])
    end(journal)
    client, parent = MlflowClient(uri), journal.runs()[PARENT]
    client.set_tag(parent, NOTE, "mine")
    journal.record(finished(1), best=1)
    end(journal)
    found = runs(uri)
    assert found[PARENT].data.tags[NOTE] == "mine"
    assert (found[0].data.tags[NOTE], found[1].data.tags[NOTE][:21]) == ("", "**Trial 1 is chosen**")
    client.delete_run(journal.runs()[1])
    journal.record(finished(2), best=2)
    end(journal)
    assert ranks(uri) == {2: "01", 0: "03"}


def test_a_sweep_that_runs_shows_its_report_now_and_then(tmp_path: Path, uri: str) -> None:
    now = 0.0
    journal = journal_of(tmp_path, uri, [finished(0)], state="running", best=None)
    delivery = Delivery(journal, every=60.0, clock=lambda: now)
    delivery.publish(live=True)
    client = MlflowClient(uri)

    def shown() -> list[str]:
        return [file.path for file in client.list_artifacts(journal.runs()[PARENT]) if file.path == "report.html"]

    delivery.refresh()
    assert shown() == [], "not before it is due"
    now = 61.0
    delivery.refresh()
    assert shown() == ["report.html"]
    assert "the best so far is trial 0" in runs(uri)[PARENT].data.tags[NOTE]
    client.set_tag(journal.runs()[PARENT], "hpo.state", "untouched")
    now = 200.0
    delivery.refresh()
    assert runs(uri)[PARENT].data.tags["hpo.state"] == "untouched", "without news nothing is sent"
    journal.record(finished(1), state="finished", best=1)
    end(journal)
    path = Path(client.download_artifacts(journal.runs()[PARENT], "report.html"))
    assert "Trial 1 is the best" in path.read_text(encoding="utf-8")


def test_an_extended_sweep_ends_with_a_report_of_its_end(tmp_path: Path, uri: str) -> None:
    """Interrupted before its first new trial: what a live report wrote over is written again."""
    now = 0.0
    journal = journal_of(tmp_path, uri, [finished(0)])
    end(journal)
    assert journal.fact("report")
    delivery = Delivery(journal, every=0.0, clock=lambda: now)
    delivery.publish(live=True)
    assert journal.fact("report") is None
    end(journal)
    assert journal.fact("report")


def test_of_several_metrics_the_whole_front_is_first(tmp_path: Path, uri: str) -> None:
    names = [["roc_auc", "maximize"], ["size", "minimize"]]
    trials = [replace(finished(k), values=(v, w)) for k, (v, w) in enumerate([(0.7, 1.0), (0.8, 2.0), (0.6, 3.0)])]
    end(journal_of(tmp_path, uri, trials, metrics=names))
    assert ranks(uri) == {0: "01", 1: "01"}


def test_on_a_bad_line_it_comes_through_bit_by_bit(tmp_path: Path, server: Server) -> None:
    """All twenty ranks in one go would never arrive."""
    calls = count(1)

    def third(line: str) -> Fault | None:
        return UNAVAILABLE if "runs/log-batch" in line and next(calls) % 3 == 0 else None

    with ChaosProxy(server.uri) as proxy:
        journal = journal_of(tmp_path, proxy.uri, map(finished, range(20)), name="bad-line")
        delivery = Delivery(journal)
        delivery.publish(live=False)
        proxy.decide = third
        for _ in range(20):
            try:
                delivery.finish()
                break
            except Away:
                continue
        assert proxy.played["status"] > 3
    found = [run.data.tags[RANK] for run in runs_of(server.uri, "bad-line") if run.data.tags.get(RANK)]
    assert sorted(found) == [f"{rank:02}" for rank in range(1, len(found) + 1)]
    assert len(found) == sum(trial.state == "complete" for trial in journal.trials())
