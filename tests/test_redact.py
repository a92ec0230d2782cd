"""No secret survives, and nothing else is harmed."""

from __future__ import annotations

import io
import time

import pytest

import hpo.redact
from hpo.redact import Redacting, clean, redact


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://ada:s3cret@db:5432/mlflow",
        "https://ada:s3cret@host/simple and https://s3crets3crets3crets3cret@host/x",
        "https://user:s3cret@first, http://:s3cret@second",
        "hpo search --password s3cret --trials 3",
        "MLFLOW_TRACKING_TOKEN=s3cret AWS_SECRET_ACCESS_KEY=s3cret",
        '{"api_key": "s3cret"}',
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    assert "s3cret" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////work/mlflow.db",
        "http://host:5000/#/experiments",
        "s3://bucket/key@2",
        "--trials 20 a@b.c",
        "max_tokens: 512",
        "token_pattern: (?u)",
        "password authentication failed for user ada",
        "KeyError: 'secret'",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["postgresql://ada:s3cret@db/x", "password: 's3cret'", "--token s3cret", "a b"])
def test_once_is_enough(text: str) -> None:
    """An address is compared with what was kept of it."""
    assert redact(redact(text)) == redact(text)


def test_plain_data_is_cleaned_by_key_and_by_text() -> None:
    found = clean({"fixed": {"api_key": "s3", "token": 5, "max_tokens": 7}, "on": True, "url": ["x://a:s3cret@b", 1.5]})
    assert found == {
        "fixed": {"api_key": "***", "token": "***", "max_tokens": 7},
        "on": True,
        "url": ["x://a:***@b", 1.5],
    }


def test_what_the_environment_calls_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_PASSWORD", "Tr0ub4dor")
    monkeypatch.setenv("DB_URL", "postgres://ada:postgres@db/x")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    hpo.redact._environment.cache_clear()
    assert redact("denied: Tr0ub4dor? postgres of postgresql, abc") == "denied: ***? *** of postgresql, abc"
    monkeypatch.undo()
    hpo.redact._environment.cache_clear()


@pytest.mark.parametrize(
    "text", ["-a" * 100_000, "://" * 100_000, "password=" * 50_000, "eyJ" * 100_000, "'" * 200_000]
)
def test_no_text_keeps_it_busy(text: str) -> None:
    begun = time.process_time()
    redact(text)
    assert time.process_time() - begun < 3


def test_a_stream_lets_whole_lines_through() -> None:
    stream = io.StringIO()
    redacting = Redacting(stream)
    for part in ("pass", "word=s3", "cret\nnext", " line"):
        redacting.write(part)
    redacting.flush()
    assert stream.getvalue() == "password=***\nnext line\n"
