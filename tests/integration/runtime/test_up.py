"""`flowleaf up` as people start it: real processes, signals, and what is left afterwards."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.workflow import save
from tests.support.build import chain, node

ROOT = Path(__file__).parents[3]
FLOWLEAF = [sys.executable, "-c", "from studio.cli import main; main()"]
# A shared machine may be slow for a moment: twice what is promised for a quiet one.
START_LIMIT_S = 6.0
STOP_LIMIT_S = 6.0


class Up:
    """A running `flowleaf up` in a data folder."""

    def __init__(self, home: Path, port: int, *, before: Callable[[], None] | None = None, **environment: str) -> None:
        self.home = home
        self.port = port
        self.output = home.parent / f"up-{time.monotonic_ns()}.txt"
        known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {**known, "PYTHONPATH": str(ROOT), "FLOWLEAF_HOME": str(home), "FLOWLEAF_PORT": str(port),
                            **environment}  # fmt: skip
        self.began = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*FLOWLEAF, "up"], env=self.environment, cwd=home.parent, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, preexec_fn=before,
            )  # fmt: skip
        self.pids: dict[str, int] = {}

    @property
    def text(self) -> str:
        return self.output.read_text()

    def ready(self) -> float:
        """Seconds until the address was printed."""
        until(lambda: "Open http" in self.text or self.process.poll() is not None, 40, "the address")
        assert self.process.poll() is None, self.text
        self.look()
        return time.monotonic() - self.began

    def look(self) -> dict[str, int]:
        """The processes that run now, by name."""
        self.pids = {}
        for pid in children(self.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            name = "redis" if b"redis-server" in command[0] else command[3].decode() if len(command) > 3 else "copy"
            self.pids[name] = pid
        return self.pids

    def everything(self) -> list[int]:
        return [self.process.pid, *self.look().values()]

    def get(self, path: str, method: str = "GET", port: int | None = None, **headers: str) -> tuple[int, bytes]:
        data = b"{}" if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read()

    def head(self, line: bytes) -> bytes:
        """What a request with this header, which does not end, is answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + line)
            return connection.recv(1000)

    def command(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*FLOWLEAF, *arguments], env={**self.environment, **environment}, cwd=self.home.parent, capture_output=True,
            text=True, timeout=30,
        )  # fmt: skip

    def publish(self) -> None:
        """A webhook `/hooks/echo` that answers with what it got."""
        file = self.home.parent / "echo.json"
        flow = chain(node("hook", "core.webhook", {"path": "echo", "respond": "last_node"}), node("last", "core.limit"))
        file.write_text(save(flow))
        done = self.command("import", str(file), "--publish")
        assert done.returncode == 0, done.stderr
        until(lambda: self.get("/hooks/echo", "OPTIONS")[0] == 204, 3, "the webhook")


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(true: Callable[[], object], limit_s: float, what: str) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def up(tmp_path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(**more) -> Up:
        started.append(Up(tmp_path / "home", more.pop("port", None) or free_port(), **more))
        return started[-1]

    yield start
    for one in started:
        pids = one.everything()
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
        try:
            one.process.wait(10)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        until(lambda pids=pids: not any(map(runs, pids)), 5, "that nothing is left")


def stopped(one: Up, number: signal.Signals) -> float:
    pids = one.everything()
    assert len(pids) >= 4
    began = time.monotonic()
    one.process.send_signal(number)
    assert one.process.wait(20) == 0, one.text
    took = time.monotonic() - began
    assert not any(map(runs, pids)), one.text
    return took


def test_it_starts_quickly_answers_and_stops_with_nothing_left(up):
    one = up()
    one.ready()
    assert sorted(one.pids) == ["redis", "scheduler", "web", "worker"]
    lines = one.text.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["settings", "redis", "database"]
    assert sorted(line.split()[0] for line in lines[4:7]) == ["scheduler", "web", "worker"]
    assert all(line.endswith(" s") for line in lines[1:7])
    assert one.get("/")[0] == one.get("/livez")[0] == one.get("/readyz")[0] == 200
    assert one.get("/api/v1/workflows")[0] == 401
    token = (one.home / "token").read_text().strip()
    assert one.get("/api/v1/workflows", authorization=f"Bearer {token}")[0] == 200
    address = next(line for line in lines if line.startswith("Open ")).removeprefix("Open ")
    signed_in = urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address)
    assert b"Flowleaf is running" in signed_in.read()
    assert sum(map(pss_mb, one.everything())) < 350
    one.publish()
    assert json.loads(one.get("/hooks/echo", "POST")[1])["path"] == "echo"
    status, tested = one.get("/hooks-test/echo", "POST")
    assert (status, json.loads(tested)["path"]) == (200, "echo"), tested
    for name in ("token", "signin_key", "key", "flowleaf.db"):
        path = one.home / name
        assert not path.exists() or path.stat().st_mode & 0o077 == 0, name
    assert one.head(b"X: " + b"x" * 100_000).startswith(b"HTTP/1.1 400")
    assert one.get("/livez")[0] == 200
    assert stopped(one, signal.SIGINT) < STOP_LIMIT_S
    second = up()
    assert second.ready() < START_LIMIT_S
    assert stopped(second, signal.SIGTERM) < STOP_LIMIT_S


def test_a_signal_that_came_in_ignored_stops_it_all_the_same(up):
    one = up(before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    one.ready()
    assert stopped(one, signal.SIGINT) < STOP_LIMIT_S


def test_a_signal_while_it_starts_stops_it(up):
    one = up()
    until(lambda: "database" in one.text, 20, "the database")
    pids = one.everything()
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(STOP_LIMIT_S) == 0
    assert not any(map(runs, pids))


def test_nothing_is_left_when_it_is_killed_itself(up):
    one = up()
    one.ready()
    pids = one.everything()
    one.process.kill()
    one.process.wait()
    until(lambda: not any(map(runs, pids)), 2, "that nothing is left")
    again = up()
    again.ready()
    assert again.get("/readyz")[0] == 200


def test_a_process_that_is_killed_is_started_again(up):
    one = up()
    one.ready()
    one.publish()
    for name in ("web", "worker", "scheduler", "redis"):
        before = one.look()[name]
        os.kill(before, signal.SIGKILL)
        until(lambda name=name, before=before: one.look().get(name, before) != before, 5, f"another {name}")
        # Callers wait for the next web process instead of being refused.
        assert json.loads(one.get("/hooks/echo", "POST")[1])["path"] == "echo"
        until(lambda name=name: f"{name} " in one.text, 3, "a line about it")
    assert one.text.count("started again") == 4
    assert one.process.poll() is None
    # A worker that was stopped is no help: it is killed with the others, in time.
    os.kill(one.look()["worker"], signal.SIGSTOP)
    assert stopped(one, signal.SIGHUP) < STOP_LIMIT_S


def test_a_second_one_in_the_same_folder_says_who_has_it(up):
    one = up()
    one.ready()
    other = one.command("up", FLOWLEAF_PORT=str(free_port()))
    assert other.returncode == 2
    assert f"process {one.process.pid}" in other.stderr and "FLOWLEAF_HOME" in other.stderr
    assert len(other.stderr.splitlines()) == 2 and other.stdout == ""
    worker = one.command("worker", FLOWLEAF_REDIS_URL=f"unix://{one.home}/redis/redis.sock")
    assert worker.returncode == 2
    assert "another worker" in worker.stderr and "PostgreSQL" in worker.stderr
    assert one.get("/readyz")[0] == 200


def test_a_port_in_use_is_told_with_what_to_do(up, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = up(port=listener.getsockname()[1])
        assert one.process.wait(10) == 2
    assert "in use" in one.text and "FLOWLEAF_PORT" in one.text
    assert len(one.text.splitlines()) == 2


def test_a_folder_that_cannot_be_used_is_told_with_what_to_do(up, tmp_path):
    (tmp_path / "home").write_text("a file, and no folder")
    one = up()
    assert one.process.wait(10) == 2
    assert "data folder" in one.text and "FLOWLEAF_HOME" in one.text


def test_to_others_it_opens_with_a_password_only(up):
    one = up(FLOWLEAF_HOST="0.0.0.0")
    assert one.process.wait(10) == 2
    assert "FLOWLEAF_PASSWORD" in one.text


def test_postgresql_and_a_redis_of_ones_own_are_two_variables(up, tmp_path, postgres_url, redis_server):
    one = up(FLOWLEAF_DATABASE_URL=postgres_url, FLOWLEAF_REDIS_URL=redis_server.url)
    one.ready()
    assert sorted(one.pids) == ["scheduler", "web", "worker"]
    assert "PostgreSQL, made" in one.text
    assert not (one.home / "flowleaf.db").exists()
    one.publish()
    assert json.loads(one.get("/hooks/echo", "POST")[1])["path"] == "echo"
    # More of them may run apart, by the same two variables, and go on where the others are killed.
    port = free_port()
    apart = [
        subprocess.Popen([*FLOWLEAF, *command], env=one.environment, cwd=tmp_path, start_new_session=True)
        for command in (["hooks", "--port", str(port)], ["worker", "--slots", "async=20"], ["scheduler"])
    ]
    try:
        until(lambda: answers(port), 20, "the hooks process")
        os.kill(one.pids["worker"], signal.SIGKILL)
        assert json.loads(one.get("/hooks/echo", "POST", port=port)[1])["path"] == "echo"
        assert one.get("/api/v1/workflows", port=port)[0] == 404
    finally:
        for process in apart:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(STOP_LIMIT_S) for process in apart] == [0, 0, 0]
    assert stopped(one, signal.SIGTERM) < STOP_LIMIT_S
