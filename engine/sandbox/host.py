"""Runs code in child processes: starts one for each run, holds it to its limits, and outlives whatever it does."""

import asyncio
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from engine.errors import CodeError, CodeLimitExceeded, InternalError
from engine.sandbox import wire
from engine.sandbox.answer import LESS_MEMORY, read_failure, read_line, read_result, result_too_large
from engine.sandbox.contract import CodeResult, Limits, Shape
from engine.sandbox.process import Child, Garbage, command

START_S = 60.0  # for a child to start; with pandas on a busy machine that takes seconds
DYING_S = 1.0  # for a child that has closed its end to be gone

# Most bytes of a frame: one logged line or failure; and what may come with the items, by item and by failed item.
LONGEST_WORD = 2**20
FACT_PER_BYTE = 4  # lineage is a number per item, and an item has two bytes or more
FACT_PER_ERROR = 30_000

DEFAULT_LIMITS = Limits()
CHECK_LIMITS = Limits(wall_s=5, cpu_s=5)
NO_INPUTS: Mapping[str, Any] = MappingProxyType({})

LOOP = "Look for a loop without an end, or do less."

OnLog = Callable[[str, int], None]


async def run_code(
    source: str,
    items: Sequence[Mapping[str, Any]],
    *,
    shape: Shape = "items",
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] = NO_INPUTS,
    keep_going: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    on_log: OnLog | None = None,
) -> CodeResult:
    """What the author's Python makes of the items, in a process of its own.

    Args:
        source: the body of a function; `return` is allowed anywhere.
        shape: "items" runs it once with all `items`; "item" once for each `item`.
        inputs: seen as `params`; for shape "item" also one mapping per item.
        keep_going: in shape "item" an item that fails does not stop the others; see `CodeResult.errors`.
        on_log: called with each line that is logged and its source line, as it comes; also before a failure.

    Raises:
        CodeError: the code is no Python, says what it may not, raised, or returned what is no items.
        CodeLimitExceeded: it took or gave too much, or broke its process.
        InternalError: the process did not start.
    """
    if not isinstance(inputs, Mapping) and len(inputs) != len(items):
        raise ValueError(f"{len(inputs)} inputs for {len(items)} items")
    job = {
        "source": source,
        "items": list(items),
        "shape": shape,
        "inputs": inputs,
        "keep_going": keep_going,
        "check_only": False,
    }
    reads_frames = re.search(r"\b(df|pandas|numpy)\b", source) is not None
    return await ask(command(limits, reads_frames=reads_frames), job, limits, on_log)


def check_source(source: str) -> None:
    """Syntax and policy errors of the source, found without running it.

    It is parsed in a child, which takes some 50 ms: there is text that keeps the parser busy for ever. The answers for
    the last sources are remembered.

    Raises:
        CodeError: with line and hint.
    """
    if (problem := _problem(source)) is not None:
        raise CodeError(problem.message, line=problem.line, hint=problem.hint)


@lru_cache(maxsize=256)
def _problem(source: str) -> CodeError | None:
    job = {"source": source, "items": [], "shape": "items", "inputs": {}, "keep_going": False, "check_only": True}
    with ThreadPoolExecutor(1) as pool:  # the caller may be in an event loop, where no other one can be run
        try:
            pool.submit(asyncio.run, ask(command(CHECK_LIMITS), job, CHECK_LIMITS)).result()
        except CodeError as error:
            return error.with_traceback(None)
    return None


async def ask(
    arguments: Sequence[str],
    job: Mapping[str, Any],
    limits: Limits,
    on_log: OnLog | None = None,
    *,
    start_s: float = START_S,
) -> CodeResult:
    """The answer of a new child to a job. The child is gone when this returns, raises or is cancelled."""
    payload = wire.encode(job, wire.plain_container)
    child = Child(arguments)
    try:
        await _start(child, start_s)
        async with asyncio.timeout(limits.wall_s):
            await child.send(wire.JOB, payload)
            return await _Listener(child, limits, on_log).listen(len(job["items"]))
    except TimeoutError:
        raise CodeLimitExceeded(f"the code ran longer than {limits.wall_s:g} s", hint=LOOP) from None
    except Garbage:
        raise CodeError("the process of the code gave an answer without meaning") from None
    except (EOFError, OSError):
        raise _death(await child.end(DYING_S), limits) from None
    finally:
        try:
            await child.end()
        finally:
            child.forget()


async def _start(child: Child, start_s: float) -> None:
    try:
        async with asyncio.timeout(start_s):
            kind, length = await child.receive_header()
        reason = None if (kind, length) == (wire.READY, 0) else "it spoke out of turn"
    except TimeoutError:
        reason = f"it took longer than {start_s:g} s"
    except (EOFError, OSError):
        await child.end(DYING_S)
        reason = child.complaint()
    if reason is not None:
        raise InternalError(f"the process for code nodes did not start: {reason}")


class _Listener:
    """Reads what one child says after it was given its job. A frame's length is checked before it is read."""

    def __init__(self, child: Child, limits: Limits, on_log: OnLog | None) -> None:
        self._child = child
        self._limits = limits
        self._on_log = on_log
        self._log: list[str] = []
        self._log_lines: list[int] = []
        self._log_left = limits.log_bytes + 200  # with the line that says that it was cut

    async def listen(self, count: int) -> CodeResult:
        """The result, with the log. `count`: of input items."""
        while True:
            kind, length = await self._child.receive_header()
            if kind == wire.LINE:
                self._add_line(await self._payload(length, LONGEST_WORD + 6 * self._limits.log_bytes))
            elif kind == wire.FAILURE:
                raise read_failure(await self._payload(length, LONGEST_WORD), self._limits)
            elif kind == wire.RESULT:
                return await self._result(length, count)
            else:
                raise Garbage

    async def _result(self, length: int, count: int) -> CodeResult:
        if length - 1 > self._limits.result_bytes:
            raise result_too_large(None, self._limits)
        items = await self._child.receive(length)
        kind, size = await self._child.receive_header()
        if kind != wire.FACTS:
            raise Garbage
        facts = await self._payload(size, LONGEST_WORD + FACT_PER_BYTE * length + FACT_PER_ERROR * count)
        return replace(read_result(items, facts, count), log=self._log, log_lines=self._log_lines)

    async def _payload(self, length: int, most: int) -> bytearray:
        if length > most:
            raise Garbage
        return await self._child.receive(length)

    def _add_line(self, payload: bytearray) -> None:
        text, line = read_line(payload)
        self._log_left -= len(text.encode(errors="replace")) + 1
        if self._log_left < 0:
            raise Garbage
        self._log.append(text)
        self._log_lines.append(line)
        if self._on_log is not None:
            self._on_log(text, line)


def _death(status: int, limits: Limits) -> CodeError:
    """The error of a child that went without an answer, by its exit status."""
    if status in (-signal.SIGPROF, -signal.SIGXCPU):
        return CodeLimitExceeded(f"the code used more than {limits.cpu_s:g} s of processor time", hint=LOOP)
    if status == -signal.SIGKILL:
        allowed = f"{limits.memory_mb} MB, {limits.cpu_s:g} s"
        return CodeLimitExceeded(f"the system stopped the code: too much memory or time ({allowed})", hint=LESS_MEMORY)
    if status in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
        allowed = f"{limits.memory_mb} MB"
        return CodeLimitExceeded(
            f"the code broke its process: too much memory ({allowed}), most often", hint=LESS_MEMORY
        )
    return CodeError(f"the process of the code ended without an answer (status {status})")
