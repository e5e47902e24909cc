"""Makes items of a list's elements."""

from engine.api import Context, Item, Items, NodeError, Params, node
from engine.api import field as form_field
from engine.convert import type_name


class SplitOutParams(Params):
    field: str = form_field(help="Name of the field that holds the list.", min_length=1)
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

    Example:
      params: {field: lines, keep_others: true}
      main: [{order: 1, lines: [{sku: a}, {sku: b}]}]
      gives: [{order: 1, sku: a}, {order: 1, sku: b}]
    """
    if params.field not in item.json:
        raise NodeError(f"item has no field {params.field!r}", hint=f"It has: {', '.join(item.json)}.", retryable=False)
    elements = item.json[params.field]
    if elements is None:
        return Items([])
    if not isinstance(elements, list):
        raise NodeError(f"{params.field} is {type_name(elements)}, not a list", retryable=False)
    others = {name: value for name, value in item.json.items() if name != params.field} if params.keep_others else {}
    name = params.into or params.field
    return Items([{**others, **(e if isinstance(e, dict) and not params.into else {name: e})} for e in elements])
