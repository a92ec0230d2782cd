"""Which parameters the result depended on, by PED-ANOVA over the trials of a sweep.

Asked by `hpo.pages` and `hpo.compare`, which import it late, as it brings Optuna. The trials are laid out on the same
axes that the searchers walk, so that steps, logarithms and conditions count as they did in the search.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from hpo.metric import Metric
from hpo.searchers.optuna import distribution
from hpo.searchers.terms import axes
from hpo.space import Space
from hpo.trial import Trial


def importance(space: Space, metric: Metric, index: int, trials: Iterable[Trial]) -> dict[str, float]:
    """Parameter -> its share, adding up to 1, the greatest first; empty where none made a difference.

    `index` says which of a trial's values is the metric's. T. Watanabe et al., IJCAI 2023, for what it measures: how
    far the parameter's values among the best tenth of the trials differ from those among all of them.
    """
    chosen = {name: axis for name, axis in axes(space).items() if not axis.fixed}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction=metric.direction)
        for trial in trials:
            if trial.values is None or trial.state != "complete" or trial.params not in space:
                continue
            params = {name: axis.encode(trial.params[name]) for name, axis in chosen.items() if name in trial.params}
            known = {name: distribution(chosen[name]) for name in params}
            study.add_trial(create_trial(params=params, distributions=known, value=trial.values[index]))
        if len(study.trials) < 2 or not chosen:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental, and what it says of equal importances is seen
            found = PedAnovaImportanceEvaluator().evaluate(study)
    finally:
        optuna.logging.set_verbosity(level)
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}
