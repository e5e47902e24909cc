"""Params filled in: once for all items or once for each, and fields that differ from item to item."""

from typing import Any, Literal

import pytest
from pydantic import ValidationError

from engine.api import Context, Item, Items, NodeError, NodeType, Params, PerItem, PerItemOrMissing, field, node
from engine.errors import ExpressionError, MissingValue
from engine.expressions import Scope
from engine.params import Template
from tests.support.build import Registry, chain, run, start
from tests.support.build import node as drawn


class OneParams(Params):
    count: int = field(10, help="How many.", ge=0)


def declared(fn: Any, **options: Any) -> NodeType:
    return node("shop.test", **{"group": "shop", "effects": "pure"} | options)(fn)


def items(ctx: Context, items: Items, params: OneParams) -> Items:
    """Items."""
    return items


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


class Wish(Params):
    what: PerItem[Any] = field(help="What.")
    size: int = field(1, help="How large.")


class WishParams(Params):
    wishes: list[Wish] = field([], help="Several.")
    fields: dict[str, PerItem[Any]] = field({}, help="More of them.")
    count: int = field(2, help="How many.")


@node("shop.wish", group="shop", effects="pure")
def wish(ctx: Context, items: Items, params: WishParams) -> Items:
    """Wish for something."""
    return items


N = "{{ item.n }}"
WISHES: dict[str, tuple[dict[str, Any], Any]] = {
    "in objects of a list": (
        {"wishes": [{"what": N, "size": 3}, {"what": "plain"}], "count": 5},
        lambda n: {"wishes": [{"what": n, "size": 3}, {"what": "plain", "size": 1}], "fields": {}, "count": 5},
    ),
    "in an object": (
        {"fields": {"a": N, "b": 7, "c": N}},
        lambda n: {"wishes": [], "fields": {"a": n, "b": 7, "c": n}, "count": 2},
    ),
    "in both": (
        {"wishes": [{"what": N}], "fields": {"a": N}},
        lambda n: {"wishes": [{"what": n, "size": 1}], "fields": {"a": n}, "count": 2},
    ),
    "inside a value": (
        {"fields": {"a": [N, 1], "b": N}},
        lambda n: {"wishes": [], "fields": {"a": [[one, 1] for one in n], "b": n}, "count": 2},
    ),
    "beside what is read once": (
        {"wishes": [{"what": N}], "count": "{{ items | length }}"},
        lambda n: {"wishes": [{"what": n, "size": 1}], "fields": {}, "count": len(n)},
    ),
}


@pytest.mark.parametrize(("params", "expected"), WISHES.values(), ids=WISHES)
def test_each_run_has_its_own_values_and_the_same_rest(params, expected):
    template = Template(wish, params, 1)
    assert template.problems == []
    runs = [[1, 2, 3], ["a"], [], [4, None]]
    made = [template.once(Scope(items=rows), Items(rows))[0] for rows in ([{"n": n} for n in ns] for ns in runs)]
    assert [one.model_dump() for one in made] == [expected(n) for n in runs]
    assert all(one.model_fields_set == set(params) for one in made)
