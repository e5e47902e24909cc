"""Reads the body of an answer within a bound: of what comes in, and of what it unpacks to."""

import zlib
from collections.abc import AsyncIterator, Generator, Iterator, Sequence

from engine.errors import UpstreamError

# What we can unpack in bounded steps, so all that we ask for.
ACCEPT_ENCODING = "gzip, deflate"

_CODINGS = {"gzip", "x-gzip", "deflate"}
_MOST_CODINGS = 3
_PIECE_BYTES = 2**16
_GZIP_START = b"\x1f\x8b"


async def read_body(chunks: AsyncIterator[bytes], content_encoding: str, *, limit_bytes: int, place: str) -> bytes:
    """The body, unpacked, of at most `limit_bytes`; nothing is read or unpacked beyond it.

    httpx would unpack each chunk whole, in any number of layers: 64 kB of gzip in gzip can be gigabytes.

    Args:
        content_encoding: the header; "" where there is none.
        place: the host, for messages.

    Raises:
        UpstreamError: too large, packed in a way we did not ask for, damaged, or cut short.
    """
    layers = [_Layer(coding, limit_bytes, place) for coding in _codings(content_encoding, place)]
    body = bytearray()
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        for piece in _unpacked(chunk, layers):
            body += piece
            if len(body) > limit_bytes:
                raise _too_large(place, limit_bytes)
        if received > limit_bytes:
            raise _too_large(place, limit_bytes)
    if received and not all(layer.complete for layer in layers):
        raise UpstreamError(f"The packed answer of {place} was cut short.", hint="Try again.")
    return bytes(body)


def check_length(content_length: str, *, limit_bytes: int, place: str) -> None:
    """Refuse a body that says itself that it is too large, before any of it is read."""
    if content_length.isdecimal() and int(content_length[:18]) > limit_bytes:
        raise _too_large(place, limit_bytes)


def _codings(content_encoding: str, place: str) -> list[str]:
    """The codings to undo, outermost first."""
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in reversed(named) if coding not in ("", "identity")]
    if len(codings) > _MOST_CODINGS or not _CODINGS.issuperset(codings):
        raise UpstreamError(
            f"{place} packed its answer as {content_encoding[:80]!r}, which was not asked for.",
            hint=f"Ask the service for one of: {ACCEPT_ENCODING}, identity.",
            retryable=False,
        )
    return codings


def _unpacked(data: bytes, layers: Sequence["_Layer"]) -> Iterator[bytes]:
    """`data` through all layers, in pieces of at most 64 kB."""
    if not layers:
        yield data
        return
    for piece in layers[0].feed(data):
        yield from _unpacked(piece, layers[1:])


class _Layer:
    """Undoes one gzip or deflate, and counts what comes out of it: a layer in the middle can be a bomb too."""

    def __init__(self, coding: str, limit_bytes: int, place: str) -> None:
        self.complete = False
        self._gzip = coding != "deflate"
        self._limit_bytes = limit_bytes
        self._place = place
        self._size = 0
        self._held = b""
        self._zlib: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to, in pieces of at most 64 kB."""
        data = self._held + data
        self._held = b""
        while data:
            if self._zlib is None:
                # Two bytes tell what follows.
                if len(data) < 2:
                    self._held = data
                    return
                if self.complete and not (self._gzip and data.startswith(_GZIP_START)):
                    return  # padding behind the end, as browsers see it
                self._zlib = zlib.decompressobj(self._window_bits(data))
                self.complete = False
            data = yield from self._inflate(data, self._zlib)

    def _inflate(self, data: bytes, unpacker: "zlib._Decompress") -> Generator[bytes, None, bytes]:
        """What `data` unpacks to; returns the bytes behind the end of this packing."""
        while True:
            try:
                piece = unpacker.decompress(data, _PIECE_BYTES)
            except zlib.error as exc:
                raise UpstreamError(f"The packed answer of {self._place} is damaged.", hint="Try again.") from exc
            self._size += len(piece)
            if self._size > self._limit_bytes:
                raise _too_large(self._place, self._limit_bytes)
            if piece:
                yield piece
            if unpacker.eof:
                self._zlib = None
                self.complete = True
                return unpacker.unused_data
            data = unpacker.unconsumed_tail
            if not data and len(piece) < _PIECE_BYTES:
                return b""

    def _window_bits(self, data: bytes) -> int:
        """What zlib calls the format. Deflate has a zlib header (RFC 9110, 8.4.1.2), but is often sent without."""
        if self._gzip:
            return 16 + zlib.MAX_WBITS
        has_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _too_large(place: str, limit_bytes: int) -> UpstreamError:
    size = f"{limit_bytes / 2**20:.4g} MB" if limit_bytes >= 2**20 else f"{limit_bytes} bytes"
    return UpstreamError(
        f"{place} sent more than {size}.", hint="Ask for less at a time: most services have pages.", retryable=False
    )
