"""Starts by a call from outside."""

from collections.abc import Mapping
from typing import Any, Literal

from engine.api import Context, Items, Params, Request, RequestMissing, field, node

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
PART = r"([A-Za-z0-9_.~-]+|:[a-z][a-z0-9_]*)"
PATH = rf"^{PART}(/{PART})*$"


class WebhookParams(Params):
    path: str = field(
        help="Last part of the address: orders, or shops/:shop/orders where :shop may be anything.",
        pattern=PATH,
        max_length=200,
        expressions=False,
    )
    methods: list[Method] = field(["POST"], help="Methods it answers to.", min_length=1)
    respond: Literal["at_once", "last_node", "respond_node"] = field(
        "at_once", help="Answer at once, with the items of the last node, or as a Respond node says."
    )
    timeout_s: float = field(30, help="Seconds that the caller waits for an answer of a node.", gt=0, le=300)


@node("core.webhook", group="trigger", effects="pure", keywords=("http", "api", "hook", "endpoint", "call", "request"))
def webhook(ctx: Context, request: Request, params: WebhookParams) -> Items:
    """Start when this address is called; the item holds the call.

    Example:
      params: {path: orders}
      request: [{total: 250}]
      gives:
        - {body: {total: 250}, query: {}, headers: {}, params: {}, method: POST, path: orders}
    """
    if request.items is None:
        raise RequestMissing("a webhook starts with a call, and none was given")
    return Items.of(call(item, params) for item in request.items)


def call(given: Mapping[str, Any], params: WebhookParams) -> dict[str, Any]:
    """The trigger's item of a call, or of a bare body."""
    parts = given if given.keys() & {"body", "query", "headers"} else {"body": given}
    return {
        "body": parts.get("body"),
        "query": parts.get("query", {}),
        "headers": parts.get("headers", {}),
        "params": parts.get("params", {}),
        "method": parts.get("method", params.methods[0]),
        "path": parts.get("path", params.path),
    }
