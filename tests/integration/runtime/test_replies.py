"""Answers for waiting calls: by the bus, by the database where the bus is away, to all that wait, or late."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.registry import Registry
from engine.runtime.answers import Answer
from engine.runtime.bus import RedisBus
from engine.runtime.programs import Programs
from engine.runtime.webhooks.replies import LOOK_S, Replies
from engine.runtime.worker import reply_topic
from engine.workflow import Workflow
from tests.support.build import chain, connect, node
from tests.support.http_server import http_server
from tests.support.runtime import NO_REDIS, Place, on_loop, order, place, working
from tests.support.servers import OwnRedis

CALL = {"body": {"n": 1}, "query": {}, "headers": {}, "params": {}, "method": "POST", "path": "a"}


@pytest.fixture
def here(database_url: str, redis_server: OwnRedis, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, redis_server.url) as made:
        yield made


@pytest.fixture
def lonely(database_url: str, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, NO_REDIS) as made:
        yield made


@asynccontextmanager
async def waiting(here: Place, process: str = "me") -> AsyncIterator[Replies]:
    """A process that waits for answers; it follows the bus by the time this goes on."""
    bus = RedisBus(here.redis_url)
    replies = Replies(here.store, bus, Programs(here.store, Registry()), here.payloads, reply_topic(process))
    replies.start()
    await asyncio.sleep(0.1)
    try:
        yield replies
    finally:
        await replies.close()
        await bus.close()


def last(*nodes: object, respond: str = "last_node") -> Workflow:
    return chain(node("start", "core.webhook", {"path": "a", "respond": respond}), *nodes)  # type: ignore[arg-type]


COPY = last(node("copy", params={"fields": {"m": 2}, "keep_others": False}))


@on_loop
async def test_an_answer_comes_by_the_bus_well_before_the_database_is_asked(here: Place) -> None:
    published = here.publish(COPY)
    took = []
    async with working(here) as there, waiting(here) as replies:
        for _ in range(5):
            made = order(published, [CALL], reply_to="me")
            reply = replies.expect(made.row["id"])
            began = time.monotonic()
            await asyncio.to_thread(here.insert, made)
            there.wakes.send("runs")
            assert await asyncio.wait_for(reply, 5) == Answer(200, {"m": 2}, {})
            took.append(time.monotonic() - began)
    assert min(took) < LOOK_S


@on_loop
async def test_an_answer_is_found_in_the_database_without_redis(lonely: Place) -> None:
    published = lonely.publish(COPY)
    async with working(lonely), waiting(lonely) as replies:
        made = order(published, [CALL], reply_to="me")
        reply = replies.expect(made.row["id"])
        await asyncio.to_thread(lonely.insert, made)
        assert await asyncio.wait_for(reply, 5) == Answer(200, {"m": 2}, {})


@pytest.mark.parametrize("status", ["failed", "cancelled", "skipped", "needs_decision"])
def test_an_execution_that_did_not_succeed_is_answered_too(lonely: Place, status: str) -> None:
    published = lonely.publish(COPY)

    async def ask() -> Answer:
        async with waiting(lonely) as replies:
            id_ = await asyncio.to_thread(lonely.start, published, [CALL])
            reply = replies.expect(id_)
            lonely.change("UPDATE execution SET status = :status WHERE id = :id", status=status, id=id_)
            return await asyncio.wait_for(reply, 5)

    answer = asyncio.run(ask())
    assert answer.status in (500, 503)
    assert answer.body["execution_id"] in str(answer.body["hint"])


@on_loop
async def test_an_answer_that_was_there_before_it_was_asked_for_is_found(here: Place) -> None:
    published = here.publish(COPY)
    async with working(here) as there:
        id_ = there.start(published, [CALL], reply_to="somebody else")
        await there.ended(id_)
        async with waiting(here) as replies:
            assert (await asyncio.wait_for(replies.expect(id_), 5)).status == 200


@on_loop
async def test_two_that_wait_for_one_execution_are_both_answered(here: Place) -> None:
    published = here.publish(COPY)
    async with working(here) as there, waiting(here) as replies:
        made = order(published, [CALL], reply_to="me")
        one, other, gone = (replies.expect(made.row["id"]) for _ in range(3))
        gone.cancel()
        await asyncio.to_thread(here.insert, made)
        there.wakes.send("runs")
        answers = await asyncio.wait_for(asyncio.gather(one, other), 5)
    assert [answer.status for answer in answers] == [200, 200]


@on_loop
async def test_one_that_cannot_be_answered_keeps_no_other_from_its_answer(lonely: Place) -> None:
    """A revision that was removed, a damaged record."""
    published, removed = lonely.publish(COPY), lonely.publish(chain(node("start", "core.manual"), node("copy")))
    async with waiting(lonely) as replies:
        bad, damaged, good = (lonely.start(which, [CALL]) for which in (removed, published, published))
        lonely.change("DELETE FROM revision WHERE id = :id", id=removed.revision_id)
        lonely.change("INSERT INTO record VALUES (:id, 1, :data)", id=damaged, data=b"\xff")
        lonely.change("UPDATE execution SET status = 'succeeded'")
        answers = await asyncio.wait_for(asyncio.gather(*map(replies.expect, (bad, damaged, good))), 5)
        assert [answer.status for answer in answers] == [500, 500, 200]
        again = replies.expect(good)
        assert (await asyncio.wait_for(again, 5)).status == 200


@on_loop
async def test_many_that_run_for_long_keep_no_other_from_its_answer(lonely: Place) -> None:
    published = lonely.publish(COPY)
    async with waiting(lonely) as replies:
        long = [replies.expect(f"{i:032x}") for i in range(700)]
        id_ = await asyncio.to_thread(lonely.start, published, [CALL])
        reply = replies.expect(id_)
        lonely.change("UPDATE execution SET status = 'succeeded'")
        await asyncio.wait_for(reply, 5)
        for one in long:
            one.cancel()


@on_loop
async def test_a_respond_node_is_heard_at_once(here: Place) -> None:
    with http_server() as server:
        respond = node("say", "core.respond", {"status": 201, "body": {"said": 1}, "headers": {"x-a": "b"}})
        slow = node("slow", "core.http_request", {"url": f"{server.url}/slow?s=2"})
        published = here.publish(last(respond, slow, respond="respond_node"))
        async with working(here) as there, waiting(here) as replies:
            made = order(published, [CALL], reply_to="me")
            reply = replies.expect(made.row["id"])
            await asyncio.to_thread(here.insert, made)
            there.wakes.send("runs")
            assert await asyncio.wait_for(reply, 1.5) == Answer(201, {"said": 1}, {"x-a": "b"})
            assert here.statuses(made.row["id"]) == ["running"]
            await there.ended(made.row["id"])


@pytest.mark.parametrize("redis", [True, False])
def test_a_respond_node_is_not_heard_where_the_last_node_answers(
    database_url: str, redis_server: OwnRedis, tmp_path: Path, redis: bool
) -> None:
    respond = node("say", "core.respond", {"status": 201, "body": {"said": 1}})

    async def ask(here: Place) -> Answer:
        published = here.publish(last(respond, node("copy", params={"fields": {"m": 2}, "keep_others": False})))
        async with working(here) as there, waiting(here) as replies:
            made = order(published, [CALL], reply_to="me")
            reply = replies.expect(made.row["id"])
            await asyncio.to_thread(here.insert, made)
            there.wakes.send("runs")
            return await asyncio.wait_for(reply, 5)

    with place(database_url, tmp_path, redis_server.url if redis else NO_REDIS) as here:
        assert asyncio.run(ask(here)) == Answer(200, {"m": 2}, {})


@on_loop
async def test_an_odd_answer_spoils_no_other_of_its_batch(here: Place) -> None:
    """Numbers beyond 64 bits and half a surrogate pair travel as they are."""
    published = here.publish(last(node("copy", params={"fields": {"m": "{{ item.body }}"}, "keep_others": False})))
    bodies = [2**70, "\ud800", 1.5, 2**63 - 1]
    async with working(here) as there, waiting(here) as replies:
        orders = [order(published, [{**CALL, "body": body}], reply_to="me") for body in bodies]
        answers = [replies.expect(made.row["id"]) for made in orders]
        await asyncio.to_thread(here.insert, *orders)
        there.wakes.send("runs")
        found = await asyncio.wait_for(asyncio.gather(*answers), 5)
    assert [answer.body["m"] for answer in found] == bodies


@on_loop
async def test_several_last_nodes_answer_by_label(here: Place) -> None:
    flow = Workflow(
        nodes=(node("start", "core.webhook", {"path": "a", "respond": "last_node"}),
               node("a", params={"fields": {"x": 1}, "keep_others": False}),
               node("b", "core.split_out", {"field": "body.list"})),
        connections=connect("start > a", "start > b"),
    )  # fmt: skip
    published = here.publish(flow)
    async with working(here) as there, waiting(here) as replies:
        made = order(published, [{**CALL, "body": {"list": []}}], reply_to="me")
        reply = replies.expect(made.row["id"])
        await asyncio.to_thread(here.insert, made)
        there.wakes.send("runs")
        assert (await asyncio.wait_for(reply, 5)).body == {"a": {"x": 1}, "b": []}


@on_loop
async def test_what_nobody_waits_for_any_more_is_forgotten(lonely: Place) -> None:
    async with waiting(lonely) as replies:
        reply = replies.expect("0" * 32)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply, 0.05)
        await asyncio.sleep(0)
        assert replies._waiting == {}
