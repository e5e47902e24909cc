"""Executions from the order to their end, by a worker on this event loop; on both databases, with a real Redis."""

import asyncio
import logging
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing

from engine.runtime.bus import Gap, RedisBus
from engine.runtime.orders import Order as Started
from engine.runtime.worker import CANCELS
from engine.workflow import Workflow, as_data
from tests.support.build import chain, connect, node, start
from tests.support.http_server import http_server
from tests.support.runtime import NO_REDIS, Here, Place, on_loop, place, working
from tests.support.servers import OwnRedis


@pytest.fixture
def here(database_url: str, redis_server: OwnRedis, tmp_path: Path) -> Iterator[Place]:
    with place(database_url, tmp_path, redis_server.url) as made:
        yield made


@pytest.fixture
def lonely(database_url: str, tmp_path: Path) -> Iterator[Place]:
    """A place without Redis."""
    with place(database_url, tmp_path, NO_REDIS) as made:
        yield made


def five() -> Workflow:
    return chain(
        node("start", "core.manual"),
        node("set", params={"fields": {"double": "{{ item.n * 2 }}"}}),
        node(
            "over", "core.filter", {"conditions": [{"value": "{{ item.double }}", "test": "greater_than", "other": 2}]}
        ),
        node("sort", "core.sort", {"by": [{"field": "double", "order": "descending"}]}),
        node("limit", "core.limit", {"count": 2}),
    )


def slow(url: str, seconds: float = 20, method: str = "GET") -> Workflow:
    return chain(
        node("start", "core.manual"),
        node("slow", "core.http_request", {"url": f"{url}/slow?s={seconds}", "method": method}),
    )


def failing() -> Workflow:
    return chain(node("start", "core.manual"), node("bad", params={"fields": {"x": "{{ item.nowhere }}"}}))


def cancel(here: Place, id_: str) -> None:
    here.change("UPDATE execution SET cancel = 1 WHERE id = :id AND status = 'running'", id=id_)


@on_loop
async def test_five_nodes_run_and_all_they_gave_is_kept(here: Place) -> None:
    published = here.publish(five())
    async with working(here) as there:
        id_ = there.start(published, [{"n": n} for n in (1, 3, 2)])
        assert await there.ended(id_) == ["succeeded"]
    assert list(here.runs(id_)) == ["start", "set", "over", "sort", "limit"]
    assert {run.status for run in here.runs(id_).values()} == {"succeeded"}
    assert here.rows_of(id_, "limit") == [{"n": 3, "double": 6}, {"n": 2, "double": 4}]
    row = here.execution(id_)
    assert row.worker_id is None
    assert row.created_ms <= row.started_ms <= row.finished_ms
    assert row.error is None


@on_loop
async def test_a_short_execution_is_one_row_of_results(here: Place) -> None:
    published = here.publish(five())
    async with working(here) as there:
        id_ = there.start(published, [{"n": 1}])
        await there.ended(id_)
    assert here.rows("SELECT part FROM record WHERE execution_id = :id ORDER BY part", id=id_) == [(0,), (1,)]


@on_loop
async def test_a_failure_says_what_failed_where(here: Place) -> None:
    published = here.publish(failing())
    async with working(here) as there:
        id_ = there.start(published)
        assert await there.ended(id_) == ["failed"]
    error = here.execution(id_).error
    assert '"node_id":"bad"' in error
    assert "nowhere" in error
    assert here.runs(id_)["bad"].status == "failed"


@on_loop
async def test_a_failure_is_logged_with_its_ids_and_without_data(here: Place) -> None:
    broken = {"fields": {"n": "{{ item.secret + 1 }}"}}
    published = here.publish(chain(node("start", "core.manual"), node("a", params=broken)))
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        with structlog.testing.capture_logs() as lines:
            async with working(here) as there:
                execution_id = there.start(published, [{"secret": "canary-4711"}])
                await there.ended(execution_id)
    finally:
        structlog.configure(**before)
    (line,) = [line for line in lines if line["event"] == "execution failed"]
    assert (line["execution_id"], line["node_id"], line["code"]) == (execution_id, "a", "node.expression")
    assert line["workflow_id"]
    assert "canary" not in str(lines)


@on_loop
async def test_a_revision_that_is_not_there_fails_and_the_worker_goes_on(here: Place) -> None:
    published = here.publish(five())
    async with working(here) as there:
        lost = there.start(published, revision_id="f" * 32)
        good = there.start(published, [{"n": 1}])
        assert await there.ended(lost, good) == ["failed", "succeeded"]
    assert "no longer there" in here.execution(lost).error


@on_loop
async def test_a_damaged_order_fails_and_the_worker_goes_on(here: Place) -> None:
    published = here.publish(five())
    async with working(here) as there:
        bad = await asyncio.to_thread(here.start, published)
        here.change("UPDATE record SET data = :data WHERE execution_id = :id", id=bad, data=b"\xff")
        good = there.start(published, [{"n": 1}])
        assert (await there.ended(bad, good))[1] == "succeeded"
    assert here.execution(bad).status in ("failed", "succeeded")


@on_loop
async def test_cancelling_reaches_a_running_node_within_a_second(here: Place) -> None:
    with http_server() as server:
        published = here.publish(slow(server.url))
        async with working(here) as there:
            id_ = there.start(published)
            await there.wait(lambda: server.requests, "the call")
            began = time.monotonic()
            cancel(here, id_)
            await there.bus.publish(CANCELS, {"execution_id": id_})
            assert await there.ended(id_) == ["cancelled"]
            assert time.monotonic() - began < 1
    assert here.runs(id_)["slow"].status == "cancelled"


@on_loop
async def test_cancelling_reaches_a_running_node_without_redis_too(lonely: Place) -> None:
    with http_server() as server:
        published = lonely.publish(slow(server.url))
        async with working(lonely) as there:
            id_ = there.start(published)
            await there.wait(lambda: server.requests, "the call")
            began = time.monotonic()
            cancel(lonely, id_)
            assert await there.ended(id_) == ["cancelled"]
            assert time.monotonic() - began < 1


@on_loop
async def test_work_goes_on_without_redis(lonely: Place) -> None:
    published = lonely.publish(five())
    async with working(lonely) as there:
        ids = [there.start(published, [{"n": 1}], reply_to="nobody") for _ in range(5)]
        assert await there.ended(*ids) == ["succeeded"] * 5
        again = there.start(published, [{"n": 1}], reply_to="nobody")
        assert await there.ended(again) == ["succeeded"]


@on_loop
async def test_work_goes_on_after_redis_was_killed(database_url: str, mortal_redis: OwnRedis, tmp_path: Path) -> None:
    with place(database_url, tmp_path, mortal_redis.url) as here:
        published = here.publish(five())
        async with working(here) as there:
            assert await there.ended(there.start(published, [{"n": 1}], reply_to="x")) == ["succeeded"]
            mortal_redis.kill()
            assert await there.ended(there.start(published, [{"n": 1}], reply_to="x")) == ["succeeded"]
            mortal_redis.start()
            assert await there.ended(there.start(published, [{"n": 1}], reply_to="x")) == ["succeeded"]


@on_loop
async def test_answers_with_numbers_of_any_size_do_not_stop_the_worker(here: Place) -> None:
    flow = chain(node("start", "core.webhook", {"path": "a", "respond": "last_node"}), node("copy"))
    published = here.publish(flow)
    async with working(here) as there:
        call = {"query": {}, "headers": {}}
        odd = [there.start(published, [{**call, "body": b}], reply_to="p") for b in (2**70, "\ud800", 1)]
        assert await there.ended(*odd) == ["succeeded"] * 3
        assert await there.ended(there.start(published, [{**call, "body": 1}], reply_to="p")) == ["succeeded"]


@on_loop
async def test_two_equal_nodes_both_run(here: Place) -> None:
    """Nothing is reused by key in a published run: two equal nodes have equal keys."""
    with http_server() as server:
        call = {"url": f"{server.url}/items"}
        flow = Workflow(
            nodes=(
                node("start", "core.manual"),
                node("a", "core.http_request", call),
                node("b", "core.http_request", call),
            ),
            connections=connect("start > a", "start > b"),
        )
        published = here.publish(flow)
        async with working(here) as there:
            for _ in range(2):
                assert await there.ended(there.start(published)) == ["succeeded"]
        assert len(server.requests) == 4
    assert here.rows("SELECT count(*) FROM run_data") == [(0,)]


@on_loop
async def test_pin_data_is_no_matter_to_published_executions(here: Place) -> None:
    flow = chain(start([{"n": 1}]), node("set", params={"fields": {"m": 2}}, pinned={"main": [{"pinned": True}]}))
    published = here.publish(flow)
    async with working(here) as there:
        id_ = there.start(published, [{"n": 5}])
        await there.ended(id_)
    assert here.rows_of(id_, "set") == [{"n": 5, "m": 2}]


@on_loop
async def test_variables_and_credentials_reach_the_nodes(here: Place) -> None:
    here.set_variable("rate", 3)
    here.set_credential("shop", "bearer", {"token": "canary-token"})
    with http_server() as server:
        flow = chain(
            node("start", "core.manual"),
            node("set", params={"fields": {"rate": "{{ vars.rate }}"}}),
            node("call", "core.http_request", {"url": f"{server.url}/echo", "credential": "shop"}),
        )
        published = here.publish(flow)
        async with working(here) as there:
            id_ = there.start(published)
            assert await there.ended(id_) == ["succeeded"]
        assert server.requests[0].headers["authorization"] == "Bearer canary-token"
    assert here.rows_of(id_, "set") == [{"rate": 3}]
    for (data,) in here.rows("SELECT data FROM record WHERE execution_id = :id", id=id_):
        assert b"canary-token" not in bytes(data)


@on_loop
async def test_what_a_node_logs_is_kept(here: Place) -> None:
    published = here.publish(
        chain(
            node("start", "core.manual"), node("code", "core.code", {"source": "print('one')\nlog('two')\nreturn []"})
        )
    )
    async with working(here) as there:
        id_ = there.start(published)
        assert await there.ended(id_, limit_s=30) == ["succeeded"], here.execution(id_).error
    assert here.runs(id_)["code"].log == ("one", "two")


@on_loop
async def test_a_large_output_lies_in_the_payload_folder_once(here: Place) -> None:
    flow = Workflow(
        nodes=(node("start", "core.manual"), node("a"), node("b")), connections=connect("start > a", "start > b")
    )
    published = here.publish(flow)
    async with working(here) as there:
        ids = [there.start(published, [{"n": n, "text": "x" * 100} for n in range(1_500)]) for _ in range(2)]
        assert await there.ended(*ids) == ["succeeded"] * 2
    used = here.rows("SELECT hash, owner FROM payload_use ORDER BY owner")
    assert {owner for _, owner in used} == set(ids)
    files = [path for path in here.payloads_folder.rglob("*") if path.is_file()]
    assert len({hash_ for hash_, _ in used}) == len(files)
    for id_ in ids:
        assert len(here.rows_of(id_, "b")) == 1_500
        ((size,),) = here.rows("SELECT length(data) FROM record WHERE execution_id = :id AND part = 1", id=id_)
        assert size < 64 * 1024


@on_loop
async def test_stopping_takes_six_seconds_at_the_most_and_leaves_the_rest_to_be_recovered(here: Place) -> None:
    with http_server() as server:
        long, short = here.publish(slow(server.url, 30)), here.publish(slow(server.url, 1))
        async with working(here) as there:
            left, done = there.start(long), there.start(short)
            await there.wait(lambda: len(server.requests) == 2, "the calls")
            there.worker.stop()
            began = time.monotonic()
            await there.ended(done)
        assert time.monotonic() - began < 6
        assert here.statuses(left, done) == ["queued", "succeeded"]
        assert here.rows("SELECT id FROM worker") == []


@on_loop
async def test_an_idle_worker_picks_up_at_once(here: Place) -> None:
    published = here.publish(five())
    took: list[float] = []
    async with working(here) as there:
        await there.ended(there.start(published, [{"n": 1}]))
        for _ in range(60):
            await asyncio.sleep(random.uniform(0.01, 0.05))
            id_ = await asyncio.to_thread(here.start, published, [{"n": 1}])
            began = time.time()
            await asyncio.to_thread(there.wakes.send, "runs")
            await there.ended(id_)
            took.append(here.execution(id_).started_ms - began * 1_000)
    p95 = statistics.quantiles(took, n=20)[-1]
    print(f"pickup_p50_ms {statistics.median(took):.1f} pickup_p95_ms {p95:.1f}")
    assert p95 < 60


@on_loop
async def test_a_thousand_mixed_executions_leave_every_slot_free(here: Place) -> None:
    slots = {"async": 12, "code": 1, "heavy": 1, "draft": 3}
    with http_server() as server:
        good, bad, waits = here.publish(five()), here.publish(failing()), here.publish(slow(server.url, 30))
        limited = here.publish(failing(), max_running=2)
        draft = Started(items=[{"n": 1}], workflow=as_data(five()))
        async with working(here, slots=slots) as there:
            ids: list[str] = []
            for i in range(250):
                ids += [there.start(good, [{"n": i}]), there.start(bad), there.start(limited)]
                ids.append(there.start(good, kind="draft", started=draft, revision_id=None, trigger_id="start"))
                if i % 25 == 0:
                    ids.append(there.start(waits))

            def cancelled() -> bool:
                here.change(
                    "UPDATE execution SET cancel = 1 WHERE workflow_id = :w AND status = 'running'", w=waits.workflow_id
                )
                return not ({"queued", "running"} & here.counts().keys())

            await there.wait(cancelled, "the end of all", 90)
            assert here.counts() == {"succeeded": 500, "failed": 500, "cancelled": 10}
            # All slots are free: as many as there are begin at once.
            with_all = [there.start(waits) for _ in range(slots["async"])]
            await there.wait(lambda: here.counts().get("running") == slots["async"], "all slots taken")
            for id_ in with_all:
                cancel(here, id_)
            await there.ended(*with_all)


@on_loop
async def test_a_worker_serves_its_own_slots_only(here: Place) -> None:
    published = here.publish(five())
    limited = here.publish(five(), max_running=1)
    async with working(here, slots={"draft": 2}) as there:
        ids = [there.start(published, [{"n": 1}]), there.start(limited, [{"n": 1}])]
        await asyncio.sleep(1.5)
    assert here.statuses(*ids) == ["queued", "queued"]


@on_loop
async def test_a_lost_lease_ends_what_ran_under_it_and_the_worker_begins_anew(here: Place) -> None:
    with http_server() as server:
        published, quick = here.publish(slow(server.url, 3)), here.publish(five())
        async with working(here) as there:
            id_ = there.start(published)
            await there.wait(lambda: server.requests, "the call")
            here.change("UPDATE worker SET lease_until_ms = 1")
            assert await there.ended(id_) == ["succeeded"]
            assert await there.ended(there.start(quick, [{"n": 1}])) == ["succeeded"]
        assert here.execution(id_).fence == 2
        assert len(server.requests) == 2


@on_loop
async def test_a_lost_lease_is_noticed_with_every_slot_taken_too(here: Place) -> None:
    with http_server() as server:
        published = here.publish(slow(server.url, 4))
        async with working(here, slots={"async": 1}) as there:
            id_ = there.start(published)
            await there.wait(lambda: server.requests, "the call")
            here.change("UPDATE worker SET lease_until_ms = 1")
            await there.wait(lambda: len(server.requests) == 2, "the second attempt", 3)
            assert await there.ended(id_) == ["succeeded"]


@on_loop
async def test_what_a_workflow_needs_of_a_database_that_is_away_for_a_while_is_waited_for(
    postgres_server: Any, postgres_url: str, redis_server: OwnRedis, tmp_path: Path
) -> None:
    """A revision that was not loaded yet, variables, a credential."""
    with place(postgres_url, tmp_path, redis_server.url) as here, http_server() as server:
        here.set_variable("rate", 3)
        here.set_credential("shop", "bearer", {"token": "secret-token"})
        flow = chain(
            node("start", "core.manual"),
            node("slow", "core.http_request", {"url": f"{server.url}/slow?s=1.5"}),
            node("set", params={"fields": {"rate": "{{ vars.rate }}"}}),
            node("call", "core.http_request", {"url": f"{server.url}/echo", "credential": "shop"}),
        )
        published = here.publish(flow)
        async with working(here) as there:
            id_ = there.start(published)
            await there.wait(lambda: server.requests, "the slow call")
            postgres_server.stop()
            await asyncio.sleep(3)
            postgres_server.start()
            assert await there.ended(id_) == ["succeeded"], here.execution(id_).error


async def events_of(there: Here, ids: list[str]) -> list[tuple[float, str, dict[str, Any]]]:
    """When what was told of executions, until the last of them has ended."""
    found: list[tuple[float, str, dict[str, Any]]] = []
    left = set(ids)
    bus = RedisBus(there.place.redis_url)
    try:
        async for received in bus.follow([f"execution:{id_}" for id_ in ids], "start"):
            if isinstance(received, Gap):
                continue
            id_ = received.topic.partition(":")[2]
            for told in received.message["events"]:
                found.append((time.monotonic(), received.id, told))
                if told["kind"] == "execution.finished":
                    left.discard(id_)
            if not left:
                return found
    finally:
        await bus.close()
    return found


def draft_of(flow: Workflow, **more: Any) -> dict[str, Any]:
    return {
        "kind": "draft", "started": Started(workflow=as_data(flow), **more), "revision_id": None, "trigger_id": None,
    }  # fmt: skip


@on_loop
async def test_a_draft_run_reuses_what_an_earlier_one_gave(here: Place) -> None:
    with http_server() as server:
        flow = chain(
            start([{"n": 1}]),
            node("call", "core.http_request", {"url": f"{server.url}/items"}),
            node("limit", "core.limit", {"count": 1}),
        )
        published = here.publish(flow)
        async with working(here) as there:
            first = there.start(published, **draft_of(flow))
            assert await there.ended(first) == ["succeeded"]
            edited = flow.model_copy(
                update={"nodes": (*flow.nodes[:2], flow.nodes[2].model_copy(update={"params": {"count": 2}}))}
            )
            second = there.start(published, **draft_of(edited))
            assert await there.ended(second) == ["succeeded"]
        assert len(server.requests) == 1
    assert {i: run.status for i, run in here.runs(second).items()} == {
        "start": "reused", "call": "reused", "limit": "succeeded",
    }  # fmt: skip
    assert [row["id"] for row in here.rows_of(second, "limit")] == [1, 2]


@on_loop
async def test_a_draft_run_that_goes_on_after_a_crash_has_all_that_it_reused(here: Place) -> None:
    """What was reused is written down without its outputs: they lie under its key."""
    with http_server() as server:
        begin = node("call", "core.http_request", {"url": f"{server.url}/items"})
        flow = chain(start([{"n": 1}]), begin)
        longer = chain(
            start([{"n": 1}]), begin, node("slow", "core.http_request", {"url": f"{server.url}/slow?s=2"}),
            node("all", "core.set", {"fields": {"ids": "{{ node('call').items | map(attribute='id') | list }}"}}),
        )  # fmt: skip
        published = here.publish(flow)
        async with working(here) as there:
            assert await there.ended(there.start(published, **draft_of(flow))) == ["succeeded"]
            id_ = there.start(published, **draft_of(longer))
            await there.wait(lambda: here.runs(id_), "what is reused")
            await there.wait(lambda: len(server.requests) == 4, "the slow calls")
            here.change("UPDATE worker SET lease_until_ms = 1")
            assert await there.ended(id_) == ["succeeded"], here.execution(id_).error
    assert here.rows_of(id_, "all")[0]["ids"] == [1, 2, 3]


@on_loop
async def test_a_draft_run_holds_what_it_is_told_to_hold(here: Place) -> None:
    with http_server() as server:
        flow = chain(start([{"n": 1}]), node("send", "core.http_request", {"url": f"{server.url}/x", "method": "POST"}))
        published = here.publish(flow)
        async with working(here) as there:
            id_ = there.start(published, **draft_of(flow, held=["send"]))
            assert await there.ended(id_) == ["succeeded"]
        assert server.requests == []
    assert here.runs(id_)["send"].status == "held"
    assert here.runs(id_)["send"].result.held[0]["url"].endswith("/x")


@on_loop
async def test_a_draft_run_is_told_in_order_with_its_fence(here: Place) -> None:
    published = here.publish(five())
    async with working(here) as there:
        id_ = there.start(published, **draft_of(five(), items=[{"n": 3}]))
        found = await asyncio.wait_for(events_of(there, [id_]), 10)
    told = [event for _, _, event in found]
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert {event["fence"] for event in told} == {1}
    assert [e["node_id"] for e in told if e["kind"] == "node.finished"] == ["start", "set", "over", "sort", "limit"]
    last = next(e for e in told if e["kind"] == "node.finished" and e["node_id"] == "limit")
    assert last["counts"] == {"main": 1}


@on_loop
async def test_what_ran_at_once_before_a_node_that_waits_is_told_too(here: Place) -> None:
    with http_server() as server:
        flow = chain(
            node("start", "core.manual"),
            node("first", params={"fields": {"n": 1}}),
            node("slow", "core.http_request", {"url": f"{server.url}/slow?s=0.3"}),
            node("last", params={"fields": {"n": 2}}),
        )
        published = here.publish(flow)
        async with working(here) as there:
            await there.ended(there.start(published, [{}]))  # from now on its program is at hand
            id_ = there.start(published, [{}])
            told = [event for _, _, event in await asyncio.wait_for(events_of(there, [id_]), 10)]
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert told[0]["kind"] == "execution.started"
    assert [e["node_id"] for e in told if e["kind"] == "node.finished"] == ["start", "first", "slow", "last"]
    assert list(here.runs(id_)) == ["start", "first", "slow", "last"]


@on_loop
async def test_what_is_told_is_committed_by_then(here: Place) -> None:
    with http_server() as server:
        flow = chain(
            start([{"n": 1}]),
            *(node(f"n{i}", "core.http_request", {"url": f"{server.url}/slow?s=0.1"}) for i in range(6)),
        )
        published = here.publish(flow)
        async with working(here) as there:
            id_ = there.start(published, **draft_of(flow))
            bus = RedisBus(here.redis_url)
            checked = 0
            async for received in bus.follow([f"execution:{id_}"], "start"):
                if isinstance(received, Gap):
                    continue
                known = await asyncio.to_thread(here.runs, id_)
                ended = [e["node_id"] for e in received.message["events"] if e["kind"] == "node.finished"]
                assert set(ended) <= set(known)
                checked += len(ended)
                if any(e["kind"] == "execution.finished" for e in received.message["events"]):
                    assert here.statuses(id_) == ["succeeded"]
                    break
            await bus.close()
    assert checked == 7


@on_loop
async def test_who_watches_is_told_at_most_twenty_times_a_second(here: Place) -> None:
    with http_server() as server:
        calls = [node(f"n{i}", "core.http_request", {"url": f"{server.url}/slow?s=0.01"}) for i in range(60)]
        flow = chain(start([{"n": 1}]), *calls)
        published = here.publish(flow)
        async with working(here) as there:
            began = time.monotonic()
            id_ = there.start(published, **draft_of(flow))
            found = await asyncio.wait_for(events_of(there, [id_]), 30)
            took = time.monotonic() - began
    messages = len({message_id for _, message_id, _ in found})
    assert len(found) > 120
    assert messages <= 20 * took + 2


@on_loop
async def test_a_long_row_does_not_hold_up_the_others(here: Place) -> None:
    """What is long is read and written down in a thread, however few rows it is."""
    published = here.publish(chain(node("start", "core.manual"), node("a", params={"fields": {"n": 1}})))
    text = "".join(random.choices("abcdefghijklmnop", k=20_000_000))
    longest = 0.0
    async with working(here) as there:
        await there.ended(there.start(published))
        made = await asyncio.to_thread(here.start, published, [{"text": text}])
        there.worker._journal.wake()
        ends_at = time.monotonic() + 20
        while here.statuses(made) != ["succeeded"] and time.monotonic() < ends_at:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
    print(f"longest_hold_ms {longest * 1_000:.0f}")
    assert here.statuses(made) == ["succeeded"]
    assert longest < 1
