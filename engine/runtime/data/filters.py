"""What the filters of a grid say of one field: the tests of `core.filter`, on single values and on whole columns.

A value that a test can say nothing of (a missing field, a number and a list compared) does not match; in a workflow it
would be an error. Missing fields match `is_empty` only.
"""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from engine.convert import dumps
from engine.errors import DefinitionError, did_you_mean
from engine.values import NO_VALUE, equal

if TYPE_CHECKING:
    import pyarrow as pa

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
    "is_empty",
    "is_not_empty",
    "exists",
]
# RFC 8259, 6: text that JSON would read as a number counts as one where the other side is a number.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
MAX_NUMBER_TEXT = 300
INT64 = range(-(2**63), 2**63)


class Filter(NamedTuple):
    """One filter on a field, by name or path. `value` is not looked at by is_empty, is_not_empty and exists."""

    field: str
    test: Test
    value: Any = None


def check(filters: "tuple[Filter, ...]") -> None:
    """Raise DefinitionError for a test that is not known."""
    for one in filters:
        if one.test not in get_args(Test):
            raise DefinitionError(
                f"{one.test!r} is no test that a filter knows", hint=did_you_mean(one.test, get_args(Test))
            )


def tester(one: Filter) -> Callable[[Any], bool]:
    """What a filter says of a single value, or of NO_VALUE where the field is missing."""
    test, other = one.test, one.value
    holds = HOLDS[test]
    return lambda value: test == "is_empty" if value is NO_VALUE else holds(value, other)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _number(text: str) -> Any:
    found = NUMBER.fullmatch(text.strip()) if len(text) <= MAX_NUMBER_TEXT else None
    if not found:
        return text
    return float(text) if found[2] or found[3] else int(text)


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    if type(b) is str and _is_number(a):
        return a, _number(b)
    if type(a) is str and _is_number(b):
        return _number(a), b
    return a, b


def _equals(a: Any, b: Any) -> bool:
    return equal(*_alike(a, b))


def _order(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        a, b = _alike(a, b)
        comparable = (_is_number(a) and _is_number(b)) or (type(a) is str and type(b) is str)
        return comparable and holds(a, b)

    return check


def _found_in(a: Any, b: Any) -> bool | None:
    """Whether a text, list or object contains b; None where that cannot be asked."""
    if a is None:
        return False
    if type(a) is str:
        part = _text(b)
        return None if part is None else part in a
    if type(a) is list:
        return any(_equals(element, b) for element in a)
    return type(b) is str and b in a if type(a) is dict else None


def _text(value: Any) -> str | None:
    if _is_number(value):
        return dumps(value).decode()
    return value if type(value) is str else None


def _edge(holds: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def check(a: Any, b: Any) -> bool:
        text, part = _text(a), _text(b)
        return text is not None and part is not None and holds(text, part)

    return check


def _is_empty(a: Any, _: Any) -> bool:
    return a is None or (type(a) in (str, list, dict) and not a)


HOLDS: dict[Test, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "not_equals": lambda a, b: not _equals(a, b),
    "greater_than": _order(lambda a, b: a > b),
    "greater_or_equal": _order(lambda a, b: a >= b),
    "less_than": _order(lambda a, b: a < b),
    "less_or_equal": _order(lambda a, b: a <= b),
    "contains": lambda a, b: _found_in(a, b) is True,
    "not_contains": lambda a, b: _found_in(a, b) is False,
    "starts_with": _edge(str.startswith),
    "ends_with": _edge(str.endswith),
    "is_empty": _is_empty,
    "is_not_empty": lambda a, b: not _is_empty(a, b),
    "exists": lambda a, _: a is not None,
}

COMPARED = {
    "equals": "equal",
    "not_equals": "not_equal",
    "greater_than": "greater",
    "greater_or_equal": "greater_equal",
    "less_than": "less",
    "less_or_equal": "less_equal",
}
SOUGHT = {"contains": "match_substring", "starts_with": "starts_with", "ends_with": "ends_with"}


def column_mask(one: Filter, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """What the filter says of every value of a column: the same as `tester`, in one pass where types are plain."""
    import pyarrow as pa  # noqa: PLC0415  there is a column, so it is imported
    import pyarrow.compute as pc  # noqa: PLC0415

    test, other = one.test, one.value
    kind = column.type
    if test in ("exists", "is_empty", "is_not_empty"):
        valid = pc.is_valid(column)
        if test != "exists" and kind == pa.string():
            valid = pc.and_(valid, pc.fill_null(pc.not_equal(column, ""), False))
        return pc.invert(valid) if test == "is_empty" else valid
    if test in COMPARED:
        scalar = _scalar(kind, test, other)
        if scalar is not None:
            return pc.fill_null(getattr(pc, COMPARED[test])(column, scalar), test == "not_equals")
    elif kind == pa.string() and (part := _text(other)) is not None and _is_whole(part):
        function, negated = SOUGHT[test.removeprefix("not_")], test.startswith("not_")
        found = pc.fill_null(getattr(pc, function)(column, pattern=part), False)
        return pc.invert(found) if negated else found
    return value_mask(column, tester(one))


def value_mask(column: "pa.ChunkedArray", holds: Callable[[Any], bool]) -> "pa.ChunkedArray":
    """What `holds` says of every value; it is asked once for each different one."""
    import pyarrow as pa  # noqa: PLC0415

    if column.type == pa.null():
        return pa.chunked_array([pa.array([holds(None)] * len(column), pa.bool_())])
    coded = column.combine_chunks().dictionary_encode()
    coded = coded if isinstance(coded, pa.Array) else coded.combine_chunks()
    verdicts = pa.array([holds(value) for value in coded.dictionary.to_pylist()], pa.bool_())
    return pa.chunked_array([verdicts.take(coded.indices).fill_null(holds(None))])


def _is_whole(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which Arrow's texts cannot have."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _scalar(kind: Any, test: str, other: Any) -> Any:
    """What to compare a column of that type with, so that Arrow decides as Python does; None where it would not."""
    import pyarrow as pa  # noqa: PLC0415

    if kind == pa.string():
        return pa.scalar(other, kind) if type(other) is str and _is_whole(other) else None
    if kind not in (pa.int64(), pa.float64()):
        return None
    number = _number(other) if type(other) is str else other
    if not _is_number(number):
        return None
    if kind == pa.float64():
        exact = type(number) is float or (abs(number) <= 2**53)
        return pa.scalar(float(number), kind) if exact else None
    if type(number) is float:
        if not math.isfinite(number):
            return None
        if not number.is_integer():
            if test in ("equals", "not_equals"):
                return None
            # 1.5 < n is 1 < n, and 1.5 <= n is 2 <= n.
            number = math.floor(number) if test in ("greater_than", "less_or_equal") else math.ceil(number)
    return pa.scalar(int(number), kind) if int(number) in INT64 else None
