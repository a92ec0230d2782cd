"""What is worth telling, in which words, and how it is sent: by webhook (JSON, as Slack reads it) and by e-mail.

Used by `hpo.schedule.scheduler`. A notice is committed to the ledger with the slot that it tells of, and stays there
until it is sent; so it survives a crash, and comes once more rather than not at all. Addresses with a secret in them
(most webhooks, every mail account) come from the environment, never from a file.
"""

from __future__ import annotations

import json
import os
import smtplib
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from itertools import takewhile
from urllib.parse import unquote, urlsplit

from hpo.recurrence import Notify, Recurrence
from hpo.redact import redact
from hpo.schedule.ledger import Notice
from hpo.schedule.slots import Slot

TRIES = 12  # over about four days; then it is old
PAUSE = 60.0  # seconds to the second try, doubled with each
TIMEOUT = 5.0  # seconds; a scheduler that waits cannot beat
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Send = Callable[[Notice, Notify], str | None]


def worth_telling(
    recurrence: Recurrence, slot: Slot, new: int, history: Callable[[], Sequence[Slot]]
) -> tuple[Notice, ...]:
    """The notices about a slot that is done; `new` slots are, it being the last. `history`: the latest first."""
    notify = recurrence.notify
    if not notify.channels:
        return ()
    if slot.outcome == "promoted":
        event, count = "promoted", 1
    elif slot.outcome in ("failed", "skipped", "missed"):
        event = "failed" if slot.outcome == "failed" else "skipped"
        alike = ("failed",) if event == "failed" else ("skipped", "missed")
        done = (past for past in history() if past.state == "done")
        count = sum(1 for _ in takewhile(lambda past: past.outcome in alike, done))
        often = notify.failed if event == "failed" else notify.skipped
        if count // often == (count - new) // often:  # told once for each so many of them
            return ()
    else:
        return ()
    at = recurrence.local(slot.planned)
    body = {
        "text": words(slot, at, count),
        "event": event,
        "schedule": slot.schedule,
        "slot": at,
        "outcome": slot.outcome,
        "reason": slot.reason,
        "in_a_row": count,
        "result": {key: slot.result.get(key) for key in ("sweep", "score", "metric", "model", "diff", "change")},
    }
    return tuple(Notice(slot.schedule, slot.planned, channel, body) for channel in notify.channels)


def words(slot: Slot, at: str, count: int) -> str:
    """For a person, in one to three lines."""
    lines = [f"{slot.schedule}, slot of {at}: {slot.outcome}" + (f", {count} in a row" if count > 1 else "")]
    lines += [slot.reason] if slot.reason else []
    lines += [f"since last time: {diff}"] if (diff := slot.result.get("diff")) else []
    return redact("\n".join(lines))


def send(notice: Notice, notify: Notify) -> str | None:
    """What went wrong, None: it is told. Never raises for a server's sake."""
    try:
        if notice.channel == "webhook":
            _post(_given(notify.webhook or ""), notice)
        else:
            _mail(_given("HPO_SMTP_URL"), notify.email, notice)
    except (OSError, ValueError, smtplib.SMTPException) as error:  # HTTPError and URLError are OSErrors
        return redact(f"{type(error).__name__}: {error}")
    return None


def _given(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise ValueError(f"{variable} is not set in the scheduler's environment")
    return value


def _post(address: str, notice: Notice) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise ValueError("the webhook's address is neither http:// nor https://")
    body = notice.body if parts.hostname != "hooks.slack.com" else {"text": notice.body["text"]}
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "hpo"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise ValueError(f"the webhook answers {error.code}") from None  # its own words may repeat the address


def _mail(server: str, to: Sequence[str], notice: Notice) -> None:
    """`smtp://user:password@host:587` (TLS if the server offers it; a password goes over TLS only) or `smtps://…`."""
    parts = urlsplit(server)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("HPO_SMTP_URL is not smtp://user:password@host:587")
    message = EmailMessage()
    message["Subject"] = f"[hpo] {str(notice.body['text']).splitlines()[0]}"[:200]
    message["From"] = os.environ.get("HPO_SMTP_FROM") or (unquote(parts.username or "") if "@" in unquote(
        parts.username or "") else f"hpo@{parts.hostname}")  # fmt: skip
    message["To"] = ", ".join(to)
    message["Message-ID"] = f"<{notice.planned}.{zlib.crc32(notice.schedule.encode())}@hpo>"  # the same at each try
    message.set_content(f"{notice.body['text']}\n\n{json.dumps(notice.body, indent=2)}\n")
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with kind(parts.hostname, parts.port or 0, timeout=TIMEOUT) as smtp:
        smtp.ehlo()
        safe = parts.scheme == "smtps" or parts.hostname in LOOPBACK
        if parts.scheme == "smtp" and smtp.has_extn("starttls"):
            smtp.starttls()
            smtp.ehlo()
            safe = True
        if parts.username:
            if not safe:
                raise ValueError("the mail server offers no TLS; no password is sent in clear")
            smtp.login(unquote(parts.username), unquote(parts.password or ""))
        smtp.send_message(message)
