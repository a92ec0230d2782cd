"""The Python API as its docstring shows it, and functions from wherever people keep them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import hpo

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import hpo

SHIFT = 2

def area(params, trial):
    return (params["x"] - SHIFT) ** 2

sweep = hpo.build(name="area", objective=area, metric={"name": "area", "direction": "minimize"},
                  space={"x": {"float": [-5, 5]}}, search={"engine": "random", "trials": 6, "workers": 2, "seed": 1})
result = hpo.run(sweep, tracking=None)
assert len(result.all_trials) == 6 and result.best_value < 9, result
print(len(result.trials), *sorted(result.best_params))
"""


def python(*arguments: str, cwd: Path, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, input=stdin, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_function_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert python("script.py", cwd=tmp_path) == "6 x\n"


def test_a_function_typed_into_an_interpreter(tmp_path: Path) -> None:
    assert python("-", cwd=tmp_path, stdin=SCRIPT) == "6 x\n"


def test_a_lambda(tmp_path: Path) -> None:
    one = SCRIPT.replace("objective=area", 'objective=lambda params, trial: (params["x"] - SHIFT) ** 2')
    assert python("-c", one, cwd=tmp_path) == "6 x\n"


def test_the_docstring_runs(tmp_path: Path) -> None:
    """As written, on the bundled sweep; smaller, and without a server."""
    doc = inspect.getdoc(hpo)
    assert doc is not None
    code = textwrap.dedent(doc.split("\n\n", 1)[1].rpartition("\n\n")[0])
    assert "hpo.run(sweep)" in code
    small = code.replace('"search.trials=20"', '"search.trials=1", "fixed.n_estimators=5", "validation.folds=2"')
    small = small.replace("hpo.run(sweep)", "hpo.run(sweep, tracking=None)")
    assert small.count("\n") <= code.count("\n") < 8
    said = python("-c", small, cwd=tmp_path)
    assert "'learning_rate'" in said
    assert said.endswith(" None\n"), "nothing is registered without tracking"


def test_importing_costs_nothing(tmp_path: Path) -> None:
    code = "import sys, hpo; hpo.__version__; print(sorted(m for m in sys.modules if m.startswith('hpo')))"
    assert python("-c", code, cwd=tmp_path) == "['hpo']\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(hpo, name) is not None for name in hpo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hpo.nothing  # noqa: B018
