"""Webhooks over HTTP: from the call to the committed execution and its answer, with a real queue and worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from engine.runtime import schema
from engine.runtime.orders import unpack_order
from engine.runtime.parts import Parts
from engine.runtime.processes import make_ingress
from engine.runtime.service import OWNER, Service
from engine.runtime.settings import Settings
from engine.runtime.worker import Worker
from engine.workflow import Workflow, save
from studio.hooks import Hooks, hooks_app
from tests.support.build import chain, node
from tests.support.servers import OwnRedis

LIMIT_BYTES = 10_000


def hook(path: str = "orders", *others: Any, **params: Any) -> Workflow:
    return chain(node("hook", "core.webhook", {"path": path, **params}), *others or (node("last", "core.limit"),))


class Installation:
    """Published webhooks and a client that calls them."""

    def __init__(self, parts: Parts, app: Hooks, client: httpx.AsyncClient) -> None:
        self.parts = parts
        self.app = app
        self.client = client

    async def publish(self, workflow: Workflow) -> None:
        workflows = Service(self.parts).workflows
        made = await asyncio.to_thread(workflows.create, OWNER, save(workflow))
        await asyncio.to_thread(workflows.publish, OWNER, made.id)

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.client.request(method, path, **more)

    def requests(self) -> list[Any]:
        """What was recorded: the item of each execution."""
        with self.parts.store.read() as connection:
            found = connection.execute(text("SELECT data FROM record WHERE part = 0 ORDER BY execution_id")).scalars()
            return [unpack_order(bytes(data)).items[0] for data in found]


@asynccontextmanager
async def installation(home: Path, redis: OwnRedis, *, worker: bool = False) -> AsyncIterator[Installation]:
    parts = Parts(Settings(home=home, redis_url=redis.url))
    await asyncio.to_thread(schema.upgrade, parts.store)
    ingress, startup, shutdown = make_ingress(parts)
    app = Hooks(ingress, limit_bytes=LIMIT_BYTES)
    await startup()
    working = None
    if worker:
        runs = Worker(parts.store, parts.bus, parts.wakes, parts.payloads, parts.local(), parts.vault)
        working = asyncio.create_task(runs.run())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
            yield Installation(parts, app, client)
    finally:
        if working is not None:
            runs.stop()
            await working
        await shutdown()
        await parts.close()


@pytest.fixture
def run(tmp_path, redis_server):
    """Runs a coroutine function with an installation."""

    def go(test, **more):
        async def inside():
            async with asyncio.timeout(60), installation(tmp_path, redis_server, **more) as there:
                return await test(there)

        return asyncio.run(inside())

    return go


def test_a_call_is_committed_before_it_is_answered(run):
    async def test(there):
        await there.publish(hook())
        answer = await there.call("POST", "/hooks/orders?a=1&b=2&b=3", json={"total": 5}, headers={"X-Shop": "7"})
        assert answer.status_code == 202
        (item,) = there.requests()
        assert item["body"] == {"total": 5}
        assert item["query"] == {"a": "1", "b": ["2", "3"]}
        assert item["headers"]["x-shop"] == "7"
        assert (item["method"], item["path"], item["params"]) == ("POST", "orders", {})
        with there.parts.store.read() as connection:
            assert connection.execute(text("SELECT id FROM execution")).scalars().all() == [
                answer.json()["execution_id"]
            ]

    run(test)


def test_an_escaped_slash_is_part_of_a_name_and_no_slash_between_parts(run):
    async def test(there):
        await there.publish(hook("shops/:shop/orders"))
        assert (await there.call("POST", "/hooks/shops/a%2Fb%20%C3%BC/orders")).status_code == 202
        (item,) = there.requests()
        assert item["params"] == {"shop": "a/b ü"}
        assert item["path"] == "shops/a/b ü/orders"
        assert (await there.call("POST", "/hooks/shops/a/b/orders")).status_code == 404
        assert (await there.call("POST", "/hooks/shops/a%00b/orders")).status_code == 404

    run(test)


def test_headers_that_come_twice_are_joined_and_the_studio_s_cookie_is_not_recorded(run):
    async def test(there):
        await there.publish(hook())
        headers = [("X-Tag", "a"), ("X-Tag", "b"), ("Cookie", "x=1; flowleaf_session=abc.5.def; y=2")]
        assert (await there.call("POST", "/hooks/orders", headers=headers)).status_code == 202
        (item,) = there.requests()
        assert item["headers"]["x-tag"] == "a, b"
        assert item["headers"]["cookie"] == "x=1; y=2"

    run(test)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ({"path": "/hooks/nothing"}, 404, "webhook.unknown"),
        ({"path": "/hooks-test/orders"}, 404, "webhook.unknown"),
        ({"method": "PUT"}, 405, "webhook.method"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "webhook.body"),
        ({"path": "/hooks/orders?" + "a=1&" * 1001 + "a=1"}, 400, "webhook.query"),
        ({"content": b"x" * (LIMIT_BYTES + 1)}, 413, "webhook.too_large"),
        ({"content": b"", "headers": {"content-length": "9" * 30}}, 413, "webhook.too_large"),
    ],
)
def test_what_cannot_be_accepted_is_answered_with_code_message_and_hint(run, call, status, code):
    async def test(there):
        await there.publish(hook())
        given = {"method": "POST", "path": "/hooks/orders", **call}
        answer = await there.call(given.pop("method"), given.pop("path"), **given)
        assert answer.status_code == status
        assert answer.json()["code"] == code
        assert answer.json()["message"]
        assert there.requests() == []

    run(test)


def test_a_body_without_a_length_is_read_up_to_the_limit_and_no_further(run):
    async def test(there):
        await there.publish(hook())
        sent = 0

        async def pieces():
            nonlocal sent
            while True:
                sent += 1000
                yield b"x" * 1000
                if sent > 100 * 2**20:
                    return

        answer = await there.call("POST", "/hooks/orders", content=pieces())
        assert answer.status_code == 413
        assert sent < 65 * 2**20 + 20_000
        assert there.requests() == []

    run(test)


def test_pages_of_allowed_origins_may_call_and_read_the_answer(run):
    async def test(there):
        await there.publish(hook(cors=["https://shop.example.com"]))
        asked = {"origin": "https://shop.example.com", "access-control-request-method": "POST",
                 "access-control-request-headers": "content-type, x-shop"}  # fmt: skip
        preflight = await there.call("OPTIONS", "/hooks/orders", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example.com"
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert preflight.headers["access-control-allow-headers"] == "content-type, x-shop"
        answer = await there.call("POST", "/hooks/orders", headers={"origin": "https://shop.example.com"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
        assert answer.headers["vary"] == "Origin"
        wrong = await there.call("PUT", "/hooks/orders", headers={"origin": "https://shop.example.com"})
        assert wrong.headers["access-control-allow-origin"] == "https://shop.example.com"

    run(test)


def test_pages_of_other_origins_cannot_read_the_answer(run):
    async def test(there):
        await there.publish(hook(cors=["https://shop.example.com"]))
        await there.publish(hook("open", cors=["*"]))
        await there.publish(hook("closed"))
        other = {"origin": "https://evil.example.com"}
        for path, allowed in (("orders", None), ("closed", None), ("open", "*")):
            answer = await there.call("POST", f"/hooks/{path}", headers=other)
            assert answer.headers.get("access-control-allow-origin") == allowed
        refused = await there.call(
            "OPTIONS", "/hooks/closed", headers=other | {"access-control-request-method": "POST"}
        )
        assert "access-control-allow-methods" not in refused.headers

    run(test)


def test_head_and_options_say_what_the_webhook_answers_to(run):
    async def test(there):
        await there.publish(hook(methods=["GET", "POST"]))
        head = await there.call("HEAD", "/hooks/orders")
        assert (head.status_code, head.headers["allow"], head.content) == (200, "GET, POST", b"")
        options = await there.call("OPTIONS", "/hooks/orders")
        assert (options.status_code, options.headers["allow"]) == (204, "GET, POST")
        assert "content-length" not in options.headers
        assert there.requests() == []

    run(test)


def test_the_caller_gets_the_items_of_the_last_node(run):
    async def test(there):
        await there.publish(
            hook("sum", node("s", "core.set", {"fields": {"double": "{{ item.body.n * 2 }}"}}), respond="last_node")
        )
        answer = await there.call("POST", "/hooks/sum", json={"n": 21})
        assert answer.status_code == 200
        assert answer.json()["double"] == 42

    run(test, worker=True)


def test_a_respond_node_says_status_headers_and_text(run):
    async def test(there):
        params = {
            "status": 201,
            "headers": {"Content-Type": "text/html", "X-Evil": "a\r\nSet-Cookie: b=c", "Content-Length": "9000"},
            "body": "<p>ü</p>",
        }
        await there.publish(hook("page", node("r", "core.respond", params), respond="respond_node"))
        answer = await there.call("POST", "/hooks/page")
        assert (answer.status_code, answer.text) == (201, "<p>ü</p>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-evil"] == "a Set-Cookie: b=c"
        assert "set-cookie" not in answer.headers
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert answer.headers["content-security-policy"].startswith("sandbox")

    run(test, worker=True)


def test_an_execution_whose_caller_has_gone_goes_on(run):
    async def test(there):
        await there.publish(hook("slow", respond="last_node", timeout_s=30))
        call = asyncio.create_task(there.call("POST", "/hooks/slow", json={}))
        await asyncio.sleep(0.5)  # no worker: nobody answers
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert len(there.requests()) == 1

    run(test)


def test_a_caller_that_waits_when_the_server_ends_is_told_that_its_execution_goes_on(run):
    async def test(there):
        await there.publish(hook("slow", respond="last_node"))
        said = []

        async def receive():
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message):
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/hooks/slow", "raw_path": b"/hooks/slow",
                 "query_string": b"", "headers": []}  # fmt: skip
        call = asyncio.create_task(there.app(scope, receive, send))
        while not there.requests():  # noqa: ASYNC110  the database tells nobody
            await asyncio.sleep(0.01)
        call.cancel()
        await call
        assert said[0]["status"] == 504
        assert b"goes on" in said[1]["body"]

    run(test)


def test_the_app_of_hooks_alone_is_ready_with_its_database_and_not_without(tmp_path, redis_server):
    async def inside():
        home = tmp_path / "home"
        home.mkdir()
        parts = Parts(Settings(home=home, redis_url=redis_server.url))
        app = hooks_app(parts)
        told: asyncio.Queue[dict] = asyncio.Queue()
        said: asyncio.Queue[dict] = asyncio.Queue()
        living = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
        await told.put({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://any.example") as client:
            assert (await client.get("/livez")).status_code == 200
            without = await client.get("/readyz")
            assert (without.status_code, without.json()["database"]) == (503, "away")
            assert without.headers["retry-after"] == "1"
            await asyncio.to_thread(schema.upgrade, parts.store)
            assert (await client.get("/readyz")).json() == {"database": "ok", "redis": "ok"}
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/api/v1/workflows")).status_code == 404
        await told.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await living

    asyncio.run(inside())
