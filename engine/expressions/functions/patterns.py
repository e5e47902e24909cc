"""Patterns: regular expressions of RE2, whose time grows with the text only."""

import re
from collections.abc import Iterator
from functools import lru_cache
from time import perf_counter
from typing import Any

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.scope import LIST_LIMIT, Scope

offer = offered("text", cost=20)

PATTERN_LIMIT = 2_000  # characters
_PATTERN_BYTES = 2 << 20  # memory of one compiled pattern; RE2's own default is 8 MB
_STEPS_PER_S = 10_000_000
_GROUP = re.compile(r"\\(\d{1,2}|g<\w{1,40}>|\\)")
_HINT = "Patterns are those of RE2: no look-around and no back-references."


@offer("filter", "test")
def matches(scope: Scope, text: str, pattern: str) -> bool:
    """Whether the pattern occurs in the text; ^ and $ tie it to the ends, (?i) in front ignores case.

    >>> item.email | matches("^[^@]+@example\\.com$")
    true
    """
    _pay_for_scan(scope, text)
    return _compiled(pattern).search(text) is not None


@offer("filter")
def regex_find(scope: Scope, text: str, pattern: str, group: int | str = 0) -> str | None:
    """The first part of the text that fits the pattern, or one group of it; null if there is none.

    >>> "Order 4711 of March" | regex_find("\\d+")
    "4711"
    >>> "ada@example.com" | regex_find("(\\w+)@(\\w+)", 2)
    "example"
    """
    _pay_for_scan(scope, text)
    found = _compiled(pattern).search(text)
    return None if found is None else _group(found, group)


@offer("filter")
def regex_find_all(scope: Scope, text: str, pattern: str, group: int | str = 0) -> list[str | None]:
    """Every part of the text that fits the pattern, or one group of each.

    >>> "10 + 20 = 30" | regex_find_all("\\d+")
    ["10", "20", "30"]
    """
    return [_group(found, group) for found in _all(scope, text, pattern)]


@offer("filter")
def regex_replace(scope: Scope, text: str, pattern: str, replacement: str) -> str:
    """The text with every part that fits the pattern replaced; \\1 stands for the first group, and
    \\g<name> for a named one.

    >>> "2026-03-01" | regex_replace("(\\d+)-(\\d+)-(\\d+)", "\\3.\\2.\\1")
    "01.03.2026"
    """
    parts: list[str] = []
    end = length = 0
    for found in _all(scope, text, pattern):
        parts += [text[end : found.start()], _expanded(replacement, found)]
        length += len(parts[-1]) + len(parts[-2])
        end = found.end()
        if length > len(text):
            # Only what grows is paid for on the way.
            scope.text(len(parts[-1]))
    scope.text(length + len(text) - end)
    return "".join([*parts, text[end:]])


def _all(scope: Scope, text: str, pattern: str) -> Iterator[Any]:
    """The matches, paid for by the time they take: `a.*b|a` reads to the end again and again."""
    _pay_for_scan(scope, text)
    started = perf_counter()
    for count, found in enumerate(_compiled(pattern).finditer(text)):
        if count >= LIST_LIMIT:
            raise ExpressionError(f"the pattern fits more than {LIST_LIMIT:,} times")
        yield found
        if count % 64 == 63:
            scope.walk(int((perf_counter() - started) * _STEPS_PER_S))
            started = perf_counter()


def _pay_for_scan(scope: Scope, text: str) -> None:
    scope.walk(len(text) >> 2)


def _group(found: Any, group: int | str) -> str | None:
    try:
        part: str | None = found[group]
    except IndexError:
        raise ExpressionError("the pattern has no such group") from None
    return part


def _expanded(replacement: str, found: Any) -> str:
    if "\\" not in replacement:
        return replacement

    def part(reference: re.Match[str]) -> str:
        name = reference.group(1)
        if name == "\\":
            return "\\"
        name = name[2:-1] if name.startswith("g<") else name
        return _group(found, int(name) if name.isdecimal() else name) or ""

    return _GROUP.sub(part, replacement)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    # Loading RE2 takes as long as a third of this whole package.
    import re2  # noqa: PLC0415

    if len(pattern) > PATTERN_LIMIT:
        raise ExpressionError(f"a pattern may have {PATTERN_LIMIT:,} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        reason = exc.args[0].decode(errors="replace") if exc.args and type(exc.args[0]) is bytes else str(exc)
        raise ExpressionError(f"this pattern cannot be read: {reason}", hint=_HINT) from None
