"""Text to data: YAML 1.2, places, refusals; nothing but a Document or an InputError, whatever the text."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import InputError
from hpo.sweepfile.document import MAX_BYTES, MAX_DEPTH, MAX_NODES, Document


def value_of(text: str) -> object:
    return Document.parse(f"key: {text}", "f.yaml").data["key"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1E3", 1000.0), (".5", 0.5), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("017", 17),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("True", True), ("false", False), ("~", None), ("", None),
        ("null", None), ("-.inf", -math.inf), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), ("12:30", "12:30"),
        ("'1'", "1"), ('"a\\tb"', "a\tb"), ("[1, [2], {a: b}]", [1, [2], {"a": "b"}]), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(value_of(".nan"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: &x 2", "f.yaml:2:4", "anchor &x"),
        ("a: 1\nb: *x", "f.yaml:2:4", "alias *x"),
        ("a: !!python/object:os.system x", "f.yaml:1:4", "tag"),
        ("a: {}\n<<: {b: 1}", "f.yaml:2:1", "merge key"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1", "'a' is there twice"),
        ("a: {b: 1, b: 2}", "f.yaml:1:11", "'b' is there twice"),
        ("1: a", "f.yaml:1:1", "must be text"),
        ("[a]: b", "f.yaml:1:1", "must be text"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1", "second document"),
        ("a: [1, 2", "f.yaml:1:9", "not YAML"),
        ("a: 1\n\tb: 2", "f.yaml:2:1", "not YAML"),
        ("a: 1\nb: \x00", "f.yaml:2:4", "U+0000"),
        ('a: "\\0"', "f.yaml:1:4", "NUL"),
        ('a: "\\ud800"', "f.yaml:1:4", "surrogate"),
        ("a: 99999999999999999999", "f.yaml:1:4", "too large"),
        (f"a: {'9' * 6000}", "f.yaml:1:4", "too large"),
        ("a: 1e999", "f.yaml:1:4", "too large"),
        ("", "f.yaml:1:1", "empty"),
        ("# nothing", "f.yaml:1:1", "empty"),
        ("- a", "f.yaml:1:1", "mapping"),
        ('a: "\\U99999999"', "f.yaml", "not YAML"),
    ],
)
def test_refused_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Document.parse(text, "f.yaml")
    assert caught.value.problems[0].where == place
    assert message in str(caught.value)


def test_all_refusals_of_a_text_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Document.parse("a: &x 1\nb: *x\na: !t 2\n", "f.yaml")
    assert [p.where for p in caught.value.problems] == ["f.yaml:1:4", "f.yaml:2:4", "f.yaml:3:1", "f.yaml:3:4"]


@pytest.mark.parametrize("opening", ["a: {", "- ", "[", "{a: [", "? "])
def test_depth_is_bounded(opening: str) -> None:
    begun = time.process_time()
    with pytest.raises(InputError):
        Document.parse(opening * 100_000, "f.yaml")
    assert time.process_time() - begun < 10  # a hang, on any machine
    assert value_of("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)) is not None


@pytest.mark.parametrize("text", ["a: [" + "0, " * MAX_NODES + "]", "".join(f"k{i}: 1\n" for i in range(MAX_NODES))])
def test_the_number_of_values_is_bounded(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(InputError, match="more than 20,000 keys and values"):
        Document.parse(text, "f.yaml")
    assert time.process_time() - begun < 10  # a hang, on any machine


def test_an_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(InputError, match="anchor"):
        Document.parse("\n".join(lines), "f.yaml")


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: \xc3\xa9\r\n")
    assert Document.read(file, "a.yaml").data == {"a": 1, "b": "é"}
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(InputError, match=r"a\.yaml:2:4: is not UTF-8"):
        Document.read(file, "a.yaml")
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="larger than"):
        Document.read(file, "a.yaml")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Document.read(tmp_path / "b.yaml", "b.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Document.read(tmp_path, "dir")


def test_where() -> None:
    document = Document.parse("a: 1\nspace:\n  x: {float: [0, 1]}\nm: roc\n", "f.yaml")
    assert document.where(("a",)) == "f.yaml:1:4"
    assert document.where(("a",), key=True) == "f.yaml:1:1"
    assert document.where(("space", "x", "<float>", "float", 1)) == "f.yaml:3:18"
    assert document.where(("space", "x", "missing"), key=True) == "f.yaml:3:3"
    assert document.where(("m", 0, "name")) == "f.yaml:4:4"
    assert document.where(()) == "f.yaml:1:1"
    assert Document({"a": {"b": 1}}, "python").where(("a", "b", "c")) == "a.b"


def test_override() -> None:
    document = Document.parse("a: {b: 1}\nc: 2\n", "f.yaml")
    changed = document.override("a.b=[1e-3, x]", "d.e.f={int: [1, 2]}", "c=", "a.g=a=b")
    assert changed.data == {
        "a": {"b": [1e-3, "x"], "g": "a=b"},
        "c": None,
        "d": {"e": {"f": {"int": [1, 2]}}},
    }
    assert document.data == {"a": {"b": 1}, "c": 2}
    assert changed.where(("d", "e", "f", "int", 0)) == "--set d.e.f={int: [1, 2]}"
    assert changed.where(("d", "e")) == "--set d.e.f={int: [1, 2]}"
    assert changed.where(("a", "b", 1)) == "--set a.b=[1e-3, x]"
    assert changed.where(("a",)) == "f.yaml:1:4"


def test_wrong_overrides_are_reported_together() -> None:
    with pytest.raises(InputError) as caught:
        Document.parse("a: 1", "f").override("a", "=1", "a..b=1", "a.b=1", "c=*x", "d=[", "e={f: 1, f: 2}")
    wrong = ["a", "=1", "a..b=1", "a.b=1", "c=*x", "d=[", "e={f: 1, f: 2}"]
    assert [p.where for p in caught.value.problems] == [f"--set {setting}" for setting in wrong]


@settings(deadline=None)
@given(st.text() | st.text(alphabet=" \n\t-:?,[]{}#&*!|>'\"%@`~<.0123456789abcdeExoru\\U", max_size=60))
def test_any_text_gives_plain_data_or_an_input_error(text: str) -> None:
    begun = time.process_time()
    try:
        document = Document.parse(text, "f.yaml")
    except InputError:
        pass
    else:
        _assert_plain(document.data)
        for loc in document.positions:
            assert document.where(loc).startswith("f.yaml:")
    assert time.process_time() - begun < 10  # a hang, on any machine


def _assert_plain(value: object) -> None:
    if type(value) is dict:
        for key, item in value.items():
            assert type(key) is str
            _assert_plain(item)
    elif type(value) is list:
        for item in value:
            _assert_plain(item)
    else:
        assert value is None or type(value) in (bool, int, float, str)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(raw)
    with suppress(InputError):
        _assert_plain(Document.read(file, "f.yaml").data)
