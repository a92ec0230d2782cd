"""Samplers of our own, for any Optuna study: `optuna.create_study(sampler=hpo.samplers.GPSampler(seed=1))`.

Used by `hpo.searchers.optuna` and by anybody's `study.optimize`; they know nothing else of hpo. Optuna, numpy and
scipy are imported when a sampler is first named, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.samplers.gp_sampler import GPSampler

__all__ = ["GPSampler"]


def __getattr__(name: str) -> Any:
    if name != "GPSampler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hpo.samplers.gp_sampler import GPSampler

    return GPSampler
