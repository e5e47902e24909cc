"""Keeps only so many items."""

from typing import Literal

from engine.api import Context, Items, Params, field, node


class LimitParams(Params):
    count: int = field(10, help="How many items to keep.", ge=0)
    keep: Literal["first", "last"] = field("first", help="Which end to keep.")


@node("core.limit", group="transform", effects="pure", keywords=("top", "head", "tail", "first", "last", "sample"))
def limit(ctx: Context, items: Items, params: LimitParams) -> Items:
    """Keep the first or the last items and drop the rest.

    Example:
      params: {count: 2}
      main: [{n: 1}, {n: 2}, {n: 3}]
      gives: [{n: 1}, {n: 2}]
    """
    if params.keep == "first":
        return items[: params.count]
    return items[max(len(items) - params.count, 0) :]
