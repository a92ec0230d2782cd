"""R30: MLflow's store is a real PostgreSQL that crashes and is restarted while a sweep publishes into it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import hpo.sync
from hpo.journal import Journal
from tests.chaos.figures import by_night, figure, form
from tests.chaos.harness import Driver, finished, the_journal, trials, wait_for_publisher
from tests.chaos.postgres import Postgres
from tests.chaos.test_publishing import runs_once, sweep
from tests.tracking.sweeps import until

NAP = 0.4  # seconds of a trial: fewer, and a busy machine searches faster than it publishes


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@by_night
def test_r30_a_store_that_crashes_in_mid_sweep_gets_everything(tmp_path: Path, postgres: Postgres) -> None:
    restarts = form(2, 10)
    folder = sweep(tmp_path / "s", "r30", trials=100_000, nap=NAP)
    driver = Driver(folder, "--space", "sweep.yaml", "--tracking-uri", postgres.uri)
    until(lambda: the_journal(folder), 120)
    path = the_journal(folder)
    assert path is not None
    drained = 0.0
    with closing(Journal(path, durable=False)) as journal:
        until(lambda: len(journal.runs()) > 2, 300)  # the schema is made first
        for number in range(restarts):
            postgres.stop("immediate" if number % 2 else "fast")
            away = finished(folder)
            until(lambda away=away: finished(folder) >= away + 15, 300)
            postgres.start()
            back, end = time.monotonic(), finished(folder)
            until(lambda end=end: len(journal.runs()) > end, 300)
            drained = max(drained, time.monotonic() - back)
    driver.signal(2)
    driver.finish(130)
    wait_for_publisher(folder)
    assert hpo.sync.deliver(path) is None  # who interrupts a sweep waits only so long for what is left
    done = trials(folder)
    slowest = max(trial.seconds for trial in done) - NAP
    figure(
        "R30", "PostgreSQL restarted in mid-sweep: trials go on, each is published once",
        f"{restarts} restarts, {len(done)} trials, slowest {1000 * slowest:+.0f} ms, all there after {drained:.1f} s",
        runs_once(postgres.uri, "r30", len(done)),
    )  # fmt: skip
