"""Webhook calls over HTTP: a small ASGI app, without FastAPI and Reflex, so that it is quick and can scale alone."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote

from engine.convert import dumps
from engine.errors import StudioError
from engine.runtime.logs import get_logger
from engine.runtime.parts import Parts
from engine.runtime.processes import is_ready, make_ingress
from engine.runtime.webhooks.ingress import Answer, Call, Ingress
from studio.asgi import (
    JSON,
    App,
    Headers,
    Receive,
    Scope,
    Send,
    length,
    refuse,
    refuse_unread,
    respond_json,
    run_lifespan,
)
from studio.sessions import SESSION_COOKIE

HOOKS, TESTS = "/hooks/", "/hooks-test/"
MOST_QUERY_FIELDS = 1_000
# A caller that stops in the middle of its body does not hold memory for ever.
BODY_PAUSE_S = 30
# Answers of workflows stand at the studio's own address: a page among them is to be a stranger there.
PAGE = (b"content-security-policy", b"sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
OWN_HEADERS = {"content-length", "transfer-encoding", "connection", "content-type", "content-security-policy"}
CORS_AGE_S = b"600"

log = get_logger()


class Hooks:
    """Answers `/hooks/...` and `/hooks-test/...`.

    Args:
        ingress: answers calls of published webhooks.
        test: the same for drafts; None answers 404.
        limit_bytes: largest body.
    """

    def __init__(self, ingress: Ingress, *, limit_bytes: int, test: Ingress | None = None) -> None:
        self._ingress = ingress
        self._test = test
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; raises nothing."""
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            # The server ends while a caller waits. What was accepted is committed, and goes on.
            message = "the server ended before there was an answer; what was accepted goes on"
            with suppress(Exception):
                await refuse(scope, send, 504, "webhook.ending", message, "Ask for the execution.")
        except Exception as exc:
            log.error("a webhook call broke off", path=scope["path"], exc_info=exc)
            await refuse(scope, send, 500, "internal", "something is wrong here", "Look into the log.")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        path, ingress = self._address(scope)
        if path is None or ingress is None:
            await refuse(scope, send, 404, "webhook.unknown", "there is no webhook at this address")
            return
        headers = read_headers(scope["headers"])
        cross = await self._cross(ingress, path, headers) if "origin" in headers else []
        if cross and method == "OPTIONS" and "access-control-request-method" in headers:
            await send_answer(send, method, Answer(204, None), await self._preflight(ingress, path, headers, cross))
            return
        allowed = await ingress.allows(method, path)
        if isinstance(allowed, Answer):
            await send_answer(send, method, allowed, cross)
            return
        body = await self._body(scope, receive, send, headers, cross)
        if body is None:
            return
        query = scope["query_string"]
        try:
            asked = read_query(query) if query else {}
        except ValueError as exc:
            await refuse(scope, send, 400, "webhook.query", f"the query cannot be read: {exc}", headers=cross)
            return
        if "\0" in path:
            path = path.replace("\0", "/")
            names = {name: value.replace("\0", "/") for name, value in allowed.names.items()}
            allowed = allowed._replace(names=names)
        await send_answer(send, method, await ingress.answer(allowed, Call(method, path, asked, headers, body)), cross)

    def _address(self, scope: Scope) -> tuple[str | None, Ingress | None]:
        """What stands behind `/hooks/`, and who answers to it."""
        path: str = scope["path"]
        ingress, start = (self._ingress, HOOKS) if path.startswith(HOOKS) else (self._test, TESTS)
        if b"%" in scope["raw_path"]:
            path = _decoded(scope["raw_path"])
        return (path[len(start) :], ingress) if path.startswith(start) else (None, None)

    async def _body(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], cross: Headers
    ) -> bytes | None:
        """The body; None where it is too large or did not come, which is answered then."""
        declared = headers.get("content-length", "0")
        if len(declared) > 18 or not declared.isdecimal() or int(declared) > self._limit_bytes:
            await self._too_large(scope, receive, send, cross)
            return None
        message = await receive()
        if not message.get("more_body", False):
            return None if message["type"] == "http.disconnect" else message["body"]
        parts = [message["body"]]
        size = len(parts[0])
        while message.get("more_body", False):
            try:
                message = await asyncio.wait_for(receive(), BODY_PAUSE_S)
            except TimeoutError:
                problem = {"code": "webhook.body_late", "message": "the rest of the body did not come"}
                await refuse_unread(scope, receive, send, 408, problem, cross)
                return None
            if message["type"] == "http.disconnect":
                return None
            parts.append(message["body"])
            size += len(parts[-1])
            if size > self._limit_bytes:
                await self._too_large(scope, receive, send, cross)
                return None
        return b"".join(parts)

    async def _too_large(self, scope: Scope, receive: Receive, send: Send, cross: Headers) -> None:
        limit_mb = self._limit_bytes / 2**20
        problem = {
            "code": "webhook.too_large",
            "message": f"the body is larger than {limit_mb:g} MB",
            "hint": "Send less at a time, or set FLOWLEAF_HOOK_LIMIT_MB.",
        }
        await refuse_unread(scope, receive, send, 413, problem, cross)

    async def _cross(self, ingress: Ingress, path: str, headers: Mapping[str, str]) -> Headers:
        """The headers that let a page of another origin read the answer, where the webhook allows that origin."""
        try:
            found = await ingress.route(path)
        except StudioError:
            return []
        allowed = found[0].params.get("cors", ()) if found is not None else ()
        origin = headers["origin"]
        if "*" in allowed:
            return [(b"access-control-allow-origin", b"*")]
        if origin in allowed:
            return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        return [(b"vary", b"Origin")] if allowed else []

    async def _preflight(self, ingress: Ingress, path: str, headers: Mapping[str, str], cross: Headers) -> Headers:
        found = await ingress.route(path)
        methods = ", ".join(sorted(found[0].methods)) if found is not None else ""
        wanted = headers.get("access-control-request-headers", "")
        return [
            *cross,
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", wanted.encode("latin-1")),
            (b"access-control-max-age", CORS_AGE_S),
        ]


def _decoded(raw_path: bytes) -> str:
    """The path with its escapes read. A slash that was escaped is no slash between parts: it stays a NUL here.

    A NUL that was escaped makes a path that nothing has.
    """
    parts = raw_path.decode("latin-1").split("/")
    if any("%00" in part for part in parts):
        return "/"
    return "/".join(unquote(part).replace("/", "\0") for part in parts)


def read_query(query: bytes) -> dict[str, Any]:
    """The fields of a query; one that comes twice is a list. Raises ValueError: too many of them."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(
        query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="replace"
    ):
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def read_headers(raw: Headers) -> dict[str, str]:
    """The headers by name in small letters; one that comes twice is joined, as RFC 9110, 5.3 says.

    The studio's own cookie is left out: what is called here is stored and shown.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) != len(raw):
        headers = {}
        for raw_name, raw_value in raw:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            between = "; " if name == "cookie" else ", "
            headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    if "cookie" in headers and SESSION_COOKIE in headers["cookie"]:
        others = [part for part in headers["cookie"].split(";") if part.partition("=")[0].strip() != SESSION_COOKIE]
        headers["cookie"] = ";".join(others).strip()
    return headers


async def send_answer(send: Send, method: str, answer: Answer, more: Headers) -> None:
    """Send what a webhook answers."""
    status, data, given = answer
    if status < 200:  # no answer, to HTTP, but the promise of one
        status = 500
    if not given and data is not None:  # most answers
        body = dumps(data)
        headers = [JSON, length(body), *more]
    else:
        body, headers = _written(status, data, given)
        headers += more
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _written(status: int, data: Any, given: Mapping[str, str]) -> tuple[bytes, Headers]:
    """Body and headers of an answer that names headers, or has no body."""
    names = {name.lower(): value for name, value in given.items()}
    headers = [
        (name.encode("latin-1", "replace"), _line(value)) for name, value in names.items() if name not in OWN_HEADERS
    ]
    media_type = names.get("content-type", "")
    kind = media_type.partition(";")[0].strip().lower()
    if data is None:
        body = b""
    elif isinstance(data, str) and kind and kind != "application/json" and not kind.endswith("+json"):
        body = data.encode("utf-8", "replace")
        if kind.startswith("text/") and "charset" not in media_type.lower():
            media_type += "; charset=utf-8"
    else:
        body = dumps(data)
        media_type = media_type or "application/json"
    if media_type:
        headers += (b"content-type", _line(media_type)), PAGE, NO_SNIFFING
    if status not in (204, 304):
        headers.append(length(body))
    else:
        body = b""
    return body, headers


def _line(value: object) -> bytes:
    """A header's value: one line, without what would end it."""
    return " ".join(str(value).replace("\0", " ").splitlines()).encode("latin-1", "replace")


def hooks_app(parts: Parts) -> App:
    """The app of a process that answers webhooks and nothing else; `/livez` and `/readyz` are for who watches it."""
    hooks: Hooks | None = None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal hooks
        if scope["type"] == "http":
            if hooks is not None and scope["path"].startswith("/hooks"):
                await hooks(scope, receive, send)
            else:
                await answer_health(parts, scope, send)
        elif scope["type"] == "lifespan":
            ingress, startup, shutdown = make_ingress(parts)
            hooks = Hooks(ingress, limit_bytes=parts.settings.hook_limit_mb * 2**20)

            async def close() -> None:
                await shutdown()
                await parts.close()

            await run_lifespan(receive, send, startup, close)

    return app


async def answer_health(parts: Parts, scope: Scope, send: Send) -> None:
    """Answer `/livez` (this process answers) and `/readyz` (it can accept calls); anything else is not found."""
    path = scope["path"]
    if path == "/livez":
        await respond_json(scope, send, 200, {"status": "ok"})
    elif path == "/readyz":
        ready, state = await is_ready(parts)
        await respond_json(scope, send, 200 if ready else 503, state, () if ready else [(b"retry-after", b"1")])
    else:
        await refuse(scope, send, 404, "not_found", f"there is nothing at {path[:200]}")
