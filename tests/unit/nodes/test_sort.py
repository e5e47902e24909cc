"""core.sort: any values in a fixed order, equal ones in their places."""

import pytest

from tests.support.build import run_node
from tests.support.nodes import refusals

DOWN = "descending"


def ordered(values, *, order="ascending", **params):
    """The values of a field `v`, sorted by it; a missing field for ..."""
    rows = [{} if value is ... else {"v": value} for value in values]
    ran = run_node("core.sort", {"by": [{"field": "v", "order": order}], **params}, rows)
    assert ran.status == "succeeded", ran.error("node")
    return [row.get("v", ...) for row in ran["node"]]


CASES = {
    "numbers": ([3, 1, 2], [1, 2, 3]),
    "whole numbers and fractions": ([2, 1.5, -1, 2.5], [-1, 1.5, 2, 2.5]),
    "numbers that a float cannot tell apart": ([2**53 + 1, 2**53], [2**53, 2**53 + 1]),
    "numbers beyond 64 bits": ([2**70, -(2**70), 2**65], [-(2**70), 2**65, 2**70]),
    "a large number beside a fraction": ([2**70, 0.5], [0.5, 2**70]),
    "text": (["pear", "Apple", "apple", ""], ["", "Apple", "apple", "pear"]),
    "numbers written as text": (["10", "9"], ["10", "9"]),
    "text beyond the basic plane": (["\U0001f600", "\ufffd", "é", "z"], ["z", "é", "\ufffd", "\U0001f600"]),
    "half a surrogate pair": (["\ud800", "a"], ["a", "\ud800"]),
    "false before true": ([True, False], [False, True]),
    "dates as text": (["2026-02-01", "2025-12-31"], ["2025-12-31", "2026-02-01"]),
    "null last": ([None, 2, None, 1], [1, 2, None, None]),
    "a missing field as null": ([..., 2, None, 1], [1, 2, ..., None]),
    "only null": ([None, None], [None, None]),
    "mixed types": ([[1], True, "b", None, 1.5, {"x": 1}, 2], [1.5, 2, "b", True, [1], {"x": 1}, None]),
}


@pytest.mark.parametrize(("values", "expected"), CASES.values(), ids=CASES)
def test_ascending(values, expected):
    assert ordered(values) == expected


@pytest.mark.parametrize(("values", "expected"), CASES.values(), ids=CASES)
def test_descending_turns_all_but_null_around(values, expected):
    filled = [value for value in expected if value not in (None, ...)]
    empty = [value for value in expected if value in (None, ...)]
    assert ordered(values, order=DOWN) == filled[::-1] + empty


@pytest.mark.parametrize("order", ["ascending", DOWN])
def test_equal_items_keep_their_places(order):
    rows = [{"v": v, "n": n} for n, v in enumerate([2, 1, 2, None, 1.0, None, 2.0])]
    ran = run_node("core.sort", {"by": [{"field": "v", "order": order}]}, rows)
    twos, ones = [0, 2, 6], [1, 4]
    assert [row["n"] for row in ran["node"]] == (ones + twos if order == "ascending" else twos + ones) + [3, 5]


def test_later_fields_decide_between_equal_ones():
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 1, "b": "z"}, {"a": 2, "b": "a"}]
    ran = run_node("core.sort", {"by": [{"field": "a", "order": DOWN}, {"field": "b"}]}, rows)
    assert [row["b"] for row in ran["node"]] == ["a", "y", "x", "z"]


def test_small_and_capital_letters_can_be_the_same():
    assert ordered(["b", "A", "a", "B", 1], ignore_case=True) == [1, "A", "a", "b", "B"]
    assert ordered(["Straße", "STRASSE", "Stra"], ignore_case=True) == ["Stra", "Straße", "STRASSE"]


def test_a_path_leads_into_objects():
    rows = [{"body": {"total": 2}}, {"body": {}}, {"body": None}, {"body": {"total": 1}}, {}]
    ran = run_node("core.sort", {"by": [{"field": "body.total"}]}, rows)
    assert ran["node"] == [{"body": {"total": 1}}, {"body": {"total": 2}}, {"body": {}}, {"body": None}, {}]


def test_a_field_whose_name_has_a_dot_goes_before_a_path():
    rows = [{"a.b": 2, "a": {"b": 1}}, {"a.b": 1, "a": {"b": 2}}]
    assert run_node("core.sort", {"by": [{"field": "a.b"}]}, rows)["node"] == rows[::-1]


def test_each_item_is_traced_to_where_it_stood():
    lineage = (
        run_node("core.sort", {"by": [{"field": "v"}]}, [{"v": 3}, {"v": 1}]).result("node").outputs["main"].lineage
    )
    assert [lineage.of(0), lineage.of(1)] == [{"main": (1,)}, {"main": (0,)}]


UNKNOWN = {
    "totl": "Did you mean 'total'?",
    "TOTAL": "Did you mean 'total'?",
    "customer.nme": "Did you mean 'customer.name'?",
    "zzz": "Known here: total, customer, customer.name.",
}


@pytest.mark.parametrize(("field", "hint"), UNKNOWN.items())
def test_a_field_that_no_item_has_is_named_with_the_nearest(field, hint):
    error = run_node("core.sort", {"by": [{"field": field}]}, [{"total": 1, "customer": {"name": "Ada"}}]).error("node")
    assert error["message"] == f"no item has the field {field!r}"
    assert error["hint"] == hint


BAD = {
    "nothing to sort by": ({"by": []}, "params.by: should have at least one element"),
    "no field": ({"by": [{"order": DOWN}]}, "params.by[0]"),
    "an order that is none": (
        {"by": [{"field": "a", "order": "down"}]},
        "params.by[0].order: should be 'ascending' or 'descending', not \"down\"",
    ),
    "a field that depends on the item": (
        {"by": [{"field": "{{ item.key }}"}]},
        "params.by[0].field: `item` differs from item to item",
    ),
    "an unknown param": ({"by": [{"field": "a", "ordr": DOWN}]}, "Did you mean 'order'?"),
}


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in "\n".join(refusals("core.sort", params))
