from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.errors import InputError
from hpo.recurrence import Recurrence
from hpo.schedule.database import LedgerError
from hpo.schedule.ledger import Fenced, Ledger, Notice, connect
from hpo.schedule.slots import Outcome, Slot

NOON = 1_795_435_200  # 2026-11-23 12:00 UTC
HOURLY = Recurrence("@hourly")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with closing(Ledger(connect(url))) as opened:
        yield opened


def slot(planned: int = NOON, holder: str = "a/1") -> Slot:
    return Slot("flights", planned, "running", holder=holder, started=planned, taken=planned)


def test_a_slot_is_claimed_once(ledger: Ledger, url: str) -> None:
    assert ledger.claim(slot())
    with closing(Ledger(connect(url))) as other:
        assert not other.claim(slot(holder="b/2"))
        assert other.open("flights") == slot()


def test_of_many_at_once_one_claims_it(url: str) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        with closing(Ledger(connect(url))) as mine:
            for planned in range(20):
                with mine.locked("flights"):
                    if mine.claim(slot(planned, f"{number}")):
                        won.append(planned)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [*range(20)]


def test_who_was_taken_over_from_can_write_no_more(ledger: Ledger) -> None:
    first = slot()
    ledger.claim(first)
    second = ledger.take(first, "b/2", NOON + 100)
    assert (second.token, second.holder, second.started) == (2, "b/2", NOON)
    for write in (
        lambda: ledger.beat(first),
        lambda: ledger.finish(first, "kept", "", {}, NOON + 200),
        lambda: ledger.wait(first, NOON, 2, ""),
        lambda: ledger.take(first, "c/3", NOON),
    ):
        with pytest.raises(Fenced):
            write()
    done = ledger.finish(second, "kept", "no better", {"score": 0.7}, NOON + 300)
    assert ledger.history("flights") == [replace(done, beat=0)]
    with pytest.raises(Fenced):
        ledger.take(second, "d/4", NOON)


def test_a_beat_can_be_seen(ledger: Ledger) -> None:
    ledger.claim(slot())
    ledger.beat(slot())
    assert [open.beat for open in ledger.all_open()] == [1]


def test_an_interrupted_change_leaves_nothing(ledger: Ledger) -> None:
    def interrupted() -> None:
        with ledger.locked("flights"):
            ledger.claim(slot())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert ledger.open("flights") is None


def test_a_new_schedule_begins_now_or_with_the_slot_that_has_just_come(ledger: Ledger) -> None:
    assert ledger.handled("a", HOURLY, NOON + 10, lead=0.0) == NOON + 10
    assert ledger.handled("a", HOURLY, NOON + 9999, lead=0.0) == NOON + 10
    assert ledger.handled("b", HOURLY, NOON + 10, lead=300.0) == NOON - 1
    assert ledger.handled("c", HOURLY, NOON + 600, lead=300.0) == NOON + 600


def test_a_changed_schedule_begins_anew(ledger: Ledger) -> None:
    ledger.handled("a", HOURLY, NOON, lead=0.0)
    assert ledger.handled("a", Recurrence("@hourly", catch_up="all"), NOON + 60, lead=0.0) == NOON
    assert ledger.handled("a", Recurrence("0 3 * * *"), NOON + 60, lead=0.0) == NOON + 60


def test_what_a_wrong_clock_wrote_off_is_forgotten_and_what_it_ran_is_not(ledger: Ledger) -> None:
    ledger.handled("flights", HOURLY, NOON, lead=0.0)
    year = 8760 * 3600
    ledger.write_off("flights", NOON + year, "missed", "", NOON + year)
    ledger.claim(replace(slot(NOON + year + 3600), state="done", outcome="kept"))
    assert ledger.handled("flights", HOURLY, NOON + year, lead=0.0) == NOON + year + 3600
    assert ledger.handled("flights", HOURLY, NOON + 60, lead=0.0) == NOON
    assert [past.outcome for past in ledger.history("flights")] == ["kept"]
    ledger.handled("new", HOURLY, NOON + year, lead=0.0)  # first seen by a clock that is a year ahead
    assert ledger.handled("new", HOURLY, NOON + 60, lead=0.0) == NOON + 60


def test_the_last_search_is_the_last_one_that_searched(ledger: Ledger) -> None:
    assert ledger.last_search("flights") is None
    outcomes: tuple[Outcome, ...] = ("promoted", "skipped", "failed", "missed")
    for hour, outcome in enumerate(outcomes):
        ledger.claim(replace(slot(NOON + hour), state="done", outcome=outcome, result={"hour": hour}))
    found = ledger.last_search("flights")
    assert found is not None
    assert found.result == {"hour": 0}


def test_a_notice_is_kept_until_it_is_told(ledger: Ledger) -> None:
    notice = Notice("flights", NOON, "webhook", {"text": "promoted"})
    ledger.notify(notice, NOON)
    ledger.notify(notice, NOON)
    assert ledger.next_notice(NOON, 60, ["others"]) is None
    assert ledger.next_notice(NOON, 60, ["flights"]) == notice._replace(tries=1)
    assert ledger.next_notice(NOON + 59, 60, ["flights"]) is None
    assert ledger.next_notice(NOON + 60, 60, ["flights"]) == notice._replace(tries=2)
    assert ledger.next_notice(NOON + 179, 60, ["flights"]) is None
    ledger.told(notice)
    assert ledger.next_notice(NOON + 9999, 60, ["flights"]) is None


def test_no_secret_is_kept(ledger: Ledger) -> None:
    ledger.claim(slot())
    done = ledger.finish(slot(), "kept", "", {"tracking_uri": "https://ada:hunter22@mlflow.example"}, NOON)
    assert done.planned == NOON
    assert "hunter22" not in str(ledger.history("flights"))


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://relative.db", "schedule.db"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="neither SQLite's nor PostgreSQL's"):
        connect(url)


def test_a_ledger_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be made"):
        connect(f"sqlite:///{tmp_path}/file/schedule.db")
    (tmp_path / "not.db").write_text("this is no database, but a text that is long enough")
    with pytest.raises(LedgerError, match="failed"):
        connect(f"sqlite:///{tmp_path}/not.db")
    with pytest.raises(LedgerError, match="failed"):
        connect("postgresql://hpo:hunter22@127.0.0.1:1/nothing")
