"""Notices over the wire: a real HTTP server and a real SMTP server on the loopback device."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from hpo.recurrence import Notify
from hpo.schedule.ledger import Notice
from hpo.schedule.notices import send

BODY = {"text": "flights, slot of 2026-11-23T03:00+01:00: promoted\nroc_auc 0.71", "event": "promoted"}
HOOK = Notice("flights", 1_795_402_800, "webhook", BODY)
MAIL = HOOK._replace(channel="email")


class Hook(BaseHTTPRequestHandler):
    answer = 200
    got: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Smtp(socketserver.StreamRequestHandler):
    """As much of the protocol as one message takes; it wants ada's password."""

    mails: ClassVar[list[str]] = []

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "EHLO":
                self._say("250-here\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                given = base64.b64decode(line.split()[2]).decode()
                self._say("235 welcome" if given == "\0ada@example.org\0hunter22" else "535 no")
            elif verb == "DATA":
                self._say("354 go on")
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
                self.mails.append("\n".join(lines))
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hook]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}/T0/B1/secret")
        Hook.got.clear()
        Hook.answer = 200
        yield Hook
        server.shutdown()


@pytest.fixture
def smtp() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Smtp.mails.clear()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_webhook_gets_the_text_and_the_facts(hook: type[Hook]) -> None:
    assert send(HOOK, Notify("HOOK")) is None
    assert hook.got == [BODY]


def test_a_webhook_that_refuses_is_told_of_without_its_address(hook: type[Hook]) -> None:
    hook.answer = 503
    assert send(HOOK, Notify("HOOK")) == "ValueError: the webhook answers 503"


def test_a_webhook_that_is_not_there_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "http://127.0.0.1:1/secret")
    trouble = send(HOOK, Notify("HOOK"))
    assert trouble is not None
    assert "refused" in trouble
    assert "secret" not in trouble
    monkeypatch.setenv("HOOK", "file:///etc/passwd")
    assert "neither http" in str(send(HOOK, Notify("HOOK")))
    monkeypatch.delenv("HOOK")
    assert "HOOK is not set" in str(send(HOOK, Notify("HOOK")))


def test_a_mail_has_subject_and_facts(smtp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_SMTP_URL", f"smtp://ada%40example.org:hunter22@{smtp}")
    assert send(MAIL, Notify(email=("team@example.org", "boss@example.org"))) is None
    (mail,) = Smtp.mails
    assert "Subject: [hpo] flights, slot of 2026-11-23T03:00+01:00: promoted\n" in mail
    assert "From: ada@example.org\n" in mail
    assert "To: team@example.org, boss@example.org\n" in mail
    assert "roc_auc 0.71" in mail
    assert '"event": "promoted"' in mail


def test_a_wrong_password_is_said_and_not_shown(smtp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_SMTP_URL", f"smtp://ada%40example.org:tr0ub4dor@{smtp}")
    trouble = send(MAIL, Notify(email=("team@example.org",)))
    assert trouble is not None
    assert "535" in trouble
    assert "tr0ub4dor" not in trouble
    assert not Smtp.mails
