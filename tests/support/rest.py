"""Calls of the REST API in this process, without a server."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.convert import dumps
from engine.runtime.service import OWNER, Actor, Service
from studio.api import api_app


def signed_in(app: ASGIApp, actor: Actor | None = OWNER) -> ASGIApp:
    """The app behind a layer that says who asks, as the web process has one."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if actor is not None:
            scope["actor"] = actor
        await app(scope, receive, send)

    return layer


class Api:
    """Calls the API; a fault of a route is raised here."""

    def __init__(self, service: Service, actor: Actor | None = OWNER) -> None:
        self.app = api_app(service)
        transport = httpx.ASGITransport(signed_in(self.app, actor))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://flowleaf.test")
        self._runner = asyncio.Runner()

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.close()

    def __call__(self, method: str, path: str, data: Any = None, **more: Any) -> httpx.Response:
        """The answer; `data` is sent as JSON, and `path` begins behind /api/v1."""
        if data is not None:
            more = {"content": dumps(data), "headers": {"content-type": "application/json"}, **more}
        return self._runner.run(self._client.request(method, "/api/v1" + path, **more))
