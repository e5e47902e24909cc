"""Items from and to JSON, NDJSON, CSV and DataFrames. Nothing is changed on the way but what each function says."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from engine.errors import NodeError
from engine.items import FRAME_INDEX, Items, Lineage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# orjson reads whole numbers beyond 64 bits as floats. Where a number could be that long the standard library reads.
LONG_NUMBER = re.compile(rb"\d{19}")
STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
BOM = b"\xef\xbb\xbf"
# RFC 8259, 6: how JSON writes a number. Up to 18 digits, so that 64 bits hold it.
WHOLE_NUMBER = "^-?(0|[1-9][0-9]{0,17})$"
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
EXACT_DIGITS = 15  # every decimal number of so many digits comes back out of 64 bits as it was
DELIMITERS = (",", ";", "\t", "|")


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
    for kinds, name in (
        (type(None), "null"),
        (bool, "true/false"),
        ((int, float), "a number"),
        (str, "text"),
        ((list, tuple), "a list"),
        (Mapping, "an object"),
    ):
        if isinstance(value, kinds):  # type: ignore[arg-type]
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
            hint="Check the delimiter, and that cells with line breaks or delimiters stand in quotes.",
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
        raise NodeError(f"{what}: its header cannot be read: {exc}", retryable=False) from exc
    names: list[str] = []
    for position, name in enumerate(cells, 1):
        wanted = name.strip() or f"column_{position}"
        unique, copy = wanted, 2
        while unique in names:
            unique, copy = f"{wanted}_{copy}", copy + 1
        names.append(unique)
    return names, delimiter


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
    return bool(pc.all(pc.equal(long.cast(pa.float64()).cast(pa.string()), long)).as_py())


def items_to_csv(items: Items, *, delimiter: str = ",") -> bytes:
    """CSV with a header line; objects and lists as JSON, null as an empty cell, true and false as such.

    Half of a surrogate pair, which UTF-8 has no place for, becomes a question mark.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    names = items.fields
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in items.rows])
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list, bool)):
        return dumps(value).decode()
    return value


def items_from_frame(frame: "pd.DataFrame", *, length: int | None = None) -> Items:
    """Items of a DataFrame: a table where its columns allow, else rows.

    Dates become ISO 8601 text; missing values, NaN and infinities null; column names text. The names of an index
    (group keys) become columns. Lineage is read from the index, if it is still the one that `Items.frame` made; else
    it is lost.

    Args:
        length: how many items the frame was made from; indexes outside mean that the lineage is lost.

    Raises:
        NodeError: it is no DataFrame, has a column twice, or holds what has no JSON form.
    """
    import pandas as pd  # noqa: PLC0415  there is a frame, so it is imported
    import pyarrow as pa  # noqa: PLC0415

    if not isinstance(frame, pd.DataFrame):
        raise NodeError(
            f"this is a {type(frame).__name__}, not a DataFrame", hint="A Series has .to_frame().", retryable=False
        )
    lineage = _lineage(frame.index, length)
    if any(name is not None for name in frame.index.names) and list(frame.index.names) != [FRAME_INDEX]:
        frame = frame.reset_index(allow_duplicates=True)
    if FRAME_INDEX not in frame.index.names:
        frame = frame.loc[:, [_column_name(name) != FRAME_INDEX for name in frame.columns]]  # after reset_index
    names = [_column_name(name) for name in frame.columns]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise NodeError(f"the frame has the column {repeated!r} twice", retryable=False)
    columns = [_arrow(frame.iloc[:, i]) for i in range(len(names))]
    if names and all(isinstance(column, pa.ChunkedArray) for column in columns):
        return Items(table=pa.Table.from_arrays(columns, names=names), lineage=lineage)
    lists = [c.to_pylist() if isinstance(c, pa.ChunkedArray) else c for c in columns]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return Items(rows if names else [{} for _ in range(len(frame))], lineage=lineage)


def _lineage(index: "pd.Index[Any]", length: int | None) -> Lineage | None:
    """Where the rows of a frame came from, as far as its index still says so."""
    if FRAME_INDEX not in index.names:
        return None
    origins = index.get_level_values(FRAME_INDEX).to_numpy()
    if origins.dtype.kind != "i":
        return None
    if len(origins) and (origins.min() < 0 or (length is not None and origins.max() >= length)):
        return None
    return Lineage({"main": origins})


def _column_name(name: Any) -> str:
    """A column's name as text: levels with dots between."""
    return ".".join(str(level) for level in name if level != "") if isinstance(name, tuple) else str(name)


def _arrow(series: "pd.Series[Any]") -> "pa.ChunkedArray | list[Any]":
    """A column that a table can hold, or a list of plain values."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if series.dtype == object:
        return [plain(value) for value in series.tolist()]
    try:
        array = pa.chunked_array([pa.array(series, from_pandas=True)])
        if pa.types.is_integer(array.type):
            return array.cast(pa.int64())
        if pa.types.is_floating(array.type):
            array = array.cast(pa.float64())
            return pc.if_else(pc.is_finite(array), array, pa.scalar(None, pa.float64()))
        if pa.types.is_boolean(array.type):
            return array
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        pass  # uint64 beyond 64 bits, periods, intervals: value by value
    return [plain(value) for value in series.tolist()]


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
