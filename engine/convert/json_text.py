"""JSON and NDJSON: texts to values and items, and back; and what has no JSON form made plain."""

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from engine.errors import NodeError
from engine.items import Items

# orjson reads whole numbers beyond 64 bits as floats. Where a number could be that long the standard library reads.
LONG_NUMBER = re.compile(rb"\d{19}")
STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
BOM = b"\xef\xbb\xbf"
TYPE_NAMES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((type(None),), "null"),
    ((bool,), "true/false"),  # before numbers: in Python it is one
    ((int, float), "a number"),
    ((str,), "text"),
    ((list, tuple), "a list"),
    ((Mapping,), "an object"),
)


def loads(data: bytes | str) -> Any:
    """The value of a JSON text; whole numbers of any size are kept. Of a key that stands twice the last one counts.

    Raises:
        ValueError: says where. NaN and Infinity are no JSON (RFC 8259, 6), nor is a number too large for 64 bits
            with a fraction or exponent.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    raw = raw.removeprefix(BOM)
    try:
        if not LONG_NUMBER.search(raw):
            return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        # orjson refuses half a surrogate pair ("\ud800"), which the grammar allows: the standard library decides.
        if "surrogate" not in str(exc):
            raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as exc:
        raise ValueError(f"it is not UTF-8: byte {exc.start} cannot be read") from exc
    except json.JSONDecodeError as exc:
        raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:30]} is too large")
    return number


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """`value` as JSON in UTF-8; the same value always gives the same text. NaN and infinities are written as null.

    Raises:
        TypeError: a value is no JSON data; the message says why.
    """
    try:
        return orjson.dumps(value, option=STRICT | (orjson.OPT_INDENT_2 if pretty else 0))
    except orjson.JSONEncodeError as exc:
        if any(known in str(exc) for known in ("Integer exceeds", "not valid UTF-8", "Recursion")):
            return _dumps_any(value, pretty)
        raise TypeError(str(exc)) from exc


def _dumps_any(value: Any, pretty: bool) -> bytes:
    """As `dumps`, for what orjson cannot hold: whole numbers beyond 64 bits and half a surrogate pair."""
    write = partial(json.dumps, indent=2 if pretty else None, separators=(",", ": ") if pretty else (",", ":"))
    try:
        try:
            text = write(value, ensure_ascii=False, allow_nan=False)
        except ValueError:
            value = plain(value)
            text = write(value, ensure_ascii=False)
    except RecursionError:
        raise TypeError("it is nested too deeply, or holds itself") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return write(value).encode()


def as_rows(value: Any, what: str = "the JSON") -> list[dict[str, Any]]:
    """A list of objects, or one object as a list of one. Raises NodeError naming the first element that is neither."""
    rows = value if isinstance(value, list) else [value]
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            place = f"element {index} of {what}" if isinstance(value, list) else what
            raise NodeError(
                f"{place} is {type_name(row)}, not an object",
                hint='Items are objects such as {"name": "Ada"}: give one, or a list of them.',
                retryable=False,
            )
    return rows


def type_name(value: Any) -> str:
    """What people call the type of a JSON value."""
    for kinds, name in TYPE_NAMES:
        if isinstance(value, kinds):
            return name
    return f"a {type(value).__name__}"


def items_from_json(data: bytes | str) -> Items:
    """Items of a JSON list of objects, or of one object."""
    try:
        return Items(as_rows(loads(data)))
    except ValueError as exc:
        raise NodeError(f"this is not JSON: {exc}", retryable=False) from exc


def items_from_ndjson(data: bytes | str) -> Items:
    """Items of one JSON object per line; empty lines are passed over."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    rows = []
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = loads(line)
        except ValueError as exc:
            at = str(exc).replace("line 1, ", "")
            raise NodeError(f"line {number} is not JSON: {at}", retryable=False) from exc
        rows += as_rows([row], what="the file") if isinstance(row, dict) else as_rows(row, what=f"line {number}")
    return Items(rows)


def items_to_ndjson(items: Items) -> bytes:
    """One JSON object per line."""
    return b"".join(dumps(row) + b"\n" for row in items.rows)


def plain(value: Any) -> Any:
    """A value of Python, NumPy or pandas as plain JSON data: dates as ISO 8601 text, missing values as None.

    Raises NodeError for what has no JSON form.
    """
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (str, int)):  # of NumPy, or of an Enum
        return str.__str__(value) if isinstance(value, str) else int(value)
    if isinstance(value, (datetime, date, time)):
        return None if str(value) == "NaT" else value.isoformat()
    if isinstance(value, Decimal):
        return plain(int(value) if value == value.to_integral_value() else float(value)) if value.is_finite() else None
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(element) for element in value]
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        value = value.astype(f"{value.dtype.kind}8[us]")  # those of nanoseconds would come as plain numbers
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if type(value).__name__ in {"NaTType", "NAType"}:
        return None
    raise NodeError(
        f"a value of type {type(value).__name__} has no JSON form: {str(value)[:80]!r}",
        hint="Make it text or a number first.",
        retryable=False,
    )
