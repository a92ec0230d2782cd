"""The port of a searcher: who decides which parameters come next.

Implemented by the adapters beside it, called by the loop in `hpo.search`. A searcher is fed and never reaches
out, so any of them can be rebuilt from the journal by telling it the trials again; none is ever pickled.
"""

from __future__ import annotations

from typing import Protocol

from hpo.trial import Report, Trial


class SpaceExhausted(Exception):
    """There is no parameter set left to try; raised by `ask`."""


class Searcher(Protocol):
    """What the loop needs of a searcher.

    Promises. *Replay*: after `tell` of the same trials in the order of their numbers, `ask(n)` gives the same
    parameters as in the uninterrupted serial sweep; seeds come from (sweep seed, n) alone. *Order*: `ask(n)`
    may be followed by `ask(m)` before n is told (parallel workers). *Any state*: `tell` takes running trials
    too (replay announces what was in flight), and failed and pruned ones. *Plain values*: parameters are
    None, bool, int, float or str, and lie inside the space.
    """

    def ask(self, number: int) -> Trial:
        """Trial `number`, not yet started: its parameters, and in `memo` what replay must see again."""
        ...

    def tell(self, trial: Trial) -> None:
        """What became of a trial, or that it is running (on replay)."""
        ...

    def keep(self, number: int, report: Report) -> bool:
        """False if the running trial should stop now; an engine without an opinion says True."""
        ...
