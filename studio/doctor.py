"""`flowleaf doctor`: what of this installation works, and what to do about the rest."""

import asyncio
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from engine.errors import StudioError
from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime.settings import Settings, load_settings


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
