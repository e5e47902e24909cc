"""What routes are given: who asks, the service, bodies that are read as strictly as stored ones and not without end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.convert import loads
from engine.runtime.service import Actor, NotAllowed, Service, is_deeper
from studio.api.answers import error

MOST_BYTES = 16 * 2**20
# Deeper bodies are of no use to anyone, and more than what reads them can go down.
DEEPEST = 120
# Larger bodies are read in a thread: meanwhile the event loop answers others.
MOST_AT_ONCE = 100_000


def actor_of(request: Request) -> Actor:
    """Who asks: the layer around the app has put it into the scope. Raises NotAllowed where nobody is signed in."""
    actor = request.scope.get("actor")
    if not isinstance(actor, Actor):
        raise NotAllowed("nobody is signed in", hint="Send Authorization: Bearer and the token.")
    return actor


def service_of(request: Request) -> Service:
    """The service that the app was made with."""
    service: Service = request.app.state.service
    return service


async def body_of(request: Request) -> bytes:
    """The body as it came."""
    return await request.body()


Who = Annotated[Actor, Depends(actor_of)]
Door = Annotated[Service, Depends(service_of)]
Cursor = Annotated[str | None, Query(description="`next` of the part before.", max_length=1000)]
Limit = Annotated[int, Query(description="How many rows, at most.", ge=1, le=200)]


class StrictRequest(Request):
    """A request whose JSON is read as Flowleaf reads all JSON: whole numbers of any size, no NaN."""

    async def json(self) -> Any:
        """The value of the body."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = _value(body) if len(body) < MOST_AT_ONCE else await asyncio.to_thread(_value, body)
        return self._json


def _value(body: bytes) -> Any:
    try:
        value = loads(body)
    except ValueError as exc:
        raise HTTPException(400, f"the body is no JSON: {exc}") from exc
    if is_deeper(value, DEEPEST):
        raise HTTPException(400, f"the body is nested more than {DEEPEST} deep")
    return value


class StrictRoute(APIRoute):
    """A route whose requests are strict."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the request made strict."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


class Bounded:
    """Lets through what has a body of bounded size.

    Args:
        most_bytes: a larger one is answered 413, before all of it has come where its length is told.
    """

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"the body has more than {self._most_bytes >> 20} MB"
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._most_bytes:
                await error(413, "request.too_large", message)(scope, receive, send)
                return
        left = self._most_bytes

        async def bounded() -> Message:
            nonlocal left
            received = await receive()
            left -= len(received.get("body", b""))
            if left < 0:
                raise HTTPException(413, message)
            return received

        await self._app(scope, bounded, send)
