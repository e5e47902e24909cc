"""Everything that keeps a workflow from running as drawn, found before it runs."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings

from engine.api import Context, Items, NodeType, Params, PerItem, field
from engine.api import node as declare
from engine.checks import check, place_of
from engine.registry import Registry
from engine.workflow import Connection, Settings, Workflow
from tests.support.build import chain, connect, node, start, workflow
from tests.support.drawn import workflows

ONE = start([{"a": 1}])


class ShopParams(Params):
    path: list[str] = field(help="Where to look.", min_length=1)
    params: PerItem[int] = field(0, help="What to send.")
    shop: str = field("main", help="Which shop.", pattern="^[a-z]+$")


@declare(
    "shop.order",
    version=3,
    group="shop",
    effects="pure",
    outputs=lambda params: params["path"],
)
def order(ctx: Context, items: Items, params: ShopParams) -> Items:
    """Order something."""
    return items


@order.upgrade_from(2)
def _path(params: dict[str, Any]) -> dict[str, Any]:
    return {"path": params["where"]}


@declare("shop.frame", group="shop", effects="pure")
def table(ctx: Context, frame: Any, params: ShopParams) -> Any:
    """Look at a table."""
    return frame


TYPES: list[NodeType] = [order, table]
REGISTRY = Registry(TYPES)


def after(type_: str, params: dict[str, Any] | None = None, **more: Any) -> Workflow:
    """A start and one node, called `node`."""
    return chain(ONE, node("node", type_, params, **more))


def conditions(**condition: Any) -> Workflow:
    return after("core.filter", {"conditions": [{"value": 1, "test": "equals", "other": 1} | condition]})


def named(expression: str) -> Workflow:
    """Three nodes in a row and one aside; the last of the row is `node`, with an expression."""
    return workflow(
        ONE,
        node("Orders"),
        node("node", "core.set", {"fields": {"x": [{"y": expression}]}}),
        node("aside"),
        paths=("start > Orders > node", "start > aside"),
    )


def ends(*connections: Connection) -> Workflow:
    return Workflow(
        nodes=(ONE, node("if", "core.if", {"conditions": [{"value": 1, "test": "is_true"}]}), node("b")),
        connections=connections,
    )


class Case(NamedTuple):
    drawn: Workflow
    code: str
    message: str
    hint: str
    place: str
    node_id: str | None = "node"
    field: str | None = None


VALUE, UNKNOWN, MISSING = "workflow.value", "workflow.unknown_key", "workflow.missing_key"
EXPRESSION, CONNECTION, PARAMS = "node.expression", "definition.invalid_connection", "definition.invalid_params"
IS_A = "is-a"
ARROW = 'connection 1 ("start" -> "if")'
FIELD = "params.fields.x[0].y"

CASES: dict[str, Case] = {
    "a type that is not installed": Case(
        after("core.lmit"), "definition.unknown_node_type", "no node type 'core.lmit' is installed",
        "Did you mean 'core.limit'?", 'node "node", type', field="type",
    ),
    "an unknown param": Case(
        after("core.limit", {"cuont": 2}), UNKNOWN, "unknown key 'cuont'", "Did you mean 'count'?",
        'node "node", params.cuont', field="params.cuont",
    ),
    "an unknown param with an expression": Case(
        after("core.limit", {"cuont": "{{ items[0].n }}"}), UNKNOWN, "unknown key 'cuont'", "Did you mean 'count'?",
        'node "node", params.cuont', field="params.cuont",
    ),
    "an unknown param with an expression per item": Case(
        after("core.limit", {"cuont": {"x": "{{ item.n }}"}}), UNKNOWN, "unknown key 'cuont'", "Did you mean 'count'?",
        'node "node", params.cuont', field="params.cuont",
    ),
    "an unknown key inside a param": Case(
        conditions(vaule=5), UNKNOWN, "unknown key 'vaule'", "Did you mean 'value'?",
        'node "node", params.conditions[0].vaule', field="params.conditions[0].vaule",
    ),
    "a missing param": Case(
        after("core.filter"), MISSING, "'conditions' is missing", "Add it.",
        'node "node", params.conditions', field="params.conditions",
    ),
    "a value of another type": Case(
        after("core.limit", {"count": "ten"}), VALUE, "should be a valid integer", "How many items to keep.",
        'node "node", params.count', field="params.count",
    ),
    "a value out of its range": Case(
        after("core.limit", {"count": -1}), VALUE, "should be greater than or equal to 0, not -1",
        "How many items to keep.", 'node "node", params.count', field="params.count",
    ),
    "a choice that is none": Case(
        conditions(test="greater_then"), VALUE, "should be 'equals'", "Did you mean 'greater_than'?",
        'node "node", params.conditions[0].test', field="params.conditions[0].test",
    ),
    "an expression where an object should stand": Case(
        after("core.limit", {"count": {"x": "{{ item.n }}"}}), VALUE, "should be a valid integer",
        "How many items to keep.", 'node "node", params.count', field="params.count",
    ),
    "a rule of the type's own": Case(
        after("core.switch", {"cases": [{"name": "a", "conditions": [{"value": 1, "test": "is_true"}]}] * 2}), VALUE,
        "two cases are called 'a'", "Tried from first to last",
        'node "node", params.cases', field="params.cases",
    ),
    "a newer version of the type": Case(
        after("core.limit", type_version=2), PARAMS,
        "core.limit is installed in version 1; this node was made with version 2",
        "Update the package that brings the node.", 'node "node", params', field="params",
    ),
    "params that cannot be upgraded": Case(
        after("shop.order", {"path": ["main"]}, type_version=2), PARAMS,
        "the params of version 2 cannot be brought to version 3: KeyError('where')", "Set them anew",
        'node "node", params', field="params",
    ),
    "params of a newer version, and what follows": Case(
        workflow(ONE, node("node", type_version=2), node("b"), paths=("start > node", "node.other > b")), PARAMS,
        "core.set is installed in version 1", "Update the package", 'node "node", params', field="params",
    ),
    "a version without an upgrade": Case(
        after("shop.order", {"path": ["main"]}, type_version=1), PARAMS,
        "the params of version 1 cannot be brought to version 2: KeyError(1)", "Set them anew",
        'node "node", params', field="params",
    ),
    "params that a type cannot look at": Case(
        after("shop.order", {}, type_version=3), MISSING, "'path' is missing", "Add it.",
        'node "node", params.path', field="params.path",
    ),
    "a param called params": Case(
        after("shop.order", {"path": ["main"], "params": "x"}, type_version=3), VALUE, "should be a valid integer",
        "What to send.", 'node "node", params.params', field="params.params",
    ),
    "an expression that cannot be read": Case(
        named("{{ 1 + }}"), EXPRESSION, "", "An expression looks like", f'node "node", {FIELD}', field=FIELD,
    ),
    "a statement": Case(
        named("{% if x %}"), EXPRESSION, "statements are not allowed", "", f'node "node", {FIELD}', field=FIELD,
    ),
    "a name that is none": Case(
        named("{{ itme.total }}"), EXPRESSION, "", "item", f'node "node", {FIELD}', field=FIELD,
    ),
    "$json": Case(
        named("{{ $json.total }}"), EXPRESSION, "", "item", f'node "node", {FIELD}', field=FIELD,
    ),
    "a filter that is none": Case(
        named("{{ item.total | rond }}"), EXPRESSION, "", "round", f'node "node", {FIELD}', field=FIELD,
    ),
    "a node that is none": Case(
        named("{{ node('Ordes').first.x }}"), EXPRESSION, "no node is called 'Ordes'", "Did you mean 'Orders'?",
        f'node "node", {FIELD}', field=FIELD,
    ),
    "a node that does not come before": Case(
        named("{{ node('aside').first.x }}"), EXPRESSION, '"aside" does not come before this node', "Connect it",
        f'node "node", {FIELD}', field=FIELD,
    ),
    "its own node": Case(
        named("{{ node('node').first.x }}"), EXPRESSION, "a node cannot read its own output", "Write item",
        f'node "node", {FIELD}', field=FIELD,
    ),
    "item in a field read once": Case(
        after("core.limit", {"count": "{{ item.n }}"}), EXPRESSION, "`item` differs from item to item", "items[0]",
        'node "node", params.count', field="params.count",
    ),
    "the item of a node in a field read once": Case(
        after("core.limit", {"count": "{{ node('start').item.n }}"}), EXPRESSION, "`item` differs", "items[0]",
        'node "node", params.count', field="params.count",
    ),
    "item in a node that takes a frame": Case(
        after("shop.frame", {"path": ["main"], "params": "{{ item.n }}"}), EXPRESSION, "`item` differs", "items[0]",
        'node "node", params.params', field="params.params",
    ),
    "pin data of an output that is none": Case(
        after("core.limit", pinned={"mian": []}), "workflow.pinned",
        "pin data for the output 'mian', which core.limit has not", "Did you mean 'main'?",
        'node "node", pinned', field="pinned",
    ),
    "a parent that is none": Case(
        after("core.limit", parent="loop"), "workflow.parent", "its parent 'loop' is no node of this workflow",
        "Name the id of a node", 'node "node", parent', field="parent",
    ),
    "a time zone that is none": Case(
        Workflow(settings=Settings(timezone="Europe/Berlni")), "workflow.timezone",
        "no time zone is called 'Europe/Berlni'", "Did you mean 'Europe/Berlin'?", "settings.timezone", None,
    ),
    "a time zone that is a path": Case(
        Workflow(settings=Settings(timezone="../etc/passwd")), "workflow.timezone", "no time zone", "",
        "settings.timezone", None,
    ),
    "a time zone that is a folder": Case(
        Workflow(settings=Settings(timezone="Europe")), "workflow.timezone", "no time zone", "",
        "settings.timezone", None,
    ),
    "an output that is none": Case(
        ends(*connect("start > if", "if.ture > b")), CONNECTION, "\"if\" has no output 'ture'",
        "Did you mean 'true'?", 'connection 2 ("if" -> "b")', "if",
    ),
    "the error output of a node that stops": Case(
        ends(*connect("start > if", "if.error > b")), CONNECTION, "\"if\" has no output 'error'",
        'Set "on_error": "output"', 'connection 2 ("if" -> "b")', "if",
    ),
    "an input that is none": Case(
        ends(*connect("start > if.left")), CONNECTION, "\"if\" has no input 'left'", "Known here: main.", ARROW, "if",
    ),
    "a source that is none": Case(
        ends(*connect("strat > if")), CONNECTION, "its source 'strat' is no node's id", "Did you mean 'start'?",
        "connection 1 ('strat' -> \"if\")", "if",
    ),
    "a target that is none": Case(
        ends(*connect("start > iff")), CONNECTION, "its target 'iff' is no node's id", "Did you mean 'if'?",
        "connection 1 (\"start\" -> 'iff')", "start",
    ),
    "a label instead of an id": Case(
        chain(ONE, node("My node", id="b")).model_copy(update={"connections": connect("start > My node")}),
        CONNECTION, "its target 'My node' is no node's id", "Connections name ids: write 'b'.",
        "connection 1 (\"start\" -> 'My node')", "start",
    ),
    "a connection drawn twice": Case(
        ends(*connect("start > if", "start > if")), CONNECTION, "it is drawn twice", "Remove one of them.",
        'connection 2 ("start" -> "if")', "start",
    ),
    "a trigger with an input": Case(
        workflow(ONE, node("b"), start([], "other"), paths="start > b > other"), CONNECTION,
        '"other" is a trigger and takes no input', "A trigger starts the workflow", 'connection 2 ("b" -> "other")',
        "other",
    ),
    "a node connected with itself": Case(
        workflow(node("Own", id="b"), paths="b > b"), "definition.cycle",
        'the connections form a loop: "Own" -> "Own"', "Remove one", "connections", None,
    ),
    "a loop": Case(
        workflow(node("c"), node("A", id="a"), node("B", id="b"), paths="a > b > a > c"), "definition.cycle",
        'the connections form a loop: "A" -> "B" -> "A"', "Remove one", "connections", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mistake_is_found(case):
    (problem,) = check(case.drawn, REGISTRY)
    assert (problem.code, problem.place, problem.node_id, problem.field) == case[1:2] + case[4:]
    assert case.message in problem.message
    assert problem.message
    assert problem.hint is not None
    assert case.hint in problem.hint


SOUND = {
    "nothing": Workflow(),
    "a start": chain(ONE),
    "many nodes": workflow(
        ONE,
        node("Orders", "core.set", {"fields": {"x": "{{ item.a }}", "y": "{{ node('start').item.a }}"}}),
        node("if", "core.if", {"conditions": [{"value": "{{ item.x }}", "test": "is_true"}]}, on_error="output"),
        node("merge", "core.merge", {"mode": "append"}),
        node("limit", "core.limit", {"count": "{{ items | length }}"}),
        node("code", "core.code", {"source": "return '{{ not read }} {%'"}),
        node("last", "core.set", {"fields": {"x": "{{ node('Orders').first.x }} { # } plain"}}),
        paths=("start > Orders > if", "if.true > merge.left", "if.error > merge.right", "merge > limit > code > last"),
    ),
    "an older version": after("shop.order", {"where": ["main"]}, type_version=2),
    "pin data": after("core.filter", {"conditions": [{"value": 1, "test": "is_true"}]}, pinned={"rejected": [{}]}),
    "a time zone": Workflow(settings=Settings(timezone="Asia/Kolkata")),
    "an expression for a whole number": after("core.limit", {"count": "{{ vars.n }}"}),
    "an expression for a list": after("shop.order", {"path": "{{ vars.paths }}"}, type_version=3),
    "an expression for a pattern": after("shop.order", {"path": ["main"], "shop": "{{ vars.shop }}"}, type_version=3),
    "an expression per item of a type": after(
        "shop.order", {"path": ["main"], "params": "{{ item.n }}"}, type_version=3
    ),
    "a parent": workflow(ONE, node("b", parent="start"), paths="start > b"),
}


@pytest.mark.parametrize("drawn", SOUND.values(), ids=SOUND)
def test_nothing_is_wrong_with(drawn):
    assert check(drawn, REGISTRY) == []


def test_all_mistakes_are_found_in_one_go():
    drawn = workflow(
        ONE,
        node("a", "core.limit", {"cuont": 1, "keep": "lsat"}),
        node("b", "core.lmit"),
        node("c", "core.set", {"fields": {"x": "{{ 1 + }}", "y": "{{ node('nobody').first }}"}}),
        node("d", "core.filter", {"conditions": [{"value": 1, "test": "equal", "other": 1}, {"test": "is_true"}]}),
        paths=("start > a > b > a", "b > nowhere", "c.error > d.left"),
    )
    assert sorted((p.node_id or "", p.code) for p in check(drawn, REGISTRY)) == [
        ("", "definition.cycle"),
        ("a", "workflow.unknown_key"),
        ("a", "workflow.value"),
        ("b", "definition.invalid_connection"),
        ("b", "definition.unknown_node_type"),
        ("c", "definition.invalid_connection"),
        ("c", "node.expression"),
        ("c", "node.expression"),
        ("d", "definition.invalid_connection"),
        ("d", "workflow.missing_key"),
        ("d", "workflow.value"),
    ]


def test_a_node_of_a_loop_may_read_the_others():
    drawn = workflow(node("a", "core.set", {"fields": {"x": "{{ node('b').first.x }}"}}), node("b"), paths="a > b > a")
    assert [p.code for p in check(drawn, REGISTRY)] == ["definition.cycle"]


def test_outputs_of_a_node_with_wrong_params_are_not_judged():
    drawn = workflow(ONE, node("s", "core.switch", {"cases": 5}), node("b"), paths=("start > s", "s.small > b"))
    assert [p.field for p in check(drawn, REGISTRY)] == ["params.cases"]


def test_outputs_that_a_type_cannot_tell_are_its_fault_only():
    @declare("shop.odd", group="shop", effects="pure", outputs=lambda params: [][0])
    def odd(ctx: Context, items: Items, params: Params) -> Items:
        """Does something odd."""
        return items

    (problem,) = check(after("shop.odd"), Registry([odd]))
    assert (problem.code, problem.node_id, problem.field) == (PARAMS, "node", "params")
    assert "IndexError" in problem.message


@settings(max_examples=60, deadline=None)
@given(workflows())
def test_any_workflow_can_be_checked(drawn):
    for problem in check(drawn, REGISTRY):
        assert problem.message
        assert problem.place
        assert problem.node_id is None or drawn.node(problem.node_id)


def test_a_place_is_named_by_the_label():
    assert place_of(node("My node", id="n1")) == 'node "My node"'
    assert place_of(node("My node", id="n1"), "params.count") == 'node "My node", params.count'
