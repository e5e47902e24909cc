"""Pages of outputs: sorted, filtered, searched; and long values cut."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DefinitionError, NodeError
from engine.items import Items
from engine.runtime.data.cuts import ELEMENTS, TEXT_CHARACTERS, CutRows, cut
from engine.runtime.data.filters import HOLDS
from engine.runtime.data.pages import Filter, Pages
from engine.runtime.data.payloads import Payloads
from nodes.conditions.vocabulary import TESTS
from tests.support.drawn import SINGLES, VALUES, even_rows, typed
from tests.support.stored import million

PEOPLE = [
    {"name": "Ada", "age": 36, "city": {"name": "London"}},
    {"name": "ben", "age": None, "city": {"name": "Bern"}},
    {"name": "Cid", "age": 5},
    {"name": "Dot", "age": 36, "city": {"name": "Łódź"}, "tags": ["x", 1]},
    {"name": "", "age": "12", "city": None},
]


@pytest.fixture
def payloads(tmp_path):
    return Payloads(tmp_path / "payloads")


@pytest.fixture(params=["inline", "payload"])
def people(request, payloads):
    return Items(PEOPLE) if request.param == "inline" else payloads.save(Items(PEOPLE))


def indexes(payloads, source, **asked):
    return Pages(payloads).page(source, **asked).indexes


def test_a_page_has_rows_their_places_and_counts(payloads, people):
    page = Pages(payloads).page(people, start=1, count=2)
    assert (page.rows, page.indexes, page.matching, page.total) == (PEOPLE[1:3], [1, 2], 5, 5)
    page = Pages(payloads).page(people, start=1, count=2, filters=[Filter("age", "exists")])
    assert (page.rows, page.indexes, page.matching, page.total) == (PEOPLE[2:4], [2, 3], 4, 5)


def test_a_page_behind_the_end_is_empty(payloads, people):
    for asked in ({}, {"sort": [("name", "ascending")]}):
        page = Pages(payloads).page(people, start=99, **asked)
        assert (page.rows, page.indexes, page.matching) == ([], [], 5)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ([("age", "ascending")], [2, 0, 3, 4, 1]),  # numbers, then text, then null
        ([("age", "descending")], [4, 0, 3, 2, 1]),
        ([("name", "ascending")], [4, 0, 2, 3, 1]),
        ([("age", "ascending"), ("name", "descending")], [2, 3, 0, 4, 1]),
        ([("city.name", "descending")], [3, 0, 1, 2, 4]),
    ],
)
def test_rows_are_put_in_order(payloads, people, sort, expected):
    assert indexes(payloads, people, sort=sort) == expected


FILTERS = [
    (("name", "equals", "Ada"), [0]),
    (("name", "not_equals", "Ada"), [1, 2, 3, 4]),
    (("age", "equals", 36.0), [0, 3]),
    (("age", "equals", None), [1]),
    (("age", "equals", 12), [4]),
    (("age", "greater_than", 11), [0, 3, 4]),
    (("age", "greater_or_equal", 36), [0, 3]),
    (("age", "less_than", "36"), [2, 4]),
    (("age", "less_or_equal", 5), [2]),
    (("city.name", "contains", "on"), [0]),
    (("name", "contains", "e"), [1]),
    (("name", "not_contains", "d"), [1, 3, 4]),
    (("tags", "contains", "x"), [3]),
    (("age", "starts_with", 3), [0, 3]),
    (("name", "ends_with", "t"), [3]),
    (("name", "is_empty"), [4]),
    (("tags", "is_empty"), [0, 1, 2, 4]),
    (("age", "is_not_empty"), [0, 2, 3, 4]),
    (("city", "exists"), [0, 1, 3]),
]


@pytest.mark.parametrize(("one", "expected"), FILTERS, ids=[f"{one[0]} {one[1]}" for one, _ in FILTERS])
def test_filters_leave_what_matches(payloads, people, one, expected):
    assert indexes(payloads, people, filters=[Filter(*one)]) == expected


def test_all_filters_have_to_match(payloads, people):
    filters = [Filter("age", "exists"), Filter("name", "contains", "d"), Filter("age", "less_than", 30)]
    assert indexes(payloads, people, filters=filters) == [2]


@pytest.mark.parametrize(
    ("search", "expected"), [("ADA", [0]), ("łÓDŹ", [3]), ("36", [0, 3]), ("x", [3]), ("nothing", []), ("null", [])]
)
def test_a_search_looks_into_every_field_whatever_the_case(payloads, people, search, expected):
    assert indexes(payloads, people, search=search) == expected


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(HOLDS)), VALUES, VALUES)
def test_a_filter_says_what_the_filter_node_says_and_no_where_that_refuses(test, value, other):
    try:
        expected = TESTS[test](value, other)
    except NodeError:
        expected = False
    assert HOLDS[test](value, other) is expected


WORDS = SINGLES | st.sampled_from(["1", "1.5", 1.5, 2**53 + 1, -3, 1e300, "a", "Σ", "İ", "ß", "e"])


@settings(max_examples=400, deadline=None)
@given(even_rows(), st.data())
def test_columns_give_the_same_page_as_rows(rows, data):
    table = Items(rows).table
    if table is None:
        return
    field = st.sampled_from(list(rows[0]))
    filters = data.draw(st.lists(st.builds(Filter, field, st.sampled_from(sorted(HOLDS)), WORDS), max_size=2))
    sort = data.draw(st.lists(st.tuples(field, st.sampled_from(["ascending", "descending"])), max_size=3))
    search = data.draw(st.none() | WORDS.map(str) | st.text(max_size=2))
    with TemporaryDirectory() as folder:
        pages = Pages(Payloads(Path(folder)))
        by_row = pages.page(Items(rows), sort=sort, filters=filters, search=search)
        by_column = pages.page(Items(table=table), sort=sort, filters=filters, search=search)
    assert typed(by_column._asdict()) == typed(by_row._asdict())


@pytest.mark.parametrize("text", ["ΑΣ", "İstanbul", "STRASSE", "ẞ", "ǅ", "K"])
def test_special_capitals_are_found_alike_in_columns_and_rows(payloads, text):
    rows = [{"text": text}]
    for needle in (text, text.lower(), text.upper(), text[-1].lower()):
        by_row = indexes(payloads, Items(rows), search=needle)
        assert indexes(payloads, Items(table=Items(rows).table), search=needle) == by_row


@pytest.mark.parametrize("asked", [{"sort": [("agee", "ascending")]}, {"filters": [Filter("agee", "exists")]}])
@pytest.mark.parametrize("as_table", [True, False])
def test_an_unknown_field_names_the_nearest_one(payloads, asked, as_table):
    rows = [{"age": 1}]
    items = Items(table=Items(rows).table) if as_table else Items(rows)
    with pytest.raises(NodeError, match="no item has the field 'agee'") as caught:
        Pages(payloads).page(items, **asked)
    assert "'age'" in caught.value.hint


def test_what_a_page_does_not_know_is_refused(payloads, people):
    for asked in (
        {"filters": [Filter("age", "equal", 1)]},
        {"sort": [("age", "up")]},
        {"start": -1},
        {"count": -1},
    ):
        with pytest.raises(DefinitionError):
            Pages(payloads).page(people, **asked)


def quickest_s(call, times=5):
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_a_page_of_a_million_rows_is_read_in_a_few_milliseconds(payloads):
    ref = payloads.save(million())
    pages = Pages(payloads)
    assert quickest_s(lambda: pages.page(ref, start=500_000)) < 0.02
    asked = {"sort": [("n0", "descending")], "filters": [Filter("flag", "equals", True)]}
    first = pages.page(ref, **asked)
    assert first.rows[0]["n0"] >= first.rows[-1]["n0"]
    # The order is known by now: only rows are read.
    assert quickest_s(lambda: pages.page(ref, start=1_000, **asked)) < 0.15


def test_a_known_selection_is_not_confused_with_a_like_one(payloads):
    ref = payloads.save(Items([{"v": True}, {"v": False}]))
    pages = Pages(payloads)
    assert pages.page(ref, filters=[Filter("v", "equals", 1)]).indexes == []
    assert pages.page(ref, filters=[Filter("v", "equals", True)]).indexes == [0]


# Cut


def test_short_rows_are_left_as_they_are():
    found = cut(PEOPLE)
    assert found == CutRows(PEOPLE)
    assert all(a is b for a, b in zip(found.rows, PEOPLE, strict=True))


def test_long_values_are_cut_with_a_mark_and_named():
    row = {"text": "x" * 1_001, "deep": {"list": list(range(60))}, "object": {str(i): i for i in range(60)}, "n": 1}
    found = cut([{"n": 0}, row])
    assert found.rows[1]["text"] == "x" * TEXT_CHARACTERS + "… (1,001 characters)"
    assert found.rows[1]["deep"]["list"] == [*range(ELEMENTS), "… 10 more"]
    assert found.rows[1]["object"] == {str(i): i for i in range(ELEMENTS)} | {"…": "10 more"}
    assert [tuple(one) for one in found.cuts] == [
        (1, ("text",), "text", 1_001),
        (1, ("deep", "list"), "list", 60),
        (1, ("object",), "object", 60),
    ]
    assert CutRows.from_json(found.as_json()) == found
    assert len(row["deep"]["list"]) == 60


def test_the_limit_of_texts_can_be_set():
    assert cut([{"text": "abcdef"}], 3).rows == [{"text": "abc… (6 characters)"}]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12))
def test_nested_values_are_bounded(width, depth):
    value = "x" * 2_000
    for _ in range(depth):
        value = [value] * width
    found = cut([{"value": value}])
    assert str(found.rows).count("x") <= 501 * TEXT_CHARACTERS
    assert found.cuts
