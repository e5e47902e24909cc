"""Starts processes, starts again what dies or hangs, and stops all in order; nothing is left of them afterwards."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import InternalError
from engine.runtime.embedded import EmbeddedRedis, die_with_parent
from engine.runtime.pulse import READY

# All of it, from the word to stop until nothing is left.
STOP_LIMIT_S = 5.4
START_LIMIT_S = 60.0
# A process that gave no sign of life for so long is killed: two leases, so that nothing of a worker is cut short that
# would have been its own still.
HANG_LIMIT_S = 12.0
# The first time at once, then later and later; one that ran for a while is forgiven.
LONGEST_WAIT_S = 30.0
FORGIVEN_S = 30.0
TICK_S = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Program(NamedTuple):
    """A process to keep running.

    Attributes:
        command: gets `--pulse` and a number at its end.
        stop_s: how long its end is waited for before the next one is told to stop.
        descriptors: open files that it inherits.
    """

    name: str
    command: Sequence[str]
    stop_s: float
    descriptors: tuple[int, ...] = ()


@dataclass(eq=False)
class _Child:
    program: Program
    process: "subprocess.Popen[bytes] | None" = None
    pipe: int = -1
    started: float = 0.0
    ready_s: float | None = None
    heard: float = 0.0
    deaths: int = 0
    again_at: float | None = None
    killed: str = ""


class Stopped(Exception):
    """A signal said to stop."""


class Supervisor:
    """Keeps programs running. Everything in one thread, since the system ends children with the thread they came from.

    Args:
        programs: in the order in which they are stopped.
        say: told in one line what happened.
        on_death: called in a process of its own with name and process id of what died, to clear up after it.
        redis: started already; started again when it dies, stopped last.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        *,
        say: Callable[[str], None],
        on_death: Callable[[str, int], None] | None = None,
        redis: EmbeddedRedis | None = None,
        hang_limit_s: float = HANG_LIMIT_S,
    ) -> None:
        self._children = [_Child(program) for program in programs]
        self._environment = dict(environment)
        self._say = say
        self._on_death = on_death
        self._redis = redis
        self._hang_limit_s = hang_limit_s
        self._redis_deaths = 0
        self._redis_again_at = 0.0
        self._signals = 0
        self._helpers: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup_end = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup_end.setblocking(False)
        self._wakeup_end = wakeup_end
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def watch_signals(self) -> None:
        """Stop on SIGINT, SIGTERM and SIGHUP from now on, also where one came in ignored."""
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the loop is woken

    def _on_signal(self, number: int, _: object) -> None:
        self._signals += 1

    def check(self) -> None:
        """Raises Stopped where a signal came."""
        if self._signals:
            raise Stopped

    def start(self, on_ready: Callable[[str, float], None]) -> None:
        """Start all at the same time; returns when all are ready.

        Args:
            on_ready: told the name, and after how many seconds.

        Raises:
            InternalError: one ended instead, or was not ready within a minute.
            Stopped: a signal came.
        """
        for child in self._children:
            self._start(child)
        told: set[str] = set()
        while len(told) < len(self._children):
            self.check()
            self._listen(TICK_S)
            for child in self._children:
                name = child.program.name
                if child.ready_s is not None and name not in told:
                    told.add(name)
                    on_ready(name, child.ready_s)
                assert child.process is not None
                if (code := child.process.poll()) is not None:
                    raise InternalError(f"{name} did not start: it {_how(code)}", hint="What it wrote is above.")
                if child.ready_s is None and time.monotonic() - child.started > START_LIMIT_S:
                    raise InternalError(f"{name} was not ready after {START_LIMIT_S:.0f} s")

    def run(self) -> None:
        """Keep all running until a signal."""
        last = time.monotonic()
        while not self._signals:
            self._listen(self._pause())
            now = time.monotonic()
            if now - last > 3 * TICK_S:  # it was this process, or the machine, that slept
                for child in self._children:
                    child.heard = now
            last = now
            for child in self._children:
                self._look_after(child, now)
            self._look_after_redis(now)
            self._helpers = [pid for pid in self._helpers if not _reaped(pid)]

    def stop(self) -> None:
        """Stop all, one after the other; what does not end in time is killed. A second signal kills at once."""
        ends_at = time.monotonic() + STOP_LIMIT_S
        already = self._signals
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
                child.process.send_signal(signal.SIGCONT)  # one that was stopped hears nothing else
                limit = min(time.monotonic() + child.program.stop_s, ends_at)
                while child.process.poll() is None and time.monotonic() < limit and self._signals == already:
                    self._listen(min(limit - time.monotonic(), 0.1))
        while any(self._runs(child) for child in self._children) and time.monotonic() < ends_at:
            if self._signals > already:
                break
            self._listen(0.05)
        for child in self._children:
            if child.process is not None and self._runs(child):
                child.process.kill()
        for child in self._children:
            if child.process is not None:
                child.process.wait()
            self._forget_pipe(child)
        if self._redis is not None:
            self._redis.stop()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wakeup.close()
        self._wakeup_end.close()

    def _runs(self, child: _Child) -> bool:
        return child.process is not None and child.process.poll() is None

    def _start(self, child: _Child) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            child.process = subprocess.Popen(  # noqa: S603
                [*child.program.command, "--pulse", str(writing)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(writing, *child.program.descriptors),
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops things in order
                preexec_fn=die_with_parent(),
            )
        finally:
            os.close(writing)
        child.pipe = reading
        self._selector.register(reading, selectors.EVENT_READ, child)
        child.started = child.heard = time.monotonic()
        child.ready_s = child.again_at = None
        child.killed = ""

    def _pause(self) -> float:
        """How long nothing is to be done, if nothing happens."""
        now = time.monotonic()
        again = [child.again_at - now for child in self._children if child.again_at is not None]
        return max(min([TICK_S, *again]), 0.0)

    def _listen(self, limit_s: float) -> None:
        """Take signs of life, until something happens or the time is over."""
        for key, _ in self._selector.select(max(limit_s, 0.0)):
            if key.fileobj is self._wakeup:
                with suppress(BlockingIOError):
                    self._wakeup.recv(4096)
                continue
            child: _Child = key.data
            try:
                signs = os.read(child.pipe, 65_536)
            except BlockingIOError:
                continue
            if not signs:  # it ended, which SIGCHLD tells as well
                self._forget_pipe(child)
                continue
            child.heard = time.monotonic()
            if READY in signs:
                child.ready_s = child.heard - child.started

    def _forget_pipe(self, child: _Child) -> None:
        if child.pipe >= 0:
            self._selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1

    def _look_after(self, child: _Child, now: float) -> None:
        name = child.program.name
        if child.again_at is not None:
            if now >= child.again_at:
                self._start(child)
            return
        assert child.process is not None
        code = child.process.poll()
        if code is None:
            limit_s = START_LIMIT_S if child.ready_s is None else self._hang_limit_s
            if now - child.heard > limit_s and not child.killed:
                child.killed = f"gave no sign of life for {limit_s:.0f} s and was killed"
                child.process.kill()
            return
        self._forget_pipe(child)
        child.deaths = 1 if now - child.started > FORGIVEN_S else child.deaths + 1
        wait_s = _wait_s(child.deaths)
        child.again_at = now + wait_s
        when = "started again" if not wait_s else f"started again in {wait_s:.0f} s"
        self._say(f"{name} (process {child.process.pid}) {child.killed or _how(code)}; {when}")
        self._clear_up(name, child.process.pid)
        if not wait_s:
            self._start(child)

    def _look_after_redis(self, now: float) -> None:
        if self._redis is None or self._redis.alive() or now < self._redis_again_at:
            return
        self._redis_deaths += 1
        self._say("redis ended; started again")
        try:
            self._redis.start()
        except Exception as exc:  # noqa: BLE001  without Redis the others go on, only slower
            self._say(f"redis: {exc}")
        self._redis_again_at = now + _wait_s(min(self._redis_deaths, 6))

    def _clear_up(self, name: str, pid: int) -> None:
        """Call `on_death` in a child: what it imports and opens is not kept here."""
        if self._on_death is None:
            return
        with suppress(OSError):
            self._helpers.append(in_child(lambda: self._on_death(name, pid) if self._on_death else None))


def in_child(work: Callable[[], None]) -> int:
    """Do something in a copy of this process, which ends with it; gives the copy's process id.

    Only from a process with one thread.
    """
    arm = die_with_parent()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if arm is not None:
            arm()
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        with suppress(OSError):
            os.setsid()
        work()
        code = 0
    except BaseException:  # noqa: BLE001, S110  its own end is all it can tell
        pass
    finally:
        os._exit(code)


def _wait_s(deaths: int) -> float:
    return 0.0 if deaths <= 1 else min(2.0 ** (deaths - 2), LONGEST_WAIT_S)


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
