"""Frames between host and child: one letter, a length of 4 bytes, then JSON. Never pickle.

The JSON bears a letter before it that says who wrote it: orjson, or the standard library where orjson cannot (integers
over 64 bits, which orjson would also read back as floats).
"""

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

HEADER = struct.Struct("<cI")

READY = b"R"  # child -> host: locked down, send the job
JOB = b"J"  # host -> child
LINE = b"L"  # child -> host: [text, source line], as it is logged
RESULT = b"I"  # child -> host: the items; FACTS follow
FACTS = b"F"  # child -> host: lineage and the errors of single items
FAILURE = b"E"  # child -> host: instead of RESULT and FACTS

LONGEST_FRAME = 2**32 - 1


def encode(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """The value as JSON bytes for `decode`. Raises TypeError or ValueError where it is no JSON data."""
    try:
        return b"o" + orjson.dumps(value, default=default)
    except TypeError:
        return b"j" + json.dumps(value, default=default, allow_nan=False, separators=(",", ":")).encode()


def decode(payload: bytes | bytearray | memoryview) -> Any:
    """The value of `encode`. Raises ValueError for anything that is none, deep nesting included."""
    body = memoryview(payload)[1:]
    if payload[:1] == b"o":
        return orjson.loads(body)
    try:
        return json.loads(bytes(body), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def header(kind: bytes, payload: bytes) -> bytes:
    """What to send before the payload.

    Raises:
        ValueError: the payload is longer than the header can say.
    """
    if len(payload) > LONGEST_FRAME:
        raise ValueError("a frame holds less than 4 GiB")
    return HEADER.pack(kind, len(payload))


def plain_container(value: Any) -> Any:
    """A read-only mapping or sequence as the dict or list that JSON knows."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
