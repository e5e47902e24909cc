"""Items: rows and table of the same data, and where each item came from."""

import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.convert import items_from_frame
from engine.items import FRAME_INDEX, NO_FILES, FileRef, Groups, Item, Items, Lineage
from tests.support.drawn import ROWS, even_rows, typed

PHOTO = {"photo": FileRef("k1", "ada.png", "image/png", 3)}
EVEN = [{"n": 1, "name": "Ada"}, {"n": None, "name": "Ben"}, {"n": 3, "name": "Cid"}, {"n": 4, "name": "Dot"}]
SELECTIONS = [
    slice(None),
    slice(1, 3),
    slice(0, 0),
    slice(3, 1),
    slice(2, None),
    slice(-2, None),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(10, 20),
]


def in_rows() -> Items:
    return Items([dict(row) for row in EVEN])


def in_table() -> Items:
    return Items(table=pa.table({"n": pa.array([1, None, 3, 4]), "name": ["Ada", "Ben", "Cid", "Dot"]}))


HELD = {"rows": in_rows, "table": in_table}
held = pytest.mark.parametrize("make", HELD.values(), ids=HELD)


def through_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    table = Items(rows).table
    return None if table is None else Items(table=table).rows


# Rows and table


@settings(max_examples=120, deadline=None)
@given(ROWS)
def test_a_table_stands_for_rows_only_where_nothing_is_lost(rows):
    back = through_table(rows)
    assert back is None or typed(back) == typed(rows)
    assert back is None or [list(row) for row in back] == [list(row) for row in rows]


@settings(max_examples=120, deadline=None)
@given(ROWS)
def test_a_frame_brings_back_every_value_that_was_there(rows):
    back = items_from_frame(Items(rows).frame(), length=len(rows)).rows
    names = list(dict.fromkeys(name for row in rows for name in row))
    assert typed(back) == typed([{name: row.get(name) for name in names} for row in rows])


@settings(max_examples=50, deadline=None)
@given(even_rows())
def test_a_frame_of_a_table_is_that_of_its_rows(rows):
    items = Items(rows)
    if items.table is not None:
        assert typed(items_from_frame(Items(table=items.table).frame()).rows) == typed(rows)


WITHOUT_TABLE: dict[str, list[dict[str, Any]]] = {
    "no rows": [],
    "rows without fields": [{}, {}],
    "a missing field": [{"a": 1}, {"b": 1}],
    "other order": [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "two types": [{"a": 1}, {"a": 1.5}],
    "true among numbers": [{"a": True}, {"a": 1}],
    "an object": [{"a": {}}],
    "a list": [{"a": [1]}],
    "beyond 64 bits": [{"a": 2**63}],
    "half a surrogate pair": [{"a": "\ud800"}],
    "half a surrogate pair in a name": [{"\ud800": 1}],
}


@pytest.mark.parametrize("rows", WITHOUT_TABLE.values(), ids=WITHOUT_TABLE)
def test_rows_stay_rows_with(rows):
    assert Items(rows).table is None
    assert Items(rows).is_table is False


def test_each_form_is_made_once_and_shared():
    items = in_table()
    twin = items.with_lineage(Lineage({"main": None}))
    assert items.rows is twin.rows
    assert in_rows().table is not None
    rows = in_rows()
    assert rows.with_lineage(None).table is rows.table


def test_that_there_is_no_table_is_found_out_once():
    asked = []

    class Row(dict[str, Any]):
        def __iter__(self):
            asked.append(1)
            return super().__iter__()

    items = Items([Row(a=[]), Row(a=[])])
    assert items.table is None
    before = len(asked)
    assert items.table is None
    assert len(asked) == before


def test_a_table_is_one_until_its_rows_are_read():
    items = in_table()
    assert items.is_table
    assert repr(items) == "Items(4 in a table)"
    assert items.column("n") == [1, None, 3, 4]
    assert items.fields == ["n", "name"]
    assert items.is_table
    assert items.rows == EVEN
    assert not items.is_table
    assert repr(items) == "Items(4 rows)"


@held
def test_columns_come_by_name(make):
    items = make()
    assert items.column("name") == ["Ada", "Ben", "Cid", "Dot"]
    assert items.column("age") == [None] * 4
    assert items.column("age", 0) == [0] * 4


def test_fields_are_those_of_all_rows_in_the_order_they_appear():
    assert Items([{"b": 1}, {"a": 1, "b": 2}]).fields == ["b", "a"]


# A sequence of items


@held
def test_an_item_has_its_row_and_its_files(make):
    items = make()
    assert items[1] == Item(EVEN[1])
    assert items[-1].json == EVEN[-1]
    assert [item.json for item in items] == EVEN
    assert items[0].files == {}
    with pytest.raises(IndexError):
        items[4]


@held
@pytest.mark.parametrize("part", SELECTIONS, ids=str)
def test_a_slice_is_that_of_the_rows(make, part):
    assert make()[part].rows == EVEN[part]


@held
@pytest.mark.parametrize("indexes", [[], [2], [3, 0, 0], range(1, 3), range(3, -1, -2), (1,)], ids=str)
def test_items_are_taken_in_the_order_asked(make, indexes):
    assert make().take(indexes).rows == [EVEN[i] for i in indexes]


@held
def test_no_item_can_be_taken_that_is_not_there(make):
    with pytest.raises(IndexError):
        make().take([4])


@held
def test_a_part_of_a_table_stays_a_table(make):
    assert make()[1:].is_table == make().take([0, 2]).is_table == (make is in_table)


def test_items_without_anything_are_no_items():
    assert list(Items()) == []
    assert Items().rows == []
    assert len(Items([])) == 0


def test_items_are_made_of_items_and_of_plain_objects():
    items = Items.of([Item({"a": 1}, PHOTO), {"a": 2}])
    assert items.rows == [{"a": 1}, {"a": 2}]
    assert list(items.files) == [PHOTO, {}]
    assert items.lineage is None


def test_an_item_is_derived_with_its_files():
    assert Item({"a": 1, "b": 2}, PHOTO).derive(b=3, c=4) == Item({"a": 1, "b": 3, "c": 4}, PHOTO)


def test_items_are_equal_by_rows_and_files():
    assert in_rows() == in_table()
    assert in_rows() != in_rows()[1:]
    assert Items([{}], files=[PHOTO]) != Items([{}])
    assert in_rows() != EVEN


def test_items_cannot_be_keys():
    with pytest.raises(TypeError):
        hash(in_rows())


# What stays with items


def test_files_go_with_their_items():
    items = Items([{"a": 0}, {"a": 1}, {"a": 2}], files=[NO_FILES, PHOTO, NO_FILES])
    assert list(items[1:].files) == [PHOTO, {}]
    assert list(items.take([2, 1]).files) == [{}, PHOTO]
    assert items[1].files == PHOTO
    assert [item.files for item in items] == [{}, PHOTO, {}]
    assert list(items.with_rows([{}, {}, {}]).files) == [{}, PHOTO, {}]
    assert list(items.with_lineage(None).files) == [{}, PHOTO, {}]


def test_files_go_with_the_items_of_a_table():
    items = Items(table=pa.table({"a": [0, 1]}), files=[NO_FILES, PHOTO])
    assert list(items.take([1]).files) == [PHOTO]
    assert list(items[1:].files) == [PHOTO]


def test_new_rows_keep_files_and_lineage():
    items = Items([{"a": 1}], files=[PHOTO], lineage=Lineage({"main": [7]}))
    assert items.with_rows([{"b": 2}])[0] == Item({"b": 2}, PHOTO)
    assert items.with_rows([{"b": 2}]).lineage == items.lineage


def test_new_rows_are_one_for_each_item():
    with pytest.raises(ValueError, match="2 rows for 1 items"):
        Items([{}]).with_rows([{}, {}])


def test_a_frame_has_the_columns_asked_for():
    assert list(in_rows().frame(["name"]).columns) == ["name"]
    assert list(in_table().frame(["name"]).columns) == ["name"]


@held
def test_a_frame_knows_nulls_and_whole_numbers(make):
    frame = make().frame()
    assert str(frame["n"].dtype) == "Int64"
    assert frame["n"].sum() == 8
    assert list(frame.index) == [0, 1, 2, 3]
    assert frame.index.name == FRAME_INDEX


def test_a_frame_has_null_where_a_field_is_missing():
    frame = Items([{"a": 1}, {"b": True}]).frame()
    assert frame["a"].isna().tolist() == [False, True]
    assert frame["b"].isna().tolist() == [True, False]


# One after the other


def test_all_items_follow_one_another():
    whole = Items.concat([in_rows(), Items([]), Items([{"other": 1}])])
    assert whole.rows == [*EVEN, {"other": 1}]
    assert whole.lineage is None


def test_tables_of_the_same_columns_stay_a_table():
    whole = Items.concat([in_table(), in_table()])
    assert whole.is_table
    assert whole.rows == EVEN + EVEN


OTHERS = {
    "other columns": Items(table=pa.table({"n": [1]})),
    "another type": Items(table=pa.table({"n": [1.5], "name": ["x"]})),
    "rows": in_rows(),
    "files": Items(table=in_table().table, files=[PHOTO] * 4),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_tables_become_rows_beside(other):
    whole = Items.concat([in_table(), other])
    assert not whole.is_table
    assert whole.rows == EVEN + other.rows
    assert list(whole.files) == [{}] * 4 + list(other.files)


def test_one_part_is_not_copied_but_loses_its_lineage():
    part = Items([{"a": 1}], lineage=Lineage({"main": [3]}))
    whole = Items.concat([Items([]), part])
    assert whole.rows is part.rows
    assert whole.lineage is None


def test_no_parts_give_no_items():
    assert Items.concat([]).rows == []


def test_no_items_keep_the_names_of_their_columns():
    assert Items.concat([in_table()[:0], in_table()[:0]]).fields == ["n", "name"]


# Lineage

SOURCES = {
    "the same items": (None, [(0,), (1,), (2,)]),
    "one index": ([5, 3, 3], [(5,), (3,), (3,)]),
    "from none": ([5, -1, 3], [(5,), (), (3,)]),
    "several": ([(1, 2), (), (0,)], [(1, 2), (), (0,)]),
    "groups": (Groups([0, 2, 0, -1, 2]), [(0, 2), (), (1, 4)]),
}
sources = pytest.mark.parametrize(("source", "origins"), SOURCES.values(), ids=SOURCES)


@sources
def test_lineage_says_where_an_item_came_from(source, origins):
    assert [Lineage({"main": source}).of(i) for i in range(3)] == [{"main": o} for o in origins]


@sources
def test_taken_items_came_from_where_they_had_come_from(source, origins):
    taken = Lineage({"main": source}).take([2, 0, 0])
    assert [taken.of(i)["main"] for i in range(3)] == [origins[2], origins[0], origins[0]]


@sources
def test_lineage_over_some_items_speaks_of_all(source, origins):
    kept = [1, 2, 4, 6, 7, 9]
    over = Lineage({"main": Groups([*source.codes, -1]) if isinstance(source, Groups) else source}).over(kept)
    assert [over.of(i)["main"] for i in range(3)] == [tuple(kept[i] for i in origin) for origin in origins]


def test_lineage_over_no_items_is_of_none():
    assert Lineage({"main": Groups([])}).over([]).of(0) == {"main": ()}


def test_lineage_speaks_of_each_input():
    lineage = Lineage({"left": [4, -1], "right": [(0, 1), (2,)]})
    assert lineage.of(0) == {"left": (4,), "right": (0, 1)}
    assert lineage.take([1]).of(0) == {"left": (), "right": (2,)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lineage_follows_items_through_any_selection(data):
    items = Items([{"n": i} for i in range(data.draw(st.integers(1, 6)))], lineage=Lineage({"main": None}))
    for _ in range(data.draw(st.integers(1, 4))):
        indexes = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=6)) if len(items) else []
        items = items.take(indexes)
    assert items.lineage is not None
    assert [items.lineage.of(i)["main"] for i in range(len(items))] == [(row["n"],) for row in items.rows]


def test_lineage_is_lost_where_it_was_lost():
    assert in_rows().take([0]).lineage is None


@held
def test_items_taken_from_items_with_lineage_keep_it(make):
    items = make().with_lineage(Lineage({"main": [9, 8, 7, 6]}))
    assert items[1:3].lineage.of(1) == {"main": (7,)}
    assert items.take([3, 0]).lineage.of(0) == {"main": (6,)}


def test_a_file_reference_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(PHOTO)) == PHOTO
