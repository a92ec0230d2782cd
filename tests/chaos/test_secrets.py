"""Row S4: sixty secrets where people leave them, one sweep, and a search through everything that was written.

A real driver, a real MLflow server. The objective prints and raises what real libraries print and raise; nothing tells
the redactor which words are secret but the places where they stand, their form and the environment.
"""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.chaos.figures import figure
from tests.chaos.harness import Driver, the_journal, trials, wait_for_publisher
from tests.conftest import Server

_numbers = itertools.count()


def secret() -> str:
    return f"zQ{next(_numbers):03d}xK9vT4pLw8m"


ENVIRONMENT = {
    name: secret()
    for name in (
        "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY",
        "HF_TOKEN", "GITHUB_TOKEN", "AZURE_CLIENT_SECRET", "SLACK_BOT_TOKEN", "PGPASSWORD", "KAGGLE_API_KEY",
        "VAULT_TOKEN",
    )
}  # fmt: skip
URLS = {
    name: (template, secret())
    for name, template in {
        "DATABASE_URL": "postgresql+psycopg://ada:{}@db:5432/models", "PIP_INDEX_URL": "https://ada:{}@index.example/simple",
        "REDIS_URL": "redis://:{}@cache:6379/0", "UV_INDEX_URL": "https://__token__:{}@pypi.example/simple",
    }.items()
}  # fmt: skip
SAID = [  # by libraries, in errors and logs
    "could not connect to postgresql://ada:{}@db/flights: refused",
    "HTTPSConnectionPool: https://{}{}@host.example/x".format("{}", "0" * 12),
    "GET https://bucket.s3.example/x?X-Amz-Credential=AK&X-Amz-Signature={}&v=1",
    "https://account.blob.example/c?sv=2024&sig={}",
    "DefaultEndpointsProtocol=https;AccountName=ada;AccountKey={};EndpointSuffix=core",
    "Server=db;Uid=ada;Pwd={};",
    "{{'user': 'ada', 'password': '{}'}}",
    '{{"api_key": "{}", "user": "ada"}}',
    '{{\\"client_secret\\": \\"{}\\"}}',
    "Authorization: Bearer {}",
    "headers={{'Authorization': 'Basic {}'}}",
    "X-Api-Key: {}",
    "curl --token {} https://a.example",
    "psql --password={} -h db",
    "export AWS_SECRET_ACCESS_KEY={}",
    "secret_key = {}",
    "passphrase: '{} with spaces'",
    "refresh_token={}&grant_type=x",
    "ghp_{}abcdefghij",
    "xoxb-{}",
    "sk-{}abcdefgh",
    "glpat-{}abcd",
    "eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl",
    "hf_{}abcdefgh",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
]
RAISED = [(text, secret()) for text in SAID]
PRINTED = [(text, secret()) for text in SAID[:12]]
ARGV, SPOKEN, WRITTEN, WRITTEN_URL, COMMENT, REMOTE, PATCH = (secret() for _ in range(7))
OBJECTIVE = """
import os
RAISED = {raised!r}
PRINTED = {printed!r}
def loss(params, trial):
    k = trial.number
    print("\\n".join(PRINTED[k::3]))
    print(dict(os.environ))
    if k == 3:
        os.abort()
    if k % 2 == 0:
        raise ConnectionError("\\n".join(RAISED[k // 2::3]) + f" env {{os.environ['DB_PASSWORD']}}")
    return params["x"]
"""
SWEEP = """
# password: {comment}
name: secrets
objective: objective:loss
metric: {{name: loss, direction: minimize}}
fixed: {{api_key: {written}, source: "postgresql://ada:{url}@db/flights"}}
space: {{x: {{float: [0, 1]}}}}
search: {{engine: random, trials: 7, workers: 1}}
"""


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files, and what databases say when they are asked: a text may lie across two pages."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
            if path.suffix in (".db", ".journal"):
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                    yield f"{path} (dump)", "\n".join(db.iterdump()).encode()


def test_s4_no_secret_is_written_anywhere(tmp_path: Path, server: Server) -> None:
    """Row S4."""
    folder = tmp_path / "project"
    folder.mkdir()
    code = OBJECTIVE.format(
        raised=[text.format(hidden) for text, hidden in RAISED], printed=[text.format(h) for text, h in PRINTED]
    )
    (folder / "objective.py").write_text(code)
    (folder / "secrets.yaml").write_text(SWEEP.format(comment=COMMENT, written=WRITTEN, url=WRITTEN_URL))
    for command in (
        ["init", "-q"], ["add", "secrets.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"],
        ["remote", "add", "origin", f"https://ada:{REMOTE}@git.example/models.git"],
    ):  # fmt: skip
        subprocess.run(["git", *command], cwd=folder, check=True)
    with (folder / "secrets.yaml").open("a") as file:
        file.write(f"# uncommitted: password={PATCH}\n")
    environment = {**ENVIRONMENT, **{name: text.format(hidden) for name, (text, hidden) in URLS.items()}}
    uri = server.uri.replace("://", f"://ada:{ARGV}@")
    driver = Driver(
        folder, "--space", "secrets.yaml", "--tracking-uri", uri, "--set", f"fixed.db_password={SPOKEN}",
        env=environment,
    )  # fmt: skip
    printed = driver.finish()
    wait_for_publisher(folder)
    failed = [0, 2, 3, 4, 6]
    assert [trial.number for trial in trials(folder) if trial.state == "failed"] == failed
    planted = [
        *ENVIRONMENT.values(), *(hidden for _, hidden in [*URLS.values(), *RAISED, *PRINTED]),
        ARGV, SPOKEN, WRITTEN, WRITTEN_URL, COMMENT, REMOTE, PATCH,
    ]  # fmt: skip
    assert len(planted) == 60
    assert (folder / ".hpo" / the_journal(folder).stem / "trials" / "0003" / "log.txt").exists()  # type: ignore[union-attr]
    places = [("printed", printed.encode()), *everything(folder / ".hpo"), *everything(server.folder)]
    assert any(b"could not connect to postgresql://ada:" in content for _, content in places), "it is all there"
    leaks = sorted({(hidden, place) for hidden in planted for place, content in places if hidden.encode() in content})
    figure(
        "S4",
        "no planted secret is in MLflow's database, artifacts, the journal, logs or on the screen",
        f"{len(planted)} planted, {len({hidden for hidden, _ in leaks})} leaked {leaks[:5]}",
        len(leaks),
    )
