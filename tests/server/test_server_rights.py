"""S7 and S8: what a stranger, a hostile page and each account get from the team preset, through its own door."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.server.wire import Wire
from tests.chaos.figures import figure
from tests.server.stack import Proxy, Stack

API = "/api/2.0/mlflow"


@pytest.fixture(autouse=True)
def trusts(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(stack.tls / "fullchain.pem"))


def wire(stack: Stack, account: dict[str, str]) -> Wire:
    return Wire(stack.url, account["MLFLOW_TRACKING_USERNAME"], account["MLFLOW_TRACKING_PASSWORD"])


def routes() -> list[tuple[str, str]]:
    """Every route that MLflow has with accounts, by its own tables; asked in a process of its own."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import os; os.environ['_MLFLOW_SGI_NAME'] = 'uvicorn'\n"
        "from mlflow.server import auth\n"
        "auth._init_store_for_app = lambda: None\n"
        "app = auth.create_app()\n"
        "for rule in auth.app.url_map.iter_rules():\n"
        "    for method in rule.methods - {'HEAD'}: print('ROUTE', method, rule.rule)\n"
        "for route in app.routes:\n"
        "    for method in getattr(route, 'methods', None) or []: print('ROUTE', method, route.path)\n"
    )
    env = {**os.environ, "MLFLOW_FLASK_SERVER_SECRET_KEY": "x", "MLFLOW_AUTH_ADMIN_PASSWORD": "not-used-at-all"}
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout
    lines = {line.removeprefix("ROUTE ") for line in out.splitlines() if line.startswith("ROUTE ")}
    found = sorted((line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines)
    assert len(found) > 300, "these are not all"
    return found


def plain(path: str) -> str:
    """With something in the place of each variable."""
    for left, right in (("<", ">"), ("{", "}")):
        while left in path:
            before, _, rest = path.partition(left)
            path = before + "0" + rest.partition(right)[2]
    return path


def test_s7_a_stranger_gets_health_and_nothing_else(stack: Stack) -> None:
    """Behind the door as well, but for what MLflow gives to everybody: its version of the API and its page's files."""
    door, server = Wire(stack.url), Wire(stack.settings.address)
    open = {"door": set[str](), "server": set[str]()}
    asked = routes()
    for method, path in asked:
        for name, way in (("door", door), ("server", server)):
            if (status := way.ask(method, plain(path)).status) not in (401, 403, 404, 405):
                open[name].add(f"{method} {path} {status}")
    allowed = {"GET /health 200"}
    theirs = {entry for entry in open["server"] if entry.split()[1].endswith(("/server-info", "/health")) or
              entry.split()[0] == "OPTIONS" or "/static" in entry}  # fmt: skip
    wrong = sorted((open["door"] - allowed) | (open["server"] - theirs))
    figure(
        "S7 anonymous", "without an account only /health answers",
        f"{len(asked)} routes, {len(wrong)} open {wrong[:5]}", len(wrong),
    )  # fmt: skip


def test_s7_only_its_own_name_and_its_own_pages(stack: Stack) -> None:
    account = wire(stack, stack.account("matrix", "sweeper"))
    own = f"localhost:{stack.proxy.port}"
    names = {
        own: 200, "10.attacker.example": 403, "attacker.example": 403, f"{own}.attacker.example": 403,
        f"192.168.0.1.attacker.example:{stack.proxy.port}": 403, "127.0.0.1": 403, "*": 403, "": 400,
    }  # fmt: skip
    pages = {
        "": 200, stack.url: 200, "https://attacker.example": 403, "null": 403, "http://localhost": 403,
        f"http://{own}": 403, f"{stack.url}.attacker.example": 403, f"https://attacker.example/{own}": 403,
    }  # fmt: skip
    wrong = []
    for name, host in names.items():
        for page, origin in pages.items():
            for method in ("POST", "GET"):
                body = {"max_results": 1} if method == "POST" else None
                path = f"{API}/experiments/search" + ("" if body else "?max_results=1")
                if page:
                    answer = account.ask(method, path, body, Host=name, Origin=page)
                else:
                    answer = account.ask(method, path, body, Host=name)
                if answer.status != (host if host != 200 else origin):
                    wrong.append((method, name, page, answer.status))
    figure(
        "S7 names", "only its own name is answered, only its own pages may ask",
        f"{len(names)} names, {len(pages)} origins, {len(wrong)} wrong {wrong[:3]}", len(wrong),
    )  # fmt: skip


def upload(stack: Stack, account: Wire, size: int, chunked: bool) -> int:
    """The status of an upload of so many bytes, sent as a client sends them."""
    trusted = ssl.create_default_context(cafile=str(stack.tls / "fullchain.pem"))
    connection = http.client.HTTPSConnection("localhost", stack.proxy.port, timeout=60, context=trusted)
    token = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
    connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/too/large")
    connection.putheader("Authorization", f"Basic {token}")
    connection.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))))
    block = bytes(1 << 20)
    try:
        connection.endheaders()
        for _ in range(size >> 20):
            connection.send(b"100000\r\n" + block + b"\r\n" if chunked else block)
        connection.send(b"0\r\n\r\n" if chunked else b"")
    except (ConnectionError, ssl.SSLError):
        pass  # told to stop: the answer is there
    try:
        return connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        return 0  # the door was closed in our face before the answer could be read
    finally:
        connection.close()


def test_s7_an_upload_that_is_too_large_never_reaches_mlflow(stack: Stack) -> None:
    account = wire(stack, stack.account("uploads", "sweeper"))
    before = memory(stack)
    announced = account.ask("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x", Content_Length=str(300 << 20)).status
    sent = upload(stack, account, 100 << 20, chunked=True)
    batch = account.ask("POST", f"{API}/runs/log-batch", {"run_id": "x" * (5 << 20)}).status
    grown = memory(stack) - before
    wrong = (announced != 413) + (sent not in (413, 0)) + (batch not in (413, 0)) + (grown > 30 << 20)
    figure(
        "S7 size", "an upload beyond the cap is refused at the door (413)",
        f"announced {announced}, in chunks {sent or 'closed'}, a batch of 5 MB {batch or 'closed'}, "
        f"MLflow grew by {grown >> 20} MiB", wrong,
    )  # fmt: skip


def memory(stack: Stack) -> int:
    return sum(process.memory_info().rss for process in stack.processes)


def test_s7_too_many_requests_are_refused(stack: Stack, tmp_path: Path) -> None:
    door = Proxy(tmp_path / "door", stack.mlflow_port, stack.tls, HPO_RATE="1", HPO_BURST="3")
    door.start()
    try:
        answers = [Wire(door.url).get("/health").status for _ in range(12)]
    finally:
        door.stop()
    assert answers.count(429) >= 6
    assert answers[0] in (200, 403)  # its public name is the other door's, which is beside the point


def test_s7_old_tls_is_refused(stack: Stack) -> None:
    context = ssl.create_default_context(cafile=str(stack.tls / "fullchain.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", stack.proxy.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.version() in ("TLSv1.2", "TLSv1.3")


def test_s8_only_a_promoter_moves_champion(stack: Stack) -> None:
    """Everything that changes what `champion` means, tried by every role on a model that it may otherwise work on."""
    admin = stack.admin()
    accounts = {role: wire(stack, stack.account(f"rights-{role}", role)) for role in ("reader", "sweeper", "promoter")}
    accounts["stranger"] = Wire(stack.url)
    accounts["without a role"] = lonely(stack)
    assert admin.ask("POST", f"{API}/registered-models/create", {"name": "rights"}).status == 200
    made = artifact(admin, "rights")
    for _ in range(2):
        assert admin.ask("POST", f"{API}/model-versions/create", {"name": "rights", **made}).status == 200
    acts: dict[str, tuple[str, str, dict[str, str] | None]] = {
        "see": ("GET", f"{API}/registered-models/get?name=rights", None),
        "register a version": ("POST", f"{API}/model-versions/create", {"name": "rights", **made}),
        "move champion": (
            "POST", f"{API}/registered-models/alias", {"name": "rights", "alias": "champion", "version": "1"},
        ),
        "move it as the UI does": (
            "POST", "/ajax-api/2.0/mlflow/registered-models/alias",
            {"name": "rights", "alias": "champion", "version": "2"},
        ),
        "move challenger": (
            "POST", f"{API}/registered-models/alias", {"name": "rights", "alias": "challenger", "version": "1"},
        ),
        "move both": (
            "POST", f"{API}/registered-models/alias?alias=challenger",
            {"name": "rights", "alias": "champion", "version": "2"},
        ),
        "tag a version": (
            "POST", f"{API}/model-versions/set-tag",
            {"name": "rights", "version": "1", "key": "hpo.note", "value": "x"},
        ),
        "claim to have beaten champion": (
            "POST", f"{API}/model-versions/set-tag",
            {"name": "rights", "version": "1", "key": "hpo.beat", "value": "x"},
        ),
        "have a promoter's process move it": (
            "POST", f"{API}/registered-models/set-tag", {"name": "rights", "key": "hpo.event.1", "value": "{}"},
        ),
        "remove champion": ("DELETE", f"{API}/registered-models/alias", {"name": "rights", "alias": "champion"}),
        "rename": ("POST", f"{API}/registered-models/rename", {"name": "rights", "new_name": "rights"}),
        "stage": (
            "POST", f"{API}/model-versions/transition-stage", {"name": "rights", "version": "1", "stage": "Production"},
        ),
        "delete a version": ("DELETE", f"{API}/model-versions/delete", {"name": "rights", "version": "2"}),
    }  # fmt: skip
    may: dict[str, set[str]] = {
        "promoter": set(acts), "sweeper": {"see", "register a version", "move challenger", "tag a version"},
        "reader": {"see"}, "without a role": set(), "stranger": set(),
    }  # fmt: skip
    wrong = []
    for who in ("stranger", "without a role", "reader", "sweeper", "promoter"):
        for act, (method, path, body) in acts.items():
            status = accounts[who].ask(method, path, body).status
            if (status not in (401, 403)) != (act in may[who]):
                wrong.append(f"{who}: {act}: {status}")
    refusal = accounts["sweeper"].ask(*acts["move champion"])
    assert refusal.status == 403
    assert "takes an account with the role 'promoter'" in refusal.json()["message"]
    figure(
        "S8", "only a promoter moves champion; who may not is told so", f"{len(may)} accounts, {len(acts)} acts, "
        f"{len(wrong)} wrong {wrong[:3]}", len(wrong),
    )  # fmt: skip


def test_s8_who_makes_a_model_does_not_own_its_champion(stack: Stack) -> None:
    """MLflow gives MANAGE to whoever creates it."""
    sweeper = wire(stack, stack.account("rights-sweeper", "sweeper"))
    assert sweeper.ask("POST", f"{API}/registered-models/create", {"name": "own"}).status == 200
    body = {"name": "own", **artifact(sweeper, "own")}
    assert sweeper.ask("POST", f"{API}/model-versions/create", body).status == 200
    alias = {"name": "own", "alias": "champion", "version": "1"}
    assert sweeper.ask("POST", f"{API}/registered-models/alias", alias).status == 403
    assert sweeper.ask("DELETE", f"{API}/registered-models/delete", {"name": "own"}).status == 403


def test_s8_a_version_cannot_point_into_the_server(stack: Stack) -> None:
    promoter = wire(stack, stack.account("rights-promoter", "promoter"))
    promoter.ask("POST", f"{API}/registered-models/create", {"name": "elsewhere"})
    for source in ("/etc", "file:///etc", "s3://mlflow/artifacts", "../..", "http://localhost/x"):
        body = {"name": "elsewhere", "source": source}
        assert promoter.ask("POST", f"{API}/model-versions/create", body).status == 400, source


def artifact(account: Wire, experiment: str) -> dict[str, str]:
    """A run of the account's own, as the source of a version."""
    made = account.ask("POST", f"{API}/experiments/create", {"name": experiment}).json()
    run = account.ask("POST", f"{API}/runs/create", {"experiment_id": made["experiment_id"]}).json()["run"]["info"]
    return {"source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}


def lonely(stack: Stack) -> Wire:
    admin = stack.admin(direct=True)
    admin.ask("POST", f"{API}/users/create", {"username": "lonely", "password": "of-a-lonely-one"})
    return Wire(stack.url, "lonely", "of-a-lonely-one")


def test_no_secret_is_seen_by_others_on_the_machine(stack: Stack) -> None:
    said = " ".join(word for process in stack.processes for word in process.cmdline())
    log = (stack.folder / "mlflow.log").read_text(errors="replace")
    hidden = [*stack.secrets.values(), stack.bucket.secret]
    assert [secret for secret in hidden if secret in said or secret in log] == []
