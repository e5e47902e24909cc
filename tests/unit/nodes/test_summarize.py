"""core.summarize: figures over all items, or over groups of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.build import run_node
from tests.support.nodes import refusals


def figure(function, values):
    """One figure over the field `v`; a missing field for ..."""
    rows = [{} if value is ... else {"v": value} for value in values]
    ran = run_node("core.summarize", {"figures": [{"function": function, "field": "v", "name": "f"}]}, rows)
    assert ran.status == "succeeded", ran.error("node")
    ((name, value),) = ran["node"][0].items()
    assert name == "f"
    return value


NONE = [None, None]
BIG = 2**70
FIGURES = [
    ("count", [1, None, "x", ..., False], 3),
    ("count", NONE, 0),
    ("sum", [1, 2, None], 3),
    ("sum", [1, 2.5], 3.5),
    ("sum", [0.1] * 10, 1.0),
    ("sum", [1e16, 1.0, -1e16], 1.0),
    ("sum", [BIG, BIG, 1], 2 * BIG + 1),
    ("sum", [2**63 - 1, 2**63 - 1], 2**64 - 2),
    ("sum", NONE, 0),
    ("mean", [1, 2, 3, None], 2.0),
    ("mean", [0.5, 1], 0.75),
    ("mean", [BIG, BIG], float(BIG)),
    ("mean", NONE, None),
    ("median", [3, 1, 2], 2),
    ("median", [4, 1, 2, None, 3.0], 2.5),
    ("median", NONE, None),
    ("min", [3, 1, None, 2.5], 1),
    ("min", ["b", "a", None], "a"),
    ("min", [True, False], False),
    ("min", [2**53 + 1, 2**53 + 2], 2**53 + 1),
    ("min", NONE, None),
    ("max", [3, 1, 2.5], 3),
    ("max", ["b", "a", "ab"], "b"),
    ("max", [-BIG, BIG], BIG),
    ("max", ["2026-02-01", "2025-12-31"], "2026-02-01"),
    ("distinct", [1, 1.0, 2, None], 2),
    ("distinct", [1, True, "1", "true"], 4),
    ("distinct", [[1], [1.0], {"a": 1, "b": 2}, {"b": 2, "a": 1}], 2),
    ("distinct", NONE, 0),
    ("first", [None, 2, 1], 2),
    ("first", [..., {"a": 1}], {"a": 1}),
    ("first", NONE, None),
    ("last", [2, 1, None], 1),
    ("last", NONE, None),
    ("list", [2, None, "x", [1], 2], [2, "x", [1], 2]),
    ("list", NONE, []),
]


@pytest.mark.parametrize(("function", "values", "expected"), FIGURES)
def test_a_figure(function, values, expected):
    found = figure(function, values)
    # As JSON, which tells 1 from 1.0 and from true.
    assert json.dumps(found) == json.dumps(expected)


whole = st.integers(-(2**80), 2**80)
numbers = st.one_of(st.none(), whole, st.floats(-1e100, 1e100))


@given(st.lists(st.one_of(st.none(), whole), min_size=1))
def test_whole_numbers_are_added_exactly(values):
    assert figure("sum", values) == sum(value for value in values if value is not None)


@given(st.lists(numbers, min_size=1), st.randoms())
def test_the_order_of_items_makes_no_difference(values, chance):
    mixed = chance.sample(values, len(values))
    for function in ("sum", "mean", "median", "min", "max", "count", "distinct"):
        assert figure(function, values) == figure(function, mixed)


COUNT = {"figures": [{"function": "count"}]}
GROUPS = {
    "by text": ([{"g": "b"}, {"g": "a"}, {"g": "b"}], [("b", 2), ("a", 1)]),
    "null and missing are one group": ([{"g": None}, {"g": "a"}, {}], [(None, 2), ("a", 1)]),
    "1 and 1.0 are one, true and text are others": (
        [{"g": 1}, {"g": True}, {"g": "1"}, {"g": 1.0}, {"g": False}],
        [(1, 2), (True, 1), ("1", 1), (False, 1)],
    ),
    "a value stays as it came": ([{"g": 1}, {"g": 2.5}, {"g": 2**60 + 1}], [(1, 1), (2.5, 1), (2**60 + 1, 1)]),
    "lists and objects": (
        [{"g": [1, 2]}, {"g": {"a": 1, "b": 2}}, {"g": [1, 2.0]}, {"g": {"b": 2, "a": 1}}],
        [([1, 2], 2), ({"a": 1, "b": 2}, 2)],
    ),
    "only null": ([{"g": None}, {"g": None}], [(None, 2)]),
}


@pytest.mark.parametrize(("rows", "expected"), GROUPS.values(), ids=GROUPS)
def test_groups_come_in_the_order_they_first_appear(rows, expected):
    ran = run_node("core.summarize", {"group_by": ["g"], **COUNT}, rows)
    made = [(row["g"], row["count"]) for row in ran["node"]]
    assert json.dumps(made) == json.dumps(expected)


def test_groups_of_several_fields():
    rows = [
        {"a": 1, "b": "x", "n": 1},
        {"a": 1, "b": "y", "n": 2},
        {"a": 1, "b": "x", "n": 4},
        {"a": None, "b": "x", "n": 8},
    ]
    params = {"group_by": ["a", "b"], "figures": [{"function": "sum", "field": "n"}]}
    assert run_node("core.summarize", params, rows)["node"] == [
        {"a": 1, "b": "x", "sum_n": 5},
        {"a": 1, "b": "y", "sum_n": 2},
        {"a": None, "b": "x", "sum_n": 8},
    ]


def test_several_figures_have_names_of_their_own():
    figures = [
        {"function": "sum", "field": "n"},
        {"function": "max", "field": "n", "name": "top"},
        {"function": "count"},
    ]
    assert run_node("core.summarize", {"figures": figures}, [{"n": 1}, {"n": 3}])["node"] == [
        {"sum_n": 4, "top": 3, "count": 2}
    ]


def test_without_params_it_counts_the_items():
    assert run_node("core.summarize", {}, [{"a": 1}, {"a": 2}])["node"] == [{"count": 2}]


def test_each_group_is_traced_to_its_items():
    params = {"group_by": ["g"], **COUNT}
    lineage = run_node("core.summarize", params, [{"g": 1}, {"g": 2}, {"g": 1}]).result("node").outputs["main"].lineage
    assert [lineage.of(0), lineage.of(1)] == [{"main": (0, 2)}, {"main": (1,)}]


def test_a_path_leads_into_objects_and_its_last_part_is_the_name():
    rows = [{"body": {"country": "DE", "total": 2}}, {"body": {"country": "DE", "total": 3}}, {"body": {}}]
    params = {"group_by": ["body.country"], "figures": [{"function": "sum", "field": "body.total"}]}
    assert run_node("core.summarize", params, rows)["node"] == [
        {"country": "DE", "sum_total": 5},
        {"country": None, "sum_total": 0},
    ]


def test_a_field_whose_own_name_has_a_dot_keeps_it():
    params = {"group_by": ["a.b"], "figures": [{"function": "max", "field": "a.b"}]}
    assert run_node("core.summarize", params, [{"a.b": 1}])["node"] == [{"a.b": 1, "max_a.b": 1}]


NO_NUMBERS = {
    "text": ("12", "text"),
    "true": (True, "true/false"),
    "a list": ([1], "a list"),
    "an object": ({}, "an object"),
}


@pytest.mark.parametrize("function", ["sum", "mean", "median"])
@pytest.mark.parametrize(("value", "kind"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_with_its_item(function, value, kind):
    params = {"figures": [{"function": "count"}, {"function": function, "field": "v"}]}
    error = run_node("core.summarize", params, [{"v": 1}, {"v": value}]).error("node")
    assert error["message"] == f"{function} needs numbers, and v of item 1 is {kind}"
    assert error["hint"] == "Convert it before with a Set node, such as {{ item.v | float }}."
    assert (error["item"], error["param"]) == (1, "figures[1].field")


def test_items_without_a_number_can_go_aside():
    rows = [
        {"g": "a", "v": 1, "w": 1},
        {"g": "b", "v": "x", "w": 1},
        {"g": "a", "v": 2, "w": "y"},
        {"g": "a", "v": 4, "w": 1},
    ]
    figures = [{"function": "sum", "field": "v"}, {"function": "sum", "field": "w"}, {"function": "mean", "field": "v"}]
    ran = run_node("core.summarize", {"group_by": ["g"], "figures": figures}, rows, on_error="output")
    assert ran["node"] == [{"g": "a", "sum_v": 5, "sum_w": 2, "mean_v": 2.5}]
    outputs = ran.result("node").outputs
    assert [row["error"]["param"] for row in outputs["error"].rows] == ["figures[0].field", "figures[1].field"]
    assert outputs["main"].lineage.of(0) == {"main": (0, 3)}


def test_all_items_may_go_aside():
    params = {"figures": [{"function": "sum", "field": "v"}]}
    ran = run_node("core.summarize", params, [{"v": "x"}], on_error="output")
    assert ran["node"] == []
    assert len(ran.result("node").outputs["error"]) == 1


FAILING = {
    "an unknown field": (
        {"function": "sum", "field": "totl"},
        [{"total": 1}],
        "no item has the field 'totl'",
        "'total'",
    ),
    "mixed types": (
        {"function": "min", "field": "v"},
        [{"v": 1}, {"v": "a"}, {"v": None}],
        "min needs numbers only, or text only, and v holds a number and text",
        "Set node",
    ),
    "lists": (
        {"function": "max", "field": "v"},
        [{"v": [1]}],
        "max needs numbers only, or text only, and v holds a list",
        "Set node",
    ),
    "a sum beyond floats": (
        {"function": "sum", "field": "v"},
        [{"v": 1e308}, {"v": 1e308}],
        "the sum of v is too large for a number",
        "",
    ),
    "a mean beyond floats": (
        {"function": "mean", "field": "v"},
        [{"v": 10**400}, {"v": 1}],
        "the mean of v is too large for a number",
        "",
    ),
    "a median beyond floats": (
        {"function": "median", "field": "v"},
        [{"v": 1.7e308}, {"v": 1.7e308}],
        "the median of v is too large",
        "",
    ),
    "two fields of one name": (
        {"function": "sum", "field": "v", "name": "g"},
        [{"g": 1, "v": 1}],
        "two fields of the result are called 'g'",
        "another name",
    ),
}


@pytest.mark.parametrize(("figure", "rows", "message", "hint"), FAILING.values(), ids=FAILING)
def test_what_cannot_be_worked_out_is_explained(figure, rows, message, hint):
    params = {"group_by": ["g"] if "g" in rows[0] else [], "figures": [figure]}
    error = run_node("core.summarize", params, rows).error("node")
    assert message in error["message"]
    assert hint in error.get("hint", "")


def test_an_unknown_group_is_named_with_the_nearest():
    error = run_node("core.summarize", {"group_by": ["contry"]}, [{"country": "DE"}]).error("node")
    assert (error["message"], error["hint"]) == ("no item has the field 'contry'", "Did you mean 'country'?")


BAD = {
    "no figures": ({"figures": []}, "params.figures: should have at least one element"),
    "a figure of nothing": ({"figures": [{"function": "sum"}]}, "params.figures[0]: sum needs a field"),
    "an unknown function": (
        {"figures": [{"function": "avg", "field": "v"}]},
        "params.figures[0].function: should be 'count'",
    ),
    "a group per item": ({"group_by": ["{{ item.g }}"]}, "params.group_by[0]: `item` differs from item to item"),
    "a misspelt param": ({"groupby": ["g"]}, "Did you mean 'group_by'?"),
}


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in refusals("core.summarize", params)[0]


SUMS = [
    ([0.1, 0.2], 0.3),
    ([0.1] * 10, 1.0),
    ([64.46, 71.21, 56.55, 62.42] * 100, 25464.0),
    ([1e16, 1.3, -1e16], 1.3),
    ([1 / 3, 1 / 3], 2 / 3),
    ([2.5, None, 1], 3.5),
    ([1e-300, 2e-300], 3e-300),
    ([-0.1, 0.3], 0.2),
]


@pytest.mark.parametrize(("values", "expected"), SUMS)
def test_a_sum_of_decimals_has_no_noise(values, expected):
    figures = [{"function": "sum", "field": "n", "name": "sum"}]
    assert run_node("core.summarize", {"figures": figures}, [{"n": v} for v in values])["node"] == [{"sum": expected}]
