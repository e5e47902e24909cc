"""core.if, core.switch, core.filter: which way items go."""

import pytest

from engine.registry import Registry
from tests.support.build import run_node
from tests.support.nodes import refusals

ROWS = [{"n": 1}, {"n": 5}, {"n": 9}, {"n": None}]
BIG = {"value": "{{ item.n }}", "test": "greater_than", "other": 3}
SMALL = {"value": "{{ item.n }}", "test": "less_than", "other": 7}
FIRST = {"value": "{{ item.first }}", "test": "equals", "other": 1}


def ways(type_, params, rows=ROWS, **more):
    """Output name -> values of n, and what each item is traced to."""
    outputs = run_node(type_, params, rows, **more).result("node").outputs
    for items in outputs.values():
        for index, row in enumerate(items.rows):
            assert rows[items.lineage.of(index)["main"][0]].items() <= row.items()
    return {name: [row["n"] for row in items.rows] for name, items in outputs.items()}


COMBINED = {
    "all": ([5], [1, 9, None]),
    "any": ([1, 5, 9], [None]),
}


@pytest.mark.parametrize(("combine", "expected"), COMBINED.items())
def test_conditions_are_combined(combine, expected):
    params = {"conditions": [BIG, SMALL], "combine": combine}
    passed, failed = expected
    assert ways("core.if", params) == {"true": passed, "false": failed}
    assert ways("core.filter", params) == {"main": passed, "rejected": failed}
    case = {"name": "middle", **params}
    assert ways("core.switch", {"cases": [case]}) == {"middle": passed, "fallback": failed}


def test_all_of_them_is_the_default():
    assert ways("core.filter", {"conditions": [BIG, SMALL]})["main"] == [5]


def test_items_stay_in_order_whichever_condition_decides():
    rows = [{"n": n} for n in (9, 5, 1, 6, 0, 4)]
    assert ways("core.if", {"conditions": [BIG, SMALL]}, rows) == {"true": [5, 6, 4], "false": [9, 1, 0]}
    params = {"conditions": [BIG, {**SMALL, "other": 1}], "combine": "any"}
    assert ways("core.if", params, rows) == {"true": [9, 5, 6, 0, 4], "false": [1]}


HALF = [{"n": 1, "first": 1}, {"n": 5}, {"n": 2, "first": 0}]


def test_a_condition_is_not_looked_at_where_those_before_it_decide():
    assert ways("core.if", {"conditions": [SMALL, BIG, FIRST]}, [{"n": 1}, {"n": 9}]) == {"true": [], "false": [1, 9]}
    params = {"conditions": [BIG, FIRST], "combine": "any"}
    assert ways("core.if", params, HALF) == {"true": [1, 5], "false": [2]}


def test_an_item_that_left_is_not_looked_at_by_later_cases():
    cases = [{"name": "big", "conditions": [BIG]}, {"name": "first", "conditions": [FIRST]}]
    assert ways("core.switch", {"cases": cases}, HALF) == {"big": [5], "first": [1], "fallback": [2]}


def test_what_is_compared_with_may_be_missing_where_it_is_not_looked_at():
    second = {"value": "{{ item.n }}", "test": "equals", "other": "{{ item.first }}"}
    params = {"conditions": [BIG, second], "combine": "any"}
    assert ways("core.if", params, HALF) == {"true": [1, 5], "false": [2]}


def test_both_sides_may_differ_from_item_to_item():
    params = {"conditions": [{"value": "{{ item.n }}", "test": "is_in", "other": [7, "{{ item.a }}", "{{ item.b }}"]}]}
    rows = [{"n": 1, "a": 1, "b": 2}, {"n": 3, "a": 1, "b": 2}, {"n": 7, "a": 1, "b": 2}]
    assert ways("core.filter", params, rows) == {"main": [1, 7], "rejected": [3]}


FAILING = [{"n": 1}, {"n": "x"}, {"m": 2, "n": 9}, {"n": [3]}]
NAMES = {"core.if": ("true", "false"), "core.filter": ("main", "rejected")}


@pytest.mark.parametrize("type_", NAMES)
def test_items_that_cannot_be_tested_go_aside(type_):
    yes, no = NAMES[type_]
    assert ways(type_, {"conditions": [BIG]}, FAILING, on_error="output") == {yes: [9], no: [1], "error": ["x", [3]]}


@pytest.mark.parametrize("type_", NAMES)
def test_items_that_cannot_be_tested_go_on_by_the_first_output_in_their_places(type_):
    yes, no = NAMES[type_]
    assert ways(type_, {"conditions": [BIG]}, FAILING, on_error="continue") == {yes: ["x", 9, [3]], no: [1]}


def test_a_switch_gives_up_an_item_at_the_case_that_cannot_test_it():
    cases = [
        {"name": "text", "conditions": [{**BIG, "test": "equals", "other": "x"}]},
        {"name": "big", "conditions": [BIG]},
    ]
    ran = run_node("core.switch", {"cases": cases}, FAILING, on_error="output")
    outputs = ran.result("node").outputs
    assert {name: [row["n"] for row in items.rows] for name, items in outputs.items()} == {
        "text": ["x"], "big": [9], "fallback": [1], "error": [[3]],
    }  # fmt: skip
    assert outputs["error"].rows[0]["error"]["param"] == "cases[1].conditions[0].value"


def test_an_expression_that_fails_gives_up_its_item_before_any_test():
    params = {"conditions": [{"value": "{{ item.n + 1 }}", "test": "greater_than", "other": 3}]}
    assert ways("core.filter", params, FAILING, on_error="output") == {
        "main": [9],
        "rejected": [1],
        "error": ["x", [3]],
    }


def test_the_outputs_of_a_switch_are_its_cases():
    switch = Registry().get("core.switch")
    assert switch.outputs({"cases": [{"name": "a"}, {"name": "b"}]}) == ("a", "b", "fallback")
    for unfinished in ({}, {"cases": None}, {"cases": "x"}, {"cases": [None, {"nam": "a"}, {"name": 5}]}):
        assert switch.outputs(unfinished)[-1] == "fallback"


def test_the_name_of_a_case_is_no_expression():
    cases = [{"name": "{{ item.n }}", "conditions": [BIG]}]
    assert refusals("core.switch", {"cases": cases}) == []
    assert ways("core.switch", {"cases": cases}, ROWS)["{{ item.n }}"] == [5, 9]


def case(name, **more):
    return {"name": name, "conditions": [BIG], **more}


BAD = {
    "no cases": ([], "params.cases: should have at least one element"),
    "two of one name": ([case("a"), case("b"), case("a")], "params.cases: two cases are called 'a': each needs a name"),
    "fallback": (
        [case("fallback")],
        "params.cases: no case can be called 'fallback': items that pass no case leave by it",
    ),
    "error": ([case("error")], "params.cases: no case can be called 'error': failing items may leave by it"),
    "no name": ([case("")], "params.cases[0].name: should have at least 1 character"),
    "a long name": ([case("x" * 41)], "params.cases[0].name: should have at most 40 characters"),
    "no conditions": ([case("a", conditions=[])], "params.cases[0].conditions: should have at least one element"),
    "no such test": (
        [case("a"), case("b", conditions=[{**BIG, "test": "bigger"}])],
        "params.cases[1].conditions[0].test: should be",
    ),
}


@pytest.mark.parametrize(("cases", "said"), BAD.values(), ids=BAD)
def test_cases_that_cannot_be_used_are_refused(cases, said):
    assert said in "\n".join(refusals("core.switch", {"cases": cases}))
