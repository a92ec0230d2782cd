"""The registry: where a search becomes a decision. Register the best model, judge it, move the alias, keep the record.

`promote` is called by `hpo.promotion` once a search is over, the rest by the verbs promote, rollback, history and
predict. `files` knows a model's files, `versions` MLflow's registry, `history` who was champion when, `act` who
becomes it.
"""

from hpo.registry.act import (
    Champion,
    Promotion,
    choose,
    describe,
    evidence_of,
    promote,
    promote_by_hand,
    roll_back,
)  # fmt: skip
from hpo.registry.files import UnusableError, fetch_version, load
from hpo.registry.history import CHALLENGER, Event, Reign, acknowledge, events, reigns
from hpo.registry.versions import Candidate, find, holder, id_of

__all__ = [
    "CHALLENGER", "Candidate", "Champion", "Event", "Promotion", "Reign", "UnusableError", "acknowledge", "choose",
    "describe", "events", "evidence_of", "fetch_version", "find", "holder", "id_of", "load", "promote",
    "promote_by_hand", "reigns", "roll_back",
]  # fmt: skip
