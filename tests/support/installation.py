"""The real processes of an installation in a temporary home: started, killed, frozen, thawed."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.runtime import schema
from engine.runtime.embedded import die_with_parent
from engine.runtime.parts import Parts
from engine.runtime.service import OWNER, Service
from engine.runtime.settings import load_settings
from engine.workflow import Workflow, save

COMMAND = (sys.executable, "-c", "from studio.cli import main; main()")
START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # prctl(2), capabilities(7)
ENDED = ("succeeded", "failed", "cancelled", "skipped", "needs_decision")


def wait_until(true: Callable[[], Any], limit_s: float, what: str) -> float:
    """How long it took until it was true. Raises AssertionError where it does not come true in time."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s, f"after {limit_s:g} s still not: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _before_exec() -> Callable[[], None]:
    """Die with this process; and as root obey the rights of files, so that what may not be written is not."""
    arm = die_with_parent()
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
        if arm is not None:
            arm()

    return prepare


class Process:
    """One process of an installation. `popen` is None while it does not run."""

    def __init__(
        self, role: str, environment: dict[str, str], log: Path, is_ready: Callable[["Process"], bool]
    ) -> None:
        self.role = role
        self.log = log
        self.is_frozen = False
        self.environment = environment
        self._is_ready = is_ready
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "Process":
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self.popen = subprocess.Popen(
                [*COMMAND, self.role],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_before_exec(),
            )
        self.is_frozen = False
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.alive, f"{self.role} ended: {self.log.read_text()[-3000:]}"
            return self._is_ready(self)

        wait_until(ready, START_LIMIT_S, f"{self.role} is ready")

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def said(self) -> str:
        """What it wrote since it was started last."""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    @property
    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self) -> None:
        """kill -9."""
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> None:
        """SIGTERM; killed where it does not end in time, which is an error."""
        if not self.alive:
            return
        assert self.popen is not None
        self.thaw()
        self.popen.terminate()
        try:
            self.popen.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.role} did not end on SIGTERM: {self.log.read_text()[-3000:]}") from None

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self.is_frozen:
            os.kill(self.pid, signal.SIGCONT)
            self.is_frozen = False


class Installation:
    """A home, a database, a Redis, and the processes on them.

    Args:
        logs: folder of the processes' logs, elsewhere where the home's disk is to be full.
    """

    def __init__(
        self, home: Path, redis_url: str, database_url: str | None = None, *, logs: Path | None = None
    ) -> None:
        self.home = home
        self.logs = logs or home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWLEAF_")} | {
            "FLOWLEAF_HOME": str(home),
            "FLOWLEAF_REDIS_URL": redis_url,
            "FLOWLEAF_PORT": str(self.port),
            "FLOWLEAF_HTTP_ALLOW": "127.0.0.1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        if database_url is not None:
            self.environment["FLOWLEAF_DATABASE_URL"] = database_url
        self.processes: list[Process] = []
        self.parts = Parts(load_settings(self.environment))
        self.store = self.parts.store
        self.service = Service(self.parts)
        schema.upgrade(self.store)

    def publish(self, workflow: Workflow) -> str:
        """The id of the workflow, published."""
        made = self.service.workflows.create(OWNER, save(workflow))
        self.service.workflows.publish(OWNER, made.id)
        return made.id

    def unpublish(self, workflow_id: str) -> None:
        self.service.workflows.unpublish(OWNER, workflow_id)

    def start(self, role: str, *, port: int | None = None, wait: bool = True) -> Process:
        """Start one more process: hooks, web, worker, scheduler."""
        environment = self.environment | ({"FLOWLEAF_PORT": str(port)} if port else {})
        log = self.logs / f"{role}-{len(self.processes)}.log"
        ready = {"worker": self._has_lease, "scheduler": _has_said_so}.get(role, _answers(port or self.port))
        process = Process(role, environment, log, ready)
        self.processes.append(process)
        return process.start(wait=wait)

    def start_all(self, *roles: str) -> list[Process]:
        """Start several at the same time."""
        started = [self.start(role, wait=False) for role in roles]
        for process in started:
            process.wait_until_ready()
        return started

    def _has_lease(self, process: Process) -> bool:
        return bool(self.rows("SELECT 1 FROM worker WHERE pid = :pid AND lease_until_ms > 0", pid=process.pid))

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(text(statement), values).all())

    def write(self, statement: str, **values: Any) -> None:
        with self.store.write() as connection:
            connection.execute(text(statement), values)

    def unended(self) -> list[Any]:
        """Id and status of the executions that have not ended."""
        return self.rows(
            "SELECT id, status, workflow_id FROM execution WHERE status IN ('queued', 'running', 'waiting')"
        )

    def wait_until_all_ended(self, limit_s: float = 30) -> float:
        def ended() -> bool:
            with suppress(Exception):  # PostgreSQL may be on its way
                return not self.unended()
            return False

        try:
            return wait_until(ended, limit_s, "all executions ended")
        except AssertionError as exc:
            raise AssertionError(f"{exc}: {self.unended()[:5]}\n{self.last_words()}") from None

    def last_words(self) -> str:
        return "\n".join(f"--- {p.role}\n{p.log.read_text()[-1500:]}" for p in self.processes)

    def get(self, path: str, limit_s: float = 10) -> tuple[int, bytes]:
        """Status and body of an address of the installation."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=limit_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    def post(self, path: str, limit_s: float = 15) -> tuple[int, bytes]:
        """Status and body of a call of a webhook."""
        body = b'{"id": "alone", "total": 250, "name": "Ada"}'
        request = urllib.request.Request(f"{self.url}/hooks/{path}", body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=limit_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    def close(self) -> None:
        """End all that was started."""
        for process in self.processes:
            if process.alive:
                process.kill()
        asyncio.run(self.parts.close())


def _has_said_so(process: Process) -> bool:
    return "scheduler started" in process.said


def _answers(port: int) -> Callable[[Process], bool]:
    def answers(process: Process) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    return answers


@contextmanager
def installation(
    home: Path, redis_url: str, database_url: str | None = None, *, logs: Path | None = None
) -> Iterator[Installation]:
    """An installation without processes; those that a test starts end with it."""
    made = Installation(home, redis_url, database_url, logs=logs)
    try:
        yield made
    finally:
        made.close()
