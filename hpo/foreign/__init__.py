"""Foreign searches: what an Optuna study or a W&B sweep file says, in our words.

Called by `hpo.import`. Each adapter returns a `Draft` and imports its engine, if it has one, at its own top. What has
no counterpart here is said in `notes`: nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.trial import Trial


@dataclass(frozen=True)
class Draft:
    """A sweep file in the making. `space` as the file writes it, `metrics` as (name, direction), `search` without what
    is our default; `trials` have results in the order of the metrics."""

    name: str
    space: Mapping[str, Mapping[str, Any]]
    metrics: tuple[tuple[str, str], ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()
