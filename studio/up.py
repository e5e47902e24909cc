"""`flowleaf up`: everything of an installation, started and kept running until a signal.

This process stays small: what needs the database is done in a copy of it, which ends.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from engine.errors import DefinitionError, InternalError, StudioError
from engine.runtime.embedded import EmbeddedRedis
from engine.runtime.locks import UP, FileLock, Locked
from engine.runtime.schema_state import is_newest
from engine.runtime.settings import Settings, load_settings
from engine.runtime.supervisor import Program, Stopped, Supervisor, in_child
from studio.listeners import listen
from studio.place import make_home, require_password, settings_with
from studio.sessions import load_token, new_key

# Each has as long to end as it needs; the worker, which lets what runs end, as long as is left.
WEB_STOP_S, SCHEDULER_STOP_S, WORKER_STOP_S = 1.5, 0.5, 5.0
COMMAND = (sys.executable, "-c", "from studio.cli import main; main()")


class Steps:
    """Prints one line per step, with how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line; a terminal that is gone is no reason to end."""
        with suppress(OSError, ValueError):
            print(text, flush=True)

    def done(self, name: str, what: str, seconds: float | None = None) -> None:
        """Print a step; it began when the last one was done, where no time is given."""
        now = time.monotonic()
        took = now - self._began if seconds is None else seconds
        self._began = now
        self.say(f"  {name:<10} {what:<44} {took:5.2f} s")


def up(host: str | None = None, port: int | None = None) -> None:
    """Start everything and keep it running until SIGINT, SIGTERM or SIGHUP.

    Raises:
        DefinitionError: something is in the way; says what to do.
        InternalError: a process did not start.
    """
    steps = Steps()
    settings = settings_with(host, port)
    require_password(settings)
    make_home(settings)
    home = settings.home.absolute()
    lock = _lock(home, settings)
    listeners = listen(settings.host, settings.port)
    steps.say(f"Flowleaf {version('flowleaf')}")
    steps.done("settings", f"data in {_short(home)}")
    redis = None if settings.redis_url else EmbeddedRedis(home / "redis")
    environment = _environment(settings, redis)
    supervisor = Supervisor(
        _programs(listeners),
        environment,
        say=steps.say,
        on_death=lambda name, pid: _clear_up(name, pid, environment),
        redis=redis,
    )
    supervisor.watch_signals()
    try:
        if redis is not None:
            redis.start()
            steps.done("redis", "embedded")
        else:
            steps.done("redis", "given" if _answers(settings.redis_url or "") else "given; does not answer yet")
        steps.done("database", _prepared(settings, environment))
        load_token(home)
        supervisor.check()
        supervisor.start(lambda name, seconds: steps.done(name, "ready", seconds))
        steps.say(f"\nOpen {_address(settings)}/?key={new_key(home)}")
        steps.say("It signs one browser in, within 10 minutes. Ctrl-C stops everything.")
        supervisor.run()
    except Stopped:
        pass
    finally:
        for listener in listeners:
            listener.close()
        began = time.monotonic()
        supervisor.stop()
        steps.say(f"Stopped in {time.monotonic() - began:.1f} s.")
        lock.release()


def _answers(url: str) -> bool:
    """Whether something listens at the address of a Redis. Without one all goes on, only slower."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(unquote(parts.path))
        else:
            socket.create_connection((parts.hostname or "localhost", parts.port or 6379), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True


def _lock(home: Path, settings: Settings) -> FileLock:
    try:
        return FileLock(home / UP, about=f"flowleaf up (process {os.getpid()}, {_address(settings)})")
    except Locked as exc:
        raise Locked(
            f"{exc.message.removesuffix(f' has the lock {home / UP}')} runs already in {_short(home)}",
            hint="Stop it first, or take another folder and port: FLOWLEAF_HOME=other FLOWLEAF_PORT=8001 flowleaf up",
        ) from exc


def _programs(listeners: list[socket.socket]) -> list[Program]:
    """In the order of their end. The web process inherits what it listens on: while it is started again, callers wait
    and are not refused."""
    descriptors = tuple(listener.fileno() for listener in listeners)
    given = [part for descriptor in descriptors for part in ("--listener", str(descriptor))]
    return [
        Program("web", [*COMMAND, "web", *given], WEB_STOP_S, descriptors),
        Program("scheduler", [*COMMAND, "scheduler"], SCHEDULER_STOP_S),
        Program("worker", [*COMMAND, "worker"], WORKER_STOP_S),
    ]


def _environment(settings: Settings, redis: EmbeddedRedis | None) -> dict[str, str]:
    """What the processes get: the same settings, and where the embedded Redis is."""
    environment = {
        # Fewer heaps, and memory goes back to the system sooner.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        # The terminal is for the steps; FLOWLEAF_LOG=info shows all that happens.
        "FLOWLEAF_LOG": "warning",
        **os.environ,
        "FLOWLEAF_HOST": settings.host,
        "FLOWLEAF_PORT": str(settings.port),
    }
    # The processes find the packages where this one did, whatever their working folder and path.
    path = [str(Path(__file__).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path))
    if redis is not None:
        environment["FLOWLEAF_REDIS_URL"] = redis.url
    return environment


def _prepared(settings: Settings, environment: Mapping[str, str]) -> str:
    """Migrate the database in a copy of this process; what was done. Raises what the copy raised."""
    if settings.database_url is None and is_newest(settings.home / "flowleaf.db"):
        return "SQLite, up to date"

    def prepare() -> str:
        from engine.runtime.parts import Parts
        from engine.runtime.processes import prepare

        return prepare(Parts(load_settings(environment)))

    return _asked(prepare)


def _clear_up(name: str, pid: int, environment: Mapping[str, str]) -> None:
    """Free what a dead worker held, so that it is recovered now and not when its lease ends."""
    if name == "worker":
        from engine.runtime.parts import Parts
        from engine.runtime.processes import free_leases

        free_leases(Parts(load_settings(environment)), pid)


def _asked(work: Callable[[], str]) -> str:
    """What the work gives, done in a copy of this process."""
    reading, writing = os.pipe()

    def answer() -> None:
        os.close(reading)
        try:
            said = {"done": work()}
        except StudioError as exc:
            wrong = "definition" if isinstance(exc, DefinitionError) else "internal"
            said = {wrong: exc.message, "hint": exc.hint or ""}
        with os.fdopen(writing, "w") as pipe:
            json.dump(said, pipe)

    pid = in_child(answer)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    said = json.loads(text) if text else {"internal": "the database was not looked at", "hint": ""}
    if "done" in said:
        return str(said["done"])
    kind = DefinitionError if "definition" in said else InternalError
    raise kind(said.get("definition") or said["internal"], hint=said["hint"] or None)


def _address(settings: Settings) -> str:
    if settings.url:
        return settings.url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104  what is replaced
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"


def _short(path: Path) -> str:
    """The path as people type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
