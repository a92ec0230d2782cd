"""The evidence: scikit-learn's numbers whatever way they are computed, on the same rows, and every gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo.data import Dataset, holdout_frame
from hpo.metric import Metric
from hpo.objectives.judging import UnlikeError, ask, gather, latency, slices_of, statistic_of
from hpo.objectives.scoring import PredictedClasses, PredictedNumbers, score
from hpo.sweep import Promote, Slice, Sweep, Validation
from tests.data.sweeps import bundled, metric

TWO = ["roc_auc", "log_loss", "neg_log_loss", "accuracy", "brier_score", "f1", "average_precision", "logloss"]
MORE = ["log_loss", "accuracy", "f1_macro", "roc_auc_ovr"]
NUMBERS = ["rmse", "mae", "mse", "r2", "neg_root_mean_squared_error", "median_absolute_error"]
FAST = {"roc_auc", "log_loss", "neg_log_loss", "accuracy", "brier_score", "logloss", "rmse", "mae", "mse",
        "neg_root_mean_squared_error"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes"), [(n, 2) for n in TWO] + [(n, 3) for n in MORE] + [(n, 0) for n in NUMBERS]
)
def test_a_metric_under_weights_is_that_of_the_rows_drawn(name: str, classes: int) -> None:
    dice = np.random.default_rng(5)
    drawn = dice.integers(0, 120, (3, 120))
    weights = np.stack([np.bincount(draw, minlength=120) for draw in drawn]).astype(float)
    wanted: Metric = metric(name)
    target: np.ndarray

    def predicted(rows: Any) -> PredictedClasses | PredictedNumbers:
        return PredictedClasses(labels[rows], chances[rows], classes) if classes else PredictedNumbers(numbers[rows])

    if classes:
        target = dice.integers(0, classes, 120)
        chances = dice.dirichlet(np.ones(classes), 120).astype(np.float32)
        labels = chances.argmax(axis=1)
    else:
        target = dice.normal(size=120)
        numbers = target + dice.normal(size=120)
    made, slow = statistic_of(wanted, predicted(slice(None)), target)
    assert slow is (name not in FAST)
    expected = [score((wanted,), predicted(draw), target[draw])[name] for draw in drawn]
    np.testing.assert_allclose(made(weights), expected, rtol=1e-5)


@dataclass
class Shown:
    """A model whose skill is a number: truth and noise in its probabilities."""

    target: np.ndarray
    skill: float
    classes: Sequence[Any] = (0, 1)
    spoiled: Any = None
    seed: int = 0

    def predict(self, frame: pd.DataFrame, params: Any = None) -> Any:
        noise = np.random.default_rng(self.seed).normal(size=len(self.target))
        margin = self.skill * (2 * self.target - 1) + noise
        if self.spoiled is not None:
            margin = np.where(self.spoiled, -margin, margin)
        chance = (1 / (1 + np.exp(-margin)))[: len(frame)]
        if (params or {}).get("output") == "probability":
            return pd.DataFrame({self.classes[0]: 1 - chance, self.classes[1]: chance})
        return np.array(self.classes)[(chance > 0.5).astype(int)]


@dataclass
class Table:
    sweep: Sweep
    dataset: Dataset
    frame: pd.DataFrame
    target: np.ndarray
    folder: Path

    def evidence(self, mine: Shown, theirs: Shown | None = None, **rules: Any) -> Any:
        return gather(replace(self.sweep, promote=Promote(**rules)), self.dataset, mine, self.folder, theirs)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("table")
    sweep, dataset = bundled("flights", folder, 4000, metrics=("roc_auc", "log_loss"))
    frame, target = holdout_frame(dataset)
    (folder / "model").mkdir()
    (folder / "model" / "model.ubj").write_bytes(b"x" * 1000)
    return Table(sweep, dataset, frame, target, folder / "model")


def test_both_are_scored_on_the_same_rows(table: Table) -> None:
    strong, weak = Shown(table.target, 1.0), Shown(table.target, 0.3, seed=1)
    found = table.evidence(strong, weak)
    assert (found.rows, found.method) == (len(table.target), "DeLong's test")
    assert found.challenger.value == pytest.approx(found.scores["roc_auc"])
    assert found.champion.value == pytest.approx(found.champion_scores["roc_auc"])
    assert 0 < found.gain.low < found.gain.value == pytest.approx(found.challenger.value - found.champion.value)
    turned = table.evidence(weak, strong)
    assert turned.gain.high == pytest.approx(-found.gain.low)
    same = table.evidence(strong, strong)
    assert (same.gain.low, same.gain.high) == (0.0, 0.0)
    assert table.evidence(strong).gain is None


def test_a_loss_gains_by_falling(table: Table) -> None:
    loss = replace(table, sweep=replace(table.sweep, metrics=(metric("log_loss"),)))
    found = loss.evidence(Shown(table.target, 1.0), Shown(table.target, 0.3))
    assert found.challenger.value < found.champion.value
    assert 0 < found.gain.low < found.gain.value < found.gain.high
    assert found.method == f"paired bootstrap of {len(table.target)} rows"


def test_grouped_folds_draw_groups_and_ordered_ones_stretches(table: Table) -> None:
    mine, theirs = Shown(table.target, 1.0), Shown(table.target, 0.9, seed=1)
    plain = table.evidence(mine, theirs)
    for how, said in ((Validation(3, groups="date"), "values of date"), (Validation(3, time="date"), "of time")):
        found = replace(table, sweep=replace(table.sweep, validation=how)).evidence(mine, theirs)
        assert said in found.method
        assert found.gain.value == pytest.approx(plain.gain.value)


def test_gates_of_the_challenger_alone(table: Table) -> None:
    mine = Shown(table.target, 1.0)
    found = table.evidence(mine, floor=0.99, size=999, latency=60.0, missing=0.0, unseen=0.0)
    gates = {gate.kind: gate for gate in found.gates}
    assert set(gates) == {"floor", "size", "latency", "missing", "unseen"}
    assert not gates["floor"].passed
    assert (gates["size"].value, gates["size"].passed) == (1000.0, False)
    assert gates["latency"].passed
    assert gates["missing"].value == pytest.approx(table.frame.isna().mean().max())
    assert table.evidence(mine, floor=0.5, size=1000).gates[0].passed
    loss = replace(table, sweep=replace(table.sweep, metrics=(metric("log_loss"),)))
    assert loss.evidence(mine, floor=9.0).gates[0].passed
    assert not loss.evidence(mine, floor=0.0).gates[0].passed


def test_a_category_that_training_has_not_seen(table: Table) -> None:
    columns = tuple(
        replace(c, categories=c.categories[:1]) if c.name == "carrier" else c for c in table.dataset.columns
    )
    narrowed = replace(table, dataset=replace(table.dataset, columns=columns))
    [gate] = narrowed.evidence(Shown(table.target, 1.0), unseen=0.5).gates
    assert "carrier" in gate.about
    assert gate.value == pytest.approx(float((table.frame["carrier"] != first(columns)).mean()))
    assert not gate.passed


def first(columns: Sequence[Any]) -> str:
    return str(next(c.categories[0] for c in columns if c.name == "carrier"))


def test_another_metric_must_not_get_worse(table: Table) -> None:
    strong, weak = Shown(table.target, 1.0), Shown(table.target, 0.3, seed=1)
    [gate] = table.evidence(strong, weak, metrics={"log_loss": 0.01}).gates
    assert gate.passed
    [gate] = table.evidence(weak, strong, metrics={"log_loss": 0.01}).gates
    assert not gate.passed
    assert "tolerated -0.01" in str(gate)
    [gate] = table.evidence(weak, strong, metrics={"log_loss": 5.0}).gates
    assert gate.passed


def test_a_slice_that_is_shown_to_be_worse(table: Table) -> None:
    """Better on the whole, and turned upside down for one airline."""
    airline = table.frame["carrier"].value_counts().index[1]
    spoiled = (table.frame["carrier"] == airline).to_numpy()
    mine = Shown(table.target, 1.5, spoiled=spoiled)
    found = table.evidence(mine, Shown(table.target, 0.3, seed=1), slices=(Slice("carrier", rows=50),))
    assert [gate.name for gate in found.gates if not gate.passed] == [f"carrier = {airline}"]
    assert len(found.gates) > 2
    equal = table.evidence(Shown(table.target, 1.0), Shown(table.target, 1.0, seed=1), slices=(Slice("carrier"),))
    assert all(gate.passed for gate in equal.gates)


def test_slices_of_numbers_are_quarters() -> None:
    parts = slices_of(pd.Series(np.arange(100.0)), "age")
    assert [len(rows) for _, rows in parts] == [25] * 4
    assert [name for name, _ in slices_of(pd.Series(["a", "b", "b", None]), "kind")] == ["kind = b", "kind = a"]


def test_other_classes_cannot_be_compared(table: Table) -> None:
    with pytest.raises(UnlikeError, match="it knows the classes"):
        ask(table.sweep, table.dataset, Shown(table.target, 1.0, classes=(0, 7)), table.frame)


def test_probabilities_are_read_by_their_class(table: Table) -> None:
    """A champion that lists its classes the other way round is no worse for it."""

    class Turned(Shown):
        def predict(self, frame: pd.DataFrame, params: Any = None) -> Any:
            found = super().predict(frame, params)
            return found[found.columns[::-1]] if isinstance(found, pd.DataFrame) else found

    found = table.evidence(Shown(table.target, 1.0), Turned(table.target, 1.0))
    assert found.gain.value == 0.0


def test_latency_is_the_median_of_single_rows() -> None:
    ticks = iter(range(10**6))
    frame = pd.DataFrame({"x": [1, 2]})
    asked: list[int] = []

    class Model:
        def predict(self, rows: pd.DataFrame, params: Any = None) -> Any:
            asked.append(len(rows))

    assert latency(Model(), frame, clock=lambda: float(next(ticks))) == 1.0
    assert set(asked) == {1}
