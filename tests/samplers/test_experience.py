"""What is known before the first trial: the files, the surface as arithmetic, and what it is worth; run by pytest."""

from __future__ import annotations

import json
import math
from statistics import fmean

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.samplers import GPSampler, experience, portfolio
from hpo.samplers.encoding import Encoding
from hpo.samplers.experience import Experience, Range, Reading, Term
from hpo.samplers.history import History
from hpo.samplers.views import LEARNED
from hpo.space import Choice, Float, Int, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
RANGES = {"a": Range(0.01, 1.0, True, 0.1), "b": Range(-1.0, 1.0, False, 0.5)}


def bowl(center: float) -> Experience:
    """Losses elsewhere were best where both are `center` in [-1, 1]; the data sets differ in the place along a."""
    weights: dict[Term, tuple[float, float]] = {(n,): (-0.6 * center, 0.3 if n == "a" else 0.0) for n in RANGES}
    return Experience(
        RANGES,
        {},
        {(): (0.1, 0.0), **weights, ("a", "a"): (0.3, 0.0), ("b", "b"): (0.3, 0.0)},
        {name: Reading(name) for name in RANGES},
    )


def test_a_surface_is_the_sum_of_its_terms() -> None:
    known = Experience(
        {**RANGES, "c": Range(0.0, 10.0, False, 10.0)},
        {"kind": "x"},
        {
            (): (1.0, 0.0), ("a",): (2.0, 1.0), ("a", "b"): (3.0, 0.0), ("c", "c"): (5.0, 0.0),
            ("kind=y",): (7.0, 0.0), ("kind=y", "b", "b"): (11.0, 0.0),
        },
        {"alpha": Reading("a"), "b": Reading("b", -1.0, 0.25), "kind": Reading("kind", values=("z", "y"))},
    )  # fmt: skip
    kinds = CategoricalDistribution([0, 1])
    encoding = Encoding({"alpha": FloatDistribution(0.01, 1.0, log=True), "b": IntDistribution(0, 8), "kind": kinds})
    trial = {"alpha": 0.1 * math.sqrt(10), "b": 6, "kind": 1}  # a is 0.5, b the grid's 0.5, c as by default: 1
    row = encoding.row(trial, {name: c.distribution for name, c in zip(encoding.names, encoding.columns, strict=True)})
    assert known.surface(encoding, row[None])[0] == pytest.approx([1 + 1 + 0.75 + 5 + 7 + 11 / 4, 0.5])
    row[0], row[2] = math.nan, 0.25  # an absent number is in the middle; z was never met
    assert known.surface(encoding, row[None])[0] == pytest.approx([1 + 5, 0.0])


def test_every_set_of_configurations_of_xgboost_has_its_surface() -> None:
    about = [
        [(e["needs"], e["metric"], e["rounds"]) for e in json.loads(path.read_text(encoding="utf-8"))["sets"]]
        for path in (portfolio.FOLDER / "xgboost.json", portfolio.FOLDER.parent / "surfaces" / "xgboost.json")
    ]
    assert about[0] == about[1]


def test_it_is_found_by_the_names_of_the_parameters_and_knows_good_from_bad() -> None:
    space = Space((
        Float("eta", 0.01, 1.0, log=True), Int("num_boost_round", 10, 1000, log=True), Int("max_depth", 2, 10, step=2),
        Choice("booster", ("gbtree", "gblinear")), Float("mine", 0, 1),
    ))  # fmt: skip
    found = experience.of(space, "accuracy")
    assert found is not None
    encoding = Encoding({
        "eta": FloatDistribution(0.01, 1.0, log=True), "num_boost_round": IntDistribution(10, 1000, log=True),
        "max_depth": IntDistribution(0, 4), "booster": CategoricalDistribution([0, 1]), "mine": FloatDistribution(0, 1),
    })  # fmt: skip
    good, slow = (
        {"eta": 0.1, "num_boost_round": 400, "max_depth": 2},
        {"eta": 0.01, "num_boost_round": 10, "max_depth": 0},
    )
    by_name = {name: c.distribution for name, c in zip(encoding.names, encoding.columns, strict=True)}
    rows = [encoding.row({**params, "booster": 0, "mine": 0.5}, by_name) for params in (good, slow)]
    mean = found.surface(encoding, np.array(rows))[:, 0]
    assert mean[0] < 0.5 < mean[1]
    assert experience.of(Space((Float("x", 0, 1), Float("y", 0, 1), Float("z", 0, 1))), "accuracy") is None


def test_what_the_model_is_given_besides_the_space_is_known_too() -> None:
    """With 2,000 rounds small steps are good, with 100 they are far too small."""
    space = Space((Float("learning_rate", 0.01, 1.0, log=True), Int("max_depth", 2, 10), Float("subsample", 0.5, 1.0)))
    encoding = Encoding({
        "learning_rate": FloatDistribution(0.01, 1.0, log=True), "max_depth": IntDistribution(2, 10),
        "subsample": FloatDistribution(0.5, 1.0),
    })  # fmt: skip
    slow = np.array([[0.05, 0.5, 0.5]])

    def loss(fixed: dict[str, int]) -> float:
        found = experience.of(space, "log_loss", "xgboost.XGBClassifier", fixed)
        assert found is not None
        return float(found.surface(encoding, slow)[0, 0])

    assert loss({"n_estimators": 2000}) < loss({"n_estimators": 100}) == loss({})


def course(known: Experience | None, seed: int, trials: int, scale: float = 1.0) -> list[float]:
    def loss(trial: optuna.Trial) -> float:
        a, b = trial.suggest_float("a", 0.01, 1.0, log=True), trial.suggest_float("b", -1.0, 1.0)
        return scale * ((math.log10(a) + 0.6) ** 2 + (b - 0.4) ** 2)  # at 0.4 in both

    study = optuna.create_study(sampler=GPSampler(seed, n_startup_trials=4, experience=known))
    study.optimize(loss, n_trials=trials)
    return [trial.values[0] / scale for trial in study.trials]


def test_who_knows_the_shape_is_there_at_once() -> None:
    knowing = [min(course(bowl(0.4), seed, 9)) for seed in range(4)]
    learning = [min(course(None, seed, 9)) for seed in range(4)]
    assert fmean(knowing) < 0.4 * fmean(learning)


def test_what_was_learned_elsewhere_and_is_wrong_here_is_unlearned() -> None:
    assert fmean(min(course(bowl(-0.8), seed, 40)) for seed in range(2)) < 0.005


def test_the_unit_of_the_loss_does_not_matter() -> None:
    assert course(bowl(0.4), 1, 12, 1e5) == pytest.approx(course(bowl(0.4), 1, 12), abs=1e-3)


@pytest.mark.parametrize(("twist", "turns"), [(0.0, 4), (-0.6, 2)])
def test_who_foresees_the_trials_worse_than_who_knows_nothing_has_fewer_turns(twist: float, turns: int) -> None:
    ranges = {name: Range(-1.0, 1.0, False, 0.0) for name in "abcdef"}
    weights: dict[Term, tuple[float, float]] = {(): (0.5, 0.0), **{(name,): (0.1, 0.0) for name in ranges}}
    weights |= {(a, b): (twist, 0.0) for a in ranges for b in ranges if a < b}  # which the losses below have not
    known = Experience(ranges, {}, weights, {name: Reading(name) for name in ranges})
    for seed in range(3):
        sampler = GPSampler(seed, n_startup_trials=40, experience=known)
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: sum(trial.suggest_float(name, -1.0, 1.0) for name in ranges), n_trials=14)
        history = History()
        evidence = history.evidence(study, 14, history.space(study))
        views = [sampler._view(number, evidence, evidence.values) for number in range(14, 18)]
        assert views.count(LEARNED) == turns
