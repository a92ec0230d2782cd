"""An address in a sweep file and the secret that it needs, which is in no file:
`https://ada:${HPO_SITE}@example.org/t.csv`.

Used by `hpo.data.source` and the adapters beside it. A sweep file may come from anybody, so it can name only
variables that were set for this purpose: no file can send the other secrets of whoever runs it to a server of its
choice.
"""

from __future__ import annotations

import os
import re

from hpo.errors import InputError, Problem

_VARIABLE = re.compile(r"\$\{(HPO_[A-Z0-9_]+)\}")
_LITERAL = re.compile(r"^[\w+.-]+://[^/?#@]*:(?!\$\{HPO_[A-Z0-9_]+\}@)[^/?#]+@")


def refuse_password(address: str, where: str) -> None:
    """InputError: a password stands in it, and would stand in every copy of the file."""
    if _LITERAL.match(address):
        hint = "write ${HPO_…} in its place and set that variable; or leave it to the driver (PGPASSWORD, ~/.pgpass)"
        raise InputError(Problem("a password stands in the address", where, hint))


def expand(address: str, where: str = "data.path") -> str:
    """With the variables in place of `${HPO_…}`. InputError: one is not set."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise InputError(Problem(f"the variable {match[1]} is not set", where, f"export {match[1]}=…"))
        return found

    return _VARIABLE.sub(value, address)
