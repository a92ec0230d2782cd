"""What publishing costs on a remote server: requests, counted by a proxy, and connections, by the server's log."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient

import hpo.sync
from hpo.journal import Journal
from hpo.labels import RANKED
from hpo.trial import Report, Trial
from tests.chaos.proxy import ChaosProxy
from tests.conftest import Server
from tests.tracking.sweeps import finished, journal_of, runs_of


def curved(number: int, steps: int = 50) -> Trial:
    """A trial of a function that reports so many steps."""
    return replace(finished(number), scores={}, reports=tuple(Report(step, step / 100) for step in range(steps)))


def requests(proxy: ChaosProxy) -> Counter[str]:
    """How many calls there were, by their last name; files by `artifacts`."""
    found: Counter[str] = Counter()
    for line, calls in proxy.calls.items():
        path = line.split(" ")[1].partition("?")[0]
        found["artifacts" if "artifacts" in path else path.rpartition("/")[2]] += calls
    return found


def deliver(journal: Journal, server: Server) -> Counter[str]:
    with ChaosProxy(server.uri) as proxy:
        journal.record(tracking_uri=proxy.uri)
        assert hpo.sync.deliver(journal.path) is None
        return requests(proxy)


def test_a_trial_costs_four_requests(tmp_path: Path, server: Server) -> None:
    """One to create, one for numbers and parameters, one for the data set, one to end it; the sweep's own few do not
    grow with the trials."""
    few, many = (
        deliver(journal_of(tmp_path, "", map(curved, range(n)), id=f"cost-{n}", name=f"cost-{n}"), server)
        for n in (5, 35)
    )
    failed = 6  # of the 30 more: each has a traceback, which is a file
    labels = RANKED - 3 + 1  # of the five the three that are complete have a rank; trial 0, the chosen one, a note
    grown = {"create": 30, "log-batch": 30 + labels, "log-inputs": 30, "update": 30, "artifacts": failed}
    assert many - few == grown
    assert sum(few.values()) - 5 * 4 - 1 <= 27, "for the sweep itself"


def test_curves_are_thinned_and_large_trials_split(tmp_path: Path, server: Server) -> None:
    long = curved(0, steps=5000)
    wide = replace(curved(1), metrics={f"m{n}": float(n) for n in range(2100)})
    alone = deliver(journal_of(tmp_path, "", [curved(0)], id="thin-0", name="thin-0"), server)
    thinned = deliver(journal_of(tmp_path, "", [long], id="thin-1", name="thin-1"), server)
    assert thinned - alone == {"artifacts": 1}  # its record, which is too long for a tag
    more = deliver(journal_of(tmp_path, "", [replace(wide, number=0)], id="thin-2", name="thin-2"), server) - alone
    assert more == {"log-batch": 2, "artifacts": 1}  # one per 1,000 metrics; its record again
    run = next(run for run in runs_of(server.uri, "thin-1") if "hpo.trial" in run.data.tags)
    assert len(MlflowClient(server.uri).get_metric_history(run.info.run_id, "roc_auc_curve")) == 250


def test_one_connection_serves_them_all(tmp_path: Path, server: Server) -> None:
    before = len(server.log)
    journal = journal_of(tmp_path, server.uri, map(curved, range(10)), id="kept-1", name="kept")
    assert hpo.sync.deliver(journal.path) is None
    lines = [line for line in server.log[before:].splitlines() if "/api/2.0/" in line]
    assert len(lines) > 40
    assert len({re.findall(r"127\.0\.0\.1:\d+", line)[0] for line in lines}) == 1
