"""Column profiles of outputs."""

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.convert import dumps, loads
from engine.items import Items
from engine.runtime.data import profiles
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.profiles import profile, profile_of
from tests.support.drawn import ROWS, even_rows
from tests.support.stored import million

ROWS_OF_ALL = [
    {"n": 1, "text": "a", "flag": True, "mixed": 1},
    {"n": 2.5, "text": "b", "flag": False, "mixed": "x"},
    {"n": None, "text": "a", "flag": True, "mixed": [1, 2]},
    {"n": 21, "text": "c" * 200, "mixed": {"b": 1}},
    {"n": 1.0, "text": "b", "flag": True, "mixed": {"b": 1.0}},
]


@pytest.fixture
def payloads(tmp_path):
    return Payloads(tmp_path / "payloads")


def test_a_profile_tells_types_nulls_missing_and_distinct_values():
    found = profile(Items(ROWS_OF_ALL))
    fields = found["fields"]
    assert found["count"] == 5
    assert fields["n"]["types"] == {"number": 4}
    assert (fields["n"]["nulls"], fields["n"]["missing"], fields["n"]["distinct"]) == (1, 0, 3)
    assert (fields["flag"]["missing"], fields["flag"]["booleans"]) == (1, {"true": 3, "false": 1})
    assert fields["mixed"]["types"] == {"number": 1, "text": 1, "list": 1, "object": 2}
    assert (fields["mixed"]["distinct"], fields["mixed"]["at_least"]) == (4, False)


def test_a_profile_has_ends_and_a_histogram_of_numbers():
    column = profile(Items(ROWS_OF_ALL))["fields"]["n"]
    assert (column["min"], column["max"]) == (1, 21)
    assert column["histogram"]["edges"] == pytest.approx(list(range(1, 22)))
    assert column["histogram"]["counts"] == [2, 1, *[0] * 17, 1]


def test_a_profile_has_the_most_common_texts():
    column = profile(Items(ROWS_OF_ALL))["fields"]["text"]
    assert column["common"] == [["a", 2], ["b", 2], ["c" * 100 + "…", 1]]
    assert (column["min"], column["max"], column["histogram"]) == ("a", "c" * 100 + "…", None)


def test_equal_numbers_are_one_bin():
    column = profile(Items([{"n": 7}] * 3))["fields"]["n"]
    assert column["histogram"] == {"edges": [7.0, 7.0], "counts": [3]}


def test_numbers_beyond_all_bounds_do_not_break_a_histogram():
    numbers = [-1.7e308, 1.7e308, 10**400, 5e-324]
    column = profile(Items([{"n": number} for number in numbers]))["fields"]["n"]
    assert (column["min"], column["max"]) == (-1.7e308, 10**400)
    assert sum(column["histogram"]["counts"]) == 3


def test_different_values_are_counted_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(profiles, "DISTINCT_VALUES", 10)
    monkeypatch.setattr(profiles, "DISTINCT_ROWS", 10)
    rows = [{"n": number} for number in range(50)]
    for items in (Items(rows), Items(table=Items(rows).table)):
        column = profile(items)["fields"]["n"]
        assert (column["distinct"], column["at_least"]) == (10, True)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_every_value_is_counted_once(rows):
    found = profile(Items(rows))
    for name, column in found["fields"].items():
        assert sum(column["types"].values()) + column["nulls"] + column["missing"] == len(rows) == found["count"]
        assert column["missing"] == sum(name not in row for row in rows)
        assert sum((column["booleans"] or {}).values()) == column["types"].get("boolean", 0)
    assert loads(dumps(found)) == found


@settings(max_examples=300, deadline=None)
@given(even_rows())
def test_columns_have_the_same_profile_as_rows(rows):
    table = Items(rows).table
    if table is not None:
        assert profile(Items(table=table)) == profile(Items(rows))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-50, 50) | st.floats(-50, 50), min_size=2))
def test_a_histogram_holds_each_number_in_the_bin_of_its_edges(numbers):
    found = profile(Items([{"n": float(number)} for number in numbers]))["fields"]["n"]["histogram"]
    edges = found["edges"]
    for at, count in enumerate(found["counts"]):
        last = at == len(found["counts"]) - 1
        inside = [n for n in numbers if edges[at] <= n and (n <= edges[at + 1] if last else n < edges[at + 1])]
        assert count == len(inside)


@pytest.mark.parametrize("rows", [[{"n": n} for n in range(9)], ROWS_OF_ALL], ids=["table", "rows"])
def test_the_profile_of_a_payload_is_made_once_and_goes_with_it(payloads, rows):
    ref = payloads.save(Items(rows))
    assert profile_of(ref, payloads) == profile(Items(rows)) == profile_of(Items(rows), payloads)
    kept = payloads.folder / f"{ref.hash}.profile.json"
    assert loads(kept.read_bytes()) == profile(Items(rows))
    kept.write_bytes(b'{"count": 0}')
    assert profile_of(ref, payloads) == {"count": 0}
    assert [stored.hash for stored in payloads.all()] == [ref.hash]
    payloads.delete(ref.hash)
    assert not kept.exists()


def test_a_million_rows_of_eight_columns_are_profiled_in_three_seconds(payloads):
    items = million()
    ref = payloads.save(items)
    began = time.perf_counter()
    found = profile_of(ref, payloads)
    assert time.perf_counter() - began < 3
    assert len(found["fields"]) == 8
    texts = Counter(items.column("t0"))
    assert found["fields"]["t0"]["common"] == [[text, count] for text, count in texts.most_common(10)]
    assert found["fields"]["t0"]["distinct"] == len(texts)
