"""Makes items of a list's elements."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.api import Context, Item, Items, NodeError, Params, did_you_mean, field_value, node
from engine.api import field as form_field
from engine.convert import type_name

# By kind; the field takes the place of FIELD.
HINTS = {
    "text": 'Make a list of it before with a Set node, such as {{ item.FIELD | split(",") }}.',
    "an object": "For its values as a list, put a Set node before, with {{ item.FIELD.values() }}.",
}
NOTHING: Any = object()


class SplitOutParams(Params):
    field: str = form_field(help="Field that holds the list, by name or a path such as body.lines.", min_length=1)
    into: str | None = form_field(
        None, help="Name of the field for each element. Nothing: objects become items as they are."
    )
    keep_others: bool = form_field(False, help="Whether each new item keeps the other fields of its old one.")


@node(
    "core.split_out",
    group="transform",
    effects="pure",
    keywords=("explode", "unwind", "flatten", "list", "loop", "array"),
)
def split_out(ctx: Context, item: Item, params: SplitOutParams) -> Items:
    """Make one item of each element of a list.

    Null and an empty list give no items. An element that is no object comes under the field's own name.

    Example:
      params: {field: lines, keep_others: true}
      main: [{order: 1, lines: [{sku: a}, {sku: b}]}]
      gives: [{order: 1, sku: a}, {order: 1, sku: b}]
    """
    elements = field_value(item.json, params.field, NOTHING)
    if elements is NOTHING:
        raise NodeError(
            f"item has no field {params.field!r}", hint=did_you_mean(params.field, item.json), retryable=False
        )
    if elements is None:
        return Items([])
    if not isinstance(elements, list):
        kind = type_name(elements)
        hint = HINTS.get(kind, "").replace("FIELD", params.field) or None
        raise NodeError(f"{params.field} is {kind}, not a list", hint=hint, retryable=False)
    path = [params.field] if params.field in item.json else params.field.split(".")
    others = _without(item.json, path) if params.keep_others else {}
    name = params.into or path[-1]
    return Items([{**others, **(e if isinstance(e, dict) and not params.into else {name: e})} for e in elements])


def _without(fields: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The fields without the one that the path leads to."""
    first, *rest = path
    if rest:
        return {**fields, first: _without(fields[first], rest)}
    return {name: value for name, value in fields.items() if name != first}
