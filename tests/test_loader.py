"""From a file or from Python to a sweep: finding it, its root, data and code; everything wrong at once."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import InputError
from hpo.loader import build, find_space, from_document, load
from hpo.metric import Metric
from hpo.space import Choice, Float, Int
from hpo.sweep import Named, Sweep
from hpo.sweepfile.shape import File
from tests.sweepfile.test_shape import documents

ROOT = Path(__file__).parents[1]
BUNDLED = sorted((ROOT / "search_spaces").glob("*.yaml"))
TEXT = """\
name: tiny
objective: ours.own:score
metric: rmse
space: {x: {float: [0, 1]}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a sweep file, a module and a table."""
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "tiny.yaml").write_text(TEXT)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "own.py").write_text("raise SystemExit\ndef score(params, trial): ...\n")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(*args: Any, **kwargs: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        load(*args, **kwargs)
    return [(p.where, p.message) for p in caught.value.problems]


@pytest.mark.parametrize("file", BUNDLED, ids=lambda f: f.stem)
def test_bundled_spaces(file: Path) -> None:
    sweep = load(file)
    assert sweep.root == ROOT
    assert sweep.source == file.read_text()
    assert sweep.source.startswith("# yaml-language-server: $schema=schema.json\n")
    again = from_document(sweep.document, sweep.root)
    assert again.identity == sweep.identity
    assert again.meaning() == sweep.meaning()


def test_a_whole_sweep() -> None:
    sweep = load("xgb.yaml", ["search.trials=20", "search.timeout=1h", "space.max_depth={int: [2, 4]}"])
    assert sweep.metrics == (Metric("roc_auc", "maximize"),)
    assert sweep.extra_metrics == (Metric("log_loss", "minimize"), Metric("average_precision", "maximize"))
    assert sweep.data is not None
    assert sweep.data.path == ROOT / "data" / "flights.parquet"
    assert sweep.data.digest == hashlib.sha256(sweep.data.path.read_bytes()).hexdigest()
    assert (sweep.search.trials, sweep.search.timeout) == (20, 3600)
    assert sweep.search.sampler == Named("auto")
    assert sweep.space["max_depth"] == Int("max_depth", 2, 4)
    assert sweep.space["learning_rate"] == Float("learning_rate", 0.03, 0.3, log=True)
    assert isinstance(sweep.space["grow_policy"], Choice)
    assert sweep.space["max_leaves"].when == {"grow_policy": ("lossguide",)}
    assert sweep.document["search"]["trials"] == 20
    assert sweep.registered_model == "flight-delays"


def test_finding_a_sweep_file(project: Path) -> None:
    bundled = ROOT / "search_spaces" / "xgb.yaml"
    assert find_space("xgb.yaml") == find_space("xgb") == bundled
    assert find_space("tiny").resolve() == project / "search_spaces" / "tiny.yaml"
    (project / "search_spaces" / "xgb.yaml").write_text(TEXT)
    assert find_space("xgb").resolve() == project / "search_spaces" / "xgb.yaml"
    (project / "xgb.yaml").write_text(TEXT)
    assert find_space("xgb.yaml").resolve() == project / "xgb.yaml"
    assert find_space(str(bundled)) == bundled
    [(where, message)] = problems("xbg.yaml")
    assert (where, message) == ("", "there is no sweep file 'xbg.yaml'")
    with pytest.raises(InputError, match=r"did you mean 'tiny'.*there are: tiny, xgb, catboost, custom_objective"):
        find_space("tyny")


@pytest.mark.parametrize("name", ["", ".", "a\0b", "x" * 5000, "/", "..", "search_spaces"])
def test_no_name_of_a_file(name: str) -> None:
    with pytest.raises(InputError):
        find_space(name)


def test_the_root_is_the_folder_or_the_one_above_search_spaces(project: Path) -> None:
    assert load("tiny").root == project
    (project / "other.yaml").write_text(TEXT)
    assert load("other.yaml").root == project
    (project / "ours" / "sub.yaml").write_text(TEXT.replace("ours.own", "own"))
    assert load("ours/sub.yaml").root == project / "ours"


def test_data_stays_inside_the_root(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "table.csv"
    outside.write_text("a,b\n")
    (project / "link.csv").symlink_to(outside)
    (project / "inner.csv").symlink_to(project / "table.csv")

    def data(path: object) -> Sweep:
        return load("tiny", [f"data={{path: {path}, target: a}}"])

    for path in ("table.csv", "./ours/../table.csv", "inner.csv", outside, project / "link.csv"):
        assert (found := data(path).data) is not None
        assert found.path.is_absolute()
        assert len(found.digest) == 64
    for path in ("link.csv", f"../{outside.parent.name}/table.csv", "../../../etc/passwd"):
        with pytest.raises(InputError, match="leads out of"):
            data(path)
    with pytest.raises(InputError, match=r"table\.cvs does not exist\n +did you mean 'table.csv'"):
        data("table.cvs")
    for path in ("ours", "x" * 5000, "ours/own.py/a", "/dev/null"):
        with pytest.raises(InputError, match=r"is not a file|does not exist"):
            data(path)


def test_code_is_found_and_never_run(project: Path) -> None:
    sweep = load("tiny")
    assert sweep.objective == "ours.own:score"
    assert sweep.code_digest == hashlib.sha256((project / "ours" / "own.py").read_bytes()).hexdigest()
    (project / "search_spaces" / "beside.py").write_text("from math import sqrt as score")
    assert load("tiny", ["objective=beside:score"]).code_digest
    installed = ["objective=sklearn.metrics.cluster:rand_score"]
    assert load("tiny", installed, allow_import=["sklearn"]).code_digest == ""
    with pytest.raises(InputError, match="--allow-import sklearn"):
        load("tiny", installed)


def test_a_src_folder_is_the_projects_own_and_its_environment_is_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("src", ".venv/lib/python3/site-packages"):
        package = project / folder / f"in_{folder[-3:]}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("def score(params, trial): ...\n")
        monkeypatch.syspath_prepend(project / folder)
    assert load("tiny", ["objective=in_src:score"]).code_digest
    with pytest.raises(InputError, match="--allow-import in_ges"):
        load("tiny", ["objective=in_ges:score"])


def test_a_module_that_python_would_not_find_first_is_refused(project: Path) -> None:
    (project / "json.py").write_text("def score(params, trial): ...\n")
    with pytest.raises(InputError, match=r"'json' is also an installed module(.|\n)*rename json.py"):
        load("tiny", ["objective=json:score"])


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("ours.own:skore", "did you mean 'score'"),
        ("ours.owm:score", "there is no module 'ours.owm'"),
        ("nothing.here:score", "put nothing.py into"),
        ("sklearn.metrix:score", "did you mean 'metrics'"),
        ("broken:score", "is not Python"),
        ("ours.__init__:score", "__ are not allowed"),
        ("ours.own:__builtins__", "__ are not allowed"),
        ("ours/own.py:score", "package.module:function"),
        ("../own:score", "package.module:function"),
        ("http://a.b/c:score", "package.module:function"),
        ("ours.own", "package.module:function"),
        ("ours.own:score()", "package.module:function"),
        ("ours..own:score", "package.module:function"),
        ("'ours.own:score\n'", "package.module:function"),
    ],
)
def test_what_is_no_function(project: Path, objective: str, message: str) -> None:
    (project / "broken.py").write_text("def score(:\n")
    with pytest.raises(InputError, match=message):
        from_document({**_tiny(), "objective": objective.strip("'")}, project)


def _tiny() -> dict[str, Any]:
    return {"name": "t", "objective": "ours.own:score", "metric": "rmse", "space": {"x": {"float": [0, 1]}}}


def test_everything_at_once_in_the_order_of_the_file(project: Path) -> None:
    (project / "bad.yaml").write_text("""\
name: a/b
data: {path: tabel.csv, targett: late, holdout: 1.5}
modell: x
model: sklearn.ensembel.X
metric: roc_auk
validation: {folds: 1}
space:
  a: {float: [2, 1]}
  b: {int: [1, 2.5]}
  c: {choice: []}
  d: {flot: [1, 2]}
  e: {choice: [1], when: {bb: 1, d: 2}}
search: {engine: optun, trials: many}
""")
    with pytest.raises(InputError) as caught:
        load("bad.yaml")
    assert (
        str(caught.value)
        == """\
bad.yaml:1:7: name: 'a/b' is not allowed here
    no slash, colon or control character, and no dot or space in front
bad.yaml:2:7: data.target is missing
bad.yaml:2:25: unknown key 'targett'
    did you mean 'target'?
bad.yaml:2:49: data.holdout: 1.5 is out of range
    allowed: >= 0 and < 1
bad.yaml:3:1: unknown key 'modell'
    did you mean 'model'?
bad.yaml:4:8: there is no module 'sklearn.ensembel'
    did you mean 'ensemble'?
bad.yaml:5:9: the metric roc_auk is not known
    did you mean 'roc_auc'?
bad.yaml:6:21: validation.folds: 1 is out of range
    allowed: >= 2 and <= 100
bad.yaml:8:14: low 2.0 is above high 1.0
    did you mean [1.0, 2.0]?
bad.yaml:9:16: space.b.int.1: 2.5 is not a whole number
    allowed: >= -9,007,199,254,740,992 and <= 9,007,199,254,740,992
bad.yaml:10:15: space.c.choice must have at least 1 item
bad.yaml:11:6: space.d: {'flot': [1, 2]} is not {float: [low, high]}, {int: [low, high]} or {choice: [values]}
bad.yaml:12:31: e depends on 'bb', which is not in the space
    one of: a
bad.yaml:13:18: search.engine: 'optun' is not known
    did you mean 'optuna'?
bad.yaml:13:33: search.trials: 'many' is not a whole number
    allowed: >= 1 and <= 1,000,000"""
    )


def test_overridden_values_are_reported_where_they_were_set(project: Path) -> None:
    assert problems("tiny", ["search.trials=0", "space.x.float=[2, 1]", "serch={a: 1}"]) == [
        ("--set search.trials=0", "search.trials: 0 is out of range"),
        ("--set serch={a: 1}", "unknown key 'serch'"),
        ("--set space.x.float=[2, 1]", "low 2.0 is above high 1.0"),
    ]


def test_from_python(project: Path) -> None:
    def score(params: dict[str, Any], trial: Any) -> float:
        return float(params["x"])

    space = {"x": {"float": (0, 1)}, "k": {"choice": ("a", None)}}
    sweep = build(name="t", objective=score, metric="rmse", space=space, search={"trials": 3})
    assert sweep.objective is score
    assert sweep.root == project
    assert sweep.document["space"]["k"] == {"choice": ["a", None]}
    assert sweep.document["objective"] == f"{__name__}:score"
    assert sweep.code_digest == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert build(name="t", objective=lambda p, t: 0.0, metric="rmse", space=space).objective is not None
    assert build(**_tiny()).identity == load("tiny", ["name=t"]).identity
    with pytest.raises(InputError, match="not a function"):
        build(name="t", objective=partial(score, {}), metric="rmse", space=space)


def test_python_mistakes_name_the_dotted_place(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        build(**{**_tiny(), "search": {"trials": 0, "tirals": 3}})
    assert [p.where for p in caught.value.problems] == ["search.trials", "search.tirals"]
    with pytest.raises(InputError, match=r"fixed\.model: <object object.*is not plain data"):
        build(**{**_tiny(), "fixed": {"model": object()}})
    with pytest.raises(InputError, match="fixed: the key 3 must be text"):
        build(**{**_tiny(), "fixed": {3: 1}})


def test_the_loader_is_light() -> None:
    code = "import sys, hpo.loader; print([n for n in ('pydantic', 'ruamel.yaml', 'click') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


@settings(max_examples=200, deadline=None)
@given(documents())
def test_any_document_gives_a_sweep_or_an_input_error(document: dict[str, Any]) -> None:
    _sweep_or_input_error(document)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.sampled_from(BUNDLED), st.sampled_from(sorted(File.model_fields)), values)
def test_any_value_under_any_key(file: Path, key: str, value: Any) -> None:
    document = copy.deepcopy(dict(load(file).document))
    document[key] = value
    _sweep_or_input_error(document)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(BUNDLED), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.text(max_size=3)), max_size=4)
)
def test_any_change_of_a_bundled_text(
    tmp_path_factory: pytest.TempPathFactory, file: Path, edits: list[tuple[float, int, str]]
) -> None:
    text = file.read_text()
    for at, length, new in edits:
        start = int(at * len(text))
        text = text[:start] + new + text[start + length :]
    changed = tmp_path_factory.getbasetemp() / "changed.yaml"
    changed.write_bytes(text.encode("utf-8", "surrogatepass"))
    begun = time.process_time()
    try:
        assert isinstance(load(changed), Sweep)
    except InputError:
        pass
    assert time.process_time() - begun < 10  # a hang, on any machine


def _sweep_or_input_error(document: dict[str, Any]) -> None:
    begun = time.process_time()
    try:
        sweep = from_document(document, ROOT)
    except InputError:
        pass
    else:
        assert from_document(sweep.document, ROOT).identity == sweep.identity
        assert sweep.space.walk
    assert time.process_time() - begun < 10  # a hang, on any machine
