"""Column profiles: what the values of each field of an output are like, in one pass, kept beside its payload.

A profile is `{"count", "fields": {name: column}}`; a column, with the keys always there in this order:

    types       {"number" | "text" | "boolean" | "list" | "object": how many}, those that occur
    nulls       how many are null
    missing     how many items lack the field
    distinct    how many different values, null aside
    at_least    true where counting stopped: there are `distinct` or more
    min, max    of the numbers, or else of the texts (cut to 100 characters), or null
    histogram   {"edges": 21 numbers, "counts": 20} of the numbers: a bin holds its lower edge and not its upper one,
                but for the last; one bin where all are equal; null without numbers
    common      [[value, how often], ...] of texts, the 10 most common, of equally common ones the earlier; null without
    booleans    {"true": n, "false": n}; null without
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from engine.convert import dumps, loads
from engine.items import Items
from engine.runtime.data.payloads import PayloadRef, Payloads
from engine.values import NO_VALUE, match_key

if TYPE_CHECKING:
    import pyarrow as pa

Profile = dict[str, Any]

NAME = "profile"
BINS = 20
COMMON = 10
TEXT_CHARACTERS = 100
# Different values are counted up to this among rows, and among so many first rows of a table.
DISTINCT_VALUES = 100_000
DISTINCT_ROWS = 4_000_000
TYPES: dict[type, str] = {
    int: "number",
    float: "number",
    str: "text",
    bool: "boolean",
    list: "list",
    dict: "object",
}


def profile_of(source: PayloadRef | Items, payloads: Payloads) -> Profile:
    """The profile of an output: that of a payload is made once and kept as long as the payload is.

    Raises:
        InternalError: the payload is not there any more, or the profile could not be written.
    """
    if isinstance(source, Items):
        return profile(source)
    kept = payloads.beside(source.hash, NAME)
    if kept is None:
        kept = dumps(profile(payloads.load(source)))
        payloads.save_beside(source.hash, NAME, kept)
    found: Profile = loads(kept)
    return found


def profile(items: Items) -> Profile:
    """The profile of items: by column where they are a table, else by row."""
    table = items.table if items.is_table else None
    if table is not None:
        columns = zip(table.column_names, table.columns, strict=True)
        return {"count": len(items), "fields": {name: _of_column(column) for name, column in columns}}
    rows = items.rows
    fields = {name: _of_values([row.get(name, NO_VALUE) for row in rows]) for name in items.fields}
    return {"count": len(items), "fields": fields}


def _column(types: dict[str, int], nulls: int, missing: int, distinct: int, at_least: bool) -> dict[str, Any]:
    column: dict[str, Any] = {"types": types, "nulls": nulls, "missing": missing}
    column |= {"distinct": distinct, "at_least": at_least, "min": None, "max": None}
    return column | {"histogram": None, "common": None, "booleans": None}


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + "…"


# Rows


def _of_values(values: list[Any]) -> dict[str, Any]:
    by_type: dict[str, list[Any]] = {}
    nulls = missing = 0
    for value in values:
        if value is None:
            nulls += 1
        elif value is NO_VALUE:
            missing += 1
        else:
            by_type.setdefault(TYPES.get(type(value), "text"), []).append(value)
    present = [value for value in values if value is not None and value is not NO_VALUE]
    distinct, at_least = _count_distinct(present)
    column = _column({kind: len(of_kind) for kind, of_kind in by_type.items()}, nulls, missing, distinct, at_least)
    numbers, texts, booleans = (by_type.get(kind, []) for kind in ("number", "text", "boolean"))
    if numbers:
        column["min"], column["max"] = min(numbers), max(numbers)
        column["histogram"] = _histogram(numbers)
    elif texts:
        column["min"], column["max"] = _cut(min(texts)), _cut(max(texts))
    if texts:
        column["common"] = [[_cut(text), count] for text, count in Counter(texts).most_common(COMMON)]
    if booleans:
        column["booleans"] = {"true": booleans.count(True), "false": booleans.count(False)}
    return column


def _count_distinct(values: Iterable[Any]) -> tuple[int, bool]:
    seen: set[Any] = set()
    for value in values:
        seen.add(match_key(value))
        if len(seen) > DISTINCT_VALUES:
            return DISTINCT_VALUES, True
    return len(seen), False


def _edges(low: float, high: float) -> list[float]:
    """Of the bins; sums of parts, since the distance of two numbers may be no number any more."""
    inner = [low * (1 - step / BINS) + high * (step / BINS) for step in range(1, BINS)]
    return [low, *sorted(min(max(edge, low), high) for edge in inner), high]


def _histogram(numbers: list[int | float]) -> dict[str, Any] | None:
    finite = [number for number in map(_float, numbers) if isfinite(number)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if low == high:
        return {"edges": [low, high], "counts": [len(finite)]}
    edges = _edges(low, high)
    counts = [0] * BINS
    for number in finite:
        counts[bisect_right(edges, number, 1, BINS) - 1] += 1
    return {"edges": edges, "counts": counts}


def _float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")


# Tables


def _of_column(column: "pa.ChunkedArray") -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415  there is a table, so it is imported
    import pyarrow.compute as pc  # noqa: PLC0415

    kinds = {pa.int64(): "number", pa.float64(): "number", pa.string(): "text", pa.bool_(): "boolean"}
    kind, nulls = kinds.get(column.type), column.null_count
    if kind is None and column.type != pa.null():
        return _of_values(column.to_pylist())
    present = len(column) - nulls
    at_least = len(column) > DISTINCT_ROWS
    looked_at = column.slice(0, DISTINCT_ROWS)
    if kind is None or not present:
        return _column({}, nulls, 0, 0, False)
    if kind == "text":
        counted = pc.value_counts(looked_at)
        values, counts = _without_null(counted)
        made = _column({kind: present}, nulls, 0, len(values), at_least)
        made["common"] = _most_common(values, counts)
    else:
        if column.type == pa.float64():
            looked_at = pc.add(looked_at, 0.0)  # 0.0 and -0.0 are one value
        made = _column({kind: present}, nulls, 0, pc.count_distinct(looked_at).as_py(), at_least)
    if kind == "boolean":
        true = pc.sum(column).as_py()
        return made | {"booleans": {"true": true, "false": present - true}}
    ends = pc.min_max(column).as_py()
    made["min"], made["max"] = (_cut(end) if kind == "text" else end for end in (ends["min"], ends["max"]))
    if kind == "number":
        made["histogram"] = _histogram_of_column(column)
    return made


def _without_null(counted: Any) -> tuple[Any, Any]:
    values, counts = counted.field("values"), counted.field("counts")
    if values.null_count:
        valid = values.is_valid()
        return values.filter(valid), counts.filter(valid)
    return values, counts


def _most_common(values: Any, counts: Any) -> list[list[Any]]:
    import numpy as np  # noqa: PLC0415

    # Stable, so that of equally common ones those seen first come first.
    best = np.argsort(-counts.to_numpy(), kind="stable")[:COMMON]
    return [[_cut(values[int(at)].as_py()), counts[int(at)].as_py()] for at in best]


def _histogram_of_column(column: "pa.ChunkedArray") -> dict[str, Any] | None:
    import numpy as np  # noqa: PLC0415

    numbers = column.drop_null().to_numpy().astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return {"edges": [low, high], "counts": [int(numbers.size)]}
    edges = _edges(low, high)
    # How many lie below each edge, from sorted numbers: half the time of finding the bin of each.
    numbers.sort()
    below = [0, *np.searchsorted(numbers, edges[1:-1], side="left").tolist(), int(numbers.size)]
    return {"edges": edges, "counts": [after - before for before, after in pairwise(below)]}
