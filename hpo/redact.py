"""Take passwords and tokens out of text that will be printed, journaled or logged.

Called wherever a URI, a command line or an engine's error text leaves the process: such texts carry database
URLs and index tokens. One redactor for everything, because the one that was forgotten is the one that leaks.
"""

from __future__ import annotations

import re

_IN_URL = re.compile(r"(://[^/\s:@'\"]*):[^/\s'\"]*@")
_BARE_TOKEN = re.compile(r"(://)[^/\s:@'\"]{20,}@")
_NAMED = re.compile(
    r"((?:password|passwd|token|secret|api[_-]?key|access[_-]?key)[\w-]*['\"]?(?:\s*[=:]\s*|\s+)['\"]?)[^\s'\"&,;]+",
    re.I,
)


def redact(text: str) -> str:
    """The text with `***` for the password of each URL and the value of each `token=`, `--password`, …"""
    return _NAMED.sub(r"\1***", _BARE_TOKEN.sub(r"\1***@", _IN_URL.sub(r"\1:***@", text)))
