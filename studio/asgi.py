"""The little of ASGI that the studio writes itself: answers with their headers, and what a caller sent."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

import orjson

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
# Content-Length of short answers, made once.
LENGTHS = tuple((b"content-length", str(n).encode()) for n in range(512))
# What a caller that is refused still sends is read for so long, so that it sees the answer and no broken connection.
LINGER_S = 2.0
LINGER_BYTES = 64 * 2**20


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value; None where it is not there. Of several, the first."""
    for other, value in scope["headers"]:
        if other == name:
            return bytes(value).decode("latin-1")
    return None


def length(body: bytes) -> tuple[bytes, bytes]:
    """The header Content-Length of a body."""
    size = len(body)
    return LENGTHS[size] if size < 512 else (b"content-length", str(size).encode())


async def respond(scope: Scope, send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send an answer; to HEAD without its body, to a websocket's handshake as its refusal."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    if scope["method"] == "HEAD":
        body, headers = b"", [*headers, length(body)]
    elif status != 204:
        headers = [*headers, length(body)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_json(
    scope: Scope, send: Send, status: int, data: Any, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send data as JSON."""
    await respond(scope, send, status, orjson.dumps(data), [JSON, *headers])


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    message: str,
    hint: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send an error, in the form of all errors."""
    await respond_json(scope, send, status, {"code": code, "message": message, "hint": hint}, headers)


async def refuse_unread(
    scope: Scope, receive: Receive, send: Send, status: int, data: Any, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an error while the body still comes in; the connection ends with it."""
    body = orjson.dumps(data)
    everything = [JSON, *headers, (b"connection", b"close"), length(body)]
    await send({"type": "http.response.start", "status": status, "headers": everything})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


async def run_lifespan(
    receive: Receive, send: Send, startup: Callable[[], Awaitable[None]], shutdown: Callable[[], Awaitable[None]]
) -> None:
    """Speak the lifespan protocol: begin, wait for the word to end, end."""
    await receive()
    try:
        await startup()
    except Exception as exc:  # noqa: BLE001  told to the server, which ends the process
        await send({"type": "lifespan.startup.failed", "message": str(exc)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await shutdown()
    await send({"type": "lifespan.shutdown.complete"})
