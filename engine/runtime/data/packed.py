"""JSON values as few bytes, and back: compressed where that pays, with a first byte that names the form."""

import threading
from typing import Any

import orjson
import zstandard

from engine.convert import STRICT, dumps, loads, plain
from engine.errors import InternalError

# The first byte. LONG: what orjson cannot hold (numbers beyond 64 bits, half a surrogate pair): `convert.loads` reads
# it. Everything else is read without looking for long numbers first, which costs three times as much as the reading.
RAW, ZSTD, LONG = 0, 1, 2
# Below this, compression saves less than it costs: the request of a webhook is mostly so small.
SMALL_BYTES = 600
LEVEL = 1


class _OfThread(threading.local):
    """Compressors may not be shared between threads, and cost 20 us to make."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


ZSTANDARD = _OfThread()


def json_text(value: Any) -> tuple[bytes, int]:
    """The JSON of a value, and LONG where orjson could not write it, else 0.

    Raises:
        NodeError: a value has no JSON form.
    """
    try:
        return orjson.dumps(value, plain, STRICT), 0
    except orjson.JSONEncodeError:
        pass
    try:
        return dumps(value), LONG
    except TypeError:
        return dumps(plain(value)), LONG


def pack_text(text: bytes, long: int = 0) -> bytes:
    """A JSON text as bytes for `unpack_json`."""
    if len(text) < SMALL_BYTES:
        return b"\2" + text if long else b"\0" + text
    packed = ZSTANDARD.compress(text)
    return b"\3" + packed if long else b"\1" + packed


def pack_json(value: Any) -> bytes:
    """A JSON value as few bytes. Whole numbers of any size and any text survive; NaN becomes null."""
    return pack_text(*json_text(value))


def unpack_json(data: bytes) -> Any:
    """The value that `pack_json` was given.

    Raises:
        InternalError: the bytes are damaged, or were written by a newer release.
    """
    form = data[0] if data else 255
    if form > (ZSTD | LONG):
        raise InternalError("stored data has a form that is not known here", hint="Was it written by a newer release?")
    try:
        packed = memoryview(data)[1:]
        text = ZSTANDARD.decompress(packed) if form & ZSTD else bytes(packed)
        return loads(text) if form & LONG else orjson.loads(text)
    except (zstandard.ZstdError, ValueError) as exc:
        raise InternalError(f"stored data cannot be read: {exc}", hint="Restore it from a backup.") from exc


def compress(data: bytes) -> bytes:
    """One zstd frame of the data."""
    return ZSTANDARD.compress(data)


def decompress(data: bytes | memoryview) -> bytes:
    """What a frame of `compress` holds; raises zstandard.ZstdError where it is damaged."""
    return ZSTANDARD.decompress(data)
