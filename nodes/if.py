"""Sends items one of two ways."""

from engine.api import Context, Items, Outputs, Params, field, node
from nodes.conditions import Combine, Condition, decide


class IfParams(Params):
    conditions: list[Condition] = field(help="Tests on each item.", min_length=1)
    combine: Combine = field("all", help="Whether an item has to pass all of the tests, or any one.")


@node(
    "core.if",
    group="flow",
    effects="pure",
    outputs=("true", "false"),
    keywords=("branch", "condition", "split", "else", "decision"),
)
def if_items(ctx: Context, items: Items, params: IfParams) -> Outputs:
    """Send each item to `true` or to `false`.

    Example:
      params:
        conditions:
          - {value: "{{ item.country }}", test: is_in, other: [DE, FR]}
      main: [{country: DE}, {country: US}]
      gives:
        "true": [{country: DE}]
        "false": [{country: US}]
    """
    passed, failed = decide(ctx, items, params.conditions, params.combine)
    return {"true": items.take(passed), "false": items.take(failed)}
