"""Rows S1, S2, S3 and S5: a sweep file is data, and the worst of them is refused quickly, cheaply and with its place.

The corpus is read in one fresh process, so that its memory is what is measured, and a few files by the command itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpo import searchers
from hpo.attempt import Attempt
from hpo.errors import InputError, Problem
from hpo.loader import find_space, from_document, load
from hpo.objectives import check
from hpo.resume import find
from hpo.trial import Trial
from tests.chaos.figures import figure, limit
from tests.conftest import ROOT

SAFE = "name: t\nobjective: own:score\nmetric: rmse\nspace: {x: {float: [0, 1]}}\n"
BOMB = "\n".join(["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 15)])
REFUSED: dict[str, bytes] = {
    "alias bomb": BOMB.encode(),
    "merge bomb": b"a: &a {b: 1}\nc: {<<: [*a, *a]}\n" + SAFE.encode(),
    "recursive alias": b"a: &a [*a]\n" + SAFE.encode(),
    "python object": b"name: !!python/object/apply:os.system ['touch pwned']\n",
    "python name": b"name: !!python/name:os.system\n",
    "binary tag": b"name: !!binary aGVsbG8=\n",
    "depth of lists": b"name: " + b"[" * 100_000,
    "depth of mappings": b"name: " + b"{a: " * 100_000,
    "depth of blocks": b"".join(b" " * i + b"a:\n" for i in range(1000)),
    "duplicate key": SAFE.encode() + b"name: other\n",
    "duplicate key deep": SAFE.replace("[0, 1]", "[0, 1], float: [0, 9]").encode(),
    "two documents": SAFE.encode() + b"---\n" + SAFE.encode(),
    "NUL": SAFE.replace("rmse", "rm\0se").encode(),
    "escaped NUL": SAFE.replace("rmse", '"rm\\0se"').encode(),
    "half a surrogate": SAFE.replace("rmse", '"\\ud800"').encode(),
    "UTF-16": SAFE.encode("utf-16"),
    "Latin-1": SAFE.replace("rmse", "ümse").encode("latin-1"),
    "control characters": SAFE.replace("rmse", "rm\x1b[2Jse").encode(),
    "10 MB": b"# " + b"x" * 10_000_000 + b"\n" + SAFE.encode(),
    "wide list": SAFE.replace("[0, 1]", f"[{', '.join(['0'] * 200_000)}]").encode(),
    "many keys": SAFE.encode() + b"".join(b"k%d: 1\n" % i for i in range(60_000)),
    "long key": b"k" * 900_000 + b": 1\n" + SAFE.encode(),
    "long name": SAFE.replace("name: t", f"name: {'t' * 900_000}").encode(),
    "huge integer": SAFE.replace("[0, 1]", f"[0, {'9' * 100_000}]").encode(),
    "huge exponent": SAFE.replace("[0, 1]", "[0, 1e999999999]").encode(),
    "infinite bound": SAFE.replace("[0, 1]", "[0, .inf]").encode(),
    "NaN bound": SAFE.replace("[0, 1]", "[.nan, 1]").encode(),
    "empty": b"",
    "a list": b"- a\n",
    "tab": b"name:\n\t- a\n",
    "unclosed": b"name: [a\n",
    "question marks": b"? " * 50_000,
    "complex key": b"? [a, b]\n: 1\n" + SAFE.encode(),
    "not YAML": bytes(range(256)) * 100,
    "unknown keys": SAFE.encode() + b"__proto__: {a: 1}\n__class__: b\n",
}
READ_ALL = """
import json, sys, time
from pathlib import Path
from hpo.errors import InputError
from hpo.loader import load
load("safe.yaml")
figures = []
for path in sorted(Path("corpus").glob("*.yaml")):
    begun = time.process_time()
    try:
        load(path)
        said = None
    except InputError as error:
        said = str(error)
    figures.append((path.stem, time.process_time() - begun, said))
# Not getrusage: its peak begins with that of the process which started us.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps([figures, int(status["VmHWM"].split()[0]) / 1024]))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text("open('pwned', 'w')\ndef score(params, trial): return 0.0\n")
    (tmp_path / "safe.yaml").write_text(SAFE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def test_s1_a_corpus_of_bad_files(project: Path) -> None:
    """Row S1, with the cases of tests/sweepfile/test_document.py."""
    (project / "corpus").mkdir()
    for name, text in REFUSED.items():
        (project / "corpus" / f"{name}.yaml").write_bytes(text)
    done = run("-c", READ_ALL)
    assert done.returncode == 0, done.stderr
    figures, peak = json.loads(done.stdout)
    slow = [name for name, seconds, _ in figures if seconds > limit(1.0, 10)]
    accepted = [name for name, _, said in figures if said is None]
    placeless = [name for name, _, said in figures if said and not said.startswith(f"corpus/{name}.yaml")]
    for name in ("python object", "10 MB", "duplicate key"):
        refused = run("-m", "hpo.plan", "--space", f"corpus/{name}.yaml")
        assert refused.returncode == 2, refused.stderr
        assert "Traceback" not in refused.stderr
    values = SAFE.replace("[0, 1]", "[1e-3, 1E0]").encode()
    (project / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + values.replace(b"\n", b"\r\n"))
    bounds = load("bom.yaml").space.parameters[0]
    worst = max(seconds for _, seconds, _ in figures)
    violations = len(slow) + len(accepted) + len(placeless) + (peak > 200) + (project / "pwned").exists()
    figure(
        "S1",
        "a bad file is refused in 1 s of CPU and 200 MiB, with its place and exit code 2",
        f"{len(figures)} files: at most {worst * 1000:.0f} ms, {peak:.0f} MiB; wrong: {slow + accepted + placeless}",
        violations + ((getattr(bounds, "low", None), getattr(bounds, "high", None)) != (0.001, 1.0)),
    )


def space_of(search: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    return {"name": "t", "objective": "own:score", "metric": "rmse", "space": parameters, "search": search or {}}


WIDE = {f"p{i}": {"int": [1, 10]} for i in range(9)}
BAD_SPACES: dict[str, dict[str, Any]] = {
    "a million choices": space_of(x={"choice": list(range(1_000_000))}),
    "5,000 parameters": space_of(**{f"x{i}": {"float": [0, 1]} for i in range(5000)}),
    "NaN": space_of(x={"float": [float("nan"), 1]}),
    "infinity": space_of(x={"float": [0, float("inf")]}),
    "reversed": space_of(x={"float": [1, 0]}),
    "huge integers": space_of(x={"int": [0, 10**400]}),
    "integers that no float holds": space_of(x={"int": [0, 2**60]}),
    "too wide": space_of(x={"float": [-1.7e308, 1.7e308]}),
    "tiny step": space_of(x={"float": [0, 1], "step": 5e-324}),
    "negative step": space_of(x={"int": [0, 9], "step": -1}),
    "log of zero": space_of(x={"float": [0, 1], "log": True}),
    "a cycle": space_of(a={"choice": [1], "when": {"b": 1}}, b={"choice": [1], "when": {"a": 1}}),
    "nothing": space_of(),
    "a grid of 10^9 points": space_of({"sampler": "grid"}, **WIDE),
    "a grid of reals": space_of({"sampler": "grid"}, x={"float": [0, 1]}),
    "a name with a path": space_of(**{"../x": {"float": [0, 1]}}),
}
LAZY = {
    "10^9 points, each once": space_of({"sampler": "brute_force"}, **WIDE),
    "500 parameters": space_of({"sampler": "random"}, **{f"x{i}": {"float": [0, 1]} for i in range(500)}),
    "1,000 choices": space_of({"sampler": "random"}, x={"choice": list(range(1000))}),
}


def test_s2_hostile_spaces(project: Path) -> None:
    """Row S2."""
    searchers.build(from_document(space_of(x={"float": [0, 1]}), project))  # the engine is imported
    worst, wrong = 0.0, []
    for name, document in {**BAD_SPACES, **LAZY}.items():
        begun = time.process_time()
        try:
            searcher = searchers.build(from_document(document, project))
            searcher.ask(0)
            refused = False
        except InputError:
            refused = True
        seconds = time.process_time() - begun
        worst = max(worst, seconds)
        if refused is (name in LAZY) or seconds > limit(0.5, 10):
            wrong.append(name)
    figure(
        "S2",
        "a hostile space is refused or searched lazily, within half a second",
        f"{len(BAD_SPACES)} refused, {len(LAZY)} searched, at most {worst * 1000:.0f} ms; wrong: {wrong}",
        len(wrong),
    )


def _words(text: str) -> list[str]:
    return text.split()


OBJECTIVES = _words("""
os:system posix:system subprocess:run subprocess:Popen subprocess:call subprocess:check_output shutil:rmtree
builtins:eval builtins:exec builtins:__import__ importlib:import_module runpy:run_path runpy:run_module pickle:loads
pickle:load marshal:loads code:interact pty:spawn ctypes:CDLL webbrowser:open antigravity:geohash this:s
multiprocessing.util:spawnv_passfds asyncio:run timeit:timeit cProfile:run pdb:run trace:main zipapp:create_archive
../own:score ..own:score own.py:score /etc/passwd:score http://a.example/x:score file:///x:score own:score.__globals__
own:__loader__ own.__class__:x own:score() "own:score;os" numpy:load pandas:read_pickle sklearn.utils:os mlflow:run
joblib:load cloudpickle:loads tests.conftest:free_port hpo.search:run hpo.executors.worker:main
""")
MODELS = _words("""
os.system subprocess.Popen subprocess.run shutil.rmtree builtins.eval pickle.Unpickler antigravity.geohash this.s
sklearn.datasets.clear_data_home sklearn.datasets.fetch_openml sklearn.utils.os.system xgboost.core.ctypes.CDLL
pandas.read_pickle joblib.Memory own.__dict__ ..own.Model own/Model numpy.load mlflow.run
""")


def test_s3_no_path_leads_to_foreign_code(project: Path) -> None:
    """Row S3. Nothing is imported by the loader at all; the check of a model may import its library."""
    before = set(sys.modules)
    ran = []
    for path in OBJECTIVES:
        try:
            from_document({**space_of(x={"float": [0, 1]}), "objective": path}, project, allowed=())
            ran.append(path)
        except InputError:
            pass
    imported = set(sys.modules) - before
    (project / "data.csv").write_text("a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    model = {k: v for k, v in space_of(x={"float": [0, 1]}).items() if k != "objective"} | {
        "data": {"path": "data.csv", "target": "b"}, "metric": "accuracy",
    }  # fmt: skip
    from hpo.data import prepare

    for path in MODELS:
        try:
            sweep = from_document({**model, "model": path}, project, allowed=())
            check(sweep, prepare(sweep, project / "prepared"))
            ran.append(path)
        except InputError:
            pass
    strange = imported & {"antigravity", "this", "pty", "webbrowser", "runpy", "own", "cProfile", "zipapp"}
    figure(
        "S3",
        "code is the project's own, a known library's or allowed by name; nothing else is imported or called",
        f"{len(OBJECTIVES) + len(MODELS)} paths, accepted: {ran}, imported: {sorted(strange)}",
        len(ran) + len(strange) + (project / "pwned").exists(),
    )


AFIELD = {
    "dask: cluster: tls://10.9.8.7:8786": "--cluster tls://10.9.8.7:8786",
    "dask: cluster: tls://127.0.0.1.a.example:8786": "--cluster tls://127.0.0.1.a.example:8786",
    "dask: cluster: ssh, options: {hosts: [10.9.8.7]}": "--allow-import ssh",
    "dask: cluster: distributed.LocalCluster, options: {preload: own.py}": "--allow-import distributed",
    "dask: options: {preload: http://10.9.8.7/x.py}": "--allow-import distributed",
    "dask: options: {worker_class: own.Worker}": "--allow-import distributed",
    "dask: cluster: os.system": "--allow-import os",
    "dask: cluster: dask_jobqueue.SLURMCluster, options: {job_script_prologue: [touch pwned]}": "dask_jobqueue",
    "dask: store: s3://stolen/data": "--allow-import s3://stolen/data",
    "ray: cluster: ray://10.9.8.7:10001": "--cluster ray://10.9.8.7:10001",
    "ray: cluster: ray://localhost.a.example:10001": "--cluster ray://localhost.a.example:10001",
    "ray: cluster: os.system": "--cluster os.system",
    "ray: store: https://stolen.example/data": "--allow-import https://stolen.example/data",
}
SEARCH_ALL = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from hpo.search import command
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        seen.append([event, str(arguments[-1])])
sys.addaudithook(watch)
said = {}
for path in sorted(Path("search_spaces").glob("*.yaml")):
    said[path.stem] = CliRunner().invoke(command, ["--space", str(path), "--tracking-uri", "none"]).output
engines = sorted({"dask", "distributed", "ray", "fsspec", "own"} & set(sys.modules))
print(json.dumps([said, seen, engines]))
"""


def test_s3_no_file_leads_to_a_foreign_cluster(project: Path) -> None:
    """Row S3, too: who connects to a scheduler runs its code, and who names a store is given the data."""
    (project / "search_spaces").mkdir()
    for n, (written, _) in enumerate(AFIELD.items()):
        engine, _, keys = written.partition(": ")
        (project / "search_spaces" / f"{n:02}.yaml").write_text(f"{SAFE}executor: {{engine: {engine}, {keys}}}\n")
    done = run("-c", SEARCH_ALL)
    assert done.returncode == 0, done.stderr
    said, seen, engines = json.loads(done.stdout)
    hints = dict(zip(sorted(said), AFIELD.values(), strict=True))
    wrong = [
        f"{name}: {said[name]}" for name, hint in hints.items()
        if hint not in said[name] or f"search_spaces/{name}.yaml:5:" not in said[name]
    ]  # fmt: skip
    figure(
        "S3",
        "a sweep file alone leads to no cluster, no command of a cluster's class and no store but its own",
        f"{len(AFIELD)} files: accepted or unsaid {wrong}, reached {seen}, imported {engines}",
        len(wrong) + len(seen) + len(engines) + (project / "pwned").exists(),
    )
    address = "tls://10.9.8.7:8786"
    assert load("search_spaces/00.yaml", [f"executor.cluster={address}"]).executor.cluster == address
    assert load("search_spaces/00.yaml", allow_import=[address]).executor.cluster == address


def test_s5_no_name_leads_out_of_the_project(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Row S5: data and artifact paths, the names of sweeps and models, links."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text("a,b\n1,2\n")
    (outside / "foreign.py").write_text("def score(params, trial): ...\n")
    (project / "link.csv").symlink_to(outside / "secret.csv")
    (project / "folder").symlink_to(outside)
    (project / "foreign.py").symlink_to(outside / "foreign.py")
    up = os.path.relpath(outside, project)
    taken: list[str] = []

    def refused(what: str, act: Any) -> None:
        try:
            act()
        except (InputError, ValueError):
            return
        taken.append(what)

    def document(**changes: Any) -> None:
        from_document({**space_of(x={"float": [0, 1]}), **changes}, project, allowed=())

    data = [f"{up}/secret.csv", "link.csv", "folder/secret.csv", "../../etc/passwd", "./../x.csv", "a/../../x.csv", "."]
    data += ["/dev/zero", "/dev/stdin", "folder", "\0", "x" * 5000, "file:///etc/passwd", "https://a.example/x.csv"]
    for path in data:
        refused(f"data {path}", lambda path=path: document(data={"path": path, "target": "b"}))
    names = ["../x", "a/b", "/etc/x", "..", ".hidden", "a:b", "a\nb", "a\0b", "", "x" * 300]
    for name in names:
        refused(f"name {name!r}", lambda name=name: document(name=name))
        refused(f"model {name!r}", lambda name=name: document(promote={"model": name}))
    refused("objective behind a link", lambda: document(objective="foreign:score"))
    (project / "trial").mkdir()
    (project / "trial" / "link").symlink_to(outside)
    attempt = Attempt(Trial(0, {}), folder=project / "trial")
    artifacts = ["../x", "/tmp/x", "a/../../x", "link/x", "..", "\0"]
    for name in artifacts:
        refused(f"artifact {name!r}", lambda name=name: attempt.log_text("x", name))
    for sweep in ("../outside", "/etc/passwd", "*", ""):
        refused(f"sweep {sweep!r}", lambda sweep=sweep: find(project / ".hpo", sweep))
    refused("space", lambda: find_space("folder/../../nothing"))
    tried = len(data) + 2 * len(names) + len(artifacts) + 6
    left = sorted(path.name for path in outside.iterdir())
    violations = len(taken) + (left != ["foreign.py", "secret.csv"])
    figure("S5", "no name or link leads out of the project", f"{tried} tried, accepted: {taken}", violations)


def test_a_refusal_names_its_problem() -> None:
    """What the rows above count as refused is an error that says what to do, not any error."""
    with pytest.raises(InputError) as caught:
        from_document({**space_of(x={"float": [0, 1]}), "objective": "os:system"}, Path("."), allowed=())
    [problem] = caught.value.problems
    assert problem == Problem("'os' is not in .", "objective", problem.hint)
    assert "--allow-import os" in problem.hint
