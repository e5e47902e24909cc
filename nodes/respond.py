"""Answers the call that started the workflow."""

from typing import Any

from engine.api import Context, Items, Params, PerItem, field, node


class RespondParams(Params):
    status: int = field(200, help="HTTP status of the answer.", ge=100, le=599)
    headers: dict[str, str] = field({}, help="Headers of the answer.")
    body: PerItem[Any] = field(
        None, help="What to answer. Nothing: the items; one item as an object, several as a list.", widget="json"
    )


@node("core.respond", group="output", effects="pure", keywords=("answer", "reply", "return", "webhook", "http"))
def respond(ctx: Context, items: Items, params: RespondParams) -> Items:
    """Answer the webhook call at once, and pass the items on.

    The webhook's `respond` has to be `respond_node`.

    Example:
      params: {status: 201, body: {id: "{{ items[0].id }}"}}
      main: [{id: 7}]
      gives: [{id: 7}]
    """
    ctx.respond(params.status, params.headers, _body(items, params.body))
    return items


def _body(items: Items, body: PerItem[Any]) -> Any:
    """The items, or the body written; one for each item, where it depends on the item."""
    if body.constant and body[0] is not None:
        return body[0]
    values = items.rows if body.constant else body.values(len(items))
    return values[0] if len(values) == 1 else list(values)
