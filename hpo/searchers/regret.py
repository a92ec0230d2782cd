"""How much better the best parameters of a space might be than the best that were tried: a bound, with its confidence.

Called by `hpo.stopping`. A Gaussian process over the complete trials gives each point a band; the regret is at most the
distance from the best tried point's lower edge to the highest upper edge anywhere: Makarova et al., "Automatic
Termination for Hyperparameter Optimization" (2022). Bands of single points, so an estimate and no guarantee.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from hpo.metric import Metric
from hpo.samplers.encoding import Encoding
from hpo.samplers.gaussian_process import GaussianProcess, Inputs, Prior, fit
from hpo.searchers.optuna import distribution
from hpo.searchers.random import RandomSearcher
from hpo.searchers.terms import axes
from hpo.space import Space
from hpo.trial import Params, Trial

CONFIDENCE = 0.95
POINTS = 150  # most trials that the process is fitted to: the best, and an even sample of the others
DRAWN = 1500  # points at random where the space may be better
NEAR = 50  # neighbours of each of the best trials


def bound(space: Space, metric: Metric, trials: Sequence[Trial], seed: int) -> float:
    """In the metric's unit. `trials` are complete; those outside the space say nothing."""
    known = [(t.params, -metric.sign * t.values[0]) for t in trials if t.values and t.params in space]
    known.sort(key=lambda pair: pair[1])
    if len(known) > POINTS:
        half = POINTS // 2
        known = known[:half] + known[half :: -(-(len(known) - half) // half)]
    free = {name: axis for name, axis in axes(space).items() if not axis.fixed}
    distributions = {name: distribution(axis) for name, axis in free.items()}
    encoding = Encoding(distributions)

    def row(params: Params) -> np.ndarray:
        return encoding.row({n: a.encode(params[n]) for n, a in free.items() if n in params}, distributions)

    rows = np.array([row(params) for params, _ in known])
    values = np.array([value for _, value in known])
    # How bad the bad ones are teaches nothing about the best.
    low, high = np.quantile(values, [0.25, 0.75])
    values = np.minimum(values, high + 1.5 * (high - low))
    unit = values.std() or 1.0
    seen, y = Inputs.plain(encoding.features(rows)), (values - values.mean()) / unit
    process = GaussianProcess(seen, encoding.groups, y, fit(seen, encoding.groups, y, Prior(len(encoding))))
    random, rng = RandomSearcher(space, seed), np.random.default_rng([seed, len(trials)])
    drawn = np.array([row(random.ask(number).params) for number in range(DRAWN)])
    centers = np.repeat(rows[:6], NEAR, 0)
    near = encoding.snap(np.clip(centers + rng.normal(0, 0.05, centers.shape), 0, 1))
    z = NormalDist().inv_cdf(CONFIDENCE)
    mean, deviation = process.predict(seen)
    safe = (mean + z * deviation).min()
    mean, deviation = process.predict(Inputs.plain(encoding.features(np.vstack([drawn, near, rows]))))
    return float(max(safe - (mean - z * deviation).min(), 0.0) * unit)
