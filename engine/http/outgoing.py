"""Puts a request together from what a node says, and refuses what cannot be sent."""

import base64
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from json import dumps
from typing import Any, Final

import httpx

from engine.errors import NodeError
from engine.http.bodies import ACCEPT_ENCODING
from engine.http.urls import Pairs, as_text, encode_pairs, parse_url, with_query

# None is a JSON body, so "no JSON" needs its own mark.
UNSET: Final = object()

# RFC 9110, 5.6.2 and 5.5: what a method or header name, and a header value, may be.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

# About the connection, not the message: they are the client's to say. Pasted requests often bring them.
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "keep-alive", "proxy-authorization", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)


def build_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: Pairs | None,
    *,
    json: Any = UNSET,
    content: bytes | str | None = None,
    form: Mapping[str, Any] | None = None,
    auth: tuple[str, str] | None = None,
) -> httpx.Request:
    """The request as it goes out, its body in memory; for the arguments see `HttpClient.request`.

    Raises:
        NodeError: something in it cannot be sent; the message names the part, and shows no value.
        ValueError: more than one body.
    """
    body, content_type = _body(json, content, form)
    try:
        target, user = parse_url(url)
        sent_headers = _headers(headers, content_type, auth, user)
        return httpx.Request(_method(method), with_query(target, query), headers=sent_headers, content=body)
    except UnicodeEncodeError as exc:
        raise _unsendable("The request holds half a character (a lone surrogate).") from exc


def _body(json: Any, content: bytes | str | None, form: Mapping[str, Any] | None) -> tuple[bytes | None, str | None]:
    """The body and what it is; (None, None) without one."""
    if (json is not UNSET) + (content is not None) + (form is not None) > 1:
        raise ValueError("A request has one body: give json, content or form.")
    try:
        if form is not None:
            return encode_pairs(form).encode(), "application/x-www-form-urlencoded"
        if json is not UNSET:
            return dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(), "application/json"
        return (content.encode() if isinstance(content, str) else content), None
    except (TypeError, ValueError, RecursionError) as exc:
        raise _unsendable(f"The body cannot be written: {exc}.") from exc


def _method(method: str) -> str:
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise _unsendable(f"{method[:40]!r} is not a method HTTP nodes can use.")
    return method.upper()


def _headers(
    given: Mapping[str, str],
    content_type: str | None,
    auth: tuple[str, str] | None,
    user: tuple[str, str] | None,
) -> list[tuple[bytes, bytes]]:
    """All headers but those that httpx adds from address and body."""
    headers = {"accept": ("Accept", "*/*"), "user-agent": ("User-Agent", _user_agent())}
    if content_type:
        headers["content-type"] = ("Content-Type", content_type)
    if user:
        headers["authorization"] = ("Authorization", _basic(*user))
    for name, value in given.items():
        text = as_text(value).strip()
        if not _TOKEN.fullmatch(name):
            raise _unsendable(f"{name[:80]!r} is not the name of a header.")
        if not _VALUE.fullmatch(text):
            raise _unsendable(f"The header {name!r} holds a line break or a control character.")
        if name.lower() not in _OURS:
            headers[name.lower()] = (name, text)
    if auth:
        headers["authorization"] = ("Authorization", _basic(*auth))
    headers["accept-encoding"] = ("Accept-Encoding", ACCEPT_ENCODING)
    return [(name.encode(), text.encode()) for name, text in headers.values()]


def _basic(user: str, password: str) -> str:
    # RFC 7617, with UTF-8 for what is not ASCII.
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


@cache
def _user_agent() -> str:
    try:
        return f"flowleaf/{version('flowleaf')}"
    except PackageNotFoundError:
        return "flowleaf"


def _unsendable(message: str) -> NodeError:
    return NodeError(message, hint="Look at what fills this part of the request.", retryable=False)
