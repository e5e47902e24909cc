"""Choosing between values: what to take where there is none, yes and no, kinds."""

from typing import Any

from engine.errors import ExpressionError
from engine.expressions.library import offered
from engine.expressions.values import kind_of

offer = offered("logic")

_YES = frozenset(("true", "yes", "on", "1"))
_NO = frozenset(("false", "no", "off", "0", ""))


@offer("filter", aliases=("d",))
def default(value: Any, instead: Any = None, boolean: bool = False) -> Any:
    """`instead` where the value, or anything on the way to it, is missing or null; null if that is not given.

    With `boolean`, also where the value counts as false: 0, false, empty.

    >>> item.phone | default("unknown")
    "unknown"
    >>> item.address.zip | default("-")
    "-"
    >>> "" | default("empty", true)
    "empty"
    """
    return instead if value is None or (boolean and not value) else value


@offer("function")
def coalesce(*values: Any) -> Any:
    """The first value that is neither missing nor null; else null.

    >>> coalesce(item.phone, item.address.zip, item.email)
    "ada@example.com"
    """
    return next((value for value in values if value is not None), None)


@offer("filter", "function", name="bool")
def boolean(value: str | float | bool | None) -> bool:
    """True or false: the texts true, yes, on, 1 and false, no, off, 0, or empty; a number other than 0; null is false.

    >>> "Yes" | bool
    true
    >>> 0 | bool
    false
    """
    if not isinstance(value, str):
        return bool(value)
    word = value[:20].strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise ExpressionError("bool: this text is neither yes nor no", hint='Compare it: item.answer == "ja".')


@offer("filter")
def type_of(value: Any) -> str:
    """The value's kind: "text", "number", "boolean", "null", "list" or "object".

    >>> item.tags | type_of
    "list"
    """
    return kind_of(value).split()[-1]
