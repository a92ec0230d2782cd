"""The structure that STYLE asks for, held by machine: arrows, cycles, engines at home, import budget, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hpo"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "bundled" not in path.parts
}

WORDS = {
    "errors",
    "trial",
    "metric",
    "space",
    "attempt",
    "sweep",
    "crash",
    "redact",
    "digest",
    "journal",
    "lease",
    "machine",
    "progress",
    "phrase",
    "recurrence",
    "usage",
    "verdict",
    "honest",
    "orders",
}
PARTS = {
    "data",
    "objectives",
    "samplers",
    "searchers",
    "executors",
    "tracking",
    "registry",
    "intervals",
    "provenance",
    "predictor",
    "sweepfile",
    "foreign",
}
STORY = {
    "loader",
    "stopping",
    "earlier",
    "interrupts",
    "publisher",
    "resume",
    "session",
    "display",
    "summary",
    "search",
    "driver",
    "promotion",
    "delivery",
    "labels",
    "card",
    "comparison",
    "pages",
    "recheck",
    "result",
    "notebook",
    "recorded",
    "checkout",
    "steering",
    "wishes",
    "contest",
}
VERBS = {
    "init",
    "plan",
    "status",
    "sync",
    "schema",
    "schedule",
    "server",
    "ui",
    "promote",
    "rollback",
    "history",
    "predict",
    "reproduce",
    "report",
    "control",
    "compare",
    "spaces",
    "import",
    "completion",
}
OUTSIDE = {"testing", "command", "__main__"}
LAYERS = [WORDS, PARTS, STORY, VERBS]
BETWEEN_PARTS = {
    ("objectives", "data"),
    ("objectives", "predictor"),
    ("data", "predictor"),
    ("searchers", "samplers"),
    ("objectives", "intervals"),
}

ENGINES = {
    "mlflow": {"tracking", "registry", "server.guard"},
    "optuna": {"foreign.optuna", "searchers.optuna", "searchers.importance", "samplers"},
    "hyperopt": {"searchers.hyperopt"},
    "xgboost": {"objectives", "predictor"},
    "lightgbm": {"objectives.boosted", "predictor"},
    "catboost": {"objectives.boosted", "predictor"},
    "sklearn": {"objectives", "data"},
    "skops": {"objectives", "predictor"},
    "pandas": {"data", "objectives", "predictor", "registry", "result"},
    "distributed": {"executors.dask"},
    "dask": {"executors.dask"},
    "ray": {"executors.envoy"},
    "grpc": {"executors.envoy"},
    "fsspec": {"data"},
    "pydantic": {"sweepfile", "loader"},
    "ruamel": {"sweepfile.document", "data.lineage", "schedule.install"},
    "sqlalchemy": {"data.sql", "tracking.server"},
    "dvc": {"data.dvc"},
    "cronsim": {"recurrence"},
    "psycopg": {"schedule.postgres"},
    "plotly": {"pages.plots"},
    "matplotlib": {"pages.png"},
    "IPython": {"notebook"},
    "rich": {"display", "summary", "search", "status", "plan", "sync"},
}


def imports(name: str) -> set[str]:
    """The modules of hpo, and the top names of others, that a module imports anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {_module(target) for target in found}


def _module(dotted: str) -> str:
    while dotted.startswith("hpo.") and dotted not in FILES:
        dotted = dotted.rpartition(".")[0]
    return dotted if dotted.split(".")[0] == "hpo" else dotted.split(".")[0]


GRAPH = {name: {target for target in imports(name) if target.startswith("hpo.")} - {name} for name in FILES}


def _top(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_module_has_its_place() -> None:
    known = WORDS | PARTS | STORY | VERBS | OUTSIDE
    assert {_top(name) for name in FILES} - {""} == known


def test_arrows_point_one_way() -> None:
    rank = {name: level for level, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{source} -> {target}"
        for source, targets in GRAPH.items()
        for target in targets
        if (a := _top(source)) in rank and (b := _top(target)) in rank and rank[a] < rank[b]
    ]
    assert not wrong


def test_parts_do_not_know_each_other() -> None:
    wrong = [
        f"{source} -> {target}"
        for source, targets in GRAPH.items()
        for target in targets
        if (a := _top(source)) != (b := _top(target)) and {a, b} <= PARTS and (a, b) not in BETWEEN_PARTS
    ]
    assert not wrong


def test_there_is_no_cycle_deferred_imports_counted() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for target in sorted(GRAPH[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_an_engine_is_imported_at_home_only(engine: str) -> None:
    homes = tuple(f"hpo.{home}" for home in ENGINES[engine])
    users = {name for name in FILES if engine in imports(name)}
    strangers = {name for name in users if not any(name == home or name.startswith(f"{home}.") for home in homes)}
    assert not strangers - {"hpo.testing"}


HEAVY = [
    "mlflow",
    "plotly",
    "optuna",
    "hyperopt",
    "xgboost",
    "sklearn",
    "pandas",
    "numpy",
    "scipy",
    "pydantic",
    "ruamel.yaml",
    "rich",
    "fsspec",
    "distributed",
    "ray",
]


@pytest.mark.parametrize("verb", ["search", *sorted(VERBS), "__main__"])
def test_help_imports_no_engine(verb: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('hpo.{verb}', run_name='__main__')\n"
        f"except SystemExit as end: assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "--help" in out
    assert out.splitlines()[-1] == "LOADED []"


def test_loading_a_sweep_imports_no_engine() -> None:
    code = (
        "import sys; from hpo.loader import load; load('xgb.yaml')\n"
        "print([n for n in 'mlflow optuna hyperopt xgboost sklearn pandas'.split() if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_module_is_small_and_says_what_it_is(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert len((ast.get_docstring(tree) or "").splitlines()) >= 3, "what it is, who calls it, why it is so"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            length = node.end_lineno - max(first, node.body[0].lineno) + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_no_module_has_an_empty_name() -> None:
    nothing = {"utils", "util", "common", "core", "base", "manager", "helpers", "misc"}
    assert not nothing & {part for name in FILES for part in name.split(".")}
