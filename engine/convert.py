"""Items from and to JSON, NDJSON, CSV and DataFrames. Nothing is changed on the way but what each function says."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
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
# RFC 8259, 6: how JSON writes a number. Up to 18 and 17 characters, so that 64 bits hold it without loss.
WHOLE_NUMBER = "^-?(0|[1-9][0-9]{0,17})$"
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
MAX_NUMBER_TEXT = 17
DELIMITERS = (",", ";", "\t", "|")


def loads(data: bytes | str) -> Any:
    """The value of a JSON text; whole numbers of any size are kept.

    Raises:
        ValueError: with line and column. NaN and Infinity are no JSON (RFC 8259, 6).
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        if not LONG_NUMBER.search(raw):
            return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        # orjson refuses half a surrogate pair ("\ud800"), which the grammar allows: the standard library decides.
        if "surrogate" not in str(exc):
            raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """`value` as JSON in UTF-8; the same value always gives the same text.

    Raises:
        TypeError: a value is no JSON data; the message names its type.
    """
    try:
        return orjson.dumps(value, option=STRICT | (orjson.OPT_INDENT_2 if pretty else 0))
    except orjson.JSONEncodeError as exc:
        if any(known in str(exc) for known in ("Integer exceeds", "not valid UTF-8", "Recursion")):
            return _dumps_any(value, pretty)
        raise TypeError(str(exc)) from exc


def _dumps_any(value: Any, pretty: bool) -> bytes:
    """As `dumps`, for what orjson cannot hold: whole numbers beyond 64 bits and half a surrogate pair."""
    separators = (",", ": ") if pretty else (",", ":")
    text = json.dumps(value, ensure_ascii=False, indent=2 if pretty else None, separators=separators)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=2 if pretty else None, separators=separators).encode()


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
    raw = data.encode() if isinstance(data, str) else data
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
    header, delimiter = _header(text, delimiter)
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(text),
            read_options=arrow_csv.ReadOptions(column_names=header, skip_rows_after_names=1),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in text),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except pa.ArrowInvalid as exc:
        raise NodeError(
            _csv_problem(str(exc), len(header), what),
            hint="Check the delimiter, and that cells with line breaks or delimiters stand in quotes.",
            retryable=False,
        ) from exc
    if types:
        table = pa.Table.from_arrays([_typed(column) for column in table.columns], names=header)
    return Items(table=table)


def _utf8(data: bytes, encoding: str, what: str) -> bytes:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise NodeError(
            f"{what} is not {encoding}: byte {exc.start} cannot be read",
            hint="Set its encoding, for example cp1252 (older spreadsheets) or utf-16.",
            retryable=False,
        ) from exc
    except LookupError as exc:
        raise NodeError(f"no encoding is called {encoding!r}", hint="For example utf-8, cp1252, utf-16.") from exc
    return text.removeprefix("\ufeff").encode("utf-8", "replace")


def _header(text: bytes, delimiter: str | None) -> tuple[list[str], str]:
    """Column names, each once, and the delimiter."""
    start = io.StringIO(text[:65_536].decode("utf-8", "ignore"))
    if delimiter is None:
        line = start.readline()
        delimiter = max(DELIMITERS, key=line.count)
        start.seek(0)
    names: list[str] = []
    for position, name in enumerate(next(csv.reader(start, delimiter=delimiter)), 1):
        wanted = name.strip() or f"column_{position}"
        unique, copy = wanted, 2
        while unique in names:
            unique, copy = f"{wanted}_{copy}", copy + 1
        names.append(unique)
    return names, delimiter


def _csv_problem(message: str, columns: int, what: str) -> str:
    found = re.search(r"Row #(\d+): Expected \d+ columns, got (\d+)", message) or re.search(
        r"()Expected \d+ columns, got (\d+)", message
    )
    if not found:
        return f"{what} is not CSV: {message}"
    row = f"row {found[1]}" if found[1] else "a row"
    return f"{what}: {row} has {found[2]} cells, the header has {columns}"


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
        if kind == pa.float64() and pc.max(pc.utf8_length(column)).as_py() > MAX_NUMBER_TEXT:
            return column
        empty = pc.equal(column, "")
        if pc.all(empty).as_py():
            return column
        return pc.if_else(empty, pa.scalar(None, pa.string()), column).cast(kind)
    return column


def items_to_csv(items: Items, *, delimiter: str = ",") -> bytes:
    """CSV with a header line; objects and lists as JSON, null as an empty cell, true and false as such."""
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

    Dates become ISO 8601 text, missing values null, column names text. Lineage is read from the index, if it is still
    the one that `Items.frame` made; else it is lost.

    Args:
        length: how many items the frame was made from; indexes outside mean that the lineage is lost.
    """
    import pyarrow as pa  # noqa: PLC0415

    lineage = None
    index = frame.index
    if index.name == FRAME_INDEX and index.nlevels == 1:
        codes = index.to_numpy()
        if codes.dtype.kind == "i" and (not len(codes) or (codes.min() >= 0 and codes.max() < (length or len(codes)))):
            lineage = Lineage({"main": codes})
    elif any(name is not None for name in index.names):
        frame = frame.reset_index()  # the group keys of a groupby
    names = [".".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in frame.columns]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise NodeError(f"the frame has the column {sorted(repeated)[0]!r} twice", retryable=False)
    columns = [_arrow(frame.iloc[:, i]) for i in range(len(names))]
    if names and all(isinstance(column, pa.ChunkedArray) for column in columns):
        return Items(table=pa.Table.from_arrays(columns, names=names), lineage=lineage)
    lists = [c.to_pylist() if isinstance(c, pa.ChunkedArray) else c for c in columns]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return Items(rows if names else [{} for _ in range(len(frame))], lineage=lineage)


def _arrow(series: "pd.Series[Any]") -> "pa.ChunkedArray | list[Any]":
    """A column that a table can hold, or a list of plain values."""
    import pyarrow as pa  # noqa: PLC0415

    if series.dtype == object:
        return [plain(value) for value in series.tolist()]
    try:
        array = pa.chunked_array([pa.array(series, from_pandas=True)])
        if pa.types.is_integer(array.type):
            return array.cast(pa.int64())
        if pa.types.is_floating(array.type):
            return array.cast(pa.float64())
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
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date, time)):
        return None if str(value) == "NaT" else value.isoformat()
    if isinstance(value, Decimal):
        return plain(int(value) if value == value.to_integral_value() else float(value)) if value.is_finite() else None
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(element) for element in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if type(value).__name__ in {"NaTType", "NAType"}:
        return None
    raise NodeError(f"a value of type {type(value).__name__} has no JSON form: {str(value)[:80]!r}", retryable=False)
