"""Take passwords and tokens out of everything that will be printed, journaled, logged or sent.

One redactor for all of it, because the one that was forgotten is the one that leaks: the journal cleans every fact on
its way in, an attempt what its objective raised, a worker its log, tracking what it sends. A secret is known by where
it stands (in a URL, after `password=`), by its form (`ghp_…`, a private key), or because our environment holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TextIO

HIDDEN = "***"
_NAME = (
    r"(?:password|passwd|passphrase|pwd|secret|token|credentials?|api[_-]?key|"
    r"(?:access|account|private|secret|shared)[_-]?key|access[_-]?key[_-]?id)"
)
_VALUE = r"""(?:(\\?['"]).*?(?:\2|$)|[^\s'"&,;)}\]]+)"""  # quoted, or up to what ends a bare word
_PATTERNS = [
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S),
        (r"(://[^/\s:@'\"]*:)[^/\s'\"]*(?=@)", 0),
        (r"(://)[^/\s:@'\"]{20,}(?=@)", 0),
        (r"([?&](?:sig|code|[\w-]{0,40}(?:signature|credential))=)[^&\s'\"]+", re.I),
        (r"(\bauthorization\\?['\"]?\s?[:=]\s?\\?['\"]?(?:basic |bearer |digest |token )?)[^\s'\"\\]+", re.I),
        (r"(\bbearer\s)[\w.~+/-]{16,}=*", re.I),
        (rf"({_NAME}\\?['\"]?\s?[=:]\s?){_VALUE}", re.I | re.M),
        (rf"(--?[\w-]{{0,40}}{_NAME}\s)(?!-){_VALUE}", re.I | re.M),
        (r"(?<![\w-])(?:A[KS]IA[0-9A-Z]{16}|gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|npm_\w{20,})", 0),
        (r"(?<![\w-])(?:xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|hf_\w{20,}|pypi-[\w-]{16,}|dapi[0-9a-f]{32})", 0),
        (r"(?<![\w-])(?:AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]+|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)", 0),
    )
]
_SECRET_NAME = re.compile(rf"{_NAME}$", re.I)
_SHORTEST = 6  # of a secret in the environment: shorter ones are words that stand everywhere


def redact(text: str) -> str:
    """The text with `***` in place of each secret."""
    for secret in _environment():
        text = secret.sub(HIDDEN, text)
    for pattern in _PATTERNS:
        text = pattern.sub(_hide, text)
    return text


def clean(value: Any, name: str = "") -> Any:
    """Plain data with every text redacted, and every value hidden whose key says that it is a secret."""
    if isinstance(value, Mapping):
        return {key: clean(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item, name) for item in value]
    if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "" and _SECRET_NAME.search(name):
        return HIDDEN
    return redact(value) if isinstance(value, str) else value


class Redacting:
    """A text stream that lets whole lines through, redacted; for a process that writes a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._stream.write(redact("\n".join(lines)) + "\n")
        return len(text)

    def flush(self) -> None:
        if self._rest:
            self.write("\n")
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _hide(match: re.Match[str]) -> str:
    """What stands in front stays, and the quotes around it."""
    before = match[1] if match.re.groups else ""
    quote = (match[2] or "") if match.re.groups > 1 else ""
    return f"{before}{quote}{HIDDEN}{quote}"


@cache
def _environment() -> tuple[re.Pattern[str], ...]:
    """What this process was given in secret: variables named so, and the passwords in URLs of any variable."""
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    found |= {m[1] for value in os.environ.values() for m in re.finditer(r"://[^/\s:@]*:([^/\s@]+)@", value)}
    secrets = sorted((s for s in found if len(s) >= _SHORTEST and not os.path.isdir(s)), key=len, reverse=True)
    return tuple(re.compile(rf"\b{s}\b" if s.isalpha() else re.escape(s)) for s in secrets)
