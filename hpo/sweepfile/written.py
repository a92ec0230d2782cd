"""How a value may be written in a sweep file, where that is more than its type says.

Annotations for the types in `hpo.sweepfile.shape`: each adds its shorthand to the validation and to the JSON Schema in
one place. `Written` makes the written mapping out of a dataclass of `hpo.sweep`, limits and defaults included.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    create_model,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_NUMBER = r"[0-9]{1,8}(\.[0-9]{1,9})?"
DURATION = rf"^(?=.*[1-9])([0-9]{{1,3}}d)?({_NUMBER}h)?({_NUMBER}m)?({_NUMBER}s)?$"
SIZE = r"^[0-9]{1,9}(\.[0-9]{1,9})?[KMGT]$"


class Form(BaseModel):
    """A mapping in the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclasses.dataclass(frozen=True)
class Text:
    """Annotation: the value may also be text of this pattern, which `expand` turns into the value."""

    pattern: str
    expand: Callable[[str], Any]
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        return {"anyOf": [*inner.get("anyOf", [inner]), {"type": "string", "pattern": self.pattern}]}

    def _read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not re.search(self.pattern, value):
            raise PydanticCustomError("text", "{expected}", {"expected": self.expected})
        return self.expand(value)


class OneOrMore:
    """Annotation of a list: one item may stand for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else [value], handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        return {"anyOf": [inner, inner["items"]]}


class OrFalse:
    """Annotation of `X | None`: an X, or `false` for None. An empty key is an oversight and no way to say no."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda value, inner: None if value is False else inner(value), handler.generate_schema(get_args(source)[0])
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"const": False}]}


class Written:
    """Annotation of a dataclass: the mapping that is written for it, from the dataclass's own types.

    `about` gives each field that a file may hold its description, or (description, the written type).
    """

    def __init__(self, **about: str | tuple[str, Any]) -> None:
        self.about = about

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        hints = get_type_hints(source, include_extras=True)
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(source):
            if field.name not in self.about:
                continue
            about = self.about[field.name]
            text, written = about if isinstance(about, tuple) else (about, _written(hints[field.name]))
            if isinstance(written, Text):
                written = Annotated[hints[field.name], written]
            default = ... if field.default is dataclasses.MISSING else field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()  # pydantic copies it
            fields[field.name] = (written, Field(default, description=text))
        form = create_model(source.__name__, __base__=Form, **fields)
        return core_schema.no_info_after_validator_function(
            lambda value: source(**{k: _frozen(getattr(value, k)) for k in fields}),
            handler.generate_schema(form),
        )


def _written(hint: Any) -> Any:
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]  # type: ignore[misc]
    return Annotated[hint, BeforeValidator(whole)] if "int" in str(hint) else hint


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def whole(value: Any) -> Any:
    """1e3 is a whole number too, as JSON Schema has it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seconds(text: str) -> float:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(float(count) * units[unit] for count, unit in re.findall(r"([0-9.]+)([dhms])", text))


def _bytes(text: str) -> int:
    return int(float(text[:-1]) * 1024 ** ("KMGT".index(text[-1]) + 1))


Seconds = Text(DURATION, _seconds, 'seconds, or a time such as "90s", "30m" or "1h30m"')
Bytes = Text(SIZE, _bytes, 'bytes, or a size such as "512M" or "4G"')
