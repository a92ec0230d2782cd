"""The shipped schema is the one the loader goes by."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from hpo.schema import command

ROOT = Path(__file__).parents[1]


def test_the_shipped_schema_is_fresh() -> None:
    printed = CliRunner().invoke(command)
    assert printed.exit_code == 0
    shipped = (ROOT / "search_spaces" / "schema.json").read_text(encoding="utf-8")
    assert shipped == printed.output, "run: python -m hpo.schema > search_spaces/schema.json"


def test_it_says_which_draft_it_is() -> None:
    schema = json.loads(CliRunner().invoke(command).output)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["name", "metric", "space"]
    assert schema["$defs"]["Search"]["properties"]["trials"] == {
        "type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 100, "description": "How many trials in all",
    }  # fmt: skip
