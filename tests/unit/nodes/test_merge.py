"""core.merge: two branches brought together."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodes.merge
from engine.workflow import Workflow
from tests.support.build import connect, node, run, start
from tests.support.nodes import refusals

ON_K = {"mode": "join", "on": [{"left": "k"}]}


def merged(params, left, right, **more):
    merge = node("node", "core.merge", params, **more)
    paths = connect("left > node.left", "right > node.right")
    return run(Workflow(nodes=(start(left, "left"), start(right, "right"), merge), connections=paths))


def lineage(ran):
    items = ran.result("node").outputs["main"]
    return [tuple(items.lineage.of(i)[side][:1] for side in ("left", "right")) for i in range(len(items))]


L = [{"k": 1, "a": "x"}, {"k": 2, "a": "y"}, {"k": None, "a": "z"}, {"a": "w"}]
R = [{"k": 2, "b": "p"}, {"k": 2, "b": "q"}, {"k": 3, "b": "r"}, {"k": None, "b": "s"}]
PAIRS = [{"k": 2, "a": "y", "b": "p"}, {"k": 2, "a": "y", "b": "q"}]
JOINS = {
    "inner": (PAIRS, [((1,), (0,)), ((1,), (1,))]),
    "left": (
        [L[0], *PAIRS, L[2], L[3]],
        [((0,), ()), ((1,), (0,)), ((1,), (1,)), ((2,), ()), ((3,), ())],
    ),
    "outer": (
        [L[0], *PAIRS, L[2], L[3], R[2], R[3]],
        [((0,), ()), ((1,), (0,)), ((1,), (1,)), ((2,), ()), ((3,), ()), ((), (2,)), ((), (3,))],
    ),
}


@pytest.mark.parametrize(("keep", "expected"), JOINS.items())
def test_a_join_keeps_what_it_is_told_and_knows_both_sides(keep, expected):
    ran = merged({**ON_K, "keep": keep}, L, R)
    assert ran["node"] == expected[0]
    assert lineage(ran) == expected[1]


EQUAL = [
    (1, 1.0, True), (0, False, False), (1, True, False), (1, "1", False), ("a", "a", True), ("a", "A", False),
    (None, None, False), ([1, 2], [1.0, 2], True), ([1], [True], False), ([1, 2], [2, 1], False),
    ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, True), ({"a": 1}, {"a": True}, False), ({}, [], False), ([], [], True),
    (2**53 + 1, float(2**53), False), (2**70, 2**70, True), ("", None, False), (True, True, True), (-0.0, 0, True),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right", "equal"), EQUAL)
def test_which_values_are_equal(left, right, equal):
    assert bool(merged(ON_K, [{"k": left}], [{"k": right, "b": 1}])["node"]) is equal
    assert bool(merged(ON_K, [{"k": right}], [{"k": left, "b": 1}])["node"]) is equal


def test_a_join_by_several_fields_of_other_names():
    left = [{"shop": 1, "order": 7, "n": 1}, {"shop": 2, "order": 7, "n": 2}, {"shop": 1, "order": None, "n": 3}]
    right = [{"shop": 2, "id": 7, "paid": True}, {"shop": 1, "id": None, "paid": False}]
    params = {"mode": "join", "on": [{"left": "shop"}, {"left": "order", "right": "id"}]}
    assert merged(params, left, right)["node"] == [{"shop": 2, "order": 7, "n": 2, "id": 7, "paid": True}]


def test_a_join_by_paths():
    left, right = [{"body": {"id": 7}}], [{"user": {"id": 7}, "name": "Ada"}]
    params = {"mode": "join", "on": [{"left": "body.id", "right": "user.id"}]}
    assert merged(params, left, right)["node"] == [{"body": {"id": 7}, "user": {"id": 7}, "name": "Ada"}]


CLASHES = {
    "a field of both": ([{"k": 1, "a": 1}], [{"k": 1, "a": 2}], {}, {"k": 1, "a": 1, "a_right": 2}),
    "a suffix of one's own": ([{"k": 1, "a": 1}], [{"k": 1, "a": 2}], {"suffix": "2"}, {"k": 1, "a": 1, "a2": 2}),
    "a name with the suffix is there already": (
        [{"k": 1, "a": 1, "a_right": 0}], [{"k": 1, "a": 2}], {}, {"k": 1, "a": 1, "a_right": 0, "a_right_right": 2},
    ),
    "a right field has the name with the suffix": (
        [{"k": 1, "a": 1}], [{"k": 1, "a": 2, "a_right": 3}], {}, {"k": 1, "a": 1, "a_right": 2, "a_right_right": 3},
    ),
    "the field joined by is one": ([{"k": 1}], [{"k": 1.0}], {}, {"k": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("left", "right", "more", "expected"), CLASHES.values(), ids=CLASHES)
def test_no_field_of_either_side_is_lost(left, right, more, expected):
    (row,) = merged({**ON_K, **more}, left, right)["node"]
    assert json.dumps(row) == json.dumps(expected)


POSITIONS = {
    "inner": ([{"a": 1, "b": 4}, {"a": 2, "b": 5}], [((0,), (0,)), ((1,), (1,))]),
    "left": ([{"a": 1, "b": 4}, {"a": 2, "b": 5}, {"a": 3}], [((0,), (0,)), ((1,), (1,)), ((2,), ())]),
    "outer": ([{"a": 1, "b": 4}, {"a": 2, "b": 5}, {"a": 3}], [((0,), (0,)), ((1,), (1,)), ((2,), ())]),
}


@pytest.mark.parametrize(("keep", "expected"), POSITIONS.items())
def test_by_position(keep, expected):
    ran = merged({"mode": "position", "keep": keep}, [{"a": 1}, {"a": 2}, {"a": 3}], [{"b": 4}, {"b": 5}])
    assert ran["node"] == expected[0]
    assert lineage(ran) == expected[1]


def test_by_position_outer_keeps_right_items_without_a_partner():
    ran = merged({"mode": "position", "keep": "outer"}, [{"a": 1}], [{"a": 4}, {"b": 5}])
    assert ran["node"] == [{"a": 1, "a_right": 4}, {"b": 5}]
    assert lineage(ran) == [((0,), (0,)), ((), (1,))]


def test_append_is_left_then_right():
    ran = merged({}, [{"a": 1}, {"a": 2}], [{"b": 3}])
    assert ran["node"] == [{"a": 1}, {"a": 2}, {"b": 3}]
    assert lineage(ran) == [((0,), ()), ((1,), ()), ((), (0,))]


@pytest.mark.parametrize("params", [{}, {**ON_K, "keep": "outer"}, {"mode": "position", "keep": "outer"}])
def test_one_side_may_be_empty(params):
    assert merged(params, [], [{"k": 1}])["node"] == [{"k": 1}]
    assert merged(params, [{"k": 1}], [])["node"] == [{"k": 1}]


keys = st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["a", "b", 1.0, True]))


@given(st.lists(keys, max_size=6), st.lists(keys, max_size=6))
def test_a_join_is_what_comparing_each_with_each_would_give(left, right):
    def same(a, b):
        return a is not None and isinstance(a, bool) is isinstance(b, bool) and a == b

    expected = [(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if same(a, b)]
    given_left = [{"k": k, "left": i} for i, k in enumerate(left)]
    given_right = [{"k": k, "right": i} for i, k in enumerate(right)]
    made = merged(ON_K, given_left, given_right)["node"] if left and right else []
    assert [(row["left"], row["right"]) for row in made] == expected


FAILING = {
    "an unknown left field": ([{"id": 1}], [{"k": 1}], "no left item has the field 'k'", "Known here: id."),
    "an unknown right field": ([{"k": 1}], [{"kk": 1}], "no right item has the field 'k'", "Did you mean 'kk'?"),
}


@pytest.mark.parametrize(("left", "right", "message", "hint"), FAILING.values(), ids=FAILING)
def test_an_unknown_field_is_named_with_its_side(left, right, message, hint):
    error = merged(ON_K, left, right).error("node")
    assert (error["message"], error["hint"]) == (message, hint)


def test_a_join_of_each_with_each_is_stopped_before_it_fills_the_memory():
    count = int(nodes.merge.MAX_PAIRS**0.5) + 10
    error = merged(ON_K, [{"k": 1}] * count, [{"k": 1}] * count).error("node")
    assert error["message"] == f"the join would give {count * count:,} items: many have equal k"
    assert "Join by more fields" in error["hint"]


BAD = {
    "a join by nothing": ({"mode": "join"}, "params: a join needs `on`"),
    "a mode that is none": ({"mode": "zip"}, "params.mode: should be 'append', 'join' or 'position', not \"zip\""),
    "no suffix": ({"suffix": ""}, "params.suffix: should have at least 1 character"),
    "a pair without left": ({"mode": "join", "on": [{"right": "k"}]}, "params.on[0].left: 'left' is missing"),
    "a field per item": ({"mode": "join", "on": [{"left": "{{ item.k }}"}]}, "params.on[0].left: `item` differs"),
}


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in "\n".join(refusals("core.merge", params))
