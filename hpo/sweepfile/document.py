"""YAML text to plain data that remembers where each value stood.

Called by `hpo.load` only. A sweep file is data: what YAML offers beyond that (anchors, aliases, tags, merge
keys, several documents) is refused, so that no file can grow when it is read or mean something else than it
shows. Built on the parser's events with the core schema of YAML 1.2: `1e-5` is a number, `no` is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hpo.errors import InputError, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 20_000  # half a second of reading
Loc = tuple[str | int, ...]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|(false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, None, bool, int, float, str), its text, and where each key and value stands."""

    data: dict[str, Any]
    name: str
    text: str = ""
    positions: Mapping[Loc, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, name: str) -> Document:
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(Problem(f"cannot be read: {error.strerror or error}", name)) from error
        if len(raw) > MAX_BYTES:
            raise InputError(Problem(f"is larger than {MAX_BYTES:,} bytes", name))
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = raw[: error.start].decode("utf-8-sig")
            raise InputError(Problem("is not UTF-8", _place(name, before))) from error
        return cls.parse(text, name)

    @classmethod
    def parse(cls, text: str, name: str) -> Document:
        """Every problem of the text at once; a syntax error ends the reading."""
        builder = _Builder(name)
        data = builder.read(text)
        if not builder.problems and not isinstance(data, dict):
            what = "is empty" if data is None else "must be a mapping of keys to values"
            builder.problems.append(Problem(what, f"{name}:1:1"))
        if builder.problems:
            raise InputError(*builder.problems)
        return cls(data, name, text, builder.positions)

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """ "file:line:column" of the value (or its key) at `loc`; parts that lead nowhere are skipped.

        Without positions (a document from Python) the dotted path.
        """
        path: Loc = ()
        node: Any = self.data
        for part in loc:
            inside = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
            if part in inside:
                node, path = node[part], (*path, part)
        if not self.positions:
            return ".".join(map(str, path))
        whole = path
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path][0 if key and path == whole else 1]

    def written(self, loc: Loc) -> str | None:
        """Where the value at `loc` stands in the file itself; None if it does not, or a person has set it."""
        place = self.positions.get(loc, ("", ""))[1]
        return place if place.startswith(f"{self.name}:") else None

    def override(self, *settings: str) -> Document:
        """A copy with each "dotted.key=value" set; the value is YAML: `20`, `[1, 2]`, `{int: [1, 9]}`."""
        data = deepcopy(self.data)
        positions = dict(self.positions)
        problems: list[Problem] = []
        for setting in settings:
            try:
                _set(data, positions, setting)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(*problems)
        return Document(data, self.name, self.text, positions)


def _set(data: dict[str, Any], positions: dict[Loc, tuple[str, str]], setting: str) -> None:
    key, equals, text = setting.partition("=")
    where = f"--set {setting[:200]}"
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise InputError(Problem("is not of the form key=value", where, "for example search.trials=20"))
    builder = _Builder(where, fixed_place=True)
    value = builder.read(text)
    if builder.problems:
        raise InputError(*builder.problems)
    node = data
    for depth, part in enumerate(path[:-1], 1):
        if node.get(part) is None:
            node[part] = {}
            positions[path[:depth]] = (where, where)
        node = node[part]
        if not isinstance(node, dict):
            raise InputError(Problem(f"{'.'.join(path[:depth])} is not a mapping", where))
    node[path[-1]] = value
    for loc in [loc for loc in positions if loc[: len(path)] == path]:
        del positions[loc]
    positions.setdefault((), (where, where))
    positions[path] = (where, where)


class _Builder:
    """Turns parser events into data; notes positions and problems on the way."""

    def __init__(self, name: str, *, fixed_place: bool = False) -> None:
        self.name = name
        self.fixed_place = fixed_place
        self.positions: dict[Loc, tuple[str, str]] = {}
        self.problems: list[Problem] = []
        self._nodes = 0

    def read(self, text: str) -> Any:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            return self._documents(iter(YAML(typ="safe", pure=True).parse(text)))
        except InputError as error:
            self.problems += error.problems
        except ReaderError as error:
            at = self.name if self.fixed_place else _place(self.name, text[: error.position])
            self.problems.append(Problem(f"the character U+{_code(error.character):04X} is not allowed", at))
        except MarkedYAMLError as error:
            context = " ".join(filter(None, (error.context, error.problem)))
            at = self._at(error.problem_mark or error.context_mark)
            self.problems.append(Problem(f"is not YAML: {context}", at))
        except (YAMLError, ValueError, OverflowError) as error:  # "\U99999999" reaches chr() in ruamel
            self.problems.append(Problem(f"is not YAML: {error}", self.name))
        return None

    def _documents(self, events: Iterator[Any]) -> Any:
        from ruamel.yaml import events as e

        data = None
        documents = 0
        for event in events:
            if isinstance(event, e.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop("a second document starts here; a file holds one sweep", event)
            elif not isinstance(event, (e.StreamStartEvent, e.StreamEndEvent, e.DocumentEndEvent)):
                data = self._node(event, events, ())
        return data

    def _node(self, event: Any, events: Iterator[Any], loc: Loc) -> Any:
        from ruamel.yaml import events as e

        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(f"more than {MAX_NODES:,} keys and values", event)
        here = self._at(event.start_mark)
        self.positions[loc] = (self.positions[loc][0] if loc in self.positions else here, here)
        if isinstance(event, e.AliasEvent):
            return self._refuse(f"the alias *{event.anchor} is not allowed: write the value out", event)
        if event.anchor is not None:
            self._refuse(f"the anchor &{event.anchor} is not allowed: write the value out", event)
        if event.tag is not None:
            self._refuse(f"the tag {event.tag} is not allowed: a sweep file is plain data", event)
        if isinstance(event, e.ScalarEvent):
            return self._scalar(event)
        if len(loc) >= MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", event)
        if isinstance(event, e.SequenceStartEvent):
            items = _until(events, e.SequenceEndEvent)
            return [self._node(item, events, (*loc, i)) for i, item in enumerate(items)]
        return self._mapping(events, loc)

    def _mapping(self, events: Iterator[Any], loc: Loc) -> dict[str, Any]:
        from ruamel.yaml import events as e

        found: dict[str, Any] = {}
        for event in _until(events, e.MappingEndEvent):
            if not isinstance(event, e.ScalarEvent):
                self._node(event, events, (*loc, "?"))
                self._node(next(events), events, (*loc, "?"))
                self._refuse("a key must be text", event)
                continue
            key = self._node(event, events, (*loc, event.value))
            if event.value == "<<" and event.implicit[0]:
                self._refuse("the merge key << is not allowed: write the values out", event)
            elif not isinstance(key, str):
                self._refuse(f"the key {event.value!r} must be text: put it in quotes", event)
            elif key in found:
                self._refuse(f"the key {key!r} is there twice", event)
            found[event.value] = self._node(next(events), events, (*loc, event.value))
        return found

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if any(ch == "\0" or "\ud800" <= ch <= "\udfff" for ch in text):
            return self._refuse("the text holds a NUL or half a surrogate pair", event)
        if not event.implicit[0]:
            return text
        try:
            return _plain(text)
        except OverflowError:
            return self._refuse(f"the number {text[:40]} is too large", event)

    def _refuse(self, message: str, event: Any) -> None:
        self.problems.append(Problem(message, self._at(event.start_mark)))

    def _stop(self, message: str, event: Any) -> NoReturn:
        raise InputError(Problem(message, self._at(event.start_mark)))

    def _at(self, mark: Any) -> str:
        if self.fixed_place or mark is None:
            return self.name
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}"


def _until(events: Iterator[Any], end: type) -> Iterator[Any]:
    """The events that start a child, up to the end of the parent; the caller takes what is inside a child."""
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _plain(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2 (section 10.3.2)."""
    if _NULL.fullmatch(text):
        return None
    if match := _BOOL.fullmatch(text):
        return not match[1]
    if _INT.fullmatch(text):
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 40 else 2**63
        if not -(2**63) <= number < 2**63:
            raise OverflowError
        return number
    if match := _NOT_FINITE.fullmatch(text):
        return math.nan if not match[2] else -math.inf if match[1] == "-" else math.inf
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise OverflowError
        return value
    return text


def _place(name: str, before: str) -> str:
    return f"{name}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _code(character: str | int) -> int:
    return character if isinstance(character, int) else ord(character)
