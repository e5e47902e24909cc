"""What is asked of the sandbox, and what it answers."""

from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import CodeError

Shape = Literal["items", "item"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run of code may take.

    Attributes:
        wall_s: seconds by the clock, from the moment the child process is ready; its start is not counted.
        cpu_s: seconds of processor time, counted from the same moment.
        memory_mb: MiB of address space above what the interpreter, with the libraries it needs, has at start.
        result_bytes: the returned items as JSON.
        log_bytes: all logged lines as UTF-8; what comes after them is cut.
    """

    wall_s: float = 30.0
    cpu_s: float = 30.0
    memory_mb: int = 512
    result_bytes: int = 64 * 2**20
    log_bytes: int = 64 * 2**10


@dataclass(frozen=True, slots=True)
class CodeResult:
    """What the author's code made.

    Attributes:
        items: the items returned, plain JSON data.
        sources: per item the index of the input item it came from; None for the whole when that is not known.
        errors: with `keep_going`, input index -> why that item failed.
        log: lines printed or logged; when there were too many, the last one says so.
        log_lines: the source line each line of `log` came from, from 1; 0 when not known.
    """

    items: list[dict[str, Any]]
    sources: list[int | None] | None
    errors: dict[int, CodeError]
    log: list[str]
    log_lines: list[int]
