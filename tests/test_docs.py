"""The pages: what can be said of them without running a command. `scripts/docs --check` runs the commands, in CI."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpo.__main__ import VERBS
from hpo.sweepfile.shape import json_schema
from tests.conftest import ROOT

DOCS: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "docs"))
PAGES: list[str] = DOCS["pages"]()


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_nothing_wrong(page: str) -> None:
    assert list(DOCS["wrong"](page, text_of(page))) == []
    assert "](" not in text_of(page) or page == "README.md" or f"({page})" in text_of("README.md"), "README leads to it"


def test_every_verb_and_every_key_is_in_a_page() -> None:
    everything = "\n".join(map(text_of, PAGES))
    commands = text_of("docs/commands.md")
    assert [verb for verb in VERBS if not re.search(rf"hpo[. ]{verb}\b", commands)] == []

    def keys(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(keys, schema))
        if not isinstance(schema, dict):
            return set()
        return set(schema.get("properties", {})) | set().union(*map(keys, schema.values()))

    words = set(re.findall(r"\w+", everything))
    assert sorted(key for key in keys(json_schema()) if key not in words) == []


PAGE = """\
# Title

```sh
echo one
```
<!-- docs: skip, there is no
     cluster -->
```sh
false
```

- in a list

  ```python
  print(2)
  ```

````
```
````
"""


def test_blocks_and_the_script_of_them(tmp_path: Path) -> None:
    found = DOCS["blocks"]("page.md", PAGE)
    assert [(b.line, b.language, b.skip) for b in found] == [
        (4, "sh", ""), (9, "sh", "there is no cluster"), (15, "python", ""), (19, "", ""),
    ]  # fmt: skip
    script = DOCS["script"](found, tmp_path)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n2\n", "== page.md:4\n== page.md:15\n")


def test_the_first_command_that_fails_ends_a_page(tmp_path: Path) -> None:
    found = DOCS["blocks"]("page.md", "```sh\nfalse | cat\necho on\n```\n")
    done = subprocess.run(["bash", "-c", DOCS["script"](found, tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```yaml\nsearch: {trails: 3}\n```", "unknown key 'trails'"),
        ("```sh\npython -m hpo.serach --space a\n```", "there is no python -m hpo.serach"),
        ("type `hpo search --speed 3` …", "hpo.search has no --speed"),
        ("type `python -m hpo.schedule tick --folder a --speed`", "hpo.schedule has no --speed"),
        ("see [this](docs/none.md)", "docs/none.md leads nowhere"),
        ("see [this](docs/spaces.md#none)", "has no heading #none"),
        ("```jsno\n```", "nobody looks at a block of 'jsno'"),
    ],
)
def test_what_is_wrong_with_a_page(text: str, said: str) -> None:
    errors = list(DOCS["wrong"]("README.md", f"\n{text}\n"))
    assert len(errors) == 1, errors
    assert said in errors[0]


def test_what_is_right_is_not_complained_of() -> None:
    text = "`python -m hpo.search --space FILE`, `hpo <verb>`, `hpo.run(...)`, `hpo.schedule run`, [a](#b)\n\n# B\n"
    assert list(DOCS["wrong"]("README.md", text)) == []
