"""The shell's Tab, in a real bash: verbs, options, orders and sweeps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpo.completion import command
from tests.conftest import ROOT
from tests.sweeps import function_sweep, inline

TRY = """
eval "$(hpo completion bash)"
try() {
  COMP_WORDS=($1); [ "${1: -1}" = " " ] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]}-1)); COMPREPLY=(); _hpo_completion hpo; echo "${COMPREPLY[*]}"
}
try "hpo rep"; try "hpo control "; try "hpo control last p"; try "hpo search --pru"; try "hpo space "
"""


def test_in_bash(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    result = inline(tmp_path / ".hpo", function_sweep(search={"trials": 1}))
    (tmp_path / "hpo").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hpo "$@"\n')
    (tmp_path / "hpo").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [bash, "-c", TRY], cwd=tmp_path, text=True, capture_output=True, check=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "report reproduce", f"last {result.id}", "pause prune", "--pruner", "check",
    ], done.stderr  # fmt: skip


@pytest.mark.parametrize(("shell", "said"), [("zsh", "compdef _hpo_completion hpo"), ("fish", "complete --no-files")])
def test_for_other_shells(shell: str, said: str) -> None:
    done = CliRunner().invoke(command, [shell])
    assert done.exit_code == 0
    assert said in done.output
