"""The team's server with everything around it, from programs out of wheels: PostgreSQL, a bucket, MLflow, nginx.

Used by the tests of the server and by `scripts/server/local`, where no container engine is at hand. It is the stack of
scripts/server/compose.yaml on the loopback device: the same preset, the same nginx configuration, the same roles.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hpo.server.accounts import give
from hpo.server.launch import start, wait
from hpo.server.settings import Settings, read
from hpo.server.wire import Wire
from tests.chaos.postgres import Postgres
from tests.conftest import ROOT, free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
CONFIGURATION = ROOT / "scripts" / "server" / "nginx.conf"
BUCKET = "mlflow"
ADMIN = "admin"


class Bucket:
    """`rclone serve s3` on a folder; can be taken away and brought back on the same port."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        (folder / BUCKET).mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.key, self.secret = secrets.token_hex(10), secrets.token_hex(20)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("rclone", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        assert program is not None, "the extra `test` brings rclone"
        environment = {"RCLONE_AUTH_KEY": f'"{self.key},{self.secret}"', "RCLONE_CONFIG": "/dev/null", "HOME": "/"}
        with (self.folder.parent / "bucket.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self.folder)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        _listening(self.port, self._process)

    def stop(self) -> None:
        _end(self._process, signal.SIGKILL)


class Proxy:
    """nginx with the configuration that is shipped; `limits` replace what it is filled in with."""

    def __init__(self, folder: Path, mlflow: int, tls: Path, port: int = 0, **limits: str) -> None:
        self.port = port or free_port()
        self.url = f"https://localhost:{self.port}"
        values = {
            "HPO_LISTEN": f"127.0.0.1:{self.port}", "HPO_HOST": "localhost", "HPO_PUBLIC": self.url,
            "HPO_TLS": str(tls), "HPO_MLFLOW": f"127.0.0.1:{mlflow}", "HPO_BODY_LIMIT": "64m",
            "HPO_RATE": "1000", "HPO_BURST": "2000",
        }  # fmt: skip
        text = CONFIGURATION.read_text(encoding="utf-8")
        for name, value in {**values, **limits}.items():
            text = text.replace(f"${{{name}}}", value)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "door.conf").write_text(text)
        (folder / "nginx.conf").write_text(_MAIN.substitute(folder=folder, user="user root;" * (os.geteuid() == 0)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert NGINX is not None
        with (self._folder / "nginx.log").open("ab") as log:
            self._process = subprocess.Popen(
                [NGINX, "-p", str(self._folder), "-e", "stderr", "-c", str(self._folder / "nginx.conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip
        _listening(self.port, self._process)

    def stop(self) -> None:
        _end(self._process, signal.SIGTERM)


_MAIN = string.Template("""daemon off;
$user
worker_processes 1;
pid $folder/nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    include $folder/door.conf;
}
""")


class Stack:
    """All of it. A context manager; `folder` keeps what is kept, and with `keep` the database as well. Clients reach
    it at `port`, by default a free one."""

    def __init__(self, folder: Path, keep: bool = False, workers: int = 1, port: int = 0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tls = certificate(folder / "tls")
        self.secrets = _secrets(folder / "secrets")
        self.postgres = Postgres(self.secrets["HPO_DATABASE_PASSWORD"], folder / "postgres" if keep else None)
        self.bucket = Bucket(folder / "bucket")
        self.mlflow_port = free_port()
        self.proxy = Proxy(folder / "nginx", self.mlflow_port, self.tls, port)
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Stack:
        with ExitStack() as opening:
            opening.enter_context(self.postgres)
            for start, stop in (
                (self.bucket.start, self.bucket.stop),
                (self.start, self.stop),
                (self.proxy.start, self.proxy.stop),
            ):
                opening.callback(stop)
                start()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """What clients use."""
        return self.proxy.url

    @property
    def settings(self) -> Settings:
        return read(
            None, preset="team", port=self.mlflow_port, workers=self._workers, public=self.url,
            database=self.postgres.uri, artifacts=f"s3://{BUCKET}/artifacts", s3_endpoint=self.bucket.endpoint,
            admin=ADMIN, folder=self.folder / "mlflow",
        )  # fmt: skip

    def start(self) -> None:
        keys = {"AWS_ACCESS_KEY_ID": self.bucket.key, "AWS_SECRET_ACCESS_KEY": self.bucket.secret}
        log = self.folder / "mlflow.log"
        self._process = start(self.settings, {**self.secrets, **keys}, log)
        assert wait(self._process, self.settings.address), log.read_text()

    def stop(self) -> None:
        """As if the machine had lost it."""
        _end(self._process, signal.SIGKILL)

    @property
    def processes(self) -> list[psutil.Process]:
        """MLflow's server and its workers."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def admin(self, direct: bool = False) -> Wire:
        """The administrator, through the door or behind it."""
        return Wire(self.settings.address if direct else self.url, ADMIN, self.secrets["HPO_ADMIN_PASSWORD"])

    def account(self, name: str, role: str) -> dict[str, str]:
        """The environment of a client with an account of this name and role: all that it has to know."""
        password = secrets.token_urlsafe(16)
        give(self.admin(direct=True), name, role, password)
        return self.environment(name, password)

    def environment(self, name: str, password: str) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.tls / "fullchain.pem"),
        }


def certificate(folder: Path) -> Path:
    """A certificate for localhost that is its own authority, made once, as nginx wants the files called."""
    folder.mkdir(parents=True, exist_ok=True)
    chain, private = folder / "fullchain.pem", folder / "privkey.pem"
    if chain.exists():
        return folder
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    chain.write_bytes(made.public_bytes(pem))
    return folder


def _secrets(folder: Path) -> dict[str, str]:
    """Made once, one file each."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("HPO_ADMIN_PASSWORD", "HPO_SECRET_KEY", "HPO_DATABASE_PASSWORD"):
        if not (folder / name).exists():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(secrets.token_urlsafe(32))
    return {file.name: file.read_text() for file in folder.iterdir()}


def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < until, f"{process.args!r} does not listen"
        time.sleep(0.05)


def _end(process: subprocess.Popen[Any] | None, number: int) -> None:
    """The whole group."""
    if process is not None and process.poll() is None:
        os.killpg(process.pid, number)
        process.wait()
