"""What a node file declares, and what the engine makes of it."""

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from pydantic import ValidationError

import engine.api
from engine.api import (
    Context,
    Item,
    Items,
    NodeError,
    NodeType,
    Params,
    PerItem,
    PerItemOrMissing,
    Request,
    field,
    node,
)
from engine.errors import ExpressionError, MissingValue
from engine.expressions import Scope
from engine.node_type import Example
from engine.params import Template
from tests.support.build import Registry, chain, run, start
from tests.support.build import node as drawn


class OneParams(Params):
    count: int = field(10, help="How many.", ge=0)


# Declared


def declared(fn: Any, **options: Any) -> NodeType:
    return node("shop.test", **{"group": "shop", "effects": "pure"} | options)(fn)


def each(ctx: Context, item: Item, params: OneParams) -> Item:
    """Each."""
    return item


def items(ctx: Context, items: Items, params: OneParams) -> Items:
    """Items."""
    return items


def inputs(ctx: Context, inputs: Mapping[str, Items], params: OneParams) -> Items:
    """Inputs."""
    return next(iter(inputs.values()))


def frame(ctx: Context, frame: Any, params: OneParams) -> Any:
    """Frame."""
    return frame


def request(ctx: Context, request: Request, params: OneParams) -> Items:
    """Request."""
    return Items.of(request.items or [])


async def waits(ctx: Context, item: Item, params: OneParams) -> Item:
    """Wait."""
    return item


SHAPES = [(each, "each"), (items, "items"), (inputs, "inputs"), (frame, "frame"), (request, "trigger"), (waits, "each")]


@pytest.mark.parametrize(("fn", "shape"), SHAPES)
def test_the_second_parameter_is_the_shape(fn, shape):
    made = declared(fn)
    assert made.shape == shape
    assert made.is_trigger is (shape == "trigger")
    assert made.inputs == (() if shape == "trigger" else ("main",))
    assert made.is_async is (fn is waits)
    assert made.params is OneParams
    assert made.run is fn


def test_what_is_not_said_has_a_default():
    made = node("shop.pay_bill", group="shop", effects="pure")(items)
    assert (made.label, made.version, made.keywords, made.run_empty) == ("Pay bill", 1, (), False)
    assert made.outputs({}) == ("main",)
    assert made.has_fixed_outputs


def test_what_is_said_is_kept():
    made = declared(
        inputs, label="Shop", version=2, keywords=("buy",), run_empty=True, inputs=("a", "b"), outputs=("x",)
    )
    assert (made.label, made.version, made.keywords, made.run_empty) == ("Shop", 2, ("buy",), True)
    assert (made.inputs, made.outputs({})) == (("a", "b"), ("x",))


def test_outputs_and_effects_may_depend_on_the_params():
    made = declared(items, outputs=lambda params: [params["out"]], effects=lambda params: params["effect"])
    assert made.outputs({"out": "big"}) == ("big",)
    assert made.effects({"effect": "read"}) == "read"
    assert not made.has_fixed_outputs


def test_the_docstring_is_what_the_catalogue_says():
    def long(ctx: Context, items: Items, params: OneParams) -> Items:
        """Do this.

        And that,
          indented.
        """
        return items

    made = declared(long)
    assert made.summary == "Do this."
    assert made.description == "Do this.\n\nAnd that,\n  indented."


def test_the_form_is_drawn_from_the_params():
    class Form(Params):
        count: int = field(10, help="How many.", ge=0)
        first_name: str = field("", help="Who.", label="Given name")
        source: str = field("", help="Code.", widget="code", expressions=False)
        value: PerItem[int] = field(0, help="What.")

    def fn(ctx: Context, items: Items, params: Form) -> Items:
        """Form."""
        return items

    schema = declared(fn, label="Shop").schema()
    assert schema["title"] == "Shop"
    assert schema["properties"] == {
        "count": {"title": "Count", "description": "How many.", "default": 10, "minimum": 0, "type": "integer"},
        "first_name": {"title": "Given name", "description": "Who.", "default": "", "type": "string"},
        "source": {
            "title": "Source", "description": "Code.", "default": "", "type": "string", "widget": "code",
            "expressions": False,
        },
        "value": {"title": "Value", "description": "What.", "default": 0, "type": "integer", "per_item": True},
    }  # fmt: skip


def named(*parameters: str) -> Any:
    """A function with parameters of these names."""
    scope: dict[str, Any] = {"OneParams": OneParams}
    annotated = ", ".join(f"{p}: OneParams" if p == "params" else p for p in parameters)
    exec(f"def fn({annotated}):\n    'Do it.'", scope)
    return scope["fn"]


def without_docstring(ctx: Context, items: Items, params: OneParams) -> Items:
    return items


def without_stop(ctx: Context, items: Items, params: OneParams) -> Items:
    """Do it"""
    return items


def without_params(ctx: Context, items: Items, params: dict[str, Any]) -> Items:
    """Do it."""
    return items


def with_unknown_params(ctx: Context, items: Items, params: "Nowhere") -> Items:  # type: ignore[name-defined]  # noqa: F821
    """Do it."""
    return items


def with_quoted_params(ctx: "Context", items: "Items", params: "OneParams") -> "Items":
    """Do it."""
    return items


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no package": (items, {"name": "limit"}, "'limit': a node type is called package.name, in small letters"),
    "capitals": (items, {"name": "Shop.Pay"}, "'Shop.Pay': a node type is called package.name"),
    "two dots": (items, {"name": "a.b.c"}, "'a.b.c': a node type is called package.name"),
    "no context": (
        named("items", "params"),
        {},
        "the function takes (ctx, item | items | inputs | frame | request, params), not (items, params)",
    ),
    "another shape": (named("ctx", "rows", "params"), {}, "not (ctx, rows, params)"),
    "no params": (named("ctx", "items"), {}, "not (ctx, items)"),
    "another order": (named("ctx", "params", "items"), {}, "not (ctx, params, items)"),
    "no docstring": (without_docstring, {}, "a sentence with a full stop"),
    "no full stop": (without_stop, {}, "a sentence with a full stop"),
    "params of another kind": (without_params, {}, "annotate `params` with a class derived from Params"),
    "params that are not there": (with_unknown_params, {}, "annotate `params` with a class derived from Params"),
    "other effects": (items, {"effects": "writes"}, "effects are pure, read or write, not 'writes'"),
    "a version below one": (items, {"version": 0}, "its version is 1 or more"),
    "an output that is no tuple": (items, {"outputs": "main"}, "outputs is a tuple of names"),
    "no outputs": (items, {"outputs": ()}, "outputs is a tuple of names"),
    "an output twice": (items, {"outputs": ("a", "a")}, "outputs is a tuple of names"),
    "an output called error": (items, {"outputs": ("main", "error")}, "outputs is a tuple of names"),
    "an input that is no tuple": (items, {"inputs": "main"}, "inputs is a tuple of names"),
    "several inputs for items": (
        items,
        {"inputs": ("a", "b")},
        "several inputs need a function that takes (ctx, inputs, params)",
    ),
}


@pytest.mark.parametrize(("fn", "options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_declaration_says_what_is_wrong(fn, options, message):
    with pytest.raises(TypeError) as caught:
        node(**{"name": "shop.test", "group": "shop", "effects": "pure"} | options)(fn)
    assert message in str(caught.value)
    assert options.get("name", "shop.test") in str(caught.value)


def test_annotations_may_be_text():
    assert declared(with_quoted_params).params is OneParams


def test_all_that_a_node_file_may_import_is_there():
    assert sorted(engine.api.__all__) == engine.api.__all__
    assert all(hasattr(engine.api, name) for name in engine.api.__all__)


# Examples

EXAMPLES = """Do it.

Some words.

Example:
  params: {count: 2, when: 2026-11-23}
  main: [{n: 1}, {n: 2}]

  gives: [{n: 1}]

Example:
  left: [{a: 1}]
  right: []
  gives:
    "true": [{a: 1}]
    "false": []
"""


def documented(text: str, **options: Any) -> list[Example]:
    def fn(ctx: Context, inputs: Mapping[str, Items], params: OneParams) -> Items:
        return inputs["main"]

    fn.__doc__ = text
    return declared(fn, **options).examples()


def test_examples_are_read_from_the_docstring():
    first, second = documented(EXAMPLES, inputs=("main", "left", "right"))
    assert first == Example(
        params={"count": 2, "when": "2026-11-23"}, inputs={"main": [{"n": 1}, {"n": 2}]}, gives={"main": [{"n": 1}]}
    )
    assert second == Example(
        params={}, inputs={"left": [{"a": 1}], "right": []}, gives={"true": [{"a": 1}], "false": []}
    )


def test_an_example_of_a_trigger_has_a_request():
    def fn(ctx: Context, request: Request, params: OneParams) -> Items:
        """Start.

        Example:
          request: [{a: 1}]
          gives: [{a: 1}]
        """
        return Items.of(request.items or [])

    assert declared(fn).examples() == [Example({}, {"request": [{"a": 1}]}, {"main": [{"a": 1}]})]


def test_a_docstring_without_examples_has_none():
    assert documented("Do it.\n\nFor example: so.") == []


# Fields that differ from item to item


class PriceParams(Params):
    price: PerItem[float] = field(help="What it costs.")
    note: PerItemOrMissing[Any] = field(None, help="What is written on it.")
    more: list[PerItem[Any]] = field([], help="Anything.")
    times: int = field(1, help="How often.")


@node("shop.price", group="shop", effects="pure")
def price(ctx: Context, items: Items, params: PriceParams) -> Items:
    """Put a price on everything."""
    notes = ["(none)" if isinstance(n, MissingValue) else n for n in params.note.values(len(items))]
    return items.with_rows(
        [
            {"price": params.price[i] * params.times, "note": notes[i], "more": [m[i] for m in params.more]}
            for i in range(len(items))
        ]
    )


@node("shop.one", group="shop", effects="pure")
def one(ctx: Context, item: Item, params: OneParams) -> Item:
    """Take one count for each item."""
    return item.derive(count=params.count)


@node("shop.once", group="shop", effects="pure")
def once(ctx: Context, items: Items, params: PriceParams) -> Items:
    """Take one price for all."""
    return items.with_rows([{"price": params.price.once("price")} for _ in items])


ROWS = [{"p": 1, "n": "a"}, {"p": 2.5}, {"p": 4, "n": None}]


def priced(type_: NodeType, rows: list[dict[str, Any]], on_error: str = "stop", **params: Any) -> Any:
    made = chain(start(rows), drawn("node", type_.name, params, on_error=on_error))
    return run(made, registry=Registry([type_]))


def test_a_field_has_a_value_for_each_item():
    assert priced(price, ROWS, price="{{ item.p }}", more=["{{ item.p * 2 }}", 7], times=2)["node"] == [
        {"price": 2.0, "note": None, "more": [2, 7]},
        {"price": 5.0, "note": None, "more": [5.0, 7]},
        {"price": 8.0, "note": None, "more": [8, 7]},
    ]


def test_a_plain_value_is_the_same_for_each_item():
    assert [row["price"] for row in priced(price, ROWS, price=3)["node"]] == [3.0] * 3
    assert [row["price"] for row in priced(price, ROWS, price="{{ items | length }}")["node"]] == [3.0] * 3


def test_a_missing_value_is_left_to_a_field_that_takes_it():
    assert [row["note"] for row in priced(price, ROWS, price=1, note="{{ item.n }}")["node"]] == ["a", "(none)", None]


def test_a_missing_value_fails_other_fields():
    ran = priced(price, ROWS, price="{{ item.n }}")
    assert ran.error("node")["code"] == "node.expression"
    assert ran.error("node")["item"] == 0
    assert ran.error("node")["param"] == "price"
    assert ran.error("node")["message"].startswith("price ({{ item.n }}) should be a valid number")


def test_the_first_item_that_fails_is_named():
    assert priced(price, ROWS, price="{{ item.p }}", more=["{{ item.n }}"]).error("node")["item"] == 1
    assert priced(price, [{"n": 1}, {}, {"n": "x"}], price="{{ item.n }}").error("node")["item"] == 1


def test_only_the_items_go_aside_whose_values_do_not_fit():
    rows = [{"p": 1}, {"p": "x"}, {}, {"p": 4}, {"p": None}, {"p": 6}]
    ran = priced(price, rows, "output", price="{{ item.p }}", note="{{ item.p }}", times="{{ items | length }}")
    outputs = ran.result("node").outputs
    assert outputs["main"].rows == [{"price": p * 6.0, "note": p, "more": []} for p in (1, 4, 6)]
    assert [row["error"]["item"] for row in outputs["error"].rows] == [1, 2, 4]
    assert [outputs["main"].lineage.of(i)["main"] for i in range(3)] == [(0,), (3,), (5,)]


def test_items_whose_value_is_missing_go_aside_and_the_others_keep_theirs():
    ran = priced(price, ROWS, "output", price="{{ item.p }}", more=["{{ item.n }}"])
    outputs = ran.result("node").outputs
    assert [row["more"] for row in outputs["main"].rows] == [["a"], [None]]
    assert [row["price"] for row in outputs["main"].rows] == [1.0, 4.0]
    assert [(row["p"], row["error"]["param"]) for row in outputs["error"].rows] == [(2.5, "more[0]")]


def test_a_field_read_once_refuses_what_differs():
    assert priced(once, ROWS, price=2)["node"] == [{"price": 2.0}] * 3
    assert "price is used once for all items" in priced(once, ROWS, price="{{ item.p }}").error("node")["message"]


def test_params_of_an_item_by_item_node_differ_from_item_to_item():
    ran = priced(one, [{"n": 1}, {"n": 2}], count="{{ item.n + 1 }}")
    assert [row["count"] for row in ran["node"]] == [2, 3]
    assert [row["count"] for row in priced(one, [{}, {}], count="{{ items | length }}")["node"]] == [2, 2]
    assert [row["count"] for row in priced(one, [{}, {}])["node"]] == [10, 10]


def test_a_value_that_its_field_cannot_take_is_that_items_fault():
    ran = priced(one, [{"n": 1}, {"n": -2}, {}], "output", count="{{ item.n }}")
    assert [row["count"] for row in ran["node"]] == [1]
    errors = [row["error"] for row in ran.result("node").outputs["error"].rows]
    assert [error["item"] for error in errors] == [1, 2]
    assert errors[0]["message"] == "count ({{ item.n }}) should be greater than or equal to 0, not -2"
    assert errors[1]["code"] == "node.expression.missing"


# Values per item by themselves


def test_values_per_item_come_by_index():
    column: PerItem[int] = PerItem([1, 2, 3], constant=False)
    assert (column[1], column.values(3)) == (2, [1, 2, 3])
    column.keep([2, 0])
    assert column.values(2) == [3, 1]


def test_a_constant_has_any_number_of_values():
    column: PerItem[int] = PerItem(7, constant=True)
    assert (column[5], column.values(2), column.once("x")) == (7, [7, 7], 7)
    column.keep([0])
    assert column[9] == 7


def test_values_per_item_cannot_be_walked_through():
    with pytest.raises(TypeError):
        list(PerItem([1], constant=False))  # type: ignore[call-overload]


def test_values_are_shown_as_they_are():
    params = PriceParams(price=2, more=[PerItem([1, "a"], constant=False)])
    assert params.model_dump() == {"price": 2.0, "note": None, "more": [[1, "a"]], "times": 1}


def test_each_value_is_checked():
    error = MissingValue("no n")
    column = PriceParams(price=PerItem(["1.5", error, None], constant=False)).price
    assert column.values(3) == [1.5, error, None]
    assert list(column.refused) == [2]


def test_a_constant_is_checked_too():
    assert PriceParams(price=PerItem("2", constant=True)).price[5] == 2.0


def test_an_object_with_values_per_item_inside_is_one_for_each_item():
    params = PriceParams(price=1, note={"a": [PerItem([1, 2], constant=False)], "b": 3})
    assert params.note.values(2) == [{"a": [1], "b": 3}, {"a": [2], "b": 3}]


def test_an_error_inside_an_object_stands_for_that_item():
    error = MissingValue("no n")
    params = PriceParams(price=1, note=[PerItem([1, error], constant=False)])
    assert params.note.values(2) == [[1], error]


def test_what_stands_inside_an_object_has_to_fit_as_well():
    class Pairs(Params):
        pair: PerItem[list[int]] = field(help="Two numbers.")

    assert Pairs(pair=[PerItem([1, 2], constant=False), 3]).pair.values(2) == [[1, 3], [2, 3]]
    with pytest.raises(ValidationError, match="unable to parse"):
        Pairs(pair=[PerItem([1, "x"], constant=False)])


# Params filled in


def filled(type_: NodeType, params: dict[str, Any], rows: list[dict[str, Any]], **options: Any) -> Any:
    template = Template(type_, params, 1)
    assert template.problems == []
    return template.once(Scope(items=rows), Items(rows), **options)


def test_params_without_expressions_are_made_once():
    template = Template(declared(items), {"count": 3}, 1)
    assert template.static == OneParams(count=3)
    assert template.once(Scope(), Items([])) == (template.static, {}, None)
    assert template.each(Scope(), Items([{}, {}])) == ([template.static] * 2, {})


def test_what_fails_for_some_items_is_told_by_item():
    params, errors, kept = filled(price, {"price": "{{ item.p }}"}, [{"p": 1}, {}, {"p": 3}])
    assert sorted(errors) == [1]
    assert kept is None
    assert isinstance(params.price[1], NodeError)


def test_fields_hold_values_of_the_items_that_are_kept():
    params, errors, kept = filled(
        price, {"price": "{{ item.p }}", "note": "{{ item.n }}"}, [{"p": 1}, {}, {"p": 3, "n": "c"}], drop=True
    )
    assert sorted(errors) == [1]
    assert kept == [0, 2]
    assert params.price.values(2) == [1.0, 3.0]
    assert isinstance(params.note[0], MissingValue)
    assert params.note[1] == "c"


def test_an_expression_that_fails_for_all_is_raised_with_its_param():
    with pytest.raises(ExpressionError) as caught:
        filled(price, {"price": 1, "times": "{{ items[0].none }}"}, [{"p": 1}])
    assert caught.value.param == "times"


def test_a_value_that_its_field_cannot_take_is_named_with_its_expression():
    with pytest.raises(ExpressionError) as caught:
        filled(price, {"price": 1, "times": "{{ items[0].p }}"}, [{"p": "x"}])
    assert caught.value.message.startswith("times ({{ items[0].p }}) should be a valid integer")
    assert caught.value.param == "times"


def test_a_table_gives_only_the_columns_that_are_read():
    table = Items(table=Items([{"p": 1, "q": "x"}, {"p": 2, "q": "y"}]).table)
    template = Template(price, {"price": "{{ item.p }}", "more": ["{{ item.p }} {{ item.q }}", "{{ item.p + 1 }}"]}, 1)
    params, _, _ = template.once(Scope(), table)
    assert [m.values(2) for m in params.more] == [["1 x", "2 y"], [2, 3]]
    assert params.price.values(2) == [1.0, 2.0]
    assert table.is_table


def test_expressions_mean_nothing_in_fields_without_them():
    class Code(Params):
        source: str = field("", help="Code.", expressions=False)
        lines: list[str] = field([], help="Lines.", expressions=False)

    def fn(ctx: Context, items: Items, params: Code) -> Items:
        """Code."""
        return items

    template = Template(declared(fn), {"source": "{{ nothing", "lines": ["{% x"]}, 1)
    assert template.problems == []
    assert template.leaves == []


def test_leaves_are_named_as_people_write_them():
    template = Template(price, {"price": "{{ item.p }}", "more": [1, {"a": ["{{ vars.x }}"]}]}, 1)
    assert [leaf.dotted for leaf in template.leaves] == ["price", "more[1].a[0]"]
    assert template.per_item
    assert not template.volatile


def test_a_choice_may_be_an_expression():
    class Choice(Params):
        keep: Literal["first", "last"] = field("first", help="Which.")

    def fn(ctx: Context, items: Items, params: Choice) -> Items:
        """Choose."""
        return items

    made = declared(fn)
    template = Template(made, {"keep": "{{ vars.keep }}"}, 1)
    assert template.problems == []
    assert template.once(Scope(vars={"keep": "last"}), Items([]))[0] == Choice(keep="last")
    with pytest.raises(ExpressionError, match="should be 'first' or 'last', not \"middle\""):
        template.once(Scope(vars={"keep": "middle"}), Items([]))
