"""Processes that are kept running: what hangs, what dies again and again, and what was told."""

import os
import signal
import sys
import threading
import time

import pytest

from engine.errors import InternalError
from engine.runtime.supervisor import Program, Supervisor

# Says that it is ready and alive, as real ones do.
LIVES = "from engine.runtime.pulse import Pulse; import sys, time; Pulse(int(sys.argv[2])).ready(); time.sleep(60)"
DIES = "import os, sys, time; os.write(int(sys.argv[2]), b'r'); time.sleep(0.05); sys.exit(3)"
FAILS = "import sys; sys.exit(4)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES


def supervisor(code: str, said: list[str], **more) -> Supervisor:
    made = Supervisor(
        [Program("one", [sys.executable, "-c", code], 0.3)],
        {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        say=said.append,
        **more,
    )
    made.watch_signals()
    return made


@pytest.fixture(autouse=True)
def _signals_as_before():
    kept = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    }
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in kept.items():
        signal.signal(number, handler)


def after(seconds: float, work) -> None:
    threading.Timer(seconds, work).start()


def test_a_process_that_hangs_is_killed_and_started_again():
    said: list[str] = []
    one = supervisor(LIVES, said, hang_limit_s=1.5)
    try:
        one.start(lambda name, seconds: said.append(f"{name} ready"))
        pid = one._children[0].process.pid
        os.kill(pid, signal.SIGSTOP)
        after(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
        one.run()
        assert one._children[0].process.pid != pid
    finally:
        one.stop()
    assert said[0] == "one ready"
    assert "gave no sign of life" in said[1] and "started again" in said[1]


def test_a_process_that_dies_again_and_again_is_started_at_once_and_then_ever_later():
    said: list[str] = []
    one = supervisor(DIES, said)
    try:
        for child in one._children:
            one._start(child)
        after(4, lambda: os.kill(os.getpid(), signal.SIGINT))
        one.run()
    finally:
        one.stop()
    assert [line.partition("code 3; ")[2] for line in said[:3]] == [
        "started again", "started again in 1 s", "started again in 2 s"]  # fmt: skip


def test_a_process_that_ends_instead_of_starting_is_an_error():
    one = supervisor(FAILS, [])
    with pytest.raises(InternalError, match="one did not start: it ended with code 4"):
        one.start(lambda *_: None)
    one.stop()


def test_what_died_is_cleared_up_after():
    said: list[str] = []
    reading, writing = os.pipe()
    one = supervisor(LIVES, said, on_death=lambda name, pid: os.write(writing, f"{name} {pid}".encode()))
    try:
        one.start(lambda *_: None)
        pid = one._children[0].process.pid
        os.kill(pid, signal.SIGKILL)
        after(1.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        one.run()
    finally:
        one.stop()
    os.close(writing)
    assert os.read(reading, 100).decode() == f"one {pid}"
    os.close(reading)
    assert "was ended by SIGKILL; started again" in said[0]


def test_what_does_not_listen_is_killed_at_the_end_and_at_once_at_a_second_signal():
    one = supervisor(DEAF, [])
    one.start(lambda *_: None)
    pid = one._children[0].process.pid
    after(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 2
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
