"""What a file may not say although its shape is right: each rule, its place and its hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.errors import InputError
from hpo.searchers import hyperopt, optuna, pruning
from hpo.space import Choice, Float, Int, Parameter
from hpo.sweep import Named, describe
from hpo.sweepfile import rules, shape

MODEL: dict[str, Any] = {
    "name": "a", "data": {"path": "p.csv", "target": "t"}, "model": "a.B", "metric": "roc_auc",
    "space": {"x": {"float": [0, 1]}, "k": {"choice": ["a", "b", 1]}, "n": {"int": [1, 5]}},
}  # fmt: skip
FUNCTION: dict[str, Any] = {"name": "a", "objective": "a:b", "metric": "rmse", "space": {"x": {"float": [0, 1]}}}


def breaches(document: dict[str, Any], **changes: Any) -> list[tuple[str, str, str]]:
    file, errors = shape.read({**document, **changes})
    assert not errors
    return [(".".join(map(str, b.loc)), b.message, b.hint) for b in rules.check(file, ())]


def test_right_files_break_no_rule() -> None:
    assert not breaches(MODEL)
    assert not breaches(FUNCTION)


def with_parameter(**parameter: Any) -> dict[str, Any]:
    return {**MODEL["space"], "new": parameter}


@pytest.mark.parametrize(
    ("parameter", "place", "message"),
    [
        ({"float": [2, 1]}, "space.new.float", "low 2.0 is above high 1.0"),
        ({"int": [2, 1]}, "space.new.int", "low 2 is above high 1"),
        ({"float": [0, 1], "log": True}, "space.new.float", "log scale needs low above 0"),
        ({"int": [0, 1], "log": True}, "space.new.int", "log scale needs low above 0"),
        ({"float": [1, 9], "log": True, "step": 1.0}, "space.new.step", "log and step exclude each other"),
        ({"int": [1, 9], "log": True, "step": 2}, "space.new.step", "log and step exclude each other"),
        ({"float": [0, 1], "step": 2.0}, "space.new.step", "larger than the range"),
        ({"int": [0, 3], "step": 4}, "space.new.step", "larger than the range"),
        ({"float": [0, 1], "step": 1e-300}, "space.new.step", "too small"),
        ({"float": [-1.7e308, 1.7e308]}, "space.new.float", "too wide"),
        ({"choice": ["a", "b", "a"]}, "space.new.choice.2", "'a' is there twice"),
        ({"choice": [1, True]}, "space.new.choice.1", "true is there twice"),
        ({"choice": [0.0, 0]}, "space.new.choice.1", "0 is there twice"),
        ({"float": [0, 1], "when": {"kk": 1}}, "space.new.when.kk", "not in the space"),
        ({"float": [0, 1], "when": {"new": 1}}, "space.new.when.new", "cannot depend on itself"),
        ({"float": [0, 1], "when": {"x": 1}}, "space.new.when.x", "is a float"),
        ({"float": [0, 1], "when": {"k": "c"}}, "space.new.when.k", "can never be active"),
        ({"float": [0, 1], "when": {"k": True}}, "space.new.when.k", "can never be active"),
        ({"float": [0, 1], "when": {"n": [1, 6]}}, "space.new.when.n", "6 is outside [1, 5]"),
    ],
)
def test_parameters(parameter: dict[str, Any], place: str, message: str) -> None:
    [(where, said, _)] = breaches(MODEL, space=with_parameter(**parameter))
    assert where == place
    assert message in said


@pytest.mark.parametrize(
    "parameter",
    [
        {"float": [1, 1]}, {"int": [3, 3]}, {"int": [0, 3], "step": 2}, {"int": [1, 3], "log": True, "step": 1},
        {"choice": [None, True, "a", 0]}, {"choice": ["1", 1]}, {"float": [0, 1], "step": 0.3},
        {"float": [0, 1], "when": {"k": ["a", 1], "n": 5}},
    ],
)  # fmt: skip
def test_right_parameters(parameter: dict[str, Any]) -> None:
    assert not breaches(MODEL, space=with_parameter(**parameter))


def test_cycles_are_named_once() -> None:
    one = {"choice": [1]}
    space = {"a": {**one, "when": {"b": 1}}, "b": {**one, "when": {"c": 1}}, "c": {**one, "when": {"a": 1}}}
    space["hanging"] = {**one, "when": {"a": 1}}
    assert [said for _, said, _ in breaches(MODEL, space=space)] == ["conditions form a cycle: a -> b -> c -> a"]


def test_500_parameters_that_depend_on_each_other_are_quick() -> None:
    space: dict[str, Any] = {"p0": {"choice": [1]}}
    for i in range(1, 500):
        space[f"p{i}"] = {"choice": [1], "when": {f"p{j}": 1 for j in range(max(0, i - 5), i)}}
    assert not breaches(MODEL, space=space)


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"fixed": {"x": 1}}, "fixed.x", "both fixed and in the space"),
        ({"objective": "a:b"}, "objective", "exclude each other"),
        ({"model": None}, "", "neither a model nor an objective"),
        ({"data": None}, "model", "needs data"),
        ({"metric": "roc_auk"}, "metric.0", "not known"),
        ({"metric": {"name": "roc_auc", "direction": "minimize"}}, "metric.0.direction", "is to maximize"),
        ({"metric": ["roc_auc", "roc_auc"]}, "metric.1", "twice"),
        ({"metrics": ["roc_auc"]}, "metrics.0", "twice"),
        ({"metrics": ["rmse"]}, "metrics.0", "for regression, not for binary"),
        ({"data": {**MODEL["data"], "task": "multiclass"}}, "metric.0", "for binary, not for multiclass"),
        ({"data": {**MODEL["data"], "drop": ["t"]}}, "data.drop.0", "is the target"),
        ({"data": {**MODEL["data"], "categorical": ["t"]}}, "data.categorical.0", "is the target"),
        ({"data": {**MODEL["data"], "drop": ["c"], "categorical": ["c"]}}, "data.categorical.0", "dropped"),
        ({"validation": {"groups": "t"}}, "validation.groups", "is the target"),
        ({"validation": {"groups": "g", "time": "d"}}, "validation.time", "exclude each other"),
        ({"search": {"sampler": "anneal"}}, "search.sampler", "optuna has no sampler 'anneal'"),
        ({"search": {"engine": "hyperopt", "sampler": "gp"}}, "search.sampler", "hyperopt has no sampler"),
        ({"search": {"engine": "random", "sampler": "tpe"}}, "search.sampler", "random has no sampler"),
        ({"search": {"enqueue": [{"xx": 1}]}}, "search.enqueue.0.xx", "not in the space"),
        ({"search": {"enqueue": [{}, {"x": 1e9}]}}, "search.enqueue.1.x", "outside"),
        ({"search": {"pruner": "medium"}}, "search.pruner", "no pruner 'medium'"),
        ({"search": {"sampler": "grid"}}, "space.x", "finite space"),
        ({"search": {"sampler": "brute_force"}}, "space.x", "finite space"),
        ({"metric": ["roc_auc", "f1"], "search": {"engine": "hyperopt"}}, "search.engine", "engine optuna"),
        ({"metric": ["roc_auc", "f1"], "search": {"sampler": "gp"}}, "search.sampler", "one metric only"),
        ({"metric": ["roc_auc", "f1"], "search": {"pruner": "median"}}, "search.pruner", "cannot be pruned"),
        ({"promote": {"alias": "Latest"}}, "promote.alias", "reserved"),
        ({"promote": {"alias": "v12"}}, "promote.alias", "reserved"),
        ({"promote": {"alias": "challenger"}}, "promote.alias", "not promoted"),
        ({"promote": {"metrics": {"log_los": 0.1}}}, "promote.metrics.log_los", "not a metric of this sweep"),
        ({"promote": {"when_unscorable": "floor"}}, "promote.when_unscorable", "there is no floor"),
    ],
)
def test_the_parts_fit_together(changes: dict[str, Any], place: str, message: str) -> None:
    [(where, said, _)] = breaches(MODEL, **changes)
    assert where == place
    assert message in said


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"metric": "roc_auk"}, "did you mean 'roc_auc'?"),
        ({"search": {"sampler": "tpee"}}, "did you mean 'tpe'?"),
        ({"search": {"pruner": "hyperbend"}}, "did you mean 'hyperband'?"),
        ({"space": with_parameter(choice=[1], when={"kk": "a"})}, "did you mean 'k'?"),
        ({"space": with_parameter(float=[3, 1])}, "did you mean [1.0, 3.0]?"),
    ],
)
def test_hints(changes: dict[str, Any], hint: str) -> None:
    assert breaches(MODEL, **changes)[0][2] == hint


def test_a_function_says_what_its_metric_means() -> None:
    [(where, said, hint)] = breaches(FUNCTION, metric="my_loss")
    assert (where, said) == ("metric.0", "the metric my_loss needs a direction")
    assert hint == "{name: my_loss, direction: maximize}, or minimize"
    assert not breaches(FUNCTION, metric={"name": "my_loss", "direction": "minimize"})
    assert [where for where, *_ in breaches(FUNCTION, validation={"folds": 3}, metrics=["r2"])] == [
        "validation",
        "metrics",
    ]


def test_silent_about_what_the_shape_refused() -> None:
    file, _ = shape.read(
        {**MODEL, "model": 3, "metric": {}, "space": {**with_parameter(int=[1, 2], when={"bad": 1}), "bad": 3}}
    )
    assert not list(rules.check(file, {"model", "metric", "space", "bad"}))


@pytest.mark.parametrize(
    "parameter",
    [
        Float("x", 0.0, 1.0), Float("x", 1e-5, 1e300, log=True), Float("x", 0.0, 1.0, step=0.25), Int("x", -3, 9),
        Int("x", 1, 2**53, log=True), Int("x", 0, 10, step=5), Choice("x", (None, True, 1.5, "a")),
        Choice("x", (1,), {"p": (1, "a")}), Float("x", 0.0, 1.0, when={"p": (None,), "q": (2,)}),
    ],
)  # fmt: skip
def test_describe_is_the_inverse_of_reading(parameter: Parameter) -> None:
    file, errors = shape.read({**FUNCTION, "space": {"x": describe(parameter)}})
    assert not errors
    assert rules.space(file)["x"] == parameter


def test_the_engines_know_these_names() -> None:
    assert set(rules.SAMPLERS["optuna"]) == {"auto", *optuna._KINDS}
    assert set(rules.SAMPLERS["hyperopt"]) == set(hyperopt._ALGORITHMS)
    assert {*rules.PRUNERS} - {"none"} == set(pruning._RULES)


def test_the_engines_own_sampler_is_filled_in() -> None:
    def search(**keys: Any) -> Any:
        return rules.search(shape.read({**FUNCTION, "search": keys})[0])

    assert search() == search(sampler="auto") == search(sampler={"name": "auto"})
    assert search(engine="hyperopt").sampler == Named("tpe")
    assert search(engine="random").sampler is None
    assert search(pruner="median").pruner == Named("median")


@pytest.mark.parametrize(
    ("executor", "says"),
    [
        ({"engine": "dask", "cluster": "tcp://10.0.0.1:8786"}, "is not encrypted"),
        ({"engine": "dask", "cluster": "http://10.0.0.1:8786"}, "dask knows no address like"),
        ({"engine": "dask", "cluster": "tls://me:secret@host:1"}, "executor.cluster"),
        ({"cluster": "tls://scheduler:8786"}, "cluster has no meaning on one machine"),
        ({"store": "shared"}, "store has no meaning on one machine"),
        ({"engine": "dask", "cluster": "auto"}, "dask finds no cluster by itself"),
        ({"engine": "ray", "cluster": "10.0.0.1:6379"}, "executor.cluster"),
        ({"engine": "ray", "cluster": "ssh"}, "ray knows no cluster like"),
        ({"engine": "ray", "cluster": "ray://head"}, "ray knows no cluster like"),
        ({"engine": "ray", "cluster": "tls://head:1"}, "ray knows no cluster like"),
        ({"engine": "ray", "options": {"num_cpus": 4}}, "options are for a class of Dask's"),
    ],
)
def test_a_cluster_that_cannot_be_or_should_not_be_is_refused(executor: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refused:
        hpo.build(
            name="x",
            objective=lambda params, trial: 1.0,
            metric={"name": "loss", "direction": "minimize"},
            space={"x": {"float": [0, 1]}},
            executor=executor,
        )
    assert says in str(refused.value)


def test_a_cluster_class_comes_from_a_library_that_is_trusted(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    text = "name: x\nmodel: sklearn.dummy.DummyClassifier\ndata: {path: t.csv, target: y}\nmetric: accuracy\n"
    (tmp_path / "t.csv").write_text("a,y\n1,2\n", encoding="utf-8")
    file.write_text(text + "space: {strategy: {choice: [prior, uniform]}}\nexecutor: {engine: dask}\n")
    given = "executor.cluster=distributed.LocalCluster"
    assert hpo.load(file, [given]).executor.cluster == "distributed.LocalCluster"
    with pytest.raises(InputError, match="--allow-import psutil"):
        hpo.load(file, ["executor.cluster=psutil.Popen"])
