"""The shape of a workflow: order, loops, what comes before and after."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CycleError
from engine.graph import Graph
from engine.workflow import Connection, Node, Workflow
from tests.support.build import node, workflow


def graph(names: str, *paths: str) -> Graph:
    """The graph of nodes with one letter each, drawn in this order."""
    return Graph(workflow(*map(node, names), paths=paths))


ORDERS = {
    "nothing": ("", (), ""),
    "as drawn": ("cab", (), "cab"),
    "parents first": ("cba", ("a > b > c",), "abc"),
    "of what is ready, the one drawn first": ("dcba", ("a > d", "b > c"), "badc"[0] + "cad"),
    "both branches, then where they meet": ("abcd", ("a > c > d", "a > b > d"), "abcd"),
    "several connections of one pair": ("ba", ("a > b", "a.other > b.left"), "ab"),
}


@pytest.mark.parametrize(("names", "paths", "order"), ORDERS.values(), ids=ORDERS)
def test_the_order_is(names, paths, order):
    assert "".join(graph(names, *paths).order()) == order


def test_the_order_is_worked_out_once():
    drawn = graph("ab", "a > b")
    assert drawn.order() is drawn.order()


LOOPS = {
    "a node and itself": ("ab", ("a > b > b",), '"b" -> "b"'),
    "two nodes": ("ab", ("a > b > a",), '"a" -> "b" -> "a"'),
    "drawn first comes first": ("bca", ("a > b > c > a",), '"b" -> "c" -> "a" -> "b"'),
    "what stands before it is not named": ("sabc", ("s > a > b > c > a",), '"a" -> "b" -> "c" -> "a"'),
    "what stands behind it is not named": ("eabd", ("a > b > a", "b > d > e"), '"a" -> "b" -> "a"'),
    "one of two": ("abcd", ("a > b > a", "b > c > d > c"), '"a" -> "b" -> "a"'),
}


@pytest.mark.parametrize(("names", "paths", "loop"), LOOPS.values(), ids=LOOPS)
def test_a_loop_is_named(names, paths, loop):
    with pytest.raises(CycleError) as caught:
        graph(names, *paths).order()
    assert caught.value.message == f"the connections form a loop: {loop}"
    assert caught.value.hint


def test_a_loop_is_named_by_labels():
    drawn = workflow(node("Over 100?", id="a"), node("Send", id="b"), paths="a > b > a")
    with pytest.raises(CycleError, match='"Over 100\\?" -> "Send" -> "Over 100\\?"'):
        Graph(drawn).order()


def test_ancestors_and_descendants_are_all_that_is_reached():
    drawn = graph("abcdef", "a > b > d", "c > d > e")
    assert drawn.ancestors(["d"]) == {"a", "b", "c"}
    assert drawn.descendants(["b"]) == {"d", "e"}
    assert drawn.ancestors(["a", "f"]) == set()
    assert drawn.descendants(["a", "c"]) == {"b", "d", "e"}
    assert drawn.ancestors(["b", "d"]) == {"a", "b", "c"}
    assert drawn.ancestors([]) == set()


def test_a_node_of_a_loop_comes_before_itself():
    assert graph("abc", "a > b > a", "b > c").ancestors(["a"]) == {"a", "b"}


def test_connections_are_listed_by_their_ends_in_the_order_drawn():
    drawn = graph("abc", "b > c.right", "a > c.left", "a > b")
    assert [c.input for c in drawn.incoming["c"]] == ["right", "left"]
    assert [c.target for c in drawn.outgoing["a"]] == ["c", "b"]
    assert drawn.incoming["a"] == []


def test_a_connection_to_nothing_is_passed_over():
    drawn = Graph(Workflow(nodes=(node("a"),), connections=(Connection(source="a", target="zz"),)))
    assert drawn.outgoing == {"a": []}
    assert drawn.order() == ["a"]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_graph_has_an_order_or_a_loop(data):
    names = "abcdefg"[: data.draw(st.integers(1, 7))]
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=10))
    drawn = Graph(
        Workflow(
            nodes=tuple(Node(id=name, type="t", label=name) for name in names),
            connections=tuple(Connection(source=a, target=b) for a, b in pairs),
        )
    )
    loops = {name for name in names if name in drawn.ancestors([name])}
    try:
        order = drawn.order()
    except CycleError:
        loop = drawn.cycle(loops)
        assert all(pair in pairs for pair in zip(loop, [*loop[1:], loop[0]], strict=True))
    else:
        assert not loops
        assert sorted(order) == sorted(names)
        assert all(order.index(a) < order.index(b) for a, b in pairs)
        ready = [names.index(name) for name in order if not drawn.incoming[name]]
        assert ready == sorted(ready)
