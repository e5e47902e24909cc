"""core.code: the author's Python on items, in a process of its own."""

import pytest

from engine.run import LocalServices
from tests.support.build import run_node
from tests.support.nodes import refusals

ROWS = [{"n": 1}, {"n": 0}, {"n": 3}]


def ran(source, rows=ROWS, *, vars=None, on_error="stop", **params):
    return run_node(
        "core.code", {"source": source, **params}, rows, services=LocalServices(vars=vars), on_error=on_error
    )


def traced(run, output="main"):
    """What each item of an output is traced to; None where that is not known."""
    items = run.result("node").outputs[output]
    if items.lineage is None:
        return None
    return [items.lineage.of(index)["main"] for index in range(len(items))]


ITEMS = {
    "changed in place": (
        "for item in items:\n    item['m'] = item['n'] + 1",
        [{"n": 1, "m": 2}, {"n": 0, "m": 1}, {"n": 3, "m": 4}],
    ),
    "a new list": ("return [{'n': sum(i['n'] for i in items)}]", [{"n": 4}]),
    "one dict": ("return {'count': len(items)}", [{"count": 3}]),
    "nothing at all": ("return []", []),
    "elements of one key json": ("return [{'json': item} for item in items[:1]]", [{"n": 1}]),
    "a DataFrame": ("return df[df['n'] > 0].assign(half=df['n'] / 2)", [{"n": 1, "half": 0.5}, {"n": 3, "half": 1.5}]),
    "inputs": ("return [{'v': params['rate'] * params['two']['deep']}]", [{"v": 14}]),
}
VALUES = {"inputs": {"rate": "{{ vars.rate }}", "two": {"deep": "{{ items | length - 1 }}"}}}


@pytest.mark.parametrize(("source", "expected"), ITEMS.values(), ids=ITEMS)
def test_all_items_at_once(source, expected):
    assert ran(source, vars={"rate": 7}, **VALUES)["node"] == expected


def test_items_that_stay_are_traced_to_themselves():
    assert traced(ran("items.reverse()\nitems[0]['x'] = 1")) == [(2,), (1,), (0,)]
    assert traced(ran("return df[df['n'] > 0]")) == [(0,), (2,)]


def test_item_by_item():
    made = ran("item['v'] = item['n'] + params['x']", shape="item", inputs={"x": "{{ item.n * 10 }}"})
    assert [row["v"] for row in made["node"]] == [11, 0, 33]
    assert traced(made) == [(0,), (1,), (2,)]


def test_item_by_item_may_give_several_or_none():
    made = ran("return [{'k': k} for k in range(item['n'])]", shape="item")
    assert [row["k"] for row in made["node"]] == [0, 0, 1, 2]
    assert traced(made) == [(0,), (2,), (2,), (2,)]


DIVIDE = "item['v'] = 6 / item['n']"


def test_an_error_names_the_line_and_the_item():
    error = ran(f"x = 1\n{DIVIDE}", shape="item").error("node")
    assert error["code"] == "node.code"
    assert error["message"] == "line 2: ZeroDivisionError: division by zero"
    assert (error["line"], error["item"]) == (2, 1)


@pytest.mark.parametrize(
    ("mode", "main", "aside"),
    [("continue", [6.0, None, 2.0], None), ("output", [6.0, 2.0], [0])],
)
def test_item_by_item_those_that_fail_go_on_or_aside(mode, main, aside):
    made = ran(DIVIDE, shape="item", on_error=mode)
    assert made.status == "succeeded"
    assert [row.get("v") for row in made["node"]] == main
    outputs = made.result("node").outputs
    assert [row["n"] for row in outputs["error"].rows] == aside if aside else "error" not in outputs


def test_an_item_whose_input_fails_is_not_given_to_the_code():
    made = ran(
        "item['v'] = params['x']", [{"n": 1}, {"m": 2}], shape="item", inputs={"x": "{{ item.n }}"}, on_error="output"
    )
    assert made["node"] == [{"n": 1, "v": 1}]
    assert traced(made, "error") == [(1,)]


FAILING = {
    "it raises": ("def f(x):\n    return 1 / x\nreturn [f(0)]", "line 2: ZeroDivisionError: division by zero", 2),
    "it is no Python": ("x = (\n", "line 1: SyntaxError: '(' was never closed", 1),
    "it returns a number": (
        "return 5",
        "returned a number; return a list of dicts, one dict, a DataFrame, or nothing",
        None,
    ),
    "it returns numbers": ("return [5]", "item 0 of the returned list is a number", None),
    "it imports what it may not": ("import os", "module 'os' is not available in code nodes", 1),
}


@pytest.mark.parametrize(("source", "message", "line"), FAILING.values(), ids=FAILING)
def test_what_is_wrong_with_code_is_told_with_its_line(source, message, line):
    error = ran(source).error("node")
    assert message in error["message"]
    assert error.get("line") == line


def test_what_code_prints_goes_to_the_log_of_the_node():
    assert ran("print('hello', items[0])\nlog('there')").log == ["hello {'n': 1}", "there"]


def test_the_items_of_other_nodes_are_not_changed():
    made = ran("items[0]['n'] = 99\nitems[0]['list'].append(1)", [{"n": 1, "list": []}])
    assert made["node"] == [{"n": 99, "list": [1]}]
    assert made["start"] == [{"n": 1, "list": []}]


def test_what_looks_like_an_expression_in_code_is_code():
    assert ran("return [{'t': '{{ item.n }}', 's': {1: {2}} and 1}]")["node"] == [{"t": "{{ item.n }}", "s": 1}]


BAD = {
    "another language": ({"language": "ruby"}, "params.language: should be 'python', not \"ruby\""),
    "a shape that is none": ({"shape": "each"}, "params.shape: should be 'items' or 'item'"),
    "inputs per item for all items": (
        {"inputs": {"x": "{{ item.n }}"}}, "params.inputs: x differs from item to item, and the code runs once for all",
    ),
    "inputs per item deep inside": ({"inputs": {"x": {"y": ["{{ item.n }}"]}}}, "params.inputs: x differs"),
}  # fmt: skip


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in refusals("core.code", params)[0]


def test_inputs_may_differ_from_item_to_item_where_the_code_runs_for_each():
    assert refusals("core.code", {"shape": "item", "inputs": {"x": {"y": ["{{ item.n }}"]}}}) == []
