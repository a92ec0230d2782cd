"""Tables behind s3:// and https://, from real servers: fetched once, refused in words, no secret told."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hpo.data import here, load, prepare, publish
from tests.conftest import ROOT, free_port
from tests.data.sweeps import BUNDLED, sweep_on

TABLE = b"a,late\n" + b"".join(b"%d,%d\n" % (n, n % 2) for n in range(40))
SCRIPT = """
import json, sys
from dataclasses import asdict
from hpo.errors import InputError
from hpo.loader import load
try:
    data = load("tiny.yaml").data
    print(json.dumps({"digest": data.digest, "path": str(data.path), "origin": asdict(data.origin)}))
except InputError as error:
    print(json.dumps({"error": str(error)}))
"""


def loaded(folder: Path, data: str, script: str = SCRIPT, **env: str) -> dict[str, Any]:
    """In a process of its own: the certificates and keys of a process are read once."""
    text = f"name: tiny\ndata: {{target: late, {data}}}\nmodel: sklearn.linear_model.LogisticRegression\n"
    (folder / "tiny.yaml").write_text(f"{text}metric: roc_auc\nspace: {{C: {{float: [1, 2]}}}}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**clean, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# HTTPS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False).add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    return path


class Site(http.server.ThreadingHTTPServer):
    """`/t.csv` for everybody, `/private.csv` for ada; counts the GETs."""

    content = TABLE
    gets: Counter[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        private = path == "/private.csv" and self.headers.get("Authorization") != "Basic YWRhOnMzY3JldC13b3Jk"
        self.send_response(401 if private else 200 if path in ("/t.csv", "/private.csv") else 404)
        self.send_header("ETag", f'"{hashlib.md5(self.server.content).hexdigest()}"')
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.server.gets[self.path.partition("?")[0]] += 1
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(certificate: Path) -> Iterator[Site]:
    server = Site(("127.0.0.1", 0), Handler)
    server.gets = Counter()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_https_is_fetched_once_and_again_when_it_changed(tmp_path: Path, site: Site, certificate: Path) -> None:
    address, trust = f"https://127.0.0.1:{site.server_port}/t.csv", str(certificate)
    first = loaded(tmp_path, f"path: '{address}'", SSL_CERT_FILE=trust)
    digest = hashlib.sha256(TABLE).hexdigest()
    assert first["digest"] == digest
    assert Path(first["path"]) == tmp_path / ".hpo" / "cache" / f"{digest}.csv"
    assert Path(first["path"]).read_bytes() == TABLE
    before = site.gets["/t.csv"]
    assert loaded(tmp_path, f"path: '{address}'", SSL_CERT_FILE=trust) == first
    assert site.gets["/t.csv"] == before
    site.content = TABLE + b"40,0\n"
    changed = loaded(tmp_path, f"path: '{address}'", SSL_CERT_FILE=trust)
    assert changed["digest"] == hashlib.sha256(site.content).hexdigest()
    pinned = loaded(tmp_path, f"path: '{address}', digest: {digest}")  # not even a connection
    assert pinned["path"] == first["path"]
    Path(first["path"]).unlink()
    said = loaded(tmp_path, f"path: '{address}', digest: {digest}", SSL_CERT_FILE=trust)["error"]
    assert "the bytes are no longer those of data.digest" in said


def test_mistakes_with_https(tmp_path: Path, site: Site, certificate: Path) -> None:
    address, trust = f"https://127.0.0.1:{site.server_port}", str(certificate)
    assert "there is no https://" in loaded(tmp_path, f"path: '{address}/none.csv'", SSL_CERT_FILE=trust)["error"]
    said = loaded(tmp_path, f"path: '{address}/private.csv?token=s3cret-word'", SSL_CERT_FILE=trust)["error"]
    assert "may not be read" in said
    assert "s3cret" not in said
    named = address.replace("://", "://ada:${HPO_SITE}@")
    mine = loaded(tmp_path, f"path: '{named}/private.csv'", SSL_CERT_FILE=trust, HPO_SITE="s3cret-word")
    assert mine["digest"] == hashlib.sha256(TABLE).hexdigest()
    assert "s3cret" not in json.dumps(mine)
    said = loaded(tmp_path, f"path: '{address}/t.csv'")["error"]  # a certificate that nobody knows
    assert said.startswith("tiny.yaml:2:")
    assert "certificate" in said.lower()
    assert "cannot be read" in loaded(tmp_path, f"path: 'https://127.0.0.1:{free_port()}/t.csv'")["error"]


# S3.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder of a bucket's files, and the environment of who may read it."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "tables").mkdir()
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None, "the extra `test` brings it"
    process = subprocess.Popen(
        [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", str(folder)],
        env={"RCLONE_AUTH_KEY": '"KEY,SECRET-OF-S3"', "RCLONE_CONFIG": "/dev/null", "HOME": str(folder)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield folder / "tables", {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET-OF-S3",
    }  # fmt: skip
    process.kill()
    process.wait()


def test_s3(tmp_path: Path, store: tuple[Path, dict[str, str]]) -> None:
    bucket, keys = store
    (bucket / "t.csv").write_bytes(TABLE)
    until = time.monotonic() + 60
    while "digest" not in (first := loaded(tmp_path, "path: 's3://tables/t.csv'", **keys)):
        assert time.monotonic() < until, first  # the store is starting
    assert first["digest"] == hashlib.sha256(TABLE).hexdigest()
    assert first["origin"]["source"] == "s3://tables/t.csv"
    assert loaded(tmp_path, "path: 's3://tables/t.csv'", **keys) == first
    assert "there is no s3://tables/none.csv" in loaded(tmp_path, "path: 's3://tables/none.csv'", **keys)["error"]
    wrong = {**keys, "AWS_SECRET_ACCESS_KEY": "WRONG-SECRET"}
    said = loaded(tmp_path, "path: 's3://tables/t.csv'", **wrong)["error"]
    assert "may not be read" in said
    assert "AWS_PROFILE" in said
    assert "WRONG-SECRET" not in said
    nobody = {"AWS_ENDPOINT_URL": keys["AWS_ENDPOINT_URL"], "HOME": str(tmp_path)}
    said = loaded(tmp_path, "path: 's3://tables/t.csv'", **nobody)["error"]
    assert "AWS_ACCESS_KEY_ID" in said


def test_prepared_data_reach_another_host_through_s3(
    tmp_path: Path, store: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`executor.store`: the driver puts them there, a host of the cluster has no other way to them."""
    bucket, keys = store
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    made = prepare(sweep_on(BUNDLED / "segment.parquet", "category", ("accuracy",)), tmp_path / "driver")
    source = publish(made, "s3://tables/prepared", tmp_path)
    found = here(replace(made, folder=Path("/nowhere") / made.digest), source, tmp_path / "cache")
    assert np.array_equal(load(found).features, load(made).features, equal_nan=True)
    assert (bucket / "prepared" / made.digest / "whole").exists()
    assert not [*bucket.rglob("holdout*")]


@pytest.mark.parametrize(
    ("package", "data", "hint"),
    [("s3fs", "path: 's3://tables/t.csv'", "hpo[s3]"), ("dvc", "path: data/t.csv, rev: v1", "hpo[dvc]")],
)
def test_a_missing_extra_is_named(tmp_path: Path, package: str, data: str, hint: str) -> None:
    without = f"import sys; sys.modules[{package!r}] = None\n{SCRIPT}"
    said = loaded(tmp_path, data, without)["error"]
    assert said.startswith("tiny.yaml:2:")
    assert hint in said
