"""`GPSampler`: Bayesian optimization with a Gaussian process, for any Optuna study, in numpy and scipy alone.

Named by `hpo.searchers.optuna` (`sampler: gp`) and used by anybody in `study.optimize`. Nothing is carried from one
ask to the next but a cache: an ask is a function of the seed, the trial's number and the trials that the study holds,
so a study that is rebuilt from a record asks the same.
"""

from __future__ import annotations

import itertools
import math
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.special import log_ndtr
from threadpoolctl import ThreadpoolController

from hpo.samplers.acquisition import Search, log_expected_improvement
from hpo.samplers.conditions import Conditions
from hpo.samplers.cost import per_second
from hpo.samplers.encoding import Array, Column, Encoding, keys
from hpo.samplers.experience import LEFT, Experience
from hpo.samplers.gaussian_process import GaussianProcess, Inputs, Prior, fit, matched, trend
from hpo.samplers.history import Evidence, History
from hpo.samplers.ties import Ties
from hpo.samplers.views import LEARNED, PLAIN, SIGNED, VIEWS, View

DIGITS = 6  # to which a proposal is one that was made before
POINTS = 200  # most trials that the posterior is built on
ALONE = 20  # trials until which what was learned on other data sets has every turn, and then every other
DOUBTED = 12  # trials from which it has to foresee them as well as who knows nothing,
LENIENCE = 0.1  # less so much of a rank correlation
CROWD = 3  # trials in flight from which most proposals stay near the best one,
SETTLED = 12  # once so many trials say where that is
LEARNING_POINTS = 120  # most trials that hyperparameters are learned from

Mask = npt.NDArray[np.bool_]
Constraints = Callable[[FrozenTrial], Sequence[float]]
Predict = Callable[[Array], tuple[Array, Array]]  # from points to means and standard deviations


class GPSampler(BaseSampler):
    """Expected improvement under a Gaussian process, for floats, ints, choices and conditions between them.

    The first `n_startup_trials` are stratified at random. Running trials count as if they had what is expected
    of them; failed ones and violated constraints (`trial.set_constraint`, or `constraints_func`, values above 0)
    lower the chance of their neighbourhood; pruned ones count with what they had reached. Several objectives are
    left to Optuna's TPESampler. Trials with the system attribute `hpo:trust` were scored on other data, see `trust`.
    `cost_aware` seeks improvement per second: proposals then depend on measured times.
    `experience` is what is known of the parameters from other data sets (`hpo.samplers.experience.of`).
    Cost: about 15 ms an ask at 100 trials, 30 ms at 1,000, bounded beyond.
    """

    def __init__(
        self, seed: int | None = None, *, n_startup_trials: int = 5, constraints_func: Constraints | None = None,
        cost_aware: bool = False, experience: Experience | None = None,
    ) -> None:  # fmt: skip
        self._seed = secrets.randbits(32) if seed is None else seed
        self._startup = n_startup_trials
        self._constraints = constraints_func
        self._cost_aware = cost_aware
        self._experience = experience
        self._several = TPESampler(seed=self._seed)
        self._history = History()
        self._blas = ThreadpoolController().select(user_api="blas")
        self._theta: dict[str, tuple[tuple[object, ...], Array]] = {}
        self._foreseen: tuple[tuple[object, ...] | None, bool] = (None, True)

    def reseed_rng(self) -> None:
        """Draws depend on the trial's number, which differs between workers already."""
        self._several.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(study.directions) > 1:
            return self._several.infer_relative_search_space(study, trial)
        return self._history.space(study) if trial.number >= self._startup else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 1:
            return self._several.sample_relative(study, trial, search_space)
        if not search_space:
            return {}
        evidence = self._history.evidence(study, trial.number, search_space)
        if evidence.usable.sum() < 3:
            return {}
        with self._blas.limit(limits=1):  # threads cost such small matrices twenty times what they give
            row = self._propose(evidence, trial.number)
        return {} if row is None else evidence.encoding.params(row)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Stratified: each block of `n_startup_trials` trials has one draw in each of as many equal cells."""
        if len(study.directions) > 1:
            return self._several.sample_independent(study, trial, param_name, param_distribution)
        cells = max(self._startup, 1)
        block, place = divmod(trial.number, cells)
        key = [self._seed, zlib.crc32(param_name.encode()), block]
        rng = np.random.default_rng(key)
        order, within = rng.permutation(cells), rng.random(cells)
        return Column(param_distribution).decode((order[place] + within[place]) / cells)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if self._constraints is not None and state in (TrialState.COMPLETE, TrialState.PRUNED):
            for k, violation in enumerate(self._constraints(trial)):
                study._storage.set_trial_system_attr(trial._trial_id, f"constraints:{k}", float(violation))

    def _propose(self, evidence: Evidence, number: int) -> Array | None:
        encoding, usable = evidence.encoding, evidence.usable
        conditions = Conditions(np.vstack([evidence.rows, evidence.pending]), encoding.choices)
        # A failed trial has a middling value too: else the search goes along the border of where trials fail.
        values = np.where(usable, evidence.values, np.median(evidence.values[usable]))
        everywhere = np.ones(len(usable), dtype=bool)
        predict = self._model("value", evidence, everywhere, values, self._view(number, evidence, values))
        doubts = list(self._doubts(evidence))
        feasible = usable & ~(evidence.violations > 0).any(1)
        # Not what is hoped of trials in flight: that would send this one away from where they are good.
        best = float(predict(evidence.rows[feasible])[0].min(initial=math.inf))
        cost = per_second(encoding.features(evidence.rows), evidence.seconds) if self._cost_aware else None

        def score(points: Array) -> Array:
            total = np.zeros(len(points)) if cost is None else -cost(encoding.features(points))
            if feasible.any():
                total = total + log_expected_improvement(*predict(points), best)
            for doubt in doubts:
                mean, deviation = doubt(points)
                total = total + log_ndtr(-mean / deviation)
            return total

        rng = np.random.default_rng([self._seed, number])
        search = Search(score, lambda points: conditions.apply(encoding.snap(points)), encoding.choices, rng)
        known = feasible if feasible.any() else usable
        centers = evidence.rows[known][np.argsort(evidence.values[known], kind="stable")[:6]]
        own = evidence.rows[evidence.trust == 1.0]  # what was good on other data may be worth a look on these
        ties = Ties(evidence.rows[evidence.whole], evidence.values[evidence.whole], encoding.choices, DIGITS)
        seen = set(keys(ties.collapse(np.vstack([own, evidence.pending])), DIGITS))
        # What several trials in flight leave to expect is far from all of them, while the best one's own neighbourhood,
        # which a serial search would walk through step by step, is left alone: so two of three stay there.
        stays = len(evidence.pending) >= CROWD and usable.sum() >= SETTLED and number % 3
        looks = (search.near, search.ranked) if stays else (search.ranked,)
        points = itertools.chain.from_iterable(look(centers) for look in looks)
        return next((row for row in points if seen.isdisjoint(keys(ties.collapse(row[None]), DIGITS))), None)

    def _doubts(self, evidence: Evidence) -> Iterator[Predict]:
        """For each constraint that was ever violated, and for failures: what should stay below 0."""
        for k, violation in enumerate(evidence.violations.T):
            known = ~np.isnan(violation)
            if (violation[known] > 0).any():
                yield self._model(f"constraint {k}", evidence, known, violation[known], SIGNED)
        if evidence.failed.any():
            everywhere = np.ones(len(evidence.failed), dtype=bool)
            # Below 0 where three of four succeed.
            yield self._model("failure", evidence, everywhere, 2 * evidence.failed - 0.5, SIGNED)

    def _view(self, number: int, evidence: Evidence, values: Array) -> View:
        """In turns, since one that is wrong is wrong each time. What was learned elsewhere has the first word, and then
        every other, as long as it foresees the trials of this study about as well as who knows nothing."""
        if self._experience is None:
            return VIEWS[number % len(VIEWS)]
        early = len(values) < ALONE
        if len(values) < DOUBTED or self._foresees(evidence, values):
            return LEARNED if early or number % 2 else VIEWS[number // 2 % len(VIEWS)]
        return LEARNED if early and number % 2 else VIEWS[number % len(VIEWS)]

    def _foresees(self, evidence: Evidence, values: Array) -> bool:
        """Whether what was learned elsewhere says of each trial what came of it, as well as who knows nothing: by rank
        correlations, each trial left out in its turn."""
        known = np.arange(len(values)) < _steady(len(values))
        key = _first(evidence, known, values[known])[1]
        if self._foreseen[0] != key:
            learned, plain = (self._foresight(evidence, known, values[known], view) for view in (LEARNED, PLAIN))
            self._foreseen = (key, learned > plain - LENIENCE)
        return self._foreseen[1]

    def _foresight(self, evidence: Evidence, known: Mask, values: Array, view: View) -> float:
        inputs = self._seen(evidence, known, view)
        theta = self._learned("value", evidence, known, inputs, values, view)
        kept = _subset(values, LEARNING_POINTS)
        y = self._scaled(inputs, values, kept, view, evidence.encoding)
        said = GaussianProcess(inputs.take(kept), evidence.encoding.groups, y, theta).left_out(y)
        ranks = [np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (said, values[kept])]
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

    def _model(self, name: str, evidence: Evidence, known: Mask, values: Array, view: View) -> Predict:
        encoding = evidence.encoding
        inputs = self._seen(evidence, known, view)
        theta = self._learned(name, evidence, known, inputs, values, view)
        kept = _subset(values, POINTS)
        y = self._scaled(inputs, values, kept, view, encoding)
        pending = self._inputs(evidence.pending, view, encoding)
        model = GaussianProcess(inputs.take(kept), encoding.groups, y, theta, pending)
        return lambda rows: model.predict(self._inputs(rows, view, encoding))

    def _seen(self, evidence: Evidence, known: Mask, view: View) -> Inputs:
        inputs = self._inputs(evidence.rows[known], view, evidence.encoding)
        return replace(inputs, trust=evidence.trust[known], noise=evidence.noise[known])

    def _inputs(self, rows: Array, view: View, encoding: Encoding) -> Inputs:
        features = encoding.features(rows)
        if view is LEARNED and self._experience is not None:
            surface = self._experience.surface(encoding, rows)
            return Inputs(features, surface[:, 1:], surface[:, 0], np.ones(len(rows)), np.ones(len(rows)))
        return Inputs.plain(features, trend(features) if view.trend else None)

    def _prior(self, view: View, encoding: Encoding) -> Prior:
        return Prior(len(encoding), view.trend, LEFT if view is LEARNED else None)

    def _scaled(
        self, inputs: Inputs, values: Array, kept: npt.NDArray[np.int64], view: View, encoding: Encoding
    ) -> Array:
        """The kept values as the view has them, among all."""
        if view is LEARNED:
            return matched(inputs.take(kept), encoding.groups, values[kept], self._prior(view, encoding))
        return view.scale(values)[kept]

    def _learned(
        self, name: str, evidence: Evidence, known: Mask, inputs: Inputs, values: Array, view: View
    ) -> Array:  # fmt: skip
        """Hyperparameters of the first trials, which last for a while."""
        count, key = _first(evidence, known, values)
        name = f"{name} {view.name}"
        if self._theta.get(name, (None, None))[0] != key:
            kept, encoding = _subset(values[:count], LEARNING_POINTS), evidence.encoding
            y = self._scaled(inputs, values[:count], kept, view, encoding)
            self._theta[name] = (key, fit(inputs.take(kept), encoding.groups, y, self._prior(view, encoding)))
        return self._theta[name][1]


def _first(evidence: Evidence, known: Mask, values: Array) -> tuple[int, tuple[object, ...]]:
    """How many of the known trials count for a while, and what tells them from others: earlier values, of other data,
    move with each configuration that is scored again."""
    numbers, trust = evidence.numbers[known], evidence.trust[known]
    count = _steady(len(numbers))
    leveled = values[:count][trust[:count] < 1.0]
    return count, (*evidence.encoding.names, *numbers[:count].tolist(), *leveled.tolist())


def _steady(count: int) -> int:
    """All trials up to 24, then a number that grows by 8 %."""
    return count - count % max(1, count // 12)


def _subset(values: Array, size: int) -> npt.NDArray[np.int64]:
    """At most so many: the best half, and the others evenly over time."""
    if len(values) <= size:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    good, rest = order[: size // 2], np.sort(order[size // 2 :])
    places = np.linspace(0, len(rest) - 1, size - size // 2).round().astype(int)
    return np.sort(np.concatenate([good, rest[places]]))
