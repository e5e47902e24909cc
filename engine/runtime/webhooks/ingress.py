"""Calls to webhooks: looked up, checked, accepted, answered. The HTTP around it is the studio's."""

import asyncio
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from engine.convert import dumps
from engine.errors import StudioError
from engine.expressions import Scope, parse
from engine.runtime.answers import Answer
from engine.runtime.bus import Bus
from engine.runtime.credentials.signatures import Refused, verify
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Accepted, Intake, Once, Order, Overloaded, execution_row
from engine.runtime.orders import pack_items
from engine.runtime.store import StoreUnavailable
from engine.runtime.webhooks.bodies import BadBody, read_body
from engine.runtime.webhooks.keyring import Keyring
from engine.runtime.webhooks.replies import Replies
from engine.runtime.webhooks.routes import AGAIN_S, Route, Routes

RETRY_AFTER_S = "1"
# A body from here on is read and packed in a thread, so that other calls get their turn in between.
LARGE_BYTES = 256 * 1024
ROUTES = "routes"  # the topic on which publishing is told


class Call(NamedTuple):
    """An incoming call. `path` is what stands behind `/hooks/`, decoded; header names are in small letters."""

    method: str
    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes


def problem(status: int, code: str, message: str, hint: str | None = None, **headers: str) -> Answer:
    """An answer that says what is wrong."""
    body = {"code": code, "message": message} | ({"hint": hint} if hint else {})
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class Ingress(ABC):
    """Looks calls up and checks them; what is then done with one is `answer`'s. On one event loop."""

    def __init__(self, routes: Routes, keyring: Keyring, bus: Bus) -> None:
        self._routes = routes
        self._keyring = keyring
        self._bus = bus
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the webhooks, and keep them up to date."""
        with suppress(StoreUnavailable):  # the first call tries again
            await asyncio.to_thread(self._routes.refresh)
        self._tasks = [asyncio.create_task(self._follow())]

    async def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        async for _ in self._bus.follow([ROUTES], "now"):  # a gap, too, is a reason to look
            self._keyring.forget()
            try:
                await self._refresh()
            except StoreUnavailable:
                continue

    async def _refresh(self) -> None:
        """Read the webhooks anew; those who ask at the same time wait for one reading."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(asyncio.to_thread(self._routes.refresh))
        await asyncio.shield(self._refreshing)

    async def route(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The webhook of a path. Raises StoreUnavailable."""
        if self._routes.is_stale:
            try:
                await self._refresh()
            except StoreUnavailable:
                if self._routes.table.match(path) is None:
                    raise  # else what was known is still good for saying so, and the insert tells
        asked_s = time.monotonic()
        found = self._routes.table.match(path)
        while found is None and self._routes.read_s < asked_s:  # it may have been published just before
            await asyncio.sleep(max(self._routes.read_s + AGAIN_S - asked_s, 0))
            await self._refresh()
            found = self._routes.table.match(path)
        return found

    async def allows(self, method: str, path: str) -> "Allowed | Answer":
        """What may be done before the body is read: the route of a call, or the answer that refuses it."""
        try:
            found = await self.route(path)
        except StoreUnavailable as exc:
            return unavailable(exc)
        if found is None:
            return problem(404, "webhook.unknown", f"no published webhook has the path {path[:200]!r}",
                           "Publish the workflow, and check the path.")  # fmt: skip
        route, names = found
        if method in ("OPTIONS", "HEAD") and method not in route.methods:
            return Answer(204 if method == "OPTIONS" else 200, None, {"allow": ", ".join(sorted(route.methods))})
        if method not in route.methods:
            allowed = ", ".join(sorted(route.methods))
            return problem(405, "webhook.method", f"this webhook does not answer to {method}",
                           f"It answers to {allowed}.", allow=allowed)  # fmt: skip
        return Allowed(route, names)

    async def item(self, allowed: "Allowed", call: Call) -> "tuple[dict[str, Any], Once | None] | Answer":
        """The trigger's item, once the call has shown its credential; else the answer that refuses it."""
        route = allowed.route
        headers = call.headers
        replay: Once | None = None
        credential = route.params.get("credential")
        if credential:
            try:
                kind, fields = await self._keyring.get(route.project_id, str(credential))
            except StoreUnavailable as exc:
                return unavailable(exc)
            except StudioError as exc:
                return problem(500, exc.code, "the credential of this webhook cannot be used", "Its owner has to look.")
            verdict = verify(kind, fields, headers=headers, body=call.body, now_s=time.time())
            if isinstance(verdict, Refused):
                return problem(401, verdict.code, verdict.message, verdict.hint, www_authenticate="Bearer")
            if verdict.replay_key is not None and verdict.replay_until_s is not None:
                scope = f"replay:{route.workflow_id}:{route.node_id[:60]}"
                replay = Once(scope, verdict.replay_key, int(verdict.replay_until_s * 1000))
            headers = _without_secret(kind, fields, headers)
        try:
            content_type = headers.get("content-type", "")
            if len(call.body) < LARGE_BYTES:
                body = read_body(content_type, call.body)
            else:
                body = await asyncio.to_thread(read_body, content_type, call.body)
        except BadBody as exc:
            return problem(400, "webhook.body", str(exc), "Send what the header Content-Type says.")
        return {
            "body": body,
            "query": call.query,
            "headers": headers,
            "params": allowed.names,
            "method": call.method,
            "path": call.path,
        }, replay

    @abstractmethod
    async def answer(self, allowed: "Allowed", call: Call) -> Answer:
        """What the call is answered. Raises nothing."""

    def late(self, execution_id: str) -> Answer:
        """The answer where the workflow gave none in time."""
        body = {
            "code": "webhook.timeout",
            "message": "the workflow gave no answer in time; it goes on",
            "hint": "Ask for the execution, or give the webhook more time.",
            "execution_id": execution_id,
        }
        return Answer(504, body)


class Allowed(NamedTuple):
    """A route that takes the call, and what the names in its path stand for."""

    route: Route
    names: dict[str, str]


class PublishedIngress(Ingress):
    """Answers calls to published webhooks: each is committed before it is answered.

    Args:
        reply_to: the process that the answers go to.
    """

    def __init__(
        self, routes: Routes, intake: Intake, replies: Replies, keyring: Keyring, bus: Bus, *, reply_to: str
    ) -> None:
        super().__init__(routes, keyring, bus)
        self._intake = intake
        self._replies = replies
        self._reply_to = reply_to

    async def answer(self, allowed: Allowed, call: Call) -> Answer:
        """Accept the call and answer it as its webhook says. Raises nothing."""
        route = allowed.route
        made = await self.item(allowed, call)
        if isinstance(made, Answer):
            return made
        item, replay = made
        try:
            once = tuple(key for key in (replay, dedupe_key(route, item, call.body)) if key is not None)
        except StudioError as exc:
            return problem(400, exc.code, f"the key of this call cannot be told: {exc.message}", exc.hint)
        waits = route.respond != "at_once"
        id_ = new_id()
        row = execution_row(
            id=id_,
            project_id=route.project_id,
            workflow_id=route.workflow_id,
            revision_id=route.revision_id,
            kind="published",
            source="webhook",
            trigger_id=route.node_id,
            slot=route.slot,
            priority=route.priority,
            limited=route.limited,
            reply_to=self._reply_to if waits else None,
        )
        reply = self._replies.expect(id_) if waits else None
        try:
            is_large = len(call.body) >= LARGE_BYTES
            part = await asyncio.to_thread(pack_items, [item]) if is_large else pack_items([item])
            accepted = await self._intake.accept(Order(row, part, once))
        except BaseException as exc:
            if reply is not None:  # also where the caller has gone: it would be looked for until the end of the process
                reply.cancel()
            if isinstance(exc, StoreUnavailable):
                return unavailable(exc)
            if isinstance(exc, Overloaded):
                return problem(429, exc.code, exc.message, exc.hint, retry_after=RETRY_AFTER_S)
            raise
        if reply is None:
            return Answer(202, {"execution_id": accepted.execution_id})
        return await self._wait(route, accepted, reply)

    async def _wait(self, route: Route, accepted: Accepted, reply: "asyncio.Future[Answer]") -> Answer:
        if not accepted.first:  # the first call's answer, which may be there already
            reply.cancel()
            reply = self._replies.expect(accepted.execution_id)
        try:
            return await asyncio.wait_for(reply, float(route.params.get("timeout_s", 30)))
        except TimeoutError:
            return self.late(accepted.execution_id)


def unavailable(exc: StoreUnavailable) -> Answer:
    """The answer while the database cannot be used: nothing was accepted."""
    return problem(503, exc.code, "nothing can be accepted just now", "Try again in a moment.",
                   retry_after=RETRY_AFTER_S)  # fmt: skip


def dedupe_key(route: Route, item: dict[str, Any], body: bytes) -> Once | None:
    """What is to start one execution only. Raises ExpressionError where the call lacks what the key is made of."""
    mode = route.params.get("dedupe", "off")
    if mode == "off":
        return None
    if mode == "body":
        value: Any = body
    elif mode == "header":
        value = item["headers"].get(str(route.params["dedupe_key"]).lower())
    else:
        expression = parse(str(route.params["dedupe_key"]))
        if expression is None:
            return None
        values, failed = expression.evaluate_all(Scope(items=[item]), [item])
        if failed:
            raise failed[0]
        value = values[0]
    if value is None:
        return None
    data = value if isinstance(value, bytes) else dumps(value)
    until = now_ms() + int(route.params.get("dedupe_for_s", 86_400)) * 1000
    key = hashlib.blake2b(data, digest_size=20).hexdigest()
    return Once(f"dedupe:{route.workflow_id}:{route.node_id[:60]}", key, until)


def _without_secret(kind: str, fields: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without the credential: items are stored and shown."""
    name = str(fields["name"]).lower() if kind == "header" else "authorization" if kind in ("bearer", "basic") else ""
    return {other: "***" if other == name else value for other, value in headers.items()}
