"""What all verbs have in common: help with an example, typos, bad input, bugs, Ctrl-C and a reader who goes away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hpo.__main__ import VERBS, main
from hpo.command import verb
from hpo.errors import HeldError, InputError, Problem
from tests.sweeps import function_sweep, inline

ROOT = Path(__file__).resolve().parent.parent


def hpo(*arguments: str, cwd: Path, code: int = 0) -> str:
    """`python -m hpo…` as a person calls it; what it printed. Exit code and quiet stderr are asserted."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_with_an_example(name: str) -> None:
    said = CliRunner().invoke(main, [name, "--help"], catch_exceptions=False)
    assert said.exit_code == 0
    assert re.search(rf"Example: .*hpo[. ]{name}\b", said.output)
    assert "--help" in CliRunner().invoke(main, [name, "-h"]).output
    assert max(map(len, said.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "typo", "meant"),
    [("search", "--trails", "--trials"), ("plan", "--no-prob", "--no-probe"), ("status", "--jsn", "--json")],
)
def test_a_typo_is_answered_with_what_was_meant(name: str, typo: str, meant: str) -> None:
    said = CliRunner().invoke(main, [name, typo, "3"])
    assert said.exit_code == 2
    assert f"Did you mean '{meant}'?" in said.output or f"(Possible options: {meant})" in said.output


def test_the_group_lists_its_verbs_and_imports_none(tmp_path: Path) -> None:
    said = hpo("hpo", "--help", cwd=tmp_path)
    assert all(name in said for name in VERBS)
    assert "No such command 'serach'" in hpo("hpo", "serach", cwd=tmp_path, code=2)
    code = (
        "import sys\nfrom hpo.__main__ import main\nmain(['--help'], standalone_mode=False)\n"
        "print(sorted(name for name in sys.modules if name.startswith('hpo.')))"
    )
    assert hpo_code(code, tmp_path).endswith("['hpo.__main__', 'hpo.command', 'hpo.errors', 'hpo.redact']\n")


def hpo_code(code: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_both_doors_lead_to_the_same(tmp_path: Path) -> None:
    assert hpo("hpo", "status", cwd=tmp_path) == hpo("hpo.status", cwd=tmp_path)
    assert "no sweeps" in hpo("hpo.status", cwd=tmp_path)


def failing(error: BaseException) -> click.Command:
    @verb("fail", "python -m hpo.fail")
    def command() -> int:
        raise error

    return command


def test_bad_input_is_told_in_words() -> None:
    problem = Problem("3 is too much", "a.yaml:4:2", "allowed: 2")
    done = CliRunner().invoke(failing(InputError(problem, "and this")), [])
    assert done.exit_code == 2
    assert done.output == "error: a.yaml:4:2: 3 is too much\n    allowed: 2\nand this\n"
    assert CliRunner().invoke(failing(HeldError("held")), []).exit_code == 4
    assert CliRunner().invoke(failing(KeyboardInterrupt()), []).exit_code == 130


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(failing(ZeroDivisionError()), [], catch_exceptions=False)


@pytest.mark.parametrize("verb", ["search", "plan"])
def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path, verb: str) -> None:
    (tmp_path / "a.yaml").write_text(
        "name: a\nmodel: xgboost.XGBClassifier\nmetrik: auc\nspace: {x: {float: [2, 1]}}\n"
    )
    said = hpo(f"hpo.{verb}", "--space", "a.yaml", cwd=tmp_path, code=2)
    assert "a.yaml:3:1: unknown key 'metrik'" in said
    assert "a.yaml:4:" in said
    assert "Traceback" not in said
    assert not (tmp_path / ".hpo").exists()
    assert "there is no sweep file 'b.yaml'" in hpo(f"hpo.{verb}", "--space", "b.yaml", cwd=tmp_path, code=2)


def test_an_unknown_sweep_is_no_traceback(tmp_path: Path) -> None:
    inline(tmp_path / ".hpo", function_sweep(search={"trials": 1}))
    for name in ("hpo.status", "hpo.sync"):
        said = hpo(name, "tyo", cwd=tmp_path, code=2)
        assert said.startswith("error: no sweep 'tyo'")
        assert "Traceback" not in said


def test_a_reader_who_goes_away_is_no_error(tmp_path: Path) -> None:
    for _ in range(3):
        inline(tmp_path / ".hpo", function_sweep(search={"trials": 1}))
    code = (
        "import time\nfrom hpo.status import command\n"
        "time.sleep(0.5)\n"  # until `true` has gone
        "command()"
    )
    shell = f"{sys.executable} -c '{code}' | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_before_the_search_begins_is_quiet(tmp_path: Path) -> None:
    """While the file is read and the data prepared: nothing has been written, so there is nothing to finish."""
    code = (
        "import hpo.loader, time, sys\n"
        "hpo.loader.load = lambda *a, **k: (print('reading', flush=True), time.sleep(30))\n"
        "from hpo.search import command\ncommand(['--space', 'xgb'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as driver:  # fmt: skip
        assert driver.stdout is not None
        assert driver.stdout.readline() == "reading\n"
        time.sleep(0.1)
        driver.send_signal(signal.SIGINT)
        assert driver.stdout.read() == ""
    assert driver.returncode == 130
