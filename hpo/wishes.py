"""Wishes: orders that come by the tag `hpo.command` on the sweep's run, set by a person in MLflow's UI.

Used by `hpo.delivery` where the sweep file says `tracking: {commands: true}`: whoever may edit runs may then steer the
search. A wish goes into the same queue as an order from a terminal, under a key of its own, and what the driver answers
becomes the tag `hpo.command.done`; so it is carried out once, whoever is killed in between.
"""

from __future__ import annotations

import time
from dataclasses import replace

from hpo.errors import InputError
from hpo.journal import Journal
from hpo.orders import LASTING, Answer, Orders, answer, parse
from hpo.steering import whole
from hpo.tracking.projection import Projection

EVERY = 2.0  # seconds between two looks at the tag, each a request


class Wishes:
    """`look` as often as one likes. May raise TrackingError."""

    def __init__(self, journal: Journal, projection: Projection) -> None:
        self._journal = journal
        self._projection = projection
        self._orders = Orders(journal.path)
        self._looked = -EVERY

    def look(self, live: bool) -> None:
        """Take a wish, or bring back what was said to the last one. Without a driver nobody carries it out."""
        if not self._journal.fact("commands") or (live and time.monotonic() < self._looked + EVERY):
            return
        self._looked = time.monotonic()
        done = self._journal.fact("wishes", 0)
        key = f"tag {done}"
        order = self._orders.find(key)
        if order is None and (words := self._projection.wish()):
            try:
                order = parse(words, "a tag in MLflow")
                if order.verb == "enqueue":
                    order = replace(order, argument=whole(self._journal, order.argument))
            except InputError as error:
                self._projection.grant(words, str(Answer(False, " ".join(str(error).split()))))
                return
            order = replace(order, number=self._orders.put(order, key))
        if order is None:
            return
        said = answer(self._journal, order.number)
        if said is None and not live:
            late = "waits for the next run" if order.verb in LASTING else "too late, the search is over"
            said = Answer(order.verb in LASTING, late)
            if not said.done:
                self._orders.withdraw(order.number)
        if said is not None:
            self._projection.grant(str(order), str(said))
            self._journal.record(wishes=done + 1)
