"""Calls HTTP addresses."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from engine.api import Context, CredentialError, Effects, Item, Items, NodeError, Params, UpstreamError, field, node
from engine.convert import dumps, loads, type_name

if TYPE_CHECKING:
    import httpx

READING = ("GET", "HEAD")
# RFC 9110, 15.5; 425 is RFC 8470.
WORTH_A_RETRY = (408, 425, 429)
MASK = "***"
SHORTEST = 4  # characters of what is taken for a secret in an answer: fewer stand there by chance
HINTS = {
    401: "It wants to know who calls: choose a credential.",
    403: "The credential may not do this, or none is chosen.",
    404: "Check the address.",
    405: "Check the method.",
    429: "It asks for fewer calls: set a retry on the node, with a longer wait.",
}


class HttpRequestParams(Params):
    url: str = field(
        help="Full address, such as https://api.example.com/users/{{ item.id }}.", label="URL", min_length=1
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = field(
        "GET", help="GET and HEAD only read; the others change something, so they run on a click while you edit."
    )
    query: dict[str, Any] = field({}, help="Added to the address after a question mark; a list repeats the name.")
    headers: dict[str, str] = field({}, help="Headers of the request.")
    body: Any = field(None, help="What is sent, except with GET and HEAD.", widget="json")
    body_as: Literal["json", "form", "text"] = field("json", help="How the body is written.")
    credential: str | None = field(None, help="Credential whose headers are sent along.", widget="credential")
    result: Literal["items", "field"] = field(
        "items", help="The answer's body becomes the items, or the item gets `response`: {status, headers, body}."
    )
    accept_errors: bool = field(False, help="Whether an answer of 400 or above is a result like any other.")
    follow_redirects: bool = field(True, help="Whether redirects are followed.")
    timeout_s: float = field(30, help="Seconds before giving up.", label="Timeout, seconds", gt=0, le=600)


def effects(params: Mapping[str, Any]) -> Effects:
    """GET and HEAD read (RFC 9110, 9.2.1); other methods, and one that an expression decides, write."""
    return "read" if params.get("method", "GET") in READING else "write"


@node(
    "core.http_request",
    group="network",
    effects=effects,
    label="HTTP request",
    keywords=("api", "rest", "call", "fetch", "get", "post", "url", "web", "curl"),
)
async def http_request(ctx: Context, item: Item, params: HttpRequestParams) -> Items:
    """Call an HTTP address for each item; the answer becomes the items.

    A list gives an item for each element. An answer that is no JSON object comes in the field `body`. Ten calls go on
    at the same time. Only public addresses can be called; FLOWLEAF_HTTP_ALLOW names others.

    Example:
      params: {url: "https://api.example.com/users/{{ item.id }}"}
      main: [{id: 7}]
      gives: [{id: 7, name: Ada}]
    """
    secret, fields = await _secret_headers(ctx, params.credential)
    forms = _forms(fields)
    response = await ctx.http.request(
        params.method,
        params.url,
        headers=_headers(ctx, params) | secret,
        query={name: value for name, value in params.query.items() if value is not None},
        timeout_s=params.timeout_s,
        follow_redirects=params.follow_redirects,
        **_body(params),
    )
    if response.is_error and not params.accept_errors:
        raise _refused(params.method, response, forms)
    body = _value(response, forms)
    if params.result == "field":
        headers = _masked(dict(response.headers), forms)
        answer = {"status": response.status_code, "headers": headers, "body": body}
        return Items.of([item.derive(response=answer)])
    elements = body if isinstance(body, list) else [body]
    return Items([element if isinstance(element, dict) else {"body": element} for element in elements])


def _headers(ctx: Context, params: HttpRequestParams) -> dict[str, str]:
    """The node's headers; names are the same in small and capital letters."""
    headers = {} if params.method in READING else {"idempotency-key": ctx.idempotency_key}
    return headers | {name.lower(): value for name, value in params.headers.items()}


async def _secret_headers(ctx: Context, name: str | None) -> tuple[dict[str, str], list[str]]:
    """The headers of the credential, and the secrets in them."""
    if not name:
        return {}, []
    match await ctx.credential(name):
        case {"kind": "header", "name": header, "value": value}:
            return {header.lower(): value}, [value, value.partition(" ")[2]]
        case {"kind": "bearer", "token": token}:
            return {"authorization": f"Bearer {token}"}, [token]
        case {"kind": "basic", "user": user, "password": password}:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()  # RFC 7617, 2
            return {"authorization": f"Basic {pair}"}, [password, pair]
        case {"kind": "hmac"}:
            hint = "Choose a header, bearer or basic credential."
            raise CredentialError(f"the credential {name!r} is an HMAC secret, which is for webhooks", hint=hint)
    raise CredentialError(f"the credential {name!r} is of a kind that no request can send", hint="Choose another.")


def _forms(secrets: Sequence[str]) -> list[str]:
    """The secrets as they may come back in an answer, the longest first."""
    long = [secret for secret in secrets if len(secret) >= SHORTEST]
    forms = {form for secret in long for form in (secret, quote(secret), dumps(secret).decode()[1:-1])}
    return sorted(forms, key=len, reverse=True)


def _masked(value: Any, forms: Sequence[str]) -> Any:
    """The same without secrets: some services send back what they were sent."""
    if not forms:
        return value
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, MASK)
        return value
    if isinstance(value, dict):
        return {_masked(name, forms): _masked(inner, forms) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, forms) for inner in value]
    return MASK if isinstance(value, int) and str(value) in forms else value


def _body(params: HttpRequestParams) -> dict[str, Any]:
    """The request's body as the client takes it."""
    body = params.body
    if body is None or params.method in READING:
        return {}
    if params.body_as == "json":
        return {"json": body}
    if params.body_as == "text":
        return {"content": body if isinstance(body, str) else dumps(body)}
    if not isinstance(body, dict):
        raise NodeError(
            f"a form needs an object of fields, and the body is {type_name(body)}",
            hint='Write {"name": "value"}, or send it as json or text.',
            retryable=False,
        )
    return {"form": body}


def _refused(method: str, response: "httpx.Response", forms: Sequence[str]) -> UpstreamError:
    status = response.status_code
    is_page = "html" in response.headers.get("content-type", "")
    # Masked before it is cut: half a secret would not be found.
    said = "" if is_page else " ".join(_said(response, forms).split())[:200]
    reason = _masked(response.reason_phrase, forms)
    return UpstreamError(
        f"{method} {response.url.host} answered {status} {reason}".rstrip(),
        status=status,
        hint=f"It said: {said}" if said else HINTS.get(status),
        retryable=status in WORTH_A_RETRY or status >= 500,
    )


def _said(response: "httpx.Response", forms: Sequence[str]) -> str:
    """The text of an answer without secrets, also where they are written with escapes."""
    if forms and b"\\" in response.content:
        with suppress(ValueError):  # it is no JSON
            return dumps(_masked(loads(response.content), forms)).decode()
    return str(_masked(response.text, forms))


def _value(response: "httpx.Response", forms: Sequence[str]) -> Any:
    """JSON where the answer says so, else its text; null where it has no body."""
    if not response.content:
        return None
    if "json" not in response.headers.get("content-type", ""):
        return _masked(response.text, forms)
    content = response.content
    try:
        value = loads(content)
    except ValueError as exc:
        raise UpstreamError(
            f"the answer says it is JSON and is not: {_masked(str(exc), forms)}",
            hint=f"It starts with: {_said(response, forms)[:200]}",
            retryable=False,
        ) from exc
    # With an escape in it, what is written there may be anything.
    may_hold = b"\\" in content or any(form.encode() in content for form in forms)
    return _masked(value, forms) if may_hold else value
