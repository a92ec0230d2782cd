"""Delivering one journal: publish its trials, have its best model promoted, close its run, in this order.

Used by `hpo.sync`, beside a search and after it. Each step asks the journal whether it is done, so all of them
can be repeated, and an interrupted delivery goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

from hpo.comparison import since_last
from hpo.journal import Journal
from hpo.labels import label
from hpo.pages import page, view_of
from hpo.pages.view import View
from hpo.tracking import with_password
from hpo.tracking.projection import Projection
from hpo.wishes import Wishes

EVERY = 60.0  # seconds between two looks at a sweep that runs
SHARE = 0.05


class Delivery:
    """`publish` at any time; `stage` and `finish` once the search is over. May raise TrackingError."""

    def __init__(self, journal: Journal, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._folder = journal.path.with_suffix("")
        self._projection = Projection(journal, with_password(journal.fact("tracking_uri")), self._folder)
        self._wishes = Wishes(journal, self._projection)
        self._clock, self._every = clock, every
        self._due = clock() + every
        self._seen: dict[str, int] = {}

    def publish(self, live: bool) -> None:
        """All finished trials; the sweep's run is RUNNING while a driver lives, and its report is kept up to date, also
        where trials come faster than they can be published."""
        while self._projection.publish():
            if live:
                self.refresh()
        if live:
            paused = (self._journal.fact("orders") or {}).get("paused", False)
            self._projection.mark("RUNNING", **{"hpo.state": "paused" if paused else "running"})
        self._wishes.look(live)
        if live:
            self.refresh()

    def refresh(self) -> None:
        """The report and the labels of a sweep that runs, now and then, if there is news: a look at them costs the
        search's machine no more than a `SHARE` of its time. Whatever goes wrong is tried again when it is due next."""
        begun = self._clock()
        if begun < self._due:
            return
        self._due = begun + self._every
        counts = self._journal.counts()
        if counts == self._seen or not counts.keys() - {"running"}:
            return
        if self._journal.fact("report") is not None:  # of an earlier session's end; that of the next one has to come
            self._journal.record(report=None)
        self._show(view_of(self._journal))
        self._seen = counts
        self._due = max(self._due, self._clock() + (self._clock() - begun) / SHARE)

    def stage(self) -> None:
        """Refit and judge the best trial on this machine; needs no server."""
        if self._promotes():
            from hpo import promotion

            promotion.stage(self._journal, self._folder / "model")

    def finish(self) -> None:
        """Reconcile, promote, close the sweep's run, and put the report beside it."""
        while self._projection.reconcile() or self._journal.count_unpublished() > len(self._projection.refused):
            self.publish(live=False)
        state, best = self._journal.fact("state"), self._journal.fact("best")
        if state != "finished":
            stopped = self._journal.fact("stopped") or "interrupted"
            why = stopped if state == "interrupted" else "the driver is gone"
            self._projection.mark("KILLED", **{"hpo.state": "interrupted", "hpo.reason": why})
        elif best is None:
            self._projection.mark("FAILED", **{"hpo.state": state, "hpo.reason": "no trial completed"})
        else:
            if self._promotes():
                from hpo import promotion

                promotion.promote(self._journal, self._folder / "model", self._projection)
            notes = {"hpo.state": state, "hpo.best_trial": str(best)}
            if diff := since_last(self._journal):
                notes["hpo.diff"] = diff
            self._projection.mark("FINISHED", **notes)
        self._show_report()

    def trouble(self) -> str | None:
        """What MLflow will never take as it is."""
        if refused := self._projection.quarantine:
            return refused
        error = (self._journal.fact("promotion") or {}).get("error")
        return f"the model was not promoted: {error}" if error else None

    def note(self, error: str | None) -> str | None:
        """Tell the driver how it stands; the error again."""
        published = max(0, len(self._journal.runs()) - 1)
        news = {"error": error, "published": published, "experiment": self._projection.experiment}
        if news != self._journal.fact("sync"):
            self._journal.record(sync=news)
        return error

    def _show_report(self) -> None:
        """Last, and once: it is 5 MB, and every `hpo.sync` asks again for what has been delivered long ago."""
        facts = self._journal.facts()
        about = {name: facts.get(name) for name in ("state", "best", "estimate", "promotion", "stopped")}
        key = [self._projection.parent, self._journal.counts(), about]
        shown = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        if facts.get("report") != shown:
            self._show(view_of(self._journal))
            self._journal.record(report=shown)

    def _show(self, view: View) -> None:
        label(self._journal, self._projection, view)
        self._projection.show_file("report.html", page(view))

    def _promotes(self) -> bool:
        """The search is over, its model is wanted in the registry, and it is not there yet."""
        facts = self._journal.facts()
        wanted = facts.get("promote") and facts["state"] == "finished" and facts["best"] is not None
        return bool(wanted) and (facts.get("promotion") or {"error": "not yet"})["error"] is not None
