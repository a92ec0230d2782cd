"""A Dask cluster over mutual TLS on loopback, of real processes, with certificates made for it.

Each part can be killed: that is what the tests want of it.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hpo.sweep import Tls

ROOT = Path(__file__).resolve().parents[2]
START_UP = 120.0  # seconds on a busy machine


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Signs certificates for loopback, good for a day."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("test authority")
        self.ca = self._write("ca.pem", self._sign(self._subject, self._key, ca=True))

    def issue(self, name: str) -> Tls:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._write(f"{name}.pem", self._sign(_name(name), key))
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        return Tls(str(self.ca), str(cert), str(self._write(f"{name}.key", pem)))

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool = False) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(loopback, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


class DaskCluster:
    """A scheduler, and workers of one thread each; `tls` is what a client needs."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder = folder
        authority = Authority(folder)
        self.tls, servers = authority.issue("client"), authority.issue("server")
        self._config = {
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": servers.ca,
            **{
                f"DASK_DISTRIBUTED__COMM__TLS__{role}__{what}": value
                for role in ("SCHEDULER", "WORKER")
                for what, value in (("CERT", servers.cert), ("KEY", servers.key))
            },
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self._log = folder / "dask.log"
        self.scheduler = self._run("scheduler", "--host", "tls://127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._until("Scheduler at:")
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> None:
        self.workers.append(
            self._run(
                *("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"),
                *("--local-directory", str(self._folder)),
            )
        )

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        process.send_signal(number)
        process.wait()

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                self.kill(process)

    def trials(self) -> list[psutil.Process]:
        """The processes in which the workers run trials."""
        return [child for worker in self.workers if worker.poll() is None for child in _children(worker.pid)]

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], stdout=log, stderr=log, start_new_session=True,
                cwd=self._folder, env={**os.environ, **self._config, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def _until(self, said: str) -> str:
        until = time.monotonic() + START_UP
        while True:
            for line in self._log.read_text().splitlines():
                if said in line:
                    return line.split()[-1]
            assert self.scheduler.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return [child for template in psutil.Process(pid).children() for child in template.children()]
    except psutil.NoSuchProcess:
        return []
