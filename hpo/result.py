"""What `hpo.run` returns: the trials, the best one, and what became of the model.

Made by `hpo.search` from the journal; a value, safe to keep. pandas is imported only when the table is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpo.journal import Journal
from hpo.metric import Metric
from hpo.pages import summary, view_of
from hpo.pages.plots import Plots
from hpo.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

State = Literal["finished", "interrupted"]


@dataclass(frozen=True, repr=False)
class Result:
    """`experiment` is MLflow's id of it, `estimate` what `best` is worth on fresh folds (None: it was not asked),
    `promotion` what the registry did (None without one), `unpublished` why MLflow does not show all yet, `stopped` why
    the search ended before its budget did."""

    id: str
    state: State
    metrics: tuple[Metric, ...]
    all_trials: tuple[Trial, ...]
    best: Trial | None
    journal: Path
    seconds: float
    resumed: bool = False
    tracking_uri: str | None = None
    experiment: str | None = None
    estimate: Mapping[str, Any] | None = None
    promotion: Mapping[str, Any] | None = None
    unpublished: str | None = None
    signal: int | None = None
    stopped: str | None = None

    def __repr__(self) -> str:
        """Short: a notebook prints it under the cell."""
        found = f", best trial {self.best.number}: {self.best_value:.6g}" if self.best is not None else ""
        return f"Result({self.id}, {self.state}, {len(self.all_trials)} trials{found})"

    def _repr_html_(self) -> str:
        with closing(Journal(self.journal, writable=False)) as journal:
            return summary(view_of(journal))

    @property
    def plot(self) -> Plots:
        """The report's charts as Plotly figures: `result.plot.history()`; from the journal, as it is now."""
        with closing(Journal(self.journal, writable=False)) as journal:
            return Plots(view_of(journal))

    @property
    def best_params(self) -> Mapping[str, Any]:
        return self.best.params if self.best else {}

    @property
    def best_value(self) -> float | None:
        return self.best.values[0] if self.best and self.best.values else None

    @property
    def model_uri(self) -> str | None:
        """models:/NAME/VERSION of the model this sweep registered: always this one, wherever the alias moves."""
        if self.promotion is None or self.promotion.get("error"):
            return None
        return f"models:/{self.promotion['model']}/{self.promotion['version']}"

    @property
    def pareto_front(self) -> tuple[Trial, ...]:
        """The complete trials that no other beats in every metric; with one metric, the best ones."""
        signs = [metric.sign for metric in self.metrics]
        done = [
            (trial, [sign * value for sign, value in zip(signs, trial.values, strict=True)])
            for trial in self.all_trials
            if trial.state == "complete" and trial.values is not None
        ]
        return tuple(
            trial
            for trial, mine in done
            if not any(other != mine and all(o >= m for o, m in zip(other, mine, strict=True)) for _, other in done)
        )

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial: number, state, the metrics, `params_*`, other metrics, seconds, error."""
        import pandas as pd

        rows = [
            {
                "number": trial.number,
                "state": trial.state,
                **dict(zip((m.name for m in self.metrics), trial.values or (), strict=False)),
                **{f"params_{name}": value for name, value in trial.params.items()},
                **trial.metrics,
                "seconds": trial.seconds,
                "error": trial.failure.message if trial.failure else None,
            }
            for trial in self.all_trials
        ]
        return pd.DataFrame(rows)
