"""Starts by a call from outside."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from engine.api import Context, Items, Params, Request, RequestMissing, field, node

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
PART = re.compile(r"[A-Za-z0-9_.~-]+|:[a-z][a-z0-9_]*")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the name of a header: RFC 9110, 5.6.2
ORIGIN = re.compile(r"https?://[^/?#\s@*]+")  # RFC 6454, 6.2
# What a call holds, with its type.
CALL = {"body": object, "query": Mapping, "headers": Mapping, "params": Mapping, "method": str, "path": str}


class WebhookParams(Params):
    path: str = field(
        help="Last part of the address: orders, or shops/:shop/orders where :shop may be anything.",
        max_length=200,
        expressions=False,
    )
    methods: list[Method] = field(["POST"], help="Methods it answers to.", min_length=1, expressions=False)
    credential: str | None = field(
        None,
        help="Who may call: a header, bearer, basic or HMAC credential. None: anyone who knows the address.",
        widget="credential",
        expressions=False,
    )
    respond: Literal["at_once", "last_node", "respond_node"] = field(
        "at_once",
        help="Answer at once, with the items of the last node, or as a Respond node says.",
        expressions=False,
    )
    timeout_s: float = field(
        30,
        help="How long the caller waits for an answer of a node.",
        label="Timeout, seconds",
        gt=0,
        le=300,
        expressions=False,
    )
    dedupe: Literal["off", "header", "expression", "body"] = field(
        "off",
        help="How a call is known that came before: by a header, an expression, or its whole body. It starts nothing.",
        expressions=False,
    )
    dedupe_key: str | None = field(
        None,
        help="Name of the header, such as X-GitHub-Delivery; or an expression on the call, such as {{ item.body.id }}.",
        min_length=1,
        max_length=1000,
        expressions="later",
    )
    dedupe_for_s: int = field(
        86_400,
        help="How long a call is remembered.",
        label="Dedupe for, seconds",
        ge=1,
        le=2_592_000,
        expressions=False,
    )
    cors: list[str] = field(
        [],
        help="Origins whose pages may call it from a browser, such as https://shop.example.com; * for all.",
        expressions=False,
    )

    @field_validator("path")
    @classmethod
    def _parts(cls, path: str) -> str:
        parts = path.split("/")
        for part in parts:
            if not PART.fullmatch(part):
                what = repr(part) if part else "nothing"
                raise ValueError(
                    f"{path!r} is no path, with {what} between its slashes: "
                    "a part is letters, digits and . _ ~ -, or a name such as :shop"
                )
            if part.startswith(":") and parts.count(part) > 1:
                raise ValueError(f"{path!r} has two parts {part}: give each its own name")
        return path

    @field_validator("cors")
    @classmethod
    def _origins(cls, cors: list[str]) -> list[str]:
        for origin in cors:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: write https://shop.example.com, without a path, or *")
        return cors

    @model_validator(mode="after")
    def _key(self) -> "WebhookParams":
        key = self.dedupe_key
        if self.dedupe == "header" and (key is None or not TOKEN.fullmatch(key)):
            raise ValueError("dedupe by a header needs its name in dedupe_key, such as X-GitHub-Delivery")
        if self.dedupe == "expression" and (key is None or "{{" not in key):
            raise ValueError("dedupe by an expression needs it in dedupe_key, such as {{ item.body.id }}")
        return self


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
        raise RequestMissing(
            "a webhook starts with a call, and none was given", hint="Call its address, or pin data on it."
        )
    method, path = params.methods[0], params.path
    nothing: dict[str, Any] = {"body": None, "query": {}, "headers": {}, "params": {}, "method": method, "path": path}
    return Items.of({**nothing, **_call(given)} for given in request.items)


def _call(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The call that is given; anything else is taken for the body of one."""
    parts = given.keys() & {"body", "query", "headers"}
    fits = all(name in CALL and isinstance(value, CALL[name]) for name, value in given.items())
    return given if len(parts) == 3 or (parts and fits) else {"body": given}
