"""An error in a file's shape, in words: what stands there, what may stand there, what was probably meant.

Called by `hpo.loader` with what `hpo.sweepfile.shape` found. Allowed keys, values and ranges are read from the JSON
Schema, so that the words, the editor and the validation always say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpo.errors import Problem, did_you_mean
from hpo.sweepfile.document import Document, Loc

_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "bool_type": "true or false", "finite_number": "a finite number",
    "list_type": "a list", "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values", "model_attributes_type": "a mapping of keys to values",
}  # fmt: skip

_ALLOWED = {
    "name": "no slash, colon or control character, and no dot or space in front",
    "promote.model": "no slash, colon or control character, and no dot or space in front",
    "promote.alias": "letters, digits, - and _",
    "model": "a dotted path, such as xgboost.XGBClassifier",
    "objective": "package.module:function",
}


def explain(error: Mapping[str, Any], document: Document, schema: Mapping[str, Any]) -> Problem:
    """One validation error of pydantic as a Problem."""
    loc: Loc = tuple(error["loc"])
    kind: str = error["type"]
    path = ".".join(str(part) for part in loc if not str(part).startswith(("<", "[")))
    if kind == "extra_forbidden":
        keys = [key for node in _nodes(schema, loc[:-1]) for key in node.get("properties", ())]
        where = document.where(loc, key=True)
        return Problem(f"unknown key {loc[-1]!r}", where, did_you_mean(str(loc[-1]), dict.fromkeys(keys)))
    if kind == "missing":
        return Problem(f"{path} is missing", document.where(loc))
    nodes = list(_nodes(schema, loc))
    value = shorten(error["input"])
    where = document.where(loc)
    if "[key]" in loc:
        hint = "letters, digits and underscores, and no digit in front"
        return Problem(f"{value} is not a name", document.where(loc, key=True), hint)
    if kind == "literal_error":
        known = [str(choice) for node in nodes for choice in node.get("enum", ())]
        return Problem(f"{path}: {value} is not known", where, did_you_mean(str(error["input"]), known))
    if kind in _EXPECTED:
        return Problem(f"{path}: {value} is not {_EXPECTED[kind]}", where, _range(nodes))
    if kind == "text":
        return Problem(f"{path}: {value} is not {error['ctx']['expected']}", where)
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return Problem(f"{path}: {value} is out of range", where, _range(nodes))
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        limit = error["ctx"].get("min_length", error["ctx"].get("max_length"))
        least = "at least" if "min_length" in error["ctx"] else "at most"
        what = "character" if kind.startswith("string") else "item"
        return Problem(f"{path} must have {least} {limit} {what}{'s' * (limit != 1)}", where)
    if kind == "string_pattern_mismatch":
        return Problem(f"{path}: {value} is not allowed here", where, _ALLOWED.get(path, ""))
    return Problem(f"{path}: {error['msg'][:1].lower()}{error['msg'][1:]}", where)


def shorten(value: Any) -> str:
    """The value as it is shown to people: never longer than half a line."""
    text = {"True": "true", "False": "false", "None": "null"}.get(repr(value), repr(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def _range(nodes: list[Mapping[str, Any]]) -> str:
    """ "allowed: >= 2 and <= 100", when the schema sets limits."""
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for node in nodes:
        if limits := [f"{sign} {node[key]:,}" for key, sign in signs.items() if key in node]:
            return f"allowed: {' and '.join(limits)}"
    return ""


def _nodes(schema: Mapping[str, Any], loc: Loc) -> Iterator[Mapping[str, Any]]:
    """The parts of the JSON Schema that speak about `loc`; "<float>" picks the branch that requires `float`."""
    nodes = list(_spread(schema, schema))
    for part in loc:
        inner: list[Mapping[str, Any]] = []
        for node in nodes:
            if str(part).startswith("<"):
                inner += [node] if str(part)[1:-1] in node.get("required", ()) else []
            elif isinstance(part, int):
                inner += _spread(schema, node.get("items"))
            elif part in node.get("properties", ()):
                inner += _spread(schema, node["properties"][part])
            else:
                inner += _spread(schema, node.get("additionalProperties"))
                for branch in node.get("patternProperties", {}).values():
                    inner += _spread(schema, branch)
        nodes = inner
    yield from nodes


def _spread(schema: Mapping[str, Any], node: Any) -> Iterator[Mapping[str, Any]]:
    """A node's alternatives, references followed."""
    if not isinstance(node, Mapping):
        return
    if "$ref" in node:
        yield from _spread(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _spread(schema, branch)
    yield node
