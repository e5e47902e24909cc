"""What a node file declares, and what the engine makes of it."""

from collections.abc import Mapping
from typing import Any

import pytest

import engine.api
from engine.api import (
    Context,
    Item,
    Items,
    NodeType,
    Params,
    PerItem,
    Request,
    field,
    node,
)
from engine.node_type import Example


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
