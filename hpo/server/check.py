"""Probe a running MLflow server from outside: what would a stranger, a hostile web page or a curious colleague get?

Called by `python -m hpo.server check`. Each probe is a request that a well-kept server refuses; none changes anything,
even on one that does not refuse: what would be written is addressed to names that do not exist. Some probes need an
ordinary account; what could not be looked at is said as well, so that silence means that all is well.
"""

from __future__ import annotations

import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from hpo.errors import InputError, Problem
from hpo.server import GUARD_HEADER, PROMOTER
from hpo.server.settings import is_loopback
from hpo.server.wire import Answer, Wire

SEARCH = "/api/2.0/mlflow/experiments/search"
_PRESET = "start it with the team preset: python -m hpo.server --preset team"
_READS = (  # what holds data, one of each family
    "/api/2.0/mlflow/experiments/search?max_results=1",
    "/ajax-api/2.0/mlflow/experiments/search?max_results=1",
    "/api/2.0/mlflow/registered-models/search",
    "/api/2.0/mlflow/model-versions/search",
    "/api/2.0/mlflow/users/list",
    "/api/2.0/mlflow-artifacts/artifacts?path=0",
    "/api/3.0/mlflow/server-info",
    "/api/3.0/mlflow/mcp-servers",
    "/graphql", "/metrics", "/docs", "/openapi.json", "/signup", "/",
)  # fmt: skip
_PUBLIC = {"/api/3.0/mlflow/server-info"}  # MLflow means it to be; no secrets in it. Our proxy closes it all the same
_NAMES = ("10.attacker.example", "192.168.attacker.example", "attacker.example", "localhost.attacker.example")
_PAGE = "https://attacker.example"
_TERA = str(2**40)
PATIENCE = 5.0  # seconds in which a server with a limit says so
# As of November 2026; the project's advisories: https://github.com/mlflow/mlflow/security/advisories
_HOLES = (
    ((2, 22, 4), "CVE-2025-11201: a stranger runs code"),
    ((3, 5, 0), "CVE-2025-14279: any web page reads all, by DNS rebinding"),
    ((3, 8, 0), "GHSA-gq3w-7jj3-x7gr: a default password"),
    ((3, 10, 0), "CVE-2026-2614: a stranger reads the server's files"),
    ((3, 10, 2), "CVE-2026-0545, CVE-2026-2652"),
)


@dataclass(frozen=True)
class Finding:
    check: str
    what: str
    fix: str


@dataclass(frozen=True)
class Report:
    """`passed` and `skipped` name checks; a skipped one with the reason."""

    url: str
    found: tuple[Finding, ...]
    passed: tuple[str, ...]
    skipped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.url}: {len(self.found) or 'nothing'} to fix"]
        for finding in self.found:
            lines += [f"  {finding.check}: {finding.what}", f"      {finding.fix}"]
        if self.passed:
            lines.append(f"  in order: {', '.join(self.passed)}")
        lines += [f"  not looked at: {skipped}" for skipped in self.skipped]
        return "\n".join(lines)


class _Skipped(Exception):
    pass


Check = Callable[[Wire], Iterator[tuple[str, str]]]


def findings(wire: Wire) -> Report:
    """Everything that is wrong, in the order of `CHECKS`. Raises InputError if no MLflow answers there."""
    _reach(wire)
    found: list[Finding] = []
    passed: list[str] = []
    skipped: list[str] = []
    for name, check in CHECKS.items():
        try:
            here = [Finding(name, what, fix) for what, fix in check(wire)]
        except _Skipped as reason:
            skipped.append(f"{name} ({reason})")
            continue
        except OSError as error:
            skipped.append(f"{name} ({error})")
            continue
        found += here
        passed += [] if here else [name]
    return Report(wire.url, tuple(found), tuple(passed), tuple(skipped))


def _reach(wire: Wire) -> None:
    try:
        answer = wire.ask("GET", "/health", anonymous=True)
    except ssl.SSLCertVerificationError as error:
        hint = "renew it, or name its authority in MLFLOW_TRACKING_SERVER_CERT_PATH"
        raise InputError(Problem(f"the certificate is not trusted: {error.verify_message}", wire.url, hint)) from error
    except OSError as error:
        raise InputError(Problem(f"nobody answers: {error}", wire.url)) from error
    if answer.status != 200:
        raise InputError(Problem(f"/health answers {answer.status or 'nothing'}: this is no MLflow server", wire.url))
    if wire.username and wire.get("/api/2.0/mlflow/users/current").status == 401:
        hint = "correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or unset them"
        raise InputError(Problem(f"the server does not know {wire.username!r} with this password", wire.url, hint))


def _transport(wire: Wire) -> Iterator[tuple[str, str]]:
    place = urlsplit(wire.url)
    if place.scheme == "http" and not is_loopback(place.hostname or ""):
        yield "passwords and models travel in the clear", "put a proxy with TLS in front: scripts/server/nginx.conf"
    if place.scheme == "https" and "strict-transport-security" not in wire.ask("GET", "/health").headers:
        yield "a browser may be led to http:// (no Strict-Transport-Security)", "send that header: scripts/server"


def _anonymous(wire: Wire) -> Iterator[tuple[str, str]]:
    open = [path for path in _READS if wire.ask("GET", path, anonymous=True).status == 200]
    if data := [path.partition("?")[0] for path in open if path not in _PUBLIC]:
        yield f"anybody may read {data[0]}" + (f" and {len(data) - 1} more" if data[1:] else ""), _PRESET


def _hosts(wire: Wire) -> Iterator[tuple[str, str]]:
    """A page whose name was made to point here talks to this server as if it were its own."""
    for name in _NAMES:
        answer = wire.ask("GET", f"{SEARCH}?max_results=1", Host=name)
        if answer.status in (200, 401):
            yield f"it answers to the name {name}", "name its hosts in full, with ports and without *: --allowed-hosts"
            return


def _origins(wire: Wire) -> Iterator[tuple[str, str]]:
    preflight = wire.ask(
        "OPTIONS", SEARCH, anonymous=True, Origin=_PAGE,
        Access_Control_Request_Method="POST", Access_Control_Request_Headers="content-type",
    )  # fmt: skip
    answer = wire.ask("POST", SEARCH, {"max_results": 1}, Origin=_PAGE)
    allowed = {a.headers.get("access-control-allow-origin") for a in (preflight, answer)} & {"*", _PAGE}
    if allowed or answer.status == 200:
        what = "may read the answers" if allowed else "may write"
        yield f"any web page {what}: Origin {_PAGE} is accepted", "--cors-allowed-origins with its own address alone"


def _jobs(wire: Wire) -> Iterator[tuple[str, str]]:
    """A job that is known, without the parameters that it needs: nothing is started."""
    answer = wire.ask("POST", "/ajax-api/3.0/jobs/", {"job_name": "invoke_scorer", "params": {}})
    if answer.status == 401:
        raise _Skipped("needs an account")
    if answer.status not in (0, 403, 404, 405) and b"not enabled" not in answer.body:
        yield "it runs jobs for its clients", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"


def _body(wire: Wire) -> Iterator[tuple[str, str]]:
    """Announced, never sent: a server with a limit says no at once."""
    path = f"/api/2.0/mlflow-artifacts/artifacts/{_nobody()}/cap"
    try:
        status = replace(wire, patience=PATIENCE).ask("PUT", path, Content_Length=_TERA, Expect="100-continue").status
    except TimeoutError:
        status = 100
    if status not in (0, 413):
        fix = "a proxy in front with client_max_body_size: scripts/server/nginx.conf"
        yield "an upload of any size is taken into memory", fix


def _version(wire: Wire) -> Iterator[tuple[str, str]]:
    answer = wire.get("/version")
    if answer.status != 200 or not (match := re.match(rb"(\d+)\.(\d+)\.(\d+)", answer.body)):
        raise _Skipped("it does not tell its version" + ("" if wire.username else " without an account"))
    running = tuple(map(int, match.groups()))
    if holes := [what for fixed, what in _HOLES if running < fixed]:
        yield f"MLflow {match[0].decode()} has known holes: {'; '.join(holes)}", "upgrade: scripts/server/README.md"


def _framing(wire: Wire) -> Iterator[tuple[str, str]]:
    answer = wire.get("/")
    if answer.status == 401:
        raise _Skipped("needs an account")
    policy = answer.headers.get("content-security-policy", "")
    if "x-frame-options" not in answer.headers and "frame-ancestors" not in policy:
        yield "another site may show it in a frame and have its buttons clicked", "X-Frame-Options: SAMEORIGIN"


def _telemetry(wire: Wire) -> Iterator[tuple[str, str]]:
    answer = wire.get("/ajax-api/3.0/mlflow/ui-telemetry")
    if answer.status in (401, 403):
        raise _Skipped("needs an account")
    if answer.status == 200 and (answer.json() or {}).get("disable_ui_telemetry") is False:
        yield "it reports to its makers what people do in it", "MLFLOW_DISABLE_TELEMETRY=true"


def _password(wire: Wire) -> Iterator[tuple[str, str]]:
    """The one that older versions came with, tried once."""
    if wire.ask("GET", SEARCH, anonymous=True).status == 401:
        answer = Wire(wire.url, "admin", "password1234").get(f"{SEARCH}?max_results=1")
        if answer.status == 200:
            yield "the administrator has the password that MLflow came with", "change it, and look who has been there"
    else:
        raise _Skipped("it asks for no password")


def _permissions(wire: Wire) -> Iterator[tuple[str, str]]:
    """What an account may do with something that it has no grant on."""
    me = _account(wire)
    if me["is_admin"]:
        raise _Skipped("needs an account that is not an administrator's")
    grants = wire.get("/api/3.0/mlflow/users/current/permissions").json() or {}
    held = {grant.get("resource_type") for grant in grants.get("permissions", [])}
    kind = next(kind for kind in ("registered_model", "prompt", "scorer", "mcp_server", "trace") if kind not in held)
    answer = wire.get(
        "/api/3.0/mlflow/users/permissions/get", username=me["username"], resource_type=kind, resource_id="*"
    )
    level = (answer.json() or {}).get("permission")
    if level is None:
        raise _Skipped(f"it does not say what accounts may do: {answer.status}")
    if level not in ("NO_PERMISSIONS", "DENY"):
        yield f"every account has {level} on everybody's work", "default_permission = NO_PERMISSIONS, and roles"


def _promotion(wire: Wire) -> Iterator[tuple[str, str]]:
    """An alias on a model that does not exist: MLflow says so, the guard refuses before that."""
    me = _account(wire)
    answer = wire.get("/api/3.0/mlflow/users/roles/list", username=me["username"])
    roles = {role.get("name") for role in (answer.json() or {}).get("roles", [])}
    if me["is_admin"] or PROMOTER in roles:
        raise _Skipped("needs an account that may not promote")
    body = {"name": _nobody(), "alias": "champion", "version": "1"}
    refusal = wire.ask("POST", "/api/2.0/mlflow/registered-models/alias", body)
    if GUARD_HEADER.lower() not in refusal.headers:
        yield "who may register a version of a model may also make it champion", _PRESET


def _account(wire: Wire) -> dict[str, Any]:
    answer: Answer = wire.get("/api/2.0/mlflow/users/current")
    if not wire.username or answer.status != 200:
        raise _Skipped("needs an account")
    return dict(answer.json()["user"])


def _nobody() -> str:
    return f"hpo-check-{secrets.token_hex(8)}"


CHECKS: dict[str, Check] = {
    "transport": _transport,
    "anonymous": _anonymous,
    "hosts": _hosts,
    "origins": _origins,
    "jobs": _jobs,
    "body": _body,
    "version": _version,
    "framing": _framing,
    "telemetry": _telemetry,
    "password": _password,
    "permissions": _permissions,
    "promotion": _promotion,
}
