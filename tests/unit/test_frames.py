"""Items of DataFrames: their values, and where their rows came from."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine.convert import items_from_frame
from engine.errors import NodeError
from engine.items import FRAME_INDEX, Items
from tests.support.drawn import typed

ORDERS = [
    {"id": 1, "shop": "A", "total": 30.0},
    {"id": 2, "shop": "B", "total": 10.0},
    {"id": 3, "shop": "A", "total": 20.0},
]


def frame() -> pd.DataFrame:
    return Items(ORDERS).frame()


def origins(made: pd.DataFrame, length: int | None = len(ORDERS)) -> list[int] | None:
    """For each row the item it came from."""
    lineage = items_from_frame(made, length=length).lineage
    return None if lineage is None else [lineage.of(i)["main"][0] for i in range(len(made))]


COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "whole numbers": ([1, 2], [1, 2]),
    "floats": ([1.5, float("nan")], [1.5, None]),
    "infinities": ([float("inf"), 1.0], [None, 1.0]),
    "small integers": (np.array([1, 2], "int8"), [1, 2]),
    "small floats": (np.array([0.5, 1.5], "float32"), [0.5, 1.5]),
    "half floats": (np.array([0.5, 1.5], "float16"), [0.5, 1.5]),
    "uint64": (np.array([1, 2**64 - 1], "uint64"), [1, 2**64 - 1]),
    "nullable integers": (pd.array([2**62 + 1, None], "Int64"), [2**62 + 1, None]),
    "nullable floats": (pd.array([1.5, None], "Float64"), [1.5, None]),
    "nullable booleans": (pd.array([True, None], "boolean"), [True, None]),
    "booleans": ([True, False], [True, False]),
    "texts": (["a", None], ["a", None]),
    "texts of Python": (pd.array(["a", None], "string[python]"), ["a", None]),
    "categories": (pd.Categorical(["a", None]), ["a", None]),
    "categories of numbers": (pd.Categorical([3, 1]), [3, 1]),
    "dates and times": (pd.to_datetime(["2026-01-02T03:04:05", None]), ["2026-01-02T03:04:05", None]),
    "time zones": (
        pd.to_datetime(["2026-01-02T03:04:05"] * 2).tz_localize("Europe/Berlin"),
        ["2026-01-02T03:04:05+01:00"] * 2,
    ),
    "dates": ([date(2026, 1, 2), None], ["2026-01-02", None]),
    "mixed objects": (pd.Series([1, "a"], dtype=object), [1, "a"]),
    "lists and objects": (pd.Series([[1, np.int64(2)], {"a": pd.NaT}]), [[1, 2], {"a": None}]),
    "numbers as objects": (pd.Series([np.float64(1.5), np.nan], dtype=object), [1.5, None]),
    "large whole numbers": (pd.Series([2**70, None], dtype=object), [2**70, None]),
    "nothing": ([None, None], [None, None]),
    "Arrow integers": (pd.array([1, None], pd.ArrowDtype(pa.int32())), [1, None]),
    "Arrow floats": (pd.array([1.5, None], pd.ArrowDtype(pa.float64())), [1.5, None]),
    "Arrow dates": (pd.array([date(2026, 1, 2), None], pd.ArrowDtype(pa.date32())), ["2026-01-02", None]),
    "Arrow nulls": (pd.array([None, None], pd.ArrowDtype(pa.null())), [None, None]),
}


@pytest.mark.parametrize(("column", "values"), COLUMNS.values(), ids=COLUMNS)
def test_a_column_of(column, values):
    assert typed(items_from_frame(pd.DataFrame({"a": column})).rows) == typed([{"a": value} for value in values])


@pytest.mark.parametrize("dtype", ["float64", "Float64", pd.ArrowDtype(pa.float64())], ids=str)
def test_a_division_by_zero_is_null(dtype):
    made = pd.DataFrame({"a": pd.array([0.0, 1.0, 1.0], dtype), "b": pd.array([0.0, 0.0, 2.0], dtype)})
    assert items_from_frame(pd.DataFrame({"c": made["a"] / made["b"]})).column("c") == [None, None, 0.5]


def test_a_frame_of_plain_columns_becomes_a_table():
    assert items_from_frame(frame()).is_table
    assert not items_from_frame(pd.DataFrame({"a": [[1]]})).is_table


def test_a_frame_of_several_chunks_becomes_a_table():
    chunks = Items.concat([Items(table=pa.table({"a": [1]})), Items(table=pa.table({"a": [2]}))])
    assert items_from_frame(chunks.frame()).column("a") == [1, 2]


def test_rows_without_columns_are_empty_items():
    assert items_from_frame(pd.DataFrame(index=range(2))).rows == [{}, {}]
    assert items_from_frame(pd.DataFrame()).rows == []


def test_a_duration_is_refused_by_its_type():
    with pytest.raises(NodeError, match="Timedelta has no JSON form"):
        items_from_frame(pd.DataFrame({"a": pd.to_timedelta(["1s"])}))


@pytest.mark.parametrize("made", [pd.Series([1]), [{"a": 1}], None], ids=type)
def test_what_is_no_frame_is_refused_by_its_type(made):
    with pytest.raises(NodeError, match=f"a {type(made).__name__}, not a DataFrame"):
        items_from_frame(made)


# Names

NAMED = {
    "numbers": (pd.DataFrame([[1, 2]]), {"0": 1, "1": 2}),
    "levels": (
        frame().groupby("shop").agg({"total": ["sum", "max"]}).head(1),
        {"shop": "A", "total.sum": 50.0, "total.max": 30.0},
    ),
    "one group key": (frame().groupby("shop")[["total"]].sum().head(1), {"shop": "A", "total": 50.0}),
    "two group keys": (frame().groupby(["shop", "id"])[["total"]].sum().head(1), {"shop": "A", "id": 1, "total": 30.0}),
    "no group key": (frame().groupby("shop", as_index=False)[["total"]].sum().head(1), {"shop": "A", "total": 50.0}),
    "an index of one's own": (frame().set_index("id").head(1), {"id": 1, "shop": "A", "total": 30.0}),
    "an index without a name": (frame()[["id"]].set_axis(["x", "y", "z"]).head(1), {"id": 1}),
    "an index made a column": (frame().reset_index().head(1), ORDERS[0]),
    "groups with their rows": (frame().groupby("shop").apply(lambda group: group.head(1)).head(1), ORDERS[0]),
}


@pytest.mark.parametrize(("made", "row"), NAMED.values(), ids=NAMED)
def test_columns_named_by(made, row):
    assert items_from_frame(made).rows[0] == row


TWICE = {
    "a column": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "a number and its text": pd.DataFrame([[1, 2]], columns=["1", 1]),
    "a group key that is a column too": frame().set_index("shop", drop=False),
}


@pytest.mark.parametrize("made", TWICE.values(), ids=TWICE)
def test_a_column_that_is_there_twice_is_named(made):
    with pytest.raises(NodeError, match=r"the frame has the column '(a|1|shop)' twice"):
        items_from_frame(made)


# Lineage

KEPT = {
    "as it is": (frame(), [0, 1, 2]),
    "filtered": (frame()[frame()["shop"] == "A"], [0, 2]),
    "sorted": (frame().sort_values("total"), [1, 2, 0]),
    "the first": (frame().head(2), [0, 1]),
    "the last": (frame().tail(1), [2]),
    "none": (frame().head(0), []),
    "another column": (frame().assign(double=lambda f: f["total"] * 2), [0, 1, 2]),
    "lists taken apart": (frame().assign(tag=[[1, 2], [3], []]).explode("tag"), [0, 0, 1, 2]),
    "the first of each group": (frame().groupby("shop").head(1), [0, 1]),
    "one after the other": (pd.concat([frame(), frame().head(1)]), [0, 1, 2, 0]),
    "joined by its index": (frame().join(pd.DataFrame({"x": [1, 2, 3]})), [0, 1, 2]),
    "groups with their rows": (frame().groupby("shop").apply(lambda group: group.head(1)), [0, 1]),
}


@pytest.mark.parametrize(("made", "expected"), KEPT.values(), ids=KEPT)
def test_lineage_is_kept(made, expected):
    assert origins(made) == expected


LOST = {
    "groups": frame().groupby("shop").sum(),
    "merged": frame().merge(pd.DataFrame({"shop": ["A"]}), on="shop"),
    "a new index": frame().reset_index(drop=True),
    "the index made a column": frame().reset_index(),
    "rows of one's own": pd.DataFrame({"a": [1]}),
    "a column as index": frame().set_index("id"),
    "a row added": pd.concat([frame(), pd.DataFrame({"id": [9]}, index=pd.Index([3], name=FRAME_INDEX))]),
    "an index below nothing": frame().set_axis(pd.Index([-1, 0, 1], name=FRAME_INDEX)),
    "an index of other things": frame().set_axis(pd.Index([0.0, 1.0, 2.0], name=FRAME_INDEX)),
}


@pytest.mark.parametrize("made", LOST.values(), ids=LOST)
def test_lineage_is_lost_with(made):
    assert origins(made) is None


def test_a_frame_of_nothing_has_no_items_to_come_from():
    assert origins(pd.DataFrame({"a": [1]}, index=pd.RangeIndex(1, name=FRAME_INDEX)), length=0) is None


def test_lineage_is_believed_where_the_number_of_items_is_not_said():
    assert origins(frame().tail(1), length=None) == [2]
