"""Portfolios as shipped, in the spaces that people write; run by pytest."""

from __future__ import annotations

import pytest

from hpo.loader import load
from hpo.samplers import portfolio
from hpo.space import Choice, Float, Int, Parameter, Space

XGBOOST = Space(
    (
        Float("eta", 0.01, 0.3, log=True),
        Int("max_depth", 2, 8),
        Float("subsample", 0.5, 1.0, step=0.1),
        Float("lambda", 0.001, 10.0, log=True),
        Float("own", 0.0, 3.0),
    )
)


def test_the_defaults_come_first_and_all_fit_and_none_is_twice() -> None:
    library, first = portfolio.first(XGBOOST, "log_loss", 12)
    assert library == "XGBoost"
    assert first[0] == {"eta": 0.3, "max_depth": 6, "subsample": 1.0, "lambda": 1.0, "own": 1.5}
    assert all(params in XGBOOST for params in first)
    assert len({tuple(params.items()) for params in first}) == len(first) == 13


def test_where_most_are_the_same_after_clipping_fewer_are_left() -> None:
    space = Space((Float("eta", 0.1, 0.1), Int("max_depth", 2, 3), Choice("booster", ("gbtree",))))
    _, first = portfolio.first(space, "log_loss", 12)
    assert 1 <= len(first) <= 2


def test_conditions_are_kept() -> None:
    space = Space(
        (
            Float("learning_rate", 0.01, 1.0, log=True),
            Choice("booster", ("gbtree", "dart")),
            Float("rate_drop", 0.0, 0.5, when={"booster": ("dart",)}),
        )
    )
    _, first = portfolio.first(space, "log_loss", 12)
    assert {"booster", "learning_rate", "rate_drop"} in [set(params) for params in first], "a set with boosters is used"
    assert all(params in space for params in first)


def test_fewer_rounds_than_wished_take_larger_steps() -> None:
    def rates(rounds: int) -> list[float]:
        space = Space((Float("learning_rate", 1e-4, 10.0), Int("n_estimators", 10, rounds), Int("max_depth", 1, 20)))
        return [params["learning_rate"] for params in portfolio.first(space, "log_loss", 12)[1]]  # type: ignore[misc]

    many, few = rates(160), rates(40)
    assert all(b >= a for a, b in zip(many, few, strict=True))
    assert sum(b > a for a, b in zip(many, few, strict=True)) > 5


def test_rounds_that_the_space_does_not_search_are_those_of_the_model() -> None:
    def rates(fixed: dict[str, int] | None) -> list[float]:
        space = Space((Float("learning_rate", 1e-4, 10.0), Float("subsample", 0.1, 1.0), Int("max_depth", 1, 20)))
        return [params["learning_rate"] for params in portfolio.first(space, "log_loss", 9, fixed=fixed)[1]]  # type: ignore[misc]

    assert rates({}) == rates({"n_estimators": 100}) == rates({"num_boost_round": 100}), "XGBoost's own"
    assert rates({"n_estimators": 3000}) == rates(None), "as many as anybody wants, for all that is known"
    assert sum(rates({"n_estimators": 100})) > sum(rates({"n_estimators": 3000})), "few rounds take larger steps"


@pytest.mark.parametrize(
    ("most", "knows"), [(100, 160), (200, 160), (300, 500), (500, 500), (1000, 2981), (10**5, 2981)]
)
def test_a_set_knows_as_many_rounds_as_there_may_be(most: int, knows: int) -> None:
    """One that has seen fewer takes the others for useless."""
    space = Space((Float("eta", 0.01, 0.3), Int("n_estimators", 10, most), Int("max_depth", 2, 8)))
    known = portfolio.matching(space)
    assert known is not None
    assert known.closest(known.sets, space, "log_loss", None)["rounds"] == knows


def test_what_counts_decides_which_set() -> None:
    metrics = ("log_loss", "rmse", "accuracy", "f1_macro", "roc_auc", "average_precision")
    firsts = [portfolio.first(XGBOOST, metric, 4)[1] for metric in metrics]
    assert firsts[0] == firsts[1] != firsts[2] == firsts[3] != firsts[4] == firsts[5] != firsts[0]


@pytest.mark.parametrize(
    "space",
    [
        Space((Float("learning_rate", 0.1, 1.0), Int("batch_size", 1, 9), Float("momentum", 0.0, 1.0))),
        Space((Float("x", 0.0, 1.0),)),
    ],
)
def test_other_spaces_have_none(space: Space) -> None:
    assert portfolio.first(space, "log_loss", 8) == ("", [])


LIGHTGBM = Space(
    (
        Int("num_leaves", 8, 128, log=True),
        Float("learning_rate", 0.01, 0.3, log=True),
        Int("n_estimators", 50, 400),
        Int("max_depth", 3, 12),
        Choice("lambda_l2", (0, 1, 10)),
    )
)
HISTOGRAMS = Space(
    (
        Int("max_leaf_nodes", 8, 64),
        Int("min_samples_leaf", 5, 50),
        Float("learning_rate", 0.02, 0.3),
        Int("max_iter", 50, 300),
    )
)
FOREST = Space((Float("max_features", 0.1, 1.0), Int("min_samples_leaf", 1, 20, log=True), Int("max_depth", 4, 32)))


@pytest.mark.parametrize(
    ("space", "model", "library"),
    [
        (LIGHTGBM, None, "LightGBM"),
        (LIGHTGBM, "lightgbm.LGBMRegressor", "LightGBM"),
        (HISTOGRAMS, None, "HistGradientBoosting"),
        (FOREST, "sklearn.ensemble.RandomForestRegressor", "random forests"),
        (FOREST, "sklearn.ensemble.ExtraTreesClassifier", "extra trees"),
        (XGBOOST, "xgboost.XGBClassifier", "XGBoost"),
        (XGBOOST, "lightgbm.LGBMClassifier", "LightGBM"),
        (XGBOOST, None, "XGBoost"),
    ],
)
def test_the_model_decides_and_else_the_names_do(space: Space, model: str | None, library: str) -> None:
    for metric in ("log_loss", "accuracy", "roc_auc"):
        name, first = portfolio.first(space, metric, 8, model)
        assert name == library
        assert len(first) > 3
        assert all(params in space for params in first)
        assert len({tuple(params.items()) for params in first}) == len(first)


def test_what_a_file_has_under_another_name_and_without_a_limit() -> None:
    """A depth without limit is the greatest of the space, a choice among numbers the nearest of them."""
    _, [defaults, *learned] = portfolio.first(LIGHTGBM, "log_loss", 8)
    assert defaults == {"num_leaves": 31, "learning_rate": 0.1, "n_estimators": 100, "max_depth": 12, "lambda_l2": 0}
    assert {params["lambda_l2"] for params in learned} > {0}
    assert portfolio.first(HISTOGRAMS, "log_loss", 8)[1][0]["max_iter"] == 100


def test_the_bundled_space_has_one() -> None:
    space = load("xgb.yaml").space
    assert len(portfolio.first(space, "log_loss", 8)[1]) == 9


@pytest.mark.parametrize(
    ("parameter", "wished", "nearest"),
    [
        (Float("x", 0.0, 1.0), 7, 1.0), (Float("x", 0.0, 1.0, step=0.3), 1.0, 0.9), (Int("x", 0, 9, step=4), 9, 8),
        (Int("x", 1, 9), 3.6, 4), (Choice("x", ("a", True)), True, True), (Choice("x", ("a", True)), "b", "a"),
        (Int("x", 1, 100, log=True), None, 10), (Float("x", 0.0, 4.0), "text", 2.0),
    ],
)  # fmt: skip
def test_nearest(parameter: Parameter, wished: object, nearest: object) -> None:
    found = portfolio.nearest(parameter, wished)  # type: ignore[arg-type]
    assert found == pytest.approx(nearest) if isinstance(nearest, float) else found == nearest
    assert parameter.check(found) is None
