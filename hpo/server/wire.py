"""One HTTP request and its answer, with everything in it under our control.

Used by `check`, which sends what no browser and no polite client would, by `accounts` and by `hpo.ui`. The standard
library's client: these commands need neither mlflow nor what its server needs. Connections are not kept.
"""

from __future__ import annotations

import base64
import configparser
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

TIMEOUT = 20.0


@dataclass(frozen=True)
class Answer:
    """Header names in lower case. A status of 0: the connection was closed without a word."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body's value, None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Wire:
    """A way to a server. May raise OSError: it is not there, or its certificate is not trusted.

    The certificate is checked against `MLFLOW_TRACKING_SERVER_CERT_PATH`, as MLflow's clients do, else the system's.
    """

    url: str
    username: str = ""
    password: str = ""
    patience: float = TIMEOUT

    @classmethod
    def from_environment(cls, url: str) -> Wire:
        """As the account that MLflow's clients use: of the address, the environment, or ~/.mlflow/credentials."""
        place = urlsplit(url.rstrip("/"))
        if place.username:
            bare = place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()
            return cls(bare, unquote(place.username), unquote(place.password or ""))
        kept = configparser.ConfigParser(interpolation=None)
        kept.read(Path.home() / ".mlflow" / "credentials")
        name, password = (
            os.environ.get(variable) or str(kept.get("mlflow", variable.lower(), fallback=""))
            for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        )
        return cls(place.geturl(), name, password)

    def ask(self, method: str, path: str, body: Any = None, *, anonymous: bool = False, **headers: str) -> Answer:
        """`body` is sent as JSON; a header's underscores are its dashes. `Host` may be any."""
        place = urlsplit(self.url)
        given = {"Host": place.netloc, "Connection": "close"}
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            given |= {"Content-Type": "application/json"}
        given |= {"Content-Length": str(len(data))} if data or method in ("POST", "PUT", "PATCH") else {}
        if self.username and not anonymous:
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            given |= {"Authorization": f"Basic {token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self._connection()
        try:
            connection.putrequest(method, place.path + path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read(1_000_000))
        except (http.client.HTTPException, ConnectionError) as error:
            if isinstance(error, ConnectionRefusedError):
                raise
            return Answer(0)
        finally:
            connection.close()

    def get(self, path: str, **query: str) -> Answer:
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path)

    def _connection(self) -> http.client.HTTPConnection:
        place = urlsplit(self.url)
        host = place.hostname or ""
        if place.scheme != "https":
            return http.client.HTTPConnection(host, place.port or 80, timeout=self.patience)
        trusted = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
        return http.client.HTTPSConnection(host, place.port or 443, timeout=self.patience, context=trusted)
