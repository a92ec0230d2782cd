"""No secret survives, and nothing else is harmed."""

from __future__ import annotations

import pytest

from hpo.redact import redact


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
    "text", ["sqlite:////work/mlflow.db", "http://host:5000/#/experiments", "s3://bucket/key@2", "--trials 20 a@b.c"]
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text
