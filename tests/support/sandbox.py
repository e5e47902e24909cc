"""Runs code as the child of the sandbox does, but here: without its limits, and quickly."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from engine.sandbox import wire
from engine.sandbox.log import Log
from engine.sandbox.runner import Failed, Job, Outcome, run

ORDERS = [
    {"id": 1, "customer": "Ada", "country": "SE", "total": 120.5, "tags": ["new", "web"], "at": "2026-03-01T09:30:00Z"},
    {"id": 2, "customer": "Ben", "country": "NO", "total": 80, "tags": [], "at": "2026-03-01T17:00:00Z"},
    {"id": 3, "customer": "Cleo", "country": "SE", "total": 40.25, "tags": ["web"], "at": "2026-03-02T08:15:00Z"},
]


class Ran:
    """What a program made: `items`, `sources`, `errors`, and its `log` as (text, line)."""

    def __init__(self, outcome: Outcome, log: list[tuple[str, int]]) -> None:
        self.items = wire.decode(outcome.payload)
        self.sources = outcome.sources
        self.errors = outcome.errors
        self.log = log


def run_here(source: str, items: Any = ORDERS, **options: Any) -> Ran:
    """The outcome of a program in this process. Raises Failed."""
    lines: list[tuple[str, int]] = []
    job = {"shape": "items", "inputs": {}, "keep_going": False, "check_only": False} | options
    limit = job.pop("log_bytes", 2**16)
    return Ran(run(Job(source, deepcopy(items), **job), Log(limit, lambda *line: lines.append(line))), lines)


def failure(source: str, items: Any = ORDERS, **options: Any) -> dict[str, Any]:
    """What a program fails with: `message`, `line`, `hint`, maybe `item_index`."""
    try:
        ran = run_here(source, items, **options)
    except Failed as error:
        return error.facts
    raise AssertionError(f"it went well, and gave {ran.items}")


def programs(file: str) -> dict[str, tuple[str, str]]:
    """Name -> (source, what is said after it) of a file in tests/data/sandbox; its first lines tell the form."""
    text = (Path(__file__).parent.parent / "data" / "sandbox" / file).read_text("utf-8")
    found = {}
    for part in text.split("\n=== ")[1:]:
        name, _, rest = part.partition("\n")
        source, _, said = rest.partition("\n---\n")
        assert name not in found, name
        found[name] = (source, said)
    return found
