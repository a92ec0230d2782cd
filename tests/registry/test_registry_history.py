"""The history: who reigned when, whom a rollback goes to, and moves that were interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from hpo.registry.history import CHALLENGER, Event, Why, events, line, move, reigns, settle
from hpo.registry.versions import holder, id_of


def told(*moves: tuple[str, str | None, Why]) -> list[Event]:
    return [
        Event("champion", to, origin, why, "because", "ada", float(k), id=f"{k:015d}", done=True)
        for k, (to, origin, why) in enumerate(moves)
    ]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([("1", None, "sweep")], ["1"]),
        ([("1", None, "sweep"), ("2", "1", "sweep")], ["1", "2"]),
        ([("1", None, "sweep"), ("2", "1", "sweep"), ("1", "2", "rollback")], ["1"]),
        ([("1", None, "sweep"), ("2", "1", "sweep"), ("1", "2", "rollback"), ("2", "1", "promote")], ["1", "2"]),
        ([("1", None, "sweep"), ("2", "1", "sweep"), ("3", "1", "sweep")], ["1", "3"]),  # rivals over version 1
        ([("1", None, "sweep"), ("2", None, "sweep")], ["2"]),  # rivals over nobody
        ([("1", None, "sweep"), ("2", "1", "sweep"), ("1", "2", "promote")], ["1", "2", "1"]),
        ([("1", None, "sweep"), ("2", "1", "sweep"), ("3", "2", "sweep"), ("2", "3", "rollback"),
          ("1", "2", "rollback")], ["1"]),
        ([("3", "2", "sweep")], ["2", "3"]),  # version 2 became champion past us
    ],
)  # fmt: skip
def test_the_line_of_champions(moves: list[tuple[str, str | None, Why]], expected: list[str]) -> None:
    assert line(told(*moves)) == expected


def test_reigns_follow_each_other_without_a_gap() -> None:
    found = reigns(told(("1", None, "sweep"), ("2", "1", "sweep"), ("2", "1", "sweep"), ("1", "2", "rollback")))
    assert [(reign.version, reign.since, reign.until) for reign in found] == [
        ("1", 0.0, 1.0), ("2", 1.0, 3.0), ("1", 3.0, None),
    ]  # fmt: skip


@pytest.fixture
def client(uri: str, tmp_path: Path) -> MlflowClient:
    """Four versions; only their rows matter."""
    client = MlflowClient(uri, uri)
    client.create_registered_model("m")
    for _ in range(4):
        client.create_model_version("m", source=(tmp_path / "nothing").as_uri())
    return client


def at(client: MlflowClient, alias: str) -> str | None:
    found = holder(client, "m", alias)
    return id_of(found) if found else None


def go(client: MlflowClient, to: str, why: Why = "sweep") -> None:
    event = Event("champion", to, at(client, "champion"), why, f"to {to}", "ada", 0.0)
    move(client, "m", event, clock=lambda: 100.0)  # a clock that stands still does not mix up their order


def test_a_move_keeps_all_aliases_right(client: MlflowClient) -> None:
    assert events(client, "nobody", "champion") == []
    go(client, "1")
    assert (at(client, "champion"), at(client, "previous-champion")) == ("1", None)
    client.set_registered_model_alias("m", CHALLENGER, "2")
    go(client, "2")
    assert (at(client, "champion"), at(client, "previous-champion"), at(client, CHALLENGER)) == ("2", "1", None)
    client.set_registered_model_alias("m", CHALLENGER, "4")
    go(client, "3")
    assert (at(client, "champion"), at(client, "previous-champion"), at(client, CHALLENGER)) == ("3", "2", "4")
    go(client, "2", "rollback")
    assert (at(client, "champion"), at(client, "previous-champion")) == ("2", "1")
    go(client, "1", "rollback")
    assert (at(client, "champion"), at(client, "previous-champion")) == ("1", None)
    known = events(client, "m", "champion")
    assert [event.to for event in known] == ["1", "2", "3", "2", "1"]
    assert all(event.done for event in known)
    assert events(client, "m", "other") == []


def test_a_move_that_was_only_written_down_is_finished(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    go(client, "1")

    class DeadError(Exception):
        pass

    for stop in ("intended", "pointed", "previous", "challenger"):
        to = "2" if at(client, "champion") == "1" else "1"

        def point(name: str, stop: str = stop) -> None:
            if name == stop:
                raise DeadError

        with monkeypatch.context() as patch:
            patch.setattr("hpo.crash.point", point)
            with pytest.raises(DeadError):
                go(client, to)
        assert not events(client, "m", "champion")[-1].done
        settled = settle(client, "m", "champion")
        assert settled is not None
        assert settled.to == to == at(client, "champion")
        assert settle(client, "m", "champion") is None
    assert len(events(client, "m", "champion")) == 5


def test_what_a_person_did_since_is_not_undone(client: MlflowClient) -> None:
    go(client, "1")
    go(client, "2")
    client.delete_registered_model_tag("m", f"hpo.done.{events(client, 'm', 'champion')[-1].id}")  # as if interrupted
    client.set_registered_model_alias("m", "champion", "4")
    assert settle(client, "m", "champion") is None
    assert at(client, "champion") == "4"
