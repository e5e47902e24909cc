"""Items of pandas DataFrames."""

from typing import TYPE_CHECKING, Any

from engine.convert.json_text import plain
from engine.errors import NodeError
from engine.items import FRAME_INDEX, Items, Lineage, table_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


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
    places = {i: _column_name(name) for i, name in enumerate(frame.columns)}
    if FRAME_INDEX not in frame.index.names:
        places = {i: name for i, name in places.items() if name != FRAME_INDEX}  # reset_index made a column of it
    names = list(places.values())
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise NodeError(f"the frame has the column {repeated!r} twice", retryable=False)
    columns = [_arrow(frame.iloc[:, i]) for i in places]
    if names and all(isinstance(column, pa.ChunkedArray) for column in columns):
        table = table_of(columns, names)
        if table is not None:
            return Items(table=table, lineage=lineage)
    lists = [c.to_pylist() if isinstance(c, pa.ChunkedArray) else c for c in columns]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return Items(rows if names else [{} for _ in range(len(frame))], lineage=lineage)


def _lineage(index: "pd.Index[Any]", length: int | None) -> Lineage | None:
    """Where the rows of a frame came from, as far as its index still says so."""
    if FRAME_INDEX not in index.names:
        return None
    origins: Any = index.get_level_values(FRAME_INDEX).to_numpy()
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
