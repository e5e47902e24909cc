"""What the author's code returned, as items, and which input item each came from."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.sandbox.values import HINTS, NotPlain, describe, key_text

EXPECTED = "return a list of dicts, one dict, a DataFrame, or nothing"


class Returned(NamedTuple):
    """Rows, still with values of any kind; per row the index of its input item, or None for the whole: not known."""

    rows: list[dict[Any, Any]]
    sources: list[int | None] | None


def returned(value: Any, items: Sequence[Mapping[str, Any]], fallback: Any) -> Returned:
    """The rows of a returned value.

    Args:
        items: the input items, the very objects that the code was given.
        fallback: what counts when the value is None.

    Raises:
        NotPlain: the value is nothing that can be items; the message says what it is.
    """
    if value is None:
        value = fallback
    places = {id(item): index for index, item in enumerate(items)}
    if _is_frame(value):
        found = Returned(_frame_rows(value), _frame_sources(value, len(items)))
    else:
        rows = _rows(value)
        found = Returned(_unwrapped(rows, places), None)
        if all(id(row) in places for row in found.rows):
            found = Returned(found.rows, [places[id(row)] for row in found.rows])
    if found.sources is None and len(items) == 1:
        return Returned(found.rows, [0] * len(found.rows))
    return found


def _rows(value: Any) -> list[dict[Any, Any]]:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list | tuple):
        raise NotPlain(f"returned {describe(value)}; {EXPECTED}", HINTS.get(type(value).__name__))
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise NotPlain(f"item {index} of the returned list is {describe(row)}; return a list of dicts")
    return list(value)


def _unwrapped(rows: list[dict[Any, Any]], places: Mapping[int, int]) -> list[dict[Any, Any]]:
    """Rows without their `{"json": ...}`, if all have it and were written so: input items are what they are."""
    wrapped = all(len(row) == 1 and isinstance(dict.get(row, "json"), dict) for row in rows)
    if not wrapped or all(id(row) in places for row in rows):
        return rows
    return [row["json"] for row in rows]


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _frame_rows(frame: Any) -> list[dict[Any, Any]]:
    """A dict per row. A named index, such as the one that groupby makes, becomes a column."""
    if not _counts_items(frame) and any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    labels = []
    for column in frame.columns:
        if isinstance(column, tuple):
            raise NotPlain(
                f"column {column!r} of the returned DataFrame has several names",
                'Name them anew: df.columns = ["_".join(c) for c in df.columns].',
            )
        labels.append(key_text(column))
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise NotPlain(f"the returned DataFrame has two columns named {twice[0]!r}")
    if not labels:
        return [{} for _ in range(len(frame))]
    columns = [frame.iloc[:, place].tolist() for place in range(len(labels))]
    return [dict(zip(labels, row, strict=True)) for row in zip(*columns, strict=True)]


def _counts_items(frame: Any) -> bool:
    # By its name: this module is used without pandas too.
    return type(frame.index.name).__qualname__ == "RowOrigin"


def _frame_sources(frame: Any, count: int) -> list[int | None] | None:
    index = frame.index
    if not _counts_items(frame) or not index.is_unique or index.dtype.kind not in "iu":
        return None
    places: list[int | None] = index.tolist()
    return places if all(place is not None and 0 <= place < count for place in places) else None
