"""The shape: validation and JSON Schema accept the same documents, and what they make of the shorthands."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hpo.sweep import Limits, Named, Promote, Search, Slice
from hpo.sweepfile import shape
from hpo.sweepfile.document import Document

ROOT = Path(__file__).parents[2]
BUNDLED = {file.stem: Document.read(file, file.name).data for file in (ROOT / "search_spaces").glob("*.yaml")}
SMALL: dict[str, Any] = {"name": "a", "metric": "rmse", "space": {"x": {"float": [0, 1]}}}
SCHEMA = shape.json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PIECES: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 1.0, 1e3, 10**6, 2**53 + 2, "", "x", "30m", "0s", "1h1h", "4G", "tpe", "a/b",
    "a.b:c", [], [1], [1, 2], [0.5, "a"], [[1], 2], {}, {"name": "tpe"}, {"name": 3},
    {"name": "r", "direction": "minimize"},
    {"float": [0, 1]}, {"float": [0, 1], "int": [1, 2]}, {"int": [1.0, 2]}, {"int": [1.5, 2]},
    {"choice": [None, 1, "a"]}, {"choice": [[1]]}, {"int": [1, 2], "step": 0},
    {"float": [0, 1], "when": {"a": [1, "b"], "c": None}},
    {"float": [0, 1], "when": {"a": []}}, {"float": [0, 1], "when": {"a": {}}}, {"path": "p", "target": "t"},
]  # fmt: skip
KEYS = [
    "name",
    "space",
    "x y",
    "log",
    "step",
    "when",
    "float",
    "trials",
    "holdout",
    "<float>",
    "",
    "0",
    "memory",
    "$ref",
]


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A bundled document with a few changes anywhere."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from([SMALL, *BUNDLED.values()])))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(places(document)))
        node: Any = document
        for part in place[:-1]:
            node = node[part]
        piece = draw(
            st.sampled_from(PIECES) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63)
        )
        target = node[place[-1]] if place else node
        action = draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "add" and isinstance(target, dict):
            target[draw(st.sampled_from(KEYS))] = copy.deepcopy(piece)
        elif action == "add" and isinstance(target, list):
            target.append(copy.deepcopy(piece))
        elif place and action == "delete":
            del node[place[-1]]
        elif place:
            node[place[-1]] = copy.deepcopy(piece)
    return document


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_bundled_spaces_fit(name: str) -> None:
    assert not list(VALIDATOR.iter_errors(BUNDLED[name]))
    assert not shape.read(BUNDLED[name])[1]


@settings(max_examples=400, deadline=None)
@given(documents())
def test_schema_and_validation_accept_the_same(document: dict[str, Any]) -> None:
    """Only the size of a text like "1K" is beyond a pattern, and none of the pieces is one."""
    errors = shape.read(document)[1]
    said = [error.message for error in VALIDATOR.iter_errors(document)]
    assert bool(errors) == bool(said), (document, errors, said)


@pytest.mark.parametrize("piece", PIECES, ids=repr)
@pytest.mark.parametrize("key", sorted(shape.File.model_fields))
def test_every_section_with_every_piece(key: str, piece: Any) -> None:
    document = {**SMALL, key: piece}
    assert VALIDATOR.is_valid(document) == (not shape.read(document)[1])


@pytest.mark.parametrize("name", ["x y", "9x", "<float>", "", "x-y", "ß", "x" * 201, "a.b"])
def test_names_that_are_none(name: str) -> None:
    for document in ({**SMALL, "space": {name: {"int": [1, 2]}}}, {**SMALL, "fixed": {name: 1}}):
        assert shape.read(document)[1]
        assert not VALIDATOR.is_valid(document)


def test_every_key_is_described() -> None:
    bare: list[str] = []

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, child in node.get("properties", {}).items():
                if "description" not in child:
                    bare.append(f"{path}.{name}")
            for name, child in node.items():
                visit(child, f"{path}.{name}")

    visit(SCHEMA, "")
    assert not bare


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1d1s", 86401), ("1.5h", 5400), ("0.5s", 0.5), (12, 12), (0.5, 0.5)],
)
def test_times(text: object, seconds: float) -> None:
    file, errors = shape.read({**SMALL, "search": {"timeout": text}, "limits": {"trial_timeout": text}})
    assert not errors
    assert (file.search.timeout, file.limits.trial_timeout) == (seconds, seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "0h0m", "m", "30", "1m1h", "-1s", "1.h", ".5s", "0.0s", "1 h", "30m ", "9" * 400 + "d", "400d"]
)
def test_no_times(text: str) -> None:
    assert shape.read({**SMALL, "search": {"timeout": text}})[1]


@pytest.mark.parametrize(
    ("text", "size"), [("64M", 2**26), ("4G", 2**32), ("1.5G", 3 * 2**29), ("1T", 2**40), (2**26, 2**26)]
)
def test_sizes(text: object, size: int) -> None:
    file, errors = shape.read({**SMALL, "limits": {"memory": text}})
    assert not errors
    assert file.limits.memory == size
    assert type(file.limits.memory) is int


@pytest.mark.parametrize("text", ["1K", "63M", "4", "4GB", "", "-4G", "9999999T", 1.5])
def test_no_sizes(text: object) -> None:
    assert shape.read({**SMALL, "limits": {"memory": text}})[1]


def test_shorthands_are_what_they_stand_for() -> None:
    file, errors = shape.read({
        **SMALL, "metric": "auc", "metrics": [{"name": "x", "direction": "minimize"}],
        "search": {"sampler": {"name": "tpe", "n_startup_trials": 5}, "pruner": "median", "trials": 1e3},
        "space": {"x": {"int": [1.0, 1e2], "when": {"y": 1, "z": ["a", None]}}}, "promote": False,
    })  # fmt: skip
    assert not errors
    assert file.search == Search(sampler=Named("tpe", {"n_startup_trials": 5}), pruner=Named("median"), trials=1000)
    assert type(file.search.trials) is int
    assert [m.name for m in file.metric] == ["auc"]
    assert file.promote is None
    parameter = file.space["x"]
    assert isinstance(parameter, shape.IntForm)
    assert parameter.range == [1, 100]
    assert parameter.when == {"y": [1], "z": ["a", None]}
    assert file.limits == Limits()


def test_gates_are_written_shortly_or_in_full() -> None:
    file, errors = shape.read({
        **SMALL, "promote": {"floor": 0.7, "metrics": {"log_loss": 0.01}, "size": "20M", "latency": 0.01,
                             "slices": ["carrier", {"by": "origin", "tolerance": 0.02, "rows": 50}]},
    })  # fmt: skip
    assert not errors
    assert file.promote == Promote(
        floor=0.7, metrics={"log_loss": 0.01}, size=20 * 2**20, latency=0.01,
        slices=(Slice("carrier"), Slice("origin", 0.02, 50)),
    )  # fmt: skip
    one = shape.read({**SMALL, "promote": {"slices": "carrier"}})[0].promote
    assert one == Promote(slices=(Slice("carrier"),))
    for wrong in ({"metrics": {"log_loss": 0}}, {"confidence": 1}, {"confidence": 0.4}, {"slices": [{"tolerance": 1}]}):
        assert shape.read({**SMALL, "promote": wrong})[1], wrong


def test_what_is_right_is_kept_beside_what_is_wrong() -> None:
    file, errors = shape.read({
        "name": "a/b", "metric": "rmse", "search": {"trials": 0}, "modell": 1, "promote": False,
        "space": {"x": {"float": [0, 1]}, "y": {"flot": [0, 1]}}, "validation": {"folds": 3},
    })  # fmt: skip
    assert {error["loc"][0] for error in errors} == {"name", "search", "modell", "space"}
    assert (list(file.space), file.validation.folds, file.promote, file.name) == (["x"], 3, None, "")
    assert file.search == Search()
