"""JSON values: what they are called, how they read as text, how large they are."""

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

KINDS: dict[type, str] = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    list: "a list",
    dict: "an object",
}

# An element of a list and a field of an object, in bytes: a pointer and a small value, roughly.
ELEMENT_BYTES = 16
FIELD_BYTES = 64


def kind_of(value: Any) -> str:
    """The value's kind, as messages call it: "text", "a number", "null", ..."""
    return KINDS.get(type(value), "no JSON value")


def as_json(value: Any, *, indent: int = 0, sort_keys: bool = False) -> str:
    """The value as JSON, compact unless `indent` is given.

    The caller has checked the size: see `size_of`.
    """
    if not indent:
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None).decode()
        except TypeError:
            # Integers over 64 bits and nesting over 254 levels: slower, but the same text.
            pass
    separators = None if indent else (",", ":")
    encoder = json.JSONEncoder(
        ensure_ascii=False, indent=indent or None, separators=separators, sort_keys=sort_keys, allow_nan=False
    )
    try:
        return encoder.encode(value)
    except ValueError:
        return encoder.encode(_without_nan(value))


def _without_nan(value: Any) -> Any:
    """The value with null for each number that is not finite, as orjson writes it."""
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def size_of(value: Any, limit: int, *, indent: int = 0) -> int:
    """About how many bytes the value takes, as often as it is mentioned; stops counting above `limit`.

    One object that appears a thousand times counts a thousand times, as it does when it is written out.
    """
    total = 0
    open_: list[Iterator[Any]] = [iter((value,))]
    while open_:
        for inner in open_[-1]:
            kind = type(inner)
            if kind is str:
                total += len(inner) + 2
            elif kind is list or kind is dict:
                total += len(inner) * ((ELEMENT_BYTES if kind is list else FIELD_BYTES) + indent * len(open_))
                if kind is dict:
                    total += sum(map(len, inner))
                open_.append(iter(inner if kind is list else inner.values()))
                break
            else:
                total += 8
            if total > limit:
                return total
        else:
            open_.pop()
        if total > limit:
            return total
    return total
