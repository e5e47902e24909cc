"""`flowleaf doctor`: what of this installation works, and what to do about the rest."""

import asyncio
import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from engine.errors import InternalError, StudioError
from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime.settings import Settings, load_settings

LEAST_FREE_MB = 200


class Finding(NamedTuple):
    """One thing looked at. `remedy` is empty where nothing is wrong."""

    what: str
    found: str
    ok: bool = True
    remedy: str = ""


def examine(*, samples: Path) -> int:
    """Print what was found; gives the number of things that are wrong."""
    wrong = 0
    for finding in _findings(samples):
        print(f"{'ok   ' if finding.ok else 'WRONG'} {finding.what}: {finding.found}")
        if not finding.ok:
            wrong += 1
            print(f"      -> {finding.remedy}")
    print("Everything is in order." if not wrong else f"{wrong} of these need you.", file=sys.stderr)
    return wrong


def _findings(samples: Path) -> Iterator[Finding]:
    yield Finding("flowleaf", version("flowleaf"))
    yield Finding(
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        sys.version_info >= (3, 11),
        "Use Python 3.11 or later.",
    )
    settings: Settings | None = None
    try:
        settings = load_settings()
        yield Finding("settings", f"home {settings.home}")
    except StudioError as exc:
        yield Finding("settings", exc.message, False, exc.hint or "Mend the environment.")
    if settings is not None:
        yield from _installation(settings)
    yield from _node_types()
    yield _asked("code nodes", _code, "Look at the message; a system that forbids child processes cannot run code.")
    yield _asked("regular expressions", _patterns, "Install google-re2 for this platform.")
    yield _asked("http allow", lambda: _allowed(settings or Settings()), "Write hosts, addresses or networks.")
    for folder in (settings or Settings()).file_folders:
        there = "there" if folder.is_dir() else "not there yet: file nodes find nothing in it"
        yield Finding("file folder", f"{folder} ({there})")
    sample_files = sorted(path.name for path in samples.glob("*.csv"))
    yield Finding(
        "samples", ", ".join(sample_files), bool(sample_files), "Install flowleaf anew: its samples are missing."
    )


def _installation(settings: Settings) -> Iterator[Finding]:
    """Data folder, key, database, Redis, address: each asked for, none of them made."""
    home = settings.home.absolute()
    yield _asked(
        "data folder", lambda: _folder(home), "Give this user a folder it may write, with space: FLOWLEAF_HOME."
    )
    yield _asked("key", lambda: _key(home, settings), "chmod 600 it, or set FLOWLEAF_KEY.")
    yield _asked("database", lambda: _database(home, settings), "Is it running? Look at FLOWLEAF_DATABASE_URL.")
    yield _asked("redis", lambda: _redis(settings), "Install redis-server, or set FLOWLEAF_REDIS_URL to one that runs.")
    yield _asked(
        "address", lambda: _address(home, settings), "Stop what uses it, or set FLOWLEAF_PORT or FLOWLEAF_PASSWORD."
    )


def _folder(home: Path) -> str:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InternalError(f"{there} cannot be written")
    free_mb = shutil.disk_usage(there).free // 2**20
    if free_mb < LEAST_FREE_MB:
        raise InternalError(f"{free_mb} MB are left at {there}")
    return f"{home} ({'there' if there == home else 'made at the first start'}), {free_mb:,} MB free"


def _key(home: Path, settings: Settings) -> str:
    if settings.key:
        return "from the environment"
    path = home / "key"
    if not path.exists():
        return "made when it is first needed"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise InternalError(f"{path} is open to other users (mode {mode:o})")
    return f"{path}, mode {mode:o}"


def _database(home: Path, settings: Settings) -> str:
    from engine.runtime.parts import Parts
    from engine.runtime.processes import require_schema

    if settings.database_url is None and not (home / "flowleaf.db").exists():
        return "SQLite, made at the first start"
    parts = Parts(settings)
    try:
        require_schema(parts)
    finally:
        parts.store.close()
    return f"{'SQLite' if parts.store.is_sqlite else 'PostgreSQL'}, its schema is up to date"


def _redis(settings: Settings) -> str:
    from engine.runtime.embedded import find_redis

    if settings.redis_url is None:
        return f"embedded: {find_redis()}"
    import redis

    try:
        client = redis.Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
        info = client.info("server")
    except (redis.RedisError, ValueError) as exc:
        raise InternalError(f"does not answer: {type(exc).__name__}") from exc  # its text may hold the address
    return f"version {info['redis_version']}, as FLOWLEAF_REDIS_URL says"


def _address(home: Path, settings: Settings) -> str:
    from engine.runtime.locks import UP, FileLock, Locked
    from studio.listeners import listen
    from studio.place import require_password

    require_password(settings)
    if (home / UP).exists():
        try:
            FileLock(home / UP, about="flowleaf doctor").release()
        except Locked as exc:
            return exc.message.removesuffix(f" has the lock {home / UP}") + " runs"
    for listener in listen(settings.host, settings.port):
        listener.close()
    return f"{settings.host}:{settings.port} is free"


def _node_types() -> Iterator[Finding]:
    registry = Registry()
    types = registry.discover()
    yield Finding("node types", f"{len(types)} installed")
    for package, why in registry.failures.items():
        yield Finding(f"node package {package}", why, False, "Update or remove the package; all others work.")


def _asked(what: str, ask: Callable[[], str], remedy: str) -> Finding:
    """What `ask` answers, or why it could not."""
    try:
        return Finding(what, ask())
    except (StudioError, OSError, ImportError) as exc:
        return Finding(what, str(exc), False, remedy)


def _code() -> str:
    services = LocalServices()
    result = asyncio.run(
        services.run_code("return [{'sum': 1 + 1}]", [{}], shape="items", inputs={}, keep_going=False, timeout_s=10)
    )
    return "run in a child process" if result.items == [{"sum": 2}] else "gave a wrong result"


def _allowed(settings: Settings) -> str:
    _ = LocalServices(http_allow=settings.http_allow).http
    return ", ".join(settings.http_allow) or "public addresses only"


def _patterns() -> str:
    import re2

    return "in linear time" if re2.search("a+b", "caab") else "give a wrong result"
