"""What the command shows: results on stdout, progress and summary on stderr and only where it is a terminal."""

import re
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.convert import dumps
from engine.events import Event, NodeResult
from engine.run import Finished
from studio.catalogue import catalogue

if TYPE_CHECKING:
    from engine.api import NodeType

FORMS = ("json", "ndjson", "table")
TABLE_ROWS = 50
CELL = 40
SECRET = re.compile(r"authorization|cookie|api[-_]?key|token|secret|passw", re.IGNORECASE)
MARKS = {"succeeded": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[dim]–[/]", "held": "[yellow]‖[/]"}


class Progress:
    """One line that says what runs now; nothing where stderr is no terminal."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.running: dict[str, str] = {}
        self.took_ms: dict[str, float] = {}
        self._status: Any = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("Starting")

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind == "node.log" and event.node_id:
            say(f"[{self.labels[event.node_id]}] {event.message}")
        if event.node_id and event.duration_ms is not None:
            self.took_ms[event.node_id] = event.duration_ms
        if self._status is None or event.node_id is None:
            return
        if event.kind == "node.started":
            self.running[event.node_id] = self.labels[event.node_id]
        elif event.kind == "node.progress":
            self.running[event.node_id] = f"{self.labels[event.node_id]} {event.done}/{event.total}"
        elif event.kind == "node.finished":
            self.running.pop(event.node_id, None)
        self._status.update("Running " + ", ".join(self.running.values()) if self.running else "Working")


def print_result(value: Any, form: str) -> None:
    """The result on stdout."""
    if form == "json":
        _write(dumps(value, pretty=True) + b"\n")
    elif form == "ndjson":
        rows = value if isinstance(value, list) else [value]
        _write(b"".join(dumps(row) + b"\n" for row in rows))
    elif isinstance(value, list):
        _print_table(value)
    else:
        for label, rows in value.items():
            _write(f"{label}\n".encode())
            _print_table(rows if isinstance(rows, list) else [rows])


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows[:TABLE_ROWS] for name in row))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        numbers = all(isinstance(row.get(name), (int, float, type(None))) for row in rows[:TABLE_ROWS])
        table.add_column(escape(_cell(name)), justify="right" if numbers else "left", no_wrap=True)
    for row in rows[:TABLE_ROWS]:
        table.add_row(*[escape(_cell(row[name])) if name in row else "" for name in names])
    console = Console(width=10_000)  # as wide as it is: a narrow terminal breaks lines, and loses nothing
    console.print(table)
    if len(rows) > TABLE_ROWS:
        console.print(f"... and {len(rows) - TABLE_ROWS} more")
    if not rows:
        console.print("no items")


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    text = text if len(text) <= CELL else text[: CELL - 1] + "…"
    # Neither commands to the terminal, nor half a surrogate pair, which UTF-8 has no place for.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_problem(label: str, result: NodeResult) -> None:
    """Why a node failed, on stderr."""
    assert result.error is not None
    error = result.error
    places = [f"item {error['item']}"] if "item" in error else []
    places += [f"line {error['line']}"] if "line" in error and f"line {error['line']}" not in error["message"] else []
    places += [str(error["param"])] if "param" in error else []
    where = f" ({', '.join(places)})" if places else ""
    say(f'error: node "{label}"{where}: {error["message"]}')
    if error.get("hint"):
        say(f"  -> {error['hint']}")


def say(text: str) -> None:
    """A line on stderr. What comes from data sends no commands to the terminal."""
    print("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text), file=sys.stderr)


def print_aside(label: str, result: NodeResult) -> None:
    """That items failed and left by an output which leads nowhere, on stderr."""
    failed = result.outputs["error"].rows
    count = f"{len(failed)} item{'s' if len(failed) > 1 else ''}"
    say(f'note: {count} of "{label}" failed and left by the output error, which leads nowhere')
    say(f"  first: {failed[0]['error']['message']}")


def print_held(label: str, result: NodeResult) -> None:
    """What a held node would do, on stderr."""
    say(f'held: node "{label}" would run with')
    for request in result.held:
        say(f"  {dumps(_masked(dict(request))).decode()}")


def _masked(value: Any) -> Any:
    """The value without what the names of its fields call a secret."""
    if isinstance(value, dict):
        return {name: "***" if SECRET.search(str(name)) and inner else _masked(inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def print_summary(finished: Finished, progress: Progress) -> None:
    """A line per node with its status, items and time, on stderr; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for step in finished.steps:
        result = finished.results[step.node_id]
        counts = ", ".join(f"{len(items)} {name}" for name, items in result.outputs.items())
        took = f"{progress.took_ms[step.node_id]:,.0f} ms" if step.node_id in progress.took_ms else ""
        mark = MARKS.get(result.status, "·")
        table.add_row(mark, escape(progress.labels[step.node_id]), result.status, counts, took)
    Console(stderr=True).print(table)


def print_catalogue(types: "Sequence[NodeType]", form: str) -> None:
    """The installed node types."""
    if form == "json":
        _write(dumps(catalogue(types), pretty=True) + b"\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("Type", "Group", "What it does", box=None, header_style="bold", pad_edge=False)
    for t in types:
        table.add_row(t.name, t.group, t.summary)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
