"""Keeps the items that pass."""

from engine.api import Context, Items, Outputs, Params, field, node
from nodes.conditions import Combine, Condition, decide


class FilterParams(Params):
    conditions: list[Condition] = field(help="Tests on each item.", min_length=1)
    combine: Combine = field("all", help="Whether an item has to pass all of the tests, or any one.")


@node(
    "core.filter",
    group="flow",
    effects="pure",
    outputs=("main", "rejected"),
    keywords=("where", "keep", "remove", "search", "condition"),
)
def filter_items(ctx: Context, items: Items, params: FilterParams) -> Outputs:
    """Keep the items that pass, and send the others to `rejected`.

    Example:
      params:
        conditions:
          - {value: "{{ item.total }}", test: greater_than, other: 100}
      main: [{id: 1, total: 250}, {id: 2, total: 40}]
      gives:
        main: [{id: 1, total: 250}]
        rejected: [{id: 2, total: 40}]
    """
    passed, failed = decide(ctx, items, params.conditions, params.combine)
    return {"main": items.take(passed), "rejected": items.take(failed)}
