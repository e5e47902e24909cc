"""Rows as compressed lines that are read in parts: an NDJSON file of zstd frames, with an index at its end.

The index is a zstd skippable frame (RFC 8878, 3.1.2), so that `zstd -dc FILE` prints all rows. In it: the place of each
frame and the number of its first row, as JSON; then the length of that JSON and a mark.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from engine.convert import dumps, loads
from engine.runtime.data.packed import compress, decompress

FRAME_ROWS = 1_000
FRAME_BYTES = 1 << 20  # of text: large rows make frames of fewer rows
SKIPPABLE = 0x184D2A5E
MARK = b"FLNX"
TAIL = struct.Struct("<I4s")


def write_rows(rows: Sequence[Any], write: Callable[[bytes], Any]) -> None:
    """Write the file piece by piece."""
    frames: list[tuple[int, int]] = []
    place = start = 0
    while start < len(rows):
        lines: list[bytes] = []
        size_bytes, frame_start = 0, start
        while start < len(rows) and len(lines) < FRAME_ROWS and size_bytes < FRAME_BYTES:
            lines.append(dumps(rows[start]) + b"\n")
            size_bytes += len(lines[-1])
            start += 1
        frame = compress(b"".join(lines))
        write(frame)
        frames.append((place, frame_start))
        place += len(frame)
    index = orjson.dumps([*frames, (place, len(rows))])
    write(struct.pack("<II", SKIPPABLE, len(index) + TAIL.size) + index + TAIL.pack(len(index), MARK))


class Frames:
    """The rows of such a file, of which only the frames asked for are read. Raises ValueError where it is damaged."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        if len(data) < TAIL.size:
            raise ValueError("it is cut short")
        length, mark = TAIL.unpack(data[-TAIL.size :])
        if mark != MARK:
            raise ValueError("it has no index")
        index = orjson.loads(data[-TAIL.size - length : -TAIL.size])
        self.places: list[int] = [place for place, _ in index]
        self.firsts: list[int] = [first for _, first in index]

    def __len__(self) -> int:
        return self.firsts[-1]

    def frame_of(self, row: int) -> int:
        """The number of the frame that holds a row."""
        return bisect_right(self.firsts, row) - 1

    def frame(self, number: int) -> list[dict[str, Any]]:
        """The rows of one frame."""
        lines = decompress(self.data[self.places[number] : self.places[number + 1]])
        rows: list[dict[str, Any]] = loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]")
        return rows

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The rows from `start` up to `stop`."""
        found: list[dict[str, Any]] = []
        if start < stop:
            for number in range(self.frame_of(start), self.frame_of(stop - 1) + 1):
                found += self.frame(number)
            found = found[start - self.firsts[self.frame_of(start)] :][: stop - start]
        return found

    def take(self, indexes: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The rows at `indexes`, in that order; each frame is read once."""
        read: dict[int, list[dict[str, Any]]] = {}
        for index in indexes:
            number = self.frame_of(index)
            if number not in read:
                read[number] = self.frame(number)
            yield read[number][index - self.firsts[number]]
