"""core.set, core.split_out, core.limit: fields and items added and taken away."""

import pytest

from tests.support.build import run_node
from tests.support.nodes import refusals

ROW = {"a": 1, "b": "x", "list": [1, {"c": 2}]}
SETS = {
    "a field more": ({"fields": {"c": 3}}, {**ROW, "c": 3}),
    "a field changed keeps its place": ({"fields": {"a": "{{ item.a + 1 }}"}}, {**ROW, "a": 2}),
    "a type is kept": (
        {"fields": {"l": "{{ item.list }}", "t": "n {{ item.a }}"}},
        {**ROW, "l": ROW["list"], "t": "n 1"},
    ),
    "values from before the node": ({"fields": {"a": "{{ item.b }}", "b": "{{ item.a }}"}}, {**ROW, "a": "x", "b": 1}),
    "null": ({"fields": {"a": None}}, {**ROW, "a": None}),
    "an object with expressions": (
        {"fields": {"o": {"deep": ["{{ item.a }}", 2, {"b": "{{ item.b }}"}], "n": "{{ items | length }}"}}},
        {**ROW, "o": {"deep": [1, 2, {"b": "x"}], "n": 1}},
    ),
    "removed": ({"remove": ["a", "list", "not there"]}, {"b": "x"}),
    "renamed": ({"fields": {"z": "{{ item.a }}"}, "remove": ["a", "list"]}, {"b": "x", "z": 1}),
    "only these": ({"fields": {"c": "{{ item.a }}"}, "keep_others": False}, {"c": 1}),
    "nothing at all": ({"keep_others": False}, {}),
    "as it was": ({}, ROW),
    "a name with a dot is a name": ({"fields": {"x.y": 1}}, {**ROW, "x.y": 1}),
}


@pytest.mark.parametrize(("params", "expected"), SETS.values(), ids=SETS)
def test_set(params, expected):
    ran = run_node("core.set", params, [ROW])
    assert ran["node"] == [expected]
    assert list(ran["node"][0]) == list(expected)


def test_set_keeps_items_and_their_lineage():
    ran = run_node("core.set", {"fields": {"n": "{{ item.n * 2 }}"}}, [{"n": 1}, {"n": 2}])
    assert ran["node"] == [{"n": 2}, {"n": 4}]
    assert ran.result("node").outputs["main"].lineage.of(1) == {"main": (1,)}


MISSING = [{"n": 1}, {"m": 2}, {"n": 3}]


def test_an_expression_that_fails_names_the_item_the_field_and_the_param():
    error = run_node("core.set", {"fields": {"o": {"v": ["{{ item.n }}"]}}}, MISSING).error("node")
    assert error["code"] == "node.expression.missing"
    assert error["message"] == 'item has no field "n"; it has m'
    assert (error["item"], error["param"]) == (1, "fields.o.v[0]")


def test_failing_items_go_on_in_their_places():
    ran = run_node("core.set", {"fields": {"v": "{{ item.n }}"}}, MISSING, on_error="continue")
    assert [(row.get("v"), "error" in row) for row in ran["node"]] == [(1, False), (None, True), (3, False)]
    lineage = ran.result("node").outputs["main"].lineage
    assert [lineage.of(i)["main"] for i in range(3)] == [(0,), (1,), (2,)]


def test_failing_items_go_aside_wherever_in_a_value_their_expression_stands():
    ran = run_node("core.set", {"fields": {"o": {"v": ["{{ item.n }}"]}}}, MISSING, on_error="output")
    assert [row["o"] for row in ran["node"]] == [{"v": [1]}, {"v": [3]}]
    assert [row["m"] for row in ran.result("node").outputs["error"].rows] == [2]


BAD_SETS = {
    "set and removed": ({"fields": {"a": 1}, "remove": ["a"]}, "params.remove: 'a' is set and removed: leave one out"),
    "a name by expression": (
        {"fields": {"{{ item.a }}": 1}}, "params.fields: the name of a field cannot be an expression: {{ item.a }}",
    ),
    "a list of fields": ({"fields": ["a"]}, "params.fields: should be an object"),
    "a removal per item": ({"remove": ["{{ item.a }}"]}, "params.remove[0]: `item` differs from item to item"),
    "an expression that cannot be read": ({"fields": {"a": "{{ item. }}"}}, "params.fields.a: "),
    "a misspelt param": ({"feilds": {}}, "Did you mean 'fields'?"),
}  # fmt: skip


@pytest.mark.parametrize(("params", "said"), BAD_SETS.values(), ids=BAD_SETS)
def test_set_refuses(params, said):
    assert said in refusals("core.set", params)[0]


LINES = {"order": 1, "lines": [{"sku": "a"}, 2, None, [3]]}
SPLITS = {
    "objects become items": ({"field": "lines"}, LINES, [{"sku": "a"}, {"lines": 2}, {"lines": None}, {"lines": [3]}]),
    "into a field": (
        {"field": "lines", "into": "line"},
        LINES,
        [{"line": {"sku": "a"}}, {"line": 2}, {"line": None}, {"line": [3]}],
    ),
    "beside the other fields": (
        {"field": "lines", "keep_others": True},
        {"order": 1, "lines": [{"sku": "a"}, 2]},
        [{"order": 1, "sku": "a"}, {"order": 1, "lines": 2}],
    ),
    "the element's own field wins": (
        {"field": "lines", "keep_others": True},
        {"id": 1, "lines": [{"id": 2}]},
        [{"id": 2}],
    ),
    "null": ({"field": "lines"}, {"lines": None}, []),
    "an empty list": ({"field": "lines"}, {"lines": []}, []),
    "by a path": ({"field": "body.lines"}, {"body": {"lines": [1, 2]}}, [{"lines": 1}, {"lines": 2}]),
    "by a path, beside the others": (
        {"field": "body.lines", "into": "line", "keep_others": True},
        {"id": 1, "body": {"lines": [1], "n": 2}},
        [{"id": 1, "body": {"n": 2}, "line": 1}],
    ),
    "a name with a dot": (
        {"field": "a.b", "keep_others": True},
        {"a.b": [1], "a": {"b": [2]}},
        [{"a": {"b": [2]}, "a.b": 1}],
    ),
}


@pytest.mark.parametrize(("params", "row", "expected"), SPLITS.values(), ids=SPLITS)
def test_split_out(params, row, expected):
    assert run_node("core.split_out", params, [row])["node"] == expected


def test_each_element_is_traced_to_its_item():
    ran = run_node("core.split_out", {"field": "l"}, [{"l": [1, 2]}, {"l": []}, {"l": [3]}])
    lineage = ran.result("node").outputs["main"].lineage
    assert [lineage.of(i)["main"] for i in range(3)] == [(0,), (0,), (2,)]


NO_LISTS = {
    "a field that is not there": ({"lnes": []}, "item has no field 'lines'", "Did you mean 'lnes'?"),
    "text": ({"lines": "a,b"}, "lines is text, not a list", "{{ item.lines | split("),
    "an object": ({"lines": {"a": 1}}, "lines is an object, not a list", "{{ item.lines.values() }}"),
    "a number": ({"lines": 5}, "lines is a number, not a list", ""),
}


@pytest.mark.parametrize(("row", "message", "hint"), NO_LISTS.values(), ids=NO_LISTS)
def test_split_out_needs_a_list(row, message, hint):
    error = run_node("core.split_out", {"field": "lines"}, [{"lines": [1]}, row]).error("node")
    assert error["message"] == message
    assert hint in error.get("hint", "")
    assert error["item"] == 1


def test_items_without_a_list_go_aside():
    ran = run_node("core.split_out", {"field": "l"}, [{"l": 1}, {"l": [2]}], on_error="output")
    assert ran["node"] == [{"l": 2}]
    assert [row["l"] for row in ran.result("node").outputs["error"].rows] == [1]


@pytest.mark.parametrize(("params", "said"), [({}, "'field' is missing"), ({"field": ""}, "params.field: should have")])
def test_split_out_refuses(params, said):
    assert said in refusals("core.split_out", params)[0]


LIMITS = [
    ({}, list(range(10))),
    ({"count": 2}, [0, 1]),
    ({"count": 2, "keep": "last"}, [10, 11]),
    ({"count": 0}, []),
    ({"count": 0, "keep": "last"}, []),
    ({"count": 100}, list(range(12))),
    ({"count": 100, "keep": "last"}, list(range(12))),
    ({"count": "{{ items | length - 10 }}"}, [0, 1]),
]


@pytest.mark.parametrize(("params", "expected"), LIMITS)
def test_limit(params, expected):
    ran = run_node("core.limit", params, [{"n": n} for n in range(12)])
    assert [row["n"] for row in ran["node"]] == expected
    lineage = ran.result("node").outputs["main"].lineage
    assert [lineage.of(i).get("main") for i in range(len(expected))] == [(n,) for n in expected]


BAD_LIMITS = {
    "below zero": ({"count": -1}, "params.count: should be greater than or equal to 0, not -1"),
    "a fraction": ({"count": 1.5}, "params.count: should be a valid integer"),
    "text": ({"count": "many"}, "params.count: should be a valid integer"),
    "per item": ({"count": "{{ item.n }}"}, "params.count: `item` differs from item to item"),
    "an end that is none": ({"keep": "top"}, "params.keep: should be 'first' or 'last', not \"top\""),
}


@pytest.mark.parametrize(("params", "said"), BAD_LIMITS.values(), ids=BAD_LIMITS)
def test_limit_refuses(params, said):
    assert said in refusals("core.limit", params)[0]


def test_a_limit_that_an_expression_makes_useless_is_named():
    error = run_node("core.limit", {"count": "{{ items | length - 5 }}"}, [{}]).error("node")
    assert error["param"] == "count"
    assert "count ({{ items | length - 5 }}) should be greater than or equal to 0, not -4" in error["message"]
