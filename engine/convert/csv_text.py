"""CSV: texts to items held as a table, and back."""

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from engine.convert.json_text import dumps
from engine.errors import NodeError
from engine.items import Items

if TYPE_CHECKING:
    import pyarrow as pa

# RFC 8259, 6: how JSON writes a number. Up to 18 digits, so that 64 bits hold it.
WHOLE_NUMBER = "^-?(0|[1-9][0-9]{0,17})$"
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
EXACT_DIGITS = 15  # every decimal number of so many digits comes back out of 64 bits as it was
DELIMITERS = (",", ";", "\t", "|")
QUOTES_HINT = "Check the delimiter, and that cells with line breaks or delimiters stand in quotes."
# The first line that spreadsheets write to name the delimiter.
SEPARATOR_LINE = re.compile(rb"sep=([,;\t|])\r?\n")


def items_from_csv(
    data: bytes, *, delimiter: str | None = None, types: bool = True, encoding: str = "utf-8", what: str = "the file"
) -> Items:
    """Items of a CSV text with a header line, held as a table.

    A column becomes numbers when every cell that is not empty is written as JSON writes a number (so 007 and +5 stay
    text), true/false when every such cell is one of these; its empty cells become null. Empty cells of text stay "".

    Args:
        delimiter: one character; None finds it among comma, semicolon, tab and bar by the header line.
        types: False keeps every cell as text.

    Raises:
        NodeError: wrong encoding, or a row with more or fewer cells than the header; names the line.
    """
    import pyarrow as pa  # noqa: PLC0415  0.2 s, and only tables need it
    from pyarrow import csv as arrow_csv  # noqa: PLC0415

    text = _utf8(data, encoding, what)
    if not text.strip():
        return Items([])
    if found := SEPARATOR_LINE.match(text):
        delimiter, text = delimiter or found[1].decode(), text[found.end() :]
    header, delimiter = _header(text, delimiter, what)

    def read(**block: int) -> "pa.Table":
        return arrow_csv.read_csv(
            pa.py_buffer(text),
            read_options=arrow_csv.ReadOptions(column_names=header, skip_rows_after_names=1, **block),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in text),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )

    try:
        try:
            table = read()
        except pa.ArrowInvalid as exc:
            if "block" not in str(exc):
                raise
            table = read(block_size=len(text))  # a row is longer than the megabyte that Arrow reads at a time
    except pa.ArrowInvalid as exc:
        raise NodeError(
            f"{what}: {_odd_line(text, delimiter, len(header)) or f'this is not CSV: {exc}'}",
            hint=QUOTES_HINT,
            retryable=False,
        ) from exc
    if types:
        table = pa.Table.from_arrays([_typed(column) for column in table.columns], names=header)
    return Items(table=table)


def _utf8(data: bytes, encoding: str, what: str) -> bytes:
    """The text without byte order mark and without empty lines before the header; it ends with a line break."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise NodeError(
            f"{what} is not {encoding}: byte {exc.start} cannot be read",
            hint="Set its encoding, for example cp1252 (older spreadsheets) or utf-16.",
            retryable=False,
        ) from exc
    except (LookupError, ValueError) as exc:
        hint = "For example utf-8, cp1252, utf-16."
        raise NodeError(f"no encoding is called {encoding!r}", hint=hint, retryable=False) from exc
    text = text.removeprefix("\ufeff").lstrip("\r\n")
    return (text if text.endswith(("\n", "\r")) else text + "\n").encode("utf-8", "replace")


def _lines(text: bytes) -> io.TextIOWrapper:
    """The text to be read line by line, line breaks as they are."""
    return io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="")


def _header(text: bytes, delimiter: str | None, what: str) -> tuple[list[str], str]:
    """Column names, each once, and the delimiter."""
    if delimiter is None:
        line = re.sub('"[^"]*("|$)', "", _lines(text).readline())
        delimiter = max(DELIMITERS, key=line.count)
    try:
        cells = next(csv.reader(_lines(text), delimiter=delimiter))
    except csv.Error as exc:
        raise NodeError(f"{what}: its header cannot be read: {exc}", hint=QUOTES_HINT, retryable=False) from exc
    names: dict[str, None] = {}
    copies: dict[str, int] = {}
    for position, name in enumerate(cells, 1):
        wanted = unique = name.strip() or f"column_{position}"
        while unique in names:
            copies[wanted] = copies.get(wanted, 1) + 1
            unique = f"{wanted}_{copies[wanted]}"
        names[unique] = None
    return list(names), delimiter


def _odd_line(text: bytes, delimiter: str, columns: int) -> str | None:
    """What is wrong with the first row that does not have so many cells; lines count from 1 with the header."""
    rows = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in rows:
            if cells and len(cells) != columns:
                return f"line {line} has {len(cells)} cells, the header has {columns}"
            line = rows.line_num + 1
    except csv.Error:
        return f"the quote that opens in line {line} is not closed, or there is text behind it"
    return None


def _typed(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """The column as numbers or true/false where all its cells are; else as it is."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    def every(cells: "pa.ChunkedArray", test: str) -> bool:
        return bool(pc.all(pc.or_(pc.equal(cells, ""), pc.match_substring_regex(cells, test))).as_py())

    sample = column.slice(0, 100)
    kinds = {WHOLE_NUMBER: pa.int64(), NUMBER: pa.float64(), "^(true|false)$": pa.bool_()}
    for test, kind in kinds.items():
        # The sample spares columns of text the pass over all rows.
        if not every(sample, test) or not every(column, test):
            continue
        empty = pc.equal(column, "")
        if pc.all(empty).as_py():
            return column
        cells = pc.if_else(empty, pa.scalar(None, pa.string()), column)
        return cells.cast(kind) if kind != pa.float64() or _is_exact(cells) else column
    return column


def _is_exact(cells: "pa.ChunkedArray") -> bool:
    """Whether numbers are the same after 64 bits: of few digits, or written just as such a number is."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    long = cells.filter(pc.greater(pc.utf8_length(cells), EXACT_DIGITS))
    digits = pc.utf8_length(pc.replace_substring_regex(long, "[eE].*|[-.]", ""))
    long = long.filter(pc.greater(digits, EXACT_DIGITS))
    return bool(pc.all(pc.equal(long.cast(pa.float64()).cast(pa.string()), long), min_count=0).as_py())


def items_to_csv(items: Items, *, delimiter: str = ",") -> bytes:
    """CSV with a header line; objects and lists as JSON, null as an empty cell, true and false as such.

    Half of a surrogate pair, which UTF-8 has no place for, becomes a question mark.
    """
    out = _Lines()
    # Before 3.13 Python puts only those line breaks of cells in quotes that are among those it ends lines with.
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    names = items.fields
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in items.rows])
    return "".join(out).encode("utf-8", "replace")


class _Lines(list[str]):
    """What a writer writes, one line at a time, each ended by a line feed."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list, bool)):
        return dumps(value).decode()
    return value
