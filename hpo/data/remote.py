"""Tables behind `s3://` and `https://`, by fsspec.

Imported by `hpo.data.source` when a sweep names one. Credentials are those of the environment (AWS_…, a profile, a
role); a sweep file holds none. The server's own mark of a version (ETag, version id) decides whether to fetch again.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from hpo.data.address import expand
from hpo.data.cache import Cache, Fetched
from hpo.errors import InputError, Problem
from hpo.redact import redact
from hpo.sweep import Data

_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"default_fill_cache": False, "use_listings_cache": False, "skip_instance_cache": True},
    "https": {"skip_instance_cache": True, "client_kwargs": {"trust_env": True}},
}
_MARKS = ("VersionId", "ETag", "LastModified", "Content-MD5", "Digest")
_LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "fsspec", "s3fs", "yarl")


def read_remote(data: Data, root: Path, cache: Cache, suffix: str) -> Fetched:
    """The file behind the address. InputError: it is not there, may not be read, or the way to it is not installed."""
    written = str(data.path)
    scheme = written.partition("://")[0]
    url = expand(written)
    try:
        files, path = url_to_fs(url, **_OPTIONS[scheme])
        about = files.info(path)
        marks = {name: str(about[name]) for name in _MARKS if about.get(name)}
        key = (written.partition("?")[0], about.get("size"), marks)
        digest = cache.recall(*key) if marks else None
        if (here := cache.find(digest, suffix)) is not None and digest is not None:
            return Fetched(here, digest, _tags(marks))
        with files.open(path, "rb", cache_type="none", block_size=2**20) as source:
            found, digest = cache.keep(lambda file: shutil.copyfileobj(source, file, 2**20), suffix, *key)
    except ImportError as error:
        hint = f"pip install 'hpo[{scheme}]'" if scheme == "s3" else "pip install aiohttp"
        raise InputError(Problem(f"{scheme}:// cannot be read: {redact(str(error))}", "data.path", hint)) from None
    except Exception as error:
        if not isinstance(error, (OSError, ValueError)) and type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise InputError(_problem(redact(url), scheme, error)) from None
    return Fetched(found, digest, _tags(marks))


def _tags(marks: dict[str, str]) -> dict[str, str]:
    version = marks.get("VersionId")
    tags = {"hpo.data.etag": marks.get("ETag", "").strip('"'), "hpo.data.version": version or ""}
    return {name: text for name, text in tags.items() if text and text != "null"}


def _problem(url: str, scheme: str, error: Exception) -> Problem:
    cause = error.__cause__ or error  # fsspec calls every answer but 200 a file that is not there
    said = redact(" ".join(str(cause).split()))[:300] or type(cause).__name__
    if isinstance(error, PermissionError) or re.search(r"credentials|\b40[13]\b|forbidden|denied", said, re.I):
        keys = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" if scheme == "s3" else ""
        hint = keys or "if it needs a password: https://user:${HPO_…}@host/…, and that variable"
        return Problem(f"{url} may not be read: {said}", "data.path", hint)
    if isinstance(error, FileNotFoundError) and (cause is error or re.search(r"\b404\b|not found", said, re.I)):
        return Problem(f"there is no {url}", "data.path", "is the address right?")
    return Problem(f"{url} cannot be read: {said}", "data.path", "is the address right, and the server there?")
