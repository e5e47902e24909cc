"""Calls to webhooks: found, checked, accepted once, answered; on both databases."""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.registry import Registry
from engine.runtime.answers import Answer
from engine.runtime.bus import RedisBus
from engine.runtime.intake import WAITING, Intake
from engine.runtime.orders import unpack_order
from engine.runtime.programs import Programs
from engine.runtime.webhooks.ingress import ROUTES, Allowed, Call, Ingress, PublishedIngress
from engine.runtime.webhooks.keyring import Keyring
from engine.runtime.webhooks.replies import Replies
from engine.runtime.webhooks.routes import Routes
from engine.runtime.worker import reply_topic
from engine.workflow import Workflow
from tests.support.build import chain, node
from tests.support.http_server import http_server
from tests.support.runtime import NO_REDIS, Place, on_loop, place, vault, working
from tests.support.servers import OwnRedis, PostgresServer


@pytest.fixture
def here(database_url: str, redis_server: OwnRedis, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, redis_server.url) as made:
        yield made


@asynccontextmanager
async def listening(here: Place, intake: Intake | None = None, name: str = "me") -> AsyncIterator[Ingress]:
    """What answers calls, ready to do so."""
    bus = RedisBus(here.redis_url)
    own = intake or Intake(here.store, lambda orders: None)
    replies = Replies(here.store, bus, Programs(here.store, Registry()), here.payloads, reply_topic(name))
    ingress = PublishedIngress(Routes(here.store), own, replies, Keyring(here.store, vault), bus, reply_to=name)
    replies.start()
    await ingress.start()
    await asyncio.sleep(0.1)  # it follows the bus by then
    try:
        yield ingress
    finally:
        await ingress.close()
        await asyncio.to_thread(own.close)
        await replies.close()
        await bus.close()


async def call(
    ingress: Ingress,
    path: str,
    body: Any = b"",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
) -> Answer:
    """The answer of a call; data is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = dict(headers or {}) | ({} if isinstance(body, bytes) else {"content-type": "application/json"})
    allowed = await ingress.allows(method, path)
    if isinstance(allowed, Answer):
        return allowed
    return await ingress.answer(allowed, Call(method, path, query or {}, given, sent))


def hook(path: str = "orders", **params: Any) -> Workflow:
    return chain(node("start", "core.webhook", {"path": path, **params}), node("copy"))


def item_of(here: Place, execution_id: str) -> Mapping[str, Any]:
    ((data,),) = here.rows("SELECT data FROM record WHERE execution_id = :id AND part = 0", id=execution_id)
    items = unpack_order(bytes(data)).items
    assert items is not None
    return items[0]


@on_loop
async def test_a_call_is_accepted_with_all_that_it_brought(here: Place) -> None:
    published = here.publish(hook("shops/:shop/orders", methods=["PUT"]))
    async with listening(here) as ingress:
        answer = await call(
            ingress, "shops/north/orders", {"total": 5}, "PUT", {"x-a": "b"}, query={"q": ["1", "2"]}
        )  # fmt: skip
    assert answer.status == 202
    id_ = answer.body["execution_id"]
    row = here.execution(id_)
    assert (row.status, row.kind, row.source, row.slot) == ("queued", "published", "webhook", "async")
    assert (row.revision_id, row.trigger_id, row.reply_to) == (published.revision_id, "start", None)
    assert item_of(here, id_) == {
        "body": {"total": 5}, "query": {"q": ["1", "2"]}, "headers": {"x-a": "b", "content-type": "application/json"},
        "params": {"shop": "north"}, "method": "PUT", "path": "shops/north/orders",
    }  # fmt: skip


@on_loop
async def test_unknown_paths_and_methods_are_refused(here: Place) -> None:
    here.publish(hook("orders", methods=["POST", "GET"]))
    async with listening(here) as ingress:
        unknown = await call(ingress, "nowhere")
        assert (unknown.status, unknown.body["code"]) == (404, "webhook.unknown")
        other = await call(ingress, "orders", method="DELETE")
        assert (other.status, other.body["code"], other.headers["allow"]) == (405, "webhook.method", "GET, POST")
        assert (await call(ingress, "orders", method="OPTIONS")).status == 204
        head = await call(ingress, "orders", method="HEAD")
        assert (head.status, head.body, head.headers["allow"]) == (200, None, "GET, POST")
    assert here.counts() == {}


@on_loop
async def test_a_body_that_is_not_what_it_says_is_refused(here: Place) -> None:
    here.publish(hook())
    async with listening(here) as ingress:
        answer = await call(ingress, "orders", b"{", headers={"content-type": "application/json"})
    assert (answer.status, answer.body["code"]) == (400, "webhook.body")
    assert here.counts() == {}


@on_loop
async def test_a_part_that_is_written_out_goes_before_a_name(here: Place) -> None:
    named, static = here.publish(hook("shops/:shop")), here.publish(hook("shops/all"))
    async with listening(here) as ingress:
        for path, published in (("shops/all", static), ("shops/north", named)):
            id_ = (await call(ingress, path)).body["execution_id"]
            assert here.execution(id_).workflow_id == published.workflow_id


@on_loop
async def test_a_workflow_published_a_moment_ago_is_found(here: Place) -> None:
    async with listening(here) as ingress:
        assert (await call(ingress, "orders")).status == 404
        here.publish(hook())
        await asyncio.sleep(0.06)
        assert (await call(ingress, "orders")).status == 202


@on_loop
async def test_a_new_revision_is_used_as_soon_as_it_is_told_of(here: Place) -> None:
    old = here.publish(hook())
    async with listening(here) as ingress:
        await call(ingress, "orders")
        here.change("DELETE FROM webhook WHERE workflow_id = :id", id=old.workflow_id)
        new = here.publish(hook())
        bus = RedisBus(here.redis_url)
        await bus.publish(ROUTES, {})
        await bus.close()
        await asyncio.sleep(0.2)
        id_ = (await call(ingress, "orders")).body["execution_id"]
    assert here.execution(id_).revision_id == new.revision_id


@on_loop
async def test_without_redis_what_was_unpublished_is_known_after_a_second(database_url: str, tmp_path: Path) -> None:
    with place(database_url, tmp_path, NO_REDIS) as here:
        published = here.publish(hook())
        async with listening(here) as ingress:
            assert (await call(ingress, "orders")).status == 202
            here.change("DELETE FROM webhook WHERE workflow_id = :id", id=published.workflow_id)
            await asyncio.sleep(1.1)
            assert (await call(ingress, "orders")).status == 404


@pytest.mark.parametrize(
    ("kind", "fields", "good", "bad"),
    [
        ("header", {"name": "X-Key", "value": "canary-1"}, {"x-key": "canary-1"}, {"x-key": "canary-2"}),
        ("bearer", {"token": "canary-1"}, {"authorization": "Bearer canary-1"}, {"authorization": "Bearer other"}),
        ("basic", {"user": "ada", "password": "canary-1"},
         {"authorization": "Basic YWRhOmNhbmFyeS0x"}, {"authorization": "Basic YWRhOm90aGVy"}),
    ],
)  # fmt: skip
def test_only_who_has_the_credential_may_call_and_it_is_not_kept(
    here: Place, kind: str, fields: Mapping[str, Any], good: Mapping[str, str], bad: Mapping[str, str]
) -> None:
    here.set_credential("caller", kind, fields)
    here.publish(hook(credential="caller"))

    async def ask() -> str:
        async with listening(here) as ingress:
            for headers in (bad, {}, dict.fromkeys(good, "ü")):
                refused = await call(ingress, "orders", {}, headers=headers)
                assert refused.status == 401
                assert "canary" not in str(refused)
            accepted = await call(ingress, "orders", {}, headers=good)
            assert accepted.status == 202
            return str(accepted.body["execution_id"])

    item = item_of(here, asyncio.run(ask()))
    assert "canary" not in str(item)
    assert "YWRhOmNhbmFyeS0x" not in str(item)
    assert list(item["headers"].values()).count("***") == 1


@on_loop
async def test_a_credential_that_is_gone_is_the_owners_fault(here: Place) -> None:
    here.publish(hook(credential="caller"))
    async with listening(here) as ingress:
        assert (await call(ingress, "orders")).status == 500
        here.set_credential("caller", "header", {"name": "x-key", "value": "v"})
        assert (await call(ingress, "orders", headers={"x-key": "v"})).status == 202


@on_loop
async def test_a_signed_call_that_is_replayed_starts_nothing(here: Place) -> None:
    fields = {
        "secret": "shared", "preset": "custom", "algorithm": "sha256", "encoding": "hex", "header": "x-signature",
        "prefix": "", "timestamp_header": "x-time", "tolerance_s": 300,
    }  # fmt: skip
    here.set_credential("caller", "hmac", fields)
    here.publish(hook(credential="caller"))

    def signed(at_s: int, body: bytes) -> dict[str, str]:
        digest = hmac.new(b"shared", f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
        return {"x-signature": digest, "x-time": str(at_s)}

    now = int(time.time())
    async with listening(here) as ingress:
        first = await call(ingress, "orders", b"a", headers=signed(now, b"a"))
        assert first.status == 202
        again = await call(ingress, "orders", b"a", headers=signed(now, b"a"))
        assert (again.status, again.body) == (202, first.body)
        assert (await call(ingress, "orders", b"b", headers=signed(now, b"a"))).status == 401
        assert (await call(ingress, "orders", b"a", headers=signed(now - 600, b"a"))).status == 401
        assert (await call(ingress, "orders", b"a", headers=signed(now - 1, b"a"))).status == 202
    assert here.counts() == {"queued": 2}


DEDUPE = [
    ("header", "X-Id", {"headers": {"x-id": "1"}}, {"headers": {"x-id": "2"}}, {}),
    ("expression", "{{ item.body.id }}", {"body": {"id": 1, "n": 1}}, {"body": {"id": 2}}, {"body": {"id": None}}),
    ("body", None, {"body": {"a": 1}}, {"body": {"a": 2}}, None),
]


@pytest.mark.parametrize(("mode", "key", "one", "other", "without"), DEDUPE, ids=[case[0] for case in DEDUPE])
def test_a_call_that_came_before_starts_nothing(
    here: Place, mode: str, key: str | None, one: dict[str, Any], other: dict[str, Any], without: dict[str, Any] | None
) -> None:
    here.publish(hook(dedupe=mode, dedupe_key=key))

    async def ask() -> None:
        async with listening(here) as ingress:
            first = await call(ingress, "orders", **one)
            assert (await call(ingress, "orders", **one)).body == first.body
            assert (await call(ingress, "orders", **other)).body != first.body
            if without is not None:  # nothing to know it by: it starts an execution each time
                ids = {(await call(ingress, "orders", **without)).body["execution_id"] for _ in range(2)}
                assert len(ids) == 2

    asyncio.run(ask())
    assert here.counts() == {"queued": 2 if without is None else 4}


@on_loop
async def test_a_key_that_cannot_be_told_is_the_callers_fault(here: Place) -> None:
    here.publish(hook(dedupe="expression", dedupe_key="{{ item.body.id }}"))
    async with listening(here) as ingress:
        answer = await call(ingress, "orders", {"other": 1})
    assert answer.status == 400
    assert "id" in answer.body["message"]


@on_loop
async def test_a_call_that_waits_is_answered_with_the_result(here: Place) -> None:
    here.publish(hook(respond="last_node"))
    async with working(here) as there, listening(here) as ingress:
        asking = asyncio.create_task(call(ingress, "orders", {"n": 1}))
        await asyncio.sleep(0.1)
        there.wakes.send("runs")
        answer = await asyncio.wait_for(asking, 5)
    assert (answer.status, answer.body["body"]) == (200, {"n": 1})


@on_loop
async def test_two_calls_with_one_key_get_the_same_answer(here: Place) -> None:
    """In one process and in two: the first starts the execution, all wait for it."""
    with http_server() as server:
        here.publish(
            chain(
                node("start", "core.webhook", {"path": "orders", "respond": "last_node", "dedupe": "body"}),
                node("slow", "core.http_request", {"url": f"{server.url}/slow?s=0.5"}),
            )
        )
        async with working(here), listening(here) as ingress, listening(here, name="you") as other:
            asking = [asyncio.create_task(call(which, "orders", {"n": 1})) for which in (ingress, ingress, other)]
            answers = await asyncio.wait_for(asyncio.gather(*asking), 8)
        assert [answer.status for answer in answers] == [200] * 3
        assert len(server.requests) == 1


@on_loop
async def test_a_call_that_waits_in_vain_is_told_so_and_the_execution_goes_on(here: Place) -> None:
    here.publish(hook(respond="last_node", timeout_s=0.3))
    async with listening(here) as ingress:
        answer = await call(ingress, "orders", {"n": 1})
        id_ = answer.body["execution_id"]
        assert (answer.status, answer.body["code"]) == (504, "webhook.timeout")
        assert here.statuses(id_) == ["queued"]
        async with working(here) as there:
            assert await there.ended(id_) == ["succeeded"]


@on_loop
async def test_a_caller_that_hangs_up_leaves_nothing_to_wait_for(here: Place) -> None:
    here.publish(hook(respond="last_node"))
    async with listening(here) as ingress:
        for pause_s in (0, 0.3):
            asking = asyncio.create_task(call(ingress, "orders", {"n": 1}))
            await asyncio.sleep(pause_s)
            asking.cancel()
            await asyncio.wait([asking], timeout=2)
        await asyncio.sleep(0.1)
        assert isinstance(ingress, PublishedIngress)
        assert ingress._replies._waiting == {}


@on_loop
async def test_more_than_can_be_accepted_is_answered_with_429(here: Place) -> None:
    here.publish(hook())
    intake = Intake(here.store, lambda orders: time.sleep(0.5))
    async with listening(here, intake) as ingress:
        answers = await asyncio.gather(*(call(ingress, "orders", {"n": n}) for n in range(WAITING + 1_200)))
    refused = [answer for answer in answers if answer.status != 202]
    assert refused
    assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(429, "1")}
    assert here.counts() == {"queued": len(answers) - len(refused)}


@on_loop
async def test_a_database_that_is_away_is_answered_with_503(
    postgres_server: PostgresServer, postgres_url: str, redis_server: OwnRedis, tmp_path: Path
) -> None:
    with place(postgres_url, tmp_path, redis_server.url) as here:
        here.publish(hook())
        async with listening(here) as ingress:
            postgres_server.stop()
            try:
                for path in ("orders", "unknown"):
                    answer = await call(ingress, path, {})
                    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                await asyncio.sleep(1.1)
                assert (await call(ingress, "orders", {})).status == 503
            finally:
                postgres_server.start()
            assert (await call(ingress, "orders", {})).status == 202
        assert here.counts() == {"queued": 1}


@on_loop
async def test_a_process_that_begins_without_its_database_answers_once_it_is_there(
    postgres_server: PostgresServer, postgres_url: str, redis_server: OwnRedis, tmp_path: Path
) -> None:
    with place(postgres_url, tmp_path, redis_server.url) as here:
        here.publish(hook())
        postgres_server.stop()
        try:
            async with listening(here) as ingress:
                assert (await call(ingress, "orders", {})).status == 503
                postgres_server.start()  # by this thread: a server ends with the thread that began it
                assert (await call(ingress, "orders", {})).status == 202
        finally:
            if postgres_server._process is None:
                postgres_server.start()


@on_loop
async def test_a_large_body_does_not_hold_up_the_others(here: Place) -> None:
    here.publish(hook())
    rows = [{"name": "".join(random.choices("abcdefghij", k=40)), "n": n} for n in range(150_000)]
    body = json.dumps(rows).encode()
    longest = 0.0
    async with listening(here) as ingress:
        allowed = await ingress.allows("POST", "orders")
        assert isinstance(allowed, Allowed)
        asking = asyncio.create_task(
            ingress.answer(allowed, Call("POST", "orders", {}, {"content-type": "application/json"}, body))
        )
        while not asking.done():
            before = time.monotonic()
            await asyncio.sleep(0.002)
            longest = max(longest, time.monotonic() - before)
        assert asking.result().status == 202
    print(f"longest_hold_ms {longest * 1_000:.0f} of {len(body)} bytes")
    assert longest < 0.5
