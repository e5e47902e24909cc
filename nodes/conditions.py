"""The tests that If, Switch and Filter share: one vocabulary, one meaning."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.api import Context, Items, MissingValue, NodeError, PerItem, PerItemOrMissing, field
from engine.convert import type_name

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
# RFC 8259, 6: text that JSON would read as a number counts as one where the other side is a number.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
MAX_NUMBER_TEXT = 300


class Condition(BaseModel):
    """One test on a value of each item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: PerItemOrMissing[Any] = field(help="What to look at, such as {{ item.total }}.")
    test: Test = field(help="How to compare. A number written as text counts as one beside a number.")
    other: PerItem[Any] = field(None, help="What to compare with; some tests need nothing.")


Combine = Literal["all", "any"]


def decide(ctx: Context, items: Items, conditions: Sequence[Condition], combine: Combine) -> list[bool | None]:
    """Whether each item passes all (or any) of the conditions; None for an item that had to be given up."""
    count = len(items)
    verdicts: list[bool | None] = [combine == "all"] * count
    for condition in conditions:
        test = TESTS[condition.test]
        for index, (value, other) in enumerate(
            zip(condition.value.values(count), condition.other.values(count), strict=True)
        ):
            verdict = verdicts[index]
            if verdict is None or verdict != (combine == "all"):
                continue
            try:
                if isinstance(value, MissingValue):
                    verdicts[index] = _missing(condition.test, value)
                else:
                    verdicts[index] = test(value, other)
            except NodeError as exc:
                ctx.reject(index, exc)
                verdicts[index] = None
    return verdicts


def _missing(test: Test, error: MissingValue) -> bool:
    """What a test says of a field that is not there: most cannot say anything."""
    if test in ("exists", "is_not_empty"):
        return False
    if test == "is_empty":
        return True
    raise error


def _ordered(a: Any, b: Any, test: str) -> tuple[Any, Any] | None:
    """Both sides in a form that can be ordered; None where one of them is null: it is neither more nor less."""
    if a is None or b is None:
        return None
    a, b = _alike(a, b)
    for kind in (str, (int, float)):
        if isinstance(a, kind) and isinstance(b, kind) and not isinstance(a, bool) and not isinstance(b, bool):
            return a, b
    raise NodeError(
        f"{test} cannot compare {type_name(a)} ({_short(a)}) with {type_name(b)} ({_short(b)})",
        hint="Convert one side, for example with | float or | string.",
        retryable=False,
    )


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Text that is written as a number becomes one where the other side is a number."""
    if _is_number(a) and isinstance(b, str):
        return a, _number(b)
    if _is_number(b) and isinstance(a, str):
        return _number(a), b
    return a, b


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(text: str) -> Any:
    found = NUMBER.fullmatch(text.strip()) if len(text) <= MAX_NUMBER_TEXT else None
    if not found:
        return text
    return float(text) if found[2] or found[3] else int(text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _equals(a: Any, b: Any) -> bool:
    a, b = _alike(a, b)
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    return bool(a == b)


def _contains(a: Any, b: Any) -> bool:
    if a is None:
        return False
    if isinstance(a, str):
        if isinstance(b, bool) or not isinstance(b, (str, int, float)):
            raise NodeError(f"text cannot contain {type_name(b)} ({_short(b)})", retryable=False)
        return str(b) in a
    if isinstance(a, list):
        return any(_equals(element, b) for element in a)
    if isinstance(a, dict):
        return b in a
    raise NodeError(f"contains looks into text, lists and objects, not {type_name(a)} ({_short(a)})", retryable=False)


def _text(value: Any, test: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if _is_number(value):
        return str(value)
    raise NodeError(f"{test} looks at text, not {type_name(value)} ({_short(value)})", retryable=False)


def _edge(test: str, method: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        text, part = _text(a, test), _text(b, test)
        return text is not None and part is not None and method(text, part)

    return check


@cache
def _pattern(source: str) -> Any:
    """A regular expression in linear time: people's patterns cannot hang a worker."""
    import re2  # noqa: PLC0415  only `matches` needs it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as exc:
        reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else exc.args[0]
        raise NodeError(
            f"{_short(source)} is no regular expression: {reason}",
            hint="RE2 syntax: no look-around, no back references.",
            retryable=False,
        ) from exc


def _matches(a: Any, b: Any) -> bool:
    text = _text(a, "matches")
    if not isinstance(b, str):
        raise NodeError(f"matches needs a regular expression, not {type_name(b)}", retryable=False)
    return text is not None and _pattern(b).search(text) is not None


def _is_in(a: Any, b: Any) -> bool:
    if isinstance(b, str) and isinstance(a, str):
        return a in [part.strip() for part in b.split(",")]
    if isinstance(b, dict):
        return a in b
    if isinstance(b, list):
        return any(_equals(a, element) for element in b)
    raise NodeError(
        f"is_in needs a list to look in, not {type_name(b)}",
        hint='For example ["de", "fr"] or de, fr.',
        retryable=False,
    )


def _truth(value: Any) -> bool | None:
    """True and false also as text or number; None for null."""
    known: dict[Any, bool] = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise NodeError(f"this is neither true nor false: {type_name(value)} ({_short(value)})", retryable=False)


def _moment(value: Any, test: str) -> float | None:
    """Seconds since 1970 of ISO 8601 text or a Unix time; dates start at midnight, UTC where no zone is named."""
    from datetime import UTC, datetime  # noqa: PLC0415

    if value is None:
        return None
    if _is_number(value):
        return float(value) / 1000 if abs(value) > 1e11 else float(value)  # milliseconds from 1973 on
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise NodeError(
        f"{test} compares dates, and {_short(value)} is none",
        hint="Write 2026-11-23 or 2026-11-23T12:00:00Z.",
        retryable=False,
    )


def _dates(test: str, method: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        first, second = _moment(a, test), _moment(b, test)
        return first is not None and second is not None and method(first, second)

    return check


def _order(test: str, method: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        # Two plain numbers are by far the most frequent case: 0.1 us instead of 0.9.
        if type(a) in (int, float) and type(b) in (int, float):
            return method(a, b)
        sides = _ordered(a, b, test)
        return sides is not None and method(*sides)

    return check


def _is_empty(a: Any, _: Any) -> bool:
    return a is None or (isinstance(a, (str, list, dict)) and not a)


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
    "is_in": _is_in,
    "before": _dates("before", lambda a, b: a < b),
    "after": _dates("after", lambda a, b: a > b),
    "exists": lambda a, _: a is not None,
}
