"""Accounts of a team's server and their three roles: who reads, who sweeps, who promotes.

Called by `python -m hpo.server account`. The roles are MLflow's own, made here when they are missing, so that what each
may do can be read in one place. A right is given to a role and never to a person; giving it again changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.server import PROMOTER
from hpo.server.wire import Wire

_SWEEPS = {  # a sweep removes runs and models that a lost answer made twice, and never an experiment
    "experiment": "EDIT",
    "run": "MANAGE",
    "logged_model": "MANAGE",
    "registered_model": "EDIT",
}
ROLES: Mapping[str, Mapping[str, str]] = {
    "reader": {"experiment": "READ", "registered_model": "READ"},
    "sweeper": _SWEEPS,
    PROMOTER: {**_SWEEPS, "registered_model": "MANAGE"},
}
_WORKSPACE = "default"
_HINT = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD must be an administrator's"


def give(wire: Wire, name: str, role: str, password: str | None = None) -> str | None:
    """Make the account if there is none, and give it the role and no other of ours.

    Returns the password that was made up for a new account. Raises InputError with what the server said.
    """
    made: str | None = None
    if wire.get("/api/2.0/mlflow/users/get", username=name).status == 404:
        made = None if password else secrets.token_urlsafe(24)
        _do(wire, "POST", "2.0/mlflow/users/create", username=name, password=password or made)
    elif password:
        _do(wire, "PATCH", "2.0/mlflow/users/update-password", username=name, password=password)
    wanted = _role(wire, role)
    held = {one["id"]: one["name"] for one in _list(wire, "users/roles/list", "roles", username=name)}
    for number, other in held.items():
        if other in ROLES and other != role:
            _do(wire, "DELETE", "3.0/mlflow/roles/unassign", username=name, role_id=number)
    if wanted not in held:
        _do(wire, "POST", "3.0/mlflow/roles/assign", username=name, role_id=wanted)
    return made


def _role(wire: Wire, name: str) -> int:
    """The number of the role, which has its rights then; those that an older hpo gave differently are corrected."""
    numbers = {role["name"]: role["id"] for role in _list(wire, "roles/list", "roles", workspace=_WORKSPACE)}
    if name not in numbers:
        made = _do(wire, "POST", "3.0/mlflow/roles/create", workspace=_WORKSPACE, name=name, description="hpo")
        numbers[name] = made["role"]["id"]
    number = int(numbers[name])
    rights = _list(wire, "roles/permissions/list", "role_permissions", role_id=str(number))
    there = {right["resource_type"]: right for right in rights if right["resource_pattern"] == "*"}
    for kind, level in ROLES[name].items():
        if kind not in there:
            right = {"role_id": number, "resource_type": kind, "resource_pattern": "*", "permission": level}
            _do(wire, "POST", "3.0/mlflow/roles/permissions/add", **right)
        elif there[kind]["permission"] != level:
            change = {"role_permission_id": there[kind]["id"], "permission": level}
            _do(wire, "PATCH", "3.0/mlflow/roles/permissions/update", **change)
    return number


def _list(wire: Wire, path: str, key: str, **query: str) -> list[dict[str, Any]]:
    answer = wire.get(f"/api/3.0/mlflow/{path}", **query)
    if answer.status != 200:
        raise _refused(answer.status, answer.body)
    return list(answer.json()[key])


def _do(wire: Wire, method: str, path: str, **body: Any) -> Any:
    answer = wire.ask(method, f"/api/{path}", body)
    if not 200 <= answer.status < 300:
        raise _refused(answer.status, answer.body)
    return answer.json()


def _refused(status: int, body: bytes) -> InputError:
    said = redact(body.decode("utf-8", "replace")).strip().splitlines() or [""]
    return InputError(Problem(f"the server refused ({status}): {said[0]:.300}", hint=_HINT))
