"""What the author's code prints and logs: lines, each with the source line it came from."""

import io
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from engine.sandbox.program import FILENAME

Send = Callable[[str, int], None]


class Log:
    """Sends whole lines as they are made; stops at the limit with a line that says so.

    Args:
        limit: bytes of all lines together.
        send: takes a line and its source line.
    """

    def __init__(self, limit: int, send: Send) -> None:
        self._limit = limit
        self._left = limit
        self._send = send
        self._open: list[str] = []
        self._open_length = 0
        self._line = 0
        self._is_cut = False

    def output(self, *values: Any, sep: Any = None, end: Any = None, file: Any = None, flush: Any = False) -> None:
        """`print`; `file` may be a StringIO."""
        text = _text(" " if sep is None else sep).join(map(shown, values)) + _text("\n" if end is None else end)
        if file is not None:
            if type(file) is not io.StringIO:
                raise TypeError("print can write to the log or to a StringIO")
            file.write(text)
        elif not self._is_cut:
            self._add(text, source_line(sys._getframe(1)))

    def log(self, *values: Any) -> None:
        """`log`: the values as one entry."""
        if not self._is_cut:
            self.finish()
            self._add(" ".join(map(shown, values)) + "\n", source_line(sys._getframe(1)))

    def finish(self) -> None:
        """Send what was printed without an end of line."""
        if self._open:
            self._end_line()

    def _add(self, text: str, line: int) -> None:
        parts = text.split("\n")
        for index, part in enumerate(parts):
            if not self._open:
                self._line = line
            if part:
                self._open.append(part)
                self._open_length += len(part)
            if index < len(parts) - 1 or self._open_length > self._left:
                self._end_line()
            if self._is_cut:
                return

    def _end_line(self) -> None:
        text = "".join(self._open)
        self._open.clear()
        self._open_length = 0
        data = text.encode(errors="replace")
        if len(data) < self._left:
            # The end of the line counts too, so that empty lines come to an end.
            self._left -= len(data) + 1
            self._send(data.decode(), self._line)
            return
        self._is_cut = True
        if kept := data[: self._left].decode(errors="ignore"):
            self._send(kept, self._line)
        self._send(f"(the log was cut here: it is longer than {self._limit:,} bytes)", 0)


def source_line(frame: FrameType | None) -> int:
    """The line of the author's source that this call came from; 0 if from none."""
    while frame is not None:
        if frame.f_code.co_filename == FILENAME:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def shown(value: Any) -> str:
    """`str`; frames without the mark in their index."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        # Only where there are frames is this module loaded at all.
        from engine.sandbox.pandas_proxy import without_origin  # noqa: PLC0415

        value = without_origin(value)
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"sep and end must be text, not {type(value).__name__}")
    return str.__str__(value)
