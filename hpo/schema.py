"""The JSON Schema of a sweep file: `python -m hpo.schema`, for editors that complete and check while one types.

The bundled `search_spaces/schema.json` is this output; a sweep file names it in its first line
(`# yaml-language-server: $schema=schema.json`). It comes from the types the loader validates with.
"""

from __future__ import annotations

import json

import click

from hpo.command import run, verb


@verb("schema", "python -m hpo.schema > schema.json")
def command() -> None:
    """Print the JSON Schema (draft 2020-12) of a sweep file."""
    from hpo.sweepfile.shape import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    run(command)
