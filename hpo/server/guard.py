"""Runs inside the MLflow server: only a promoter moves an alias, or takes away what an alias stands for.

Named in the server's configuration by `launch.py`; MLflow calls it for every request, in place of its own function.
MLflow knows no such right: who may register a version (EDIT on the model) may also move `champion` to it, and who
creates a model owns it with all its aliases. So after the password this asks one question more. What it guards is
told by method and path, as MLflow's own rules are.
"""

from __future__ import annotations

import json

from flask import Response, request
from mlflow.server import auth
from werkzeug.datastructures import Authorization

from hpo.server import CHALLENGER, GUARD_HEADER, PROMOTER

_GUARDED = {
    "/mlflow/registered-models/alias": {"POST", "DELETE"},
    "/mlflow/registered-models/rename": {"POST"},
    "/mlflow/registered-models/delete": {"DELETE"},
    "/mlflow/model-versions/delete": {"DELETE"},
    "/mlflow/model-versions/transition-stage": {"POST"},
}
_TAGGED = ("/set-tag", "/delete-tag", "/create")  # of models and versions; these carry tags
_CLAIMS = ("hpo.event.", "hpo.done.", "hpo.told.", "hpo.beat")  # tags by which `hpo.registry` agrees on moves


def authenticate() -> Authorization | Response:
    """Who asks; or the answer that they get instead."""
    who: Authorization | Response = auth.authenticate_request_basic_auth()
    if isinstance(who, Response) or not (guarded(request.method, request.path) or claims()):
        return who
    if names_challenger() or is_promoter(str(who.username)):
        return who
    message = (
        f"{who.username!r} may register versions but not move or remove what is in production: "
        f"that takes an account with the role {PROMOTER!r}"
    )
    body = json.dumps({"error_code": "PERMISSION_DENIED", "message": message})
    return Response(body, status=403, mimetype="application/json", headers={GUARD_HEADER: PROMOTER})


def guarded(method: str, path: str) -> bool:
    """Whether this request may change what an alias or a stage resolves to."""
    return any(path.rstrip("/").endswith(end) and method in methods for end, methods in _GUARDED.items())


def claims() -> bool:
    """Whether the request writes a tag that a promoter's process would act on later."""
    path = request.path.rstrip("/")
    if "/mlflow/registered-models/" not in path and "/mlflow/model-versions/" not in path:
        return False
    if request.method not in ("POST", "DELETE") or not path.endswith(_TAGGED):
        return False
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):  # MLflow unpacks text in text, as very old clients send it: nobody needs that here
        return True
    tags = body.get("tags") or []
    keys = [body.get("key"), request.args.get("key"), *(tag.get("key") for tag in tags if isinstance(tag, dict))]
    return any(str(key).startswith(_CLAIMS) for key in keys)


def names_challenger() -> bool:
    """The request gives the alias that says no more than "judged, not promoted". Read as MLflow reads it."""
    body = request.get_json(force=True, silent=True) if request.method == "POST" else None
    return request.path.endswith("/alias") and isinstance(body, dict) and body.get("alias") == CHALLENGER


def is_promoter(username: str) -> bool:
    user = auth.store.get_user(username)
    return bool(user.is_admin or any(role.name == PROMOTER for role in auth.store.list_user_roles(user.id)))
