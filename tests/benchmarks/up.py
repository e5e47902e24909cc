"""A whole installation for the benchmarks: `flowleaf up` in a folder of its own, called on 127.0.0.1 only."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from engine.workflow import Workflow, as_data

FLOWLEAF = [sys.executable, "-c", "from studio.cli import main; main()"]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Up:
    """A running installation.

    Attributes:
        started_s: how long it took until it was ready.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(Path.cwd()),
            "FLOWLEAF_HOME": str(home),
            "FLOWLEAF_PORT": str(self.port),
            "FLOWLEAF_HTTP_ALLOW": "127.0.0.1",
            "FLOWLEAF_LOG": "warning",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    def start(self) -> None:
        """Start, and wait until it is ready."""
        began = time.perf_counter()
        out = (self.home / "up.log").open("ab")
        self.process = subprocess.Popen([*FLOWLEAF, "up"], env=self._environment, stdout=out, stderr=out)
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError((self.home / "up.log").read_text()[-2000:])
            time.sleep(0.02)
        self.started_s = time.perf_counter() - began

    def stop(self) -> None:
        """Stop everything."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(15)
            self.process = None

    def api(self, method: str, path: str, **more: Any) -> Any:
        """An answer of the REST API."""
        token = (self.home / "token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=60, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def publish(self, workflow: Workflow) -> str:
        """Create and publish; gives the id."""
        made = self.api("POST", "/workflows", json=as_data(workflow))
        self.api("POST", f"/workflows/{made['id']}/publish", json={})
        return str(made["id"])

    def processes(self) -> dict[int, str]:
        """Pid -> command of all its processes."""
        assert self.process is not None
        found, waiting = {}, [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:120]
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
        return found

    def worker(self) -> int:
        """Pid of the worker."""
        return next(pid for pid, command in self.processes().items() if " worker" in command)


def cpu_s(pids: Iterator[int] | list[int]) -> float:
    """Seconds of processor time that the processes have used."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) * TICK_S
    return total


def pss_mb(pids: Iterator[int] | list[int]) -> float:
    """Memory of the processes, what they share counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


@contextmanager
def installation(**environment: str) -> Iterator[Up]:
    """An installation that is started; all of it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="flowleaf-bench-"))
    up = Up(home, environment)
    try:
        up.start()
        yield up
    finally:
        up.stop()
        shutil.rmtree(home, ignore_errors=True)


def load(url: str, *, seconds: float, connections: int = 50, rate: float | None = None, times: bool = False) -> Any:
    """Run the load generator in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.load", url, "--seconds", str(seconds)]
    command += ["--connections", str(connections)]
    command += ["--rate", str(rate)] if rate else []
    command += ["--times"] if times else []
    done = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 120)
    return json.loads(done.stdout)
