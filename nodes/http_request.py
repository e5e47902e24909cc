"""Calls HTTP addresses."""

from collections.abc import Mapping
from typing import Any, Literal

from engine.api import Context, Effects, Item, Items, Params, UpstreamError, field, node
from engine.convert import loads


class HttpRequestParams(Params):
    url: str = field(help="Full address, such as https://api.example.com/users/{{ item.id }}.", min_length=1)
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = field("GET", help="GET and HEAD only read.")
    query: dict[str, Any] = field({}, help="Added to the address after a question mark.")
    headers: dict[str, str] = field({}, help="Headers of the request.")
    body: Any = field(None, help="What is sent with POST, PUT and PATCH.", widget="json")
    body_as: Literal["json", "form", "text"] = field("json", help="How the body is written.")
    credential: str | None = field(None, help="Credential whose headers are sent along.", widget="credential")
    result: Literal["items", "field"] = field(
        "items", help="The answer's body becomes the items, or the field `response` beside the item's own."
    )
    accept_errors: bool = field(False, help="Whether an answer of 400 or above is a result like any other.")
    follow_redirects: bool = field(True, help="Whether redirects are followed.")
    timeout_s: float = field(30, help="Seconds before giving up.", gt=0, le=600)


def effects(params: Mapping[str, Any]) -> Effects:
    """By RFC 9110, 9.2.1 GET and HEAD change nothing; what an expression decides may."""
    return "read" if params.get("method", "GET") in ("GET", "HEAD") else "write"


@node(
    "core.http_request",
    group="network",
    effects=effects,
    label="HTTP request",
    keywords=("api", "rest", "call", "fetch", "get", "post", "url", "web", "curl"),
)
async def http_request(ctx: Context, item: Item, params: HttpRequestParams) -> Items:
    """Call an HTTP address for each item; the answer becomes the items.

    Only public addresses can be called; FLOWLEAF_HTTP_ALLOW names others.

    Example:
      params: {url: "https://api.example.com/users/{{ item.id }}"}
      main: [{id: 7}]
      gives: [{id: 7, name: Ada}]
    """
    headers = dict(params.headers)
    if params.credential:
        headers |= await ctx.credential(params.credential)
    if params.method not in ("GET", "HEAD"):
        headers.setdefault("Idempotency-Key", ctx.idempotency_key)
    response = await ctx.http.request(
        params.method,
        params.url,
        headers=headers,
        query=params.query,
        timeout_s=params.timeout_s,
        follow_redirects=params.follow_redirects,
        **_body(params),
    )
    if response.is_error and not params.accept_errors:
        again = response.status_code in (408, 425, 429) or response.status_code >= 500
        raise UpstreamError(
            f"{params.method} {response.url.host} answered {response.status_code} {response.reason_phrase}".rstrip(),
            status=response.status_code,
            hint=response.text[:200].strip() or None,
            retryable=again,
        )
    body = _value(response.content, response.headers.get("content-type", ""), response.text)
    if params.result == "field":
        answer = {"status": response.status_code, "headers": dict(response.headers), "body": body}
        return Items.of([item.derive(response=answer)])
    elements = body if isinstance(body, list) else [body]
    return Items([element if isinstance(element, dict) else {"body": element} for element in elements])


def _body(params: HttpRequestParams) -> dict[str, Any]:
    """The request's body as the client takes it."""
    if params.body is None:
        return {}
    if params.body_as == "form" and isinstance(params.body, dict):
        return {"form": params.body}
    if params.body_as == "text":
        return {"content": params.body if isinstance(params.body, str) else str(params.body)}
    return {"json": params.body}


def _value(content: bytes, content_type: str, text: str) -> Any:
    """JSON where the answer says so, else its text."""
    if "json" not in content_type:
        return text
    try:
        return loads(content) if content else None
    except ValueError as exc:
        raise UpstreamError(f"the answer says it is JSON and is not: {exc}", hint=text[:200], retryable=False) from exc
