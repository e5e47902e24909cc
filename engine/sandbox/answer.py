"""Reads what a child says. It ran someone's code, so nothing it says is trusted: each part is held against its form."""

from collections.abc import Mapping
from typing import Any

from engine.errors import CodeError, CodeLimitExceeded
from engine.sandbox import wire
from engine.sandbox.contract import CodeResult, Limits
from engine.sandbox.process import Garbage

LONGEST_TEXT = 2100  # characters of a message or hint
SMALLER = "Return less, or split the work over several nodes."
LESS_MEMORY = "Work on fewer items at once, or keep less of them."


def read_line(payload: bytearray) -> tuple[str, int]:
    """A logged line and its source line."""
    match _decode(payload):
        case [str(text), int(line)]:
            return text, line
    raise Garbage


def read_result(payload: bytearray, facts_payload: bytearray, count: int) -> CodeResult:
    """The items with their lineage, without the log.

    Args:
        count: how many input items there were.
    """
    items = _decode(payload)
    if type(items) is not list or not all(type(item) is dict for item in items):
        raise Garbage
    facts = _decode(facts_payload)
    if type(facts) is not dict:
        raise Garbage
    return CodeResult(items, _sources(facts.get("sources"), len(items), count), _errors(facts, count), [], [])


def read_failure(payload: bytearray, limits: Limits) -> CodeError:
    """The error that the child reports."""
    facts = _decode(payload)
    if type(facts) is not dict:
        raise Garbage
    if facts.get("kind") == "memory":
        return _memory_exceeded(_count(facts.get("line")), limits)
    if facts.get("kind") == "result":
        return result_too_large(facts.get("size"), limits)
    return _error(facts, _count(facts.get("item_index")))


def result_too_large(size: Any, limits: Limits) -> CodeLimitExceeded:
    """The error of code that returned too much; `size` in bytes, if it is known."""
    mebi = f"{limits.result_bytes / 2**20:g} MB"
    what = f"{size / 2**20:.1f} MB" if type(size) is int else "more"
    return CodeLimitExceeded(f"the code returned {what} of JSON, of which {mebi} is allowed", hint=SMALLER)


def _memory_exceeded(line: int | None, limits: Limits) -> CodeLimitExceeded:
    place = f"line {line}: " if line else ""
    message = f"{place}the code took more than {limits.memory_mb} MB of memory"
    return CodeLimitExceeded(message, line=line or None, hint=LESS_MEMORY)


def _decode(payload: bytearray) -> Any:
    try:
        return wire.decode(payload)
    except ValueError:
        raise Garbage from None


def _sources(sources: Any, items: int, count: int) -> list[int | None] | None:
    if sources is None:
        return None
    if type(sources) is not list or len(sources) != items:
        raise Garbage
    if not all(source is None or (type(source) is int and 0 <= source < count) for source in sources):
        raise Garbage
    return sources


def _errors(facts: Mapping[str, Any], count: int) -> dict[int, CodeError]:
    errors = facts.get("errors")
    if type(errors) is not dict or len(errors) > count:
        raise Garbage
    read: dict[int, CodeError] = {}
    for key, error in errors.items():
        if not (key.isdecimal() and len(key) < 12 and int(key) < count and type(error) is dict):
            raise Garbage
        read[int(key)] = _error(error, int(key))
    return read


def _error(facts: Mapping[str, Any], index: int | None) -> CodeError:
    message, hint = facts.get("message"), facts.get("hint")
    if type(message) is not str or not (hint is None or type(hint) is str):
        raise Garbage
    return CodeError(
        message[:LONGEST_TEXT],
        line=_count(facts.get("line")),
        item_index=index,
        hint=hint and hint[:LONGEST_TEXT],
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None
