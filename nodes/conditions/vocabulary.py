"""What each test says of two values. It may refuse them: then the item cannot be tested."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from engine.api import NodeError, equal, match_key
from engine.convert import dumps, type_name

Test = Literal[
    "equals",
    "not_equals",
    "greater_than",
    "greater_or_equal",
    "less_than",
    "less_or_equal",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "matches",
    "is_empty",
    "is_not_empty",
    "is_true",
    "is_false",
    "is_in",
    "before",
    "after",
    "exists",
]
# Tests that compare with nothing.
ALONE = ("is_empty", "is_not_empty", "is_true", "is_false", "exists")
# RFC 8259, 6: text that JSON would read as a number counts as one where the other side is a number.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
MAX_NUMBER_TEXT = 300
TRUTHS: dict[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _refusal(message: str, hint: str | None = None) -> NodeError:
    return NodeError(message, hint=hint, retryable=False)


def _named(value: Any) -> str:
    """A value in a message: its type, and the start of its JSON."""
    if value is None:
        return "null"
    text = dumps(value).decode("utf-8", "replace")
    return f"{type_name(value)} ({text if len(text) <= 40 else text[:37] + '...'})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(text: str) -> Any:
    """The number that the text writes, or the text itself."""
    found = NUMBER.fullmatch(text.strip()) if len(text) <= MAX_NUMBER_TEXT else None
    if not found:
        return text
    return float(text) if found[2] or found[3] else int(text)


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Text that is written as a number becomes one where the other side is a number."""
    if isinstance(b, str) and _is_number(a):
        return a, _number(b)
    if isinstance(a, str) and _is_number(b):
        return _number(a), b
    return a, b


def _equals(a: Any, b: Any) -> bool:
    return equal(*_alike(a, b))


def _order(test: str, method: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        # Two plain numbers are by far the most frequent case: 0.1 us instead of 0.9.
        if type(a) in (int, float) and type(b) in (int, float):
            return method(a, b)
        if a is None or b is None:  # null is neither more nor less than anything
            return False
        one, other = _alike(a, b)
        if (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str)):
            return method(one, other)
        raise _refusal(
            f"{test} cannot compare {_named(a)} with {_named(b)}",
            "It compares two numbers or two texts: convert one side, for example with | float or | string.",
        )

    return check


def _contains(a: Any, b: Any) -> bool:
    if a is None:
        return False
    if isinstance(a, str):
        if isinstance(b, str) or _is_number(b):
            return str(_text(b, "contains")) in a
        raise _refusal(f"contains looks for text in a text, not for {_named(b)}")
    if isinstance(a, list):
        return any(_equals(element, b) for element in a)
    if isinstance(a, dict):
        return isinstance(b, str) and b in a
    raise _refusal(f"contains looks into text, lists and objects, not into {_named(a)}")


def _text(value: Any, test: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if _is_number(value):
        return dumps(value).decode()
    raise _refusal(f"{test} looks at text, not at {_named(value)}")


def _edge(test: str, method: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        text, part = _text(a, test), _text(b, test)
        return text is not None and part is not None and method(text, part)

    return check


@cache
def _compiled(source: str) -> Any:
    import re2  # noqa: PLC0415  only `matches` needs it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as exc:
        reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else exc.args[0]
        raise _refusal(
            f"{dumps(source[:60]).decode()} is no regular expression: {reason}",
            "RE2 syntax: no look-around, no back references.",
        ) from exc


def _pattern(source: Any) -> Any:
    """A regular expression in linear time: people's patterns cannot hang a worker."""
    if not isinstance(source, str):
        raise _refusal(f"matches needs a regular expression, not {_named(source)}")
    return _compiled(_whole(source))


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which RE2 refuses."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _matches(a: Any, pattern: Any) -> bool:
    text = _text(a, "matches")
    return text is not None and pattern.search(_whole(text)) is not None


class _Members:
    """The elements of a list, the parts of "de, fr", or the names of an object's fields: quick to look in."""

    def __init__(self, given: Any) -> None:
        if isinstance(given, str):
            given = [part.strip() for part in given.split(",")]
        if not isinstance(given, (list, dict)):
            raise _refusal(f"is_in needs a list to look in, not {_named(given)}", 'Write ["de", "fr"], or de, fr.')
        self.keys = {match_key(element) for element in given}
        self.numbers = {number for e in given if isinstance(e, str) and _is_number(number := _number(e))}

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self.keys or (_is_number(number := _number(value)) and number in self.keys)
        return match_key(value) in self.keys or (_is_number(value) and value in self.numbers)


def _truth(value: Any) -> bool | None:
    """True and false also as text or number; None for null."""
    if value is None or isinstance(value, bool):
        return value
    if _is_number(value) and value in (0, 1):
        return bool(value)
    known = TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise _refusal(
            f"neither true nor false: {_named(value)}", "true, yes and 1 are true; false, no and 0 are false."
        )
    return known


def _moment(value: Any) -> float | None:
    """Seconds since 1970 of ISO 8601 text or a Unix time; dates start at midnight, UTC where no zone is named."""
    try:
        if value is None:
            return None
        if _is_number(value):
            return float(value) / 1000 if abs(value) > 1e11 else float(value)  # milliseconds from 1973 on
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    raise _refusal(f"not a date: {_named(value)}", "Write 2026-11-23, 2026-11-23T12:00:00Z, or seconds since 1970.")


def _dates(method: Callable[[float, float], bool]) -> Callable[[Any, float | None], bool]:
    def check(a: Any, other: float | None) -> bool:
        moment = _moment(a)
        return moment is not None and other is not None and method(moment, other)

    return check


def _is_empty(a: Any, _: Any) -> bool:
    return a is None or (isinstance(a, (str, list, dict)) and not a)


# What some tests make of `other` first: once, where it is the same for all items.
PREPARED: dict[str, Callable[[Any], Any]] = {
    "matches": _pattern,
    "is_in": _Members,
    "before": _moment,
    "after": _moment,
}
# What people read of each test.
MEANINGS: dict[Test, str] = {
    "equals": "Both are the same. 1 and 1.0 are, 1 and true are not; lists and objects are compared inside.",
    "not_equals": "They are not the same.",
    "greater_than": "A larger number, or a text later in the alphabet. Null is neither more nor less than anything.",
    "greater_or_equal": "As greater_than, or the same.",
    "less_than": "A smaller number, or a text earlier in the alphabet.",
    "less_or_equal": "As less_than, or the same.",
    "contains": "A text holds the other text, a list the element, an object a field of that name. Null holds nothing.",
    "not_contains": "The opposite of contains.",
    "starts_with": "A text begins with the other; capital letters matter, here and in all tests of text.",
    "ends_with": "A text ends with the other.",
    "matches": "Some part of a text fits the regular expression (RE2: no look-around, no back references).",
    "is_empty": "Null, an empty text, list or object, or no such field.",
    "is_not_empty": "The opposite of is_empty: 0 and false are not empty.",
    "is_true": "True, 1, or the text true, yes or 1. Null is neither true nor false.",
    "is_false": "False, 0, or the text false, no or 0.",
    "is_in": 'It is among the elements of a list, the parts of a text such as "de, fr", or the fields of an object.',
    "before": "An earlier date: ISO 8601 text, or seconds since 1970. UTC where no zone is named.",
    "after": "A later date.",
    "exists": "The item has the field, and it is not null.",
}
TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "not_equals": lambda a, b: not _equals(a, b),
    "greater_than": _order("greater_than", lambda a, b: a > b),
    "greater_or_equal": _order("greater_or_equal", lambda a, b: a >= b),
    "less_than": _order("less_than", lambda a, b: a < b),
    "less_or_equal": _order("less_or_equal", lambda a, b: a <= b),
    "contains": _contains,
    "not_contains": lambda a, b: not _contains(a, b),
    "starts_with": _edge("starts_with", str.startswith),
    "ends_with": _edge("ends_with", str.endswith),
    "matches": _matches,
    "is_empty": _is_empty,
    "is_not_empty": lambda a, b: not _is_empty(a, b),
    "is_true": lambda a, _: _truth(a) is True,
    "is_false": lambda a, _: _truth(a) is False,
    "is_in": lambda a, members: a is not None and a in members,
    "before": _dates(lambda a, b: a < b),
    "after": _dates(lambda a, b: a > b),
    "exists": lambda a, _: a is not None,
}
