import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
import redis

from engine.errors import DefinitionError
from engine.runtime.bus import BusUnavailable, Gap, RedisBus, ThrottledPublisher
from engine.runtime.bus.redis_bus import LOST_TOPICS_LIMIT, _LostTopics
from engine.runtime.queue import Wakes
from tests.support.servers import OwnRedis


def run(server: OwnRedis, body: Callable[[RedisBus], Awaitable[None]]) -> None:
    async def main() -> None:
        bus = RedisBus(server.url)
        try:
            async with asyncio.timeout(15):
                await body(bus)
        finally:
            await bus.close()

    asyncio.run(main())


async def publish_until_it_works(bus: RedisBus, topic: str, message: dict[str, int]) -> None:
    ends_at = time.monotonic() + 3
    while True:
        try:
            return await bus.publish(topic, message)
        except BusUnavailable:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.02)


async def next_message(followed, limit_s: float = 3) -> tuple[int, int | None]:
    """How many gaps come, then the number in the first message."""
    gaps = 0
    async with asyncio.timeout(limit_s):
        while isinstance(one := await anext(followed), Gap):
            gaps += 1
    return gaps, one.message["n"]


def test_a_follower_comes_back_with_a_gap_when_redis_was_killed_and_restarted(mortal_redis):
    async def body(bus):
        await bus.publish("a", {"n": 0})
        async with aclosing(bus.follow(["a"], "start")) as followed:
            assert await next_message(followed) == (0, 0)
            waiting = asyncio.create_task(next_message(followed))
            await asyncio.sleep(0.1)
            mortal_redis.kill()
            await asyncio.sleep(0.3)
            mortal_redis.start()
            await publish_until_it_works(bus, "a", {"n": 1})
            gaps, number = await waiting
            assert gaps >= 1
            assert number == 1

    run(mortal_redis, body)


def test_a_follower_that_starts_while_redis_is_away_is_told_to_read_the_database(mortal_redis):
    async def body(bus):
        mortal_redis.kill()
        async with aclosing(bus.follow(["a", "b"])) as followed:
            waiting = asyncio.create_task(anext(followed))
            await asyncio.sleep(0.2)
            mortal_redis.start()
            given = [await waiting, await anext(followed)]
        assert [(type(one), one.topic) for one in given] == [(Gap, "a"), (Gap, "b")]

    run(mortal_redis, body)


def test_a_follower_goes_on_without_a_word_after_redis_came_back_and_the_gap_was_told(mortal_redis):
    async def body(bus):
        async with aclosing(bus.follow(["a"])) as followed:
            waiting = asyncio.create_task(anext(followed))
            await asyncio.sleep(0.1)
            mortal_redis.restart()
            assert isinstance(await asyncio.wait_for(waiting, 3), Gap)
            for n in range(50):
                await publish_until_it_works(bus, "a", {"n": n})
            numbers = [(await next_message(followed))[1] for _ in range(50)]
        assert numbers == list(range(50))

    run(mortal_redis, body)


def test_publishing_without_redis_gives_up_at_once(mortal_redis):
    async def body(bus):
        await bus.publish("a", {"n": 0})
        mortal_redis.kill()
        started_at = time.monotonic()
        for _ in range(500):
            with pytest.raises(BusUnavailable):
                await bus.publish("a", {"n": 1})
            with pytest.raises(BusUnavailable):
                bus.publish_many_sync([("a", {"n": 1})])
        with pytest.raises(BusUnavailable):
            await bus.newest(["a"])
        assert time.monotonic() - started_at < 0.5

    run(mortal_redis, body)


def test_a_thread_that_publishes_to_a_redis_that_hangs_waits_once(mortal_redis):
    async def body(bus):
        bus.publish_many_sync([("a", {"n": 0})])
        with mortal_redis.frozen():
            started_at = time.monotonic()
            for _ in range(20):
                with pytest.raises(BusUnavailable):
                    bus.publish_many_sync([("a", {"n": 1})])
            assert time.monotonic() - started_at < 0.35
            await asyncio.sleep(0.3)

    run(mortal_redis, body)


def test_what_could_not_be_published_shows_as_a_gap_to_who_never_lost_redis(mortal_redis):
    async def body(bus):
        bus.publish_many_sync([("a", {"n": 0}), ("b", {"n": 0})])
        async with aclosing(bus.follow(["a"], "start")) as followed:
            assert await next_message(followed) == (0, 0)
            waiting = asyncio.create_task(anext(followed))
            await asyncio.sleep(0.1)
            with mortal_redis.frozen(), pytest.raises(BusUnavailable):
                bus.publish_many_sync([("a", {"n": 1})])
            await publish_until_it_works(bus, "b", {"n": 2})  # another topic is enough to tell
            given = [await asyncio.wait_for(waiting, 3)]
            if not isinstance(given[0], Gap):  # it arrived, though its sender could not know
                assert given[0].message == {"n": 1}
                given.append(await anext(followed))
            assert isinstance(given[-1], Gap)

    run(mortal_redis, body)


def test_publishing_works_again_as_soon_as_redis_does(mortal_redis):
    async def body(bus):
        await bus.publish("a", {"n": 0})
        bus.publish_many_sync([("a", {"n": 0})])
        mortal_redis.restart()
        await asyncio.sleep(0.02)  # the loop hears that its connection is closed
        await bus.publish("a", {"n": 1})
        mortal_redis.restart()
        bus.publish_many_sync([("a", {"n": 2})])

    run(mortal_redis, body)


def test_publishing_survives_a_redis_that_forgot_its_scripts(redis_server):
    async def body(bus):
        await bus.publish("a", {"n": 0})
        with redis.Redis.from_url(redis_server.url) as client:
            client.script_flush()
        bus.publish_many_sync([("a", {"n": 1})])
        async with aclosing(bus.follow(["a"], "start")) as followed:
            assert [await next_message(followed), await next_message(followed)] == [(0, 0), (0, 1)]

    run(redis_server, body)


def test_what_is_owed_to_followers_is_bounded_and_keeps_the_newest():
    lost = _LostTopics()
    lost.add(f"execution:{n}" for n in range(LOST_TOPICS_LIMIT + 500))
    taken = []
    while some := lost.take():
        taken += some
    assert taken == [f"execution:{n}" for n in range(500, LOST_TOPICS_LIMIT + 500)]


def test_a_throttled_publisher_goes_on_after_redis_was_away(mortal_redis):
    async def body(bus):
        async with ThrottledPublisher(bus) as publisher:
            mortal_redis.kill()
            publisher.publish("a", {"n": 0})
            await asyncio.sleep(0.1)
            mortal_redis.start()
            await asyncio.sleep(0.4)
            publisher.publish("a", {"n": 1})
        async with aclosing(bus.follow(["a"], "start")) as followed:
            assert isinstance(await anext(followed), Gap)
            assert (await anext(followed)).message == {"events": [{"n": 1}]}

    run(mortal_redis, body)


def test_streams_are_trimmed_expire_and_stay_out_of_the_queue_s_database(redis_server):
    async def body(bus):
        await bus.publish_many([("execution:1", {"n": n}) for n in range(5_000)])
        with redis.Redis.from_url(redis_server.url) as queue:
            assert queue.keys() == []
        with redis.Redis.from_url(redis_server.url, db=1) as client:
            assert client.keys() == [b"flowleaf:bus:execution:1"]
            assert 2_000 <= client.xlen("flowleaf:bus:execution:1") <= 2_100
            assert 590 <= client.ttl("flowleaf:bus:execution:1") <= 600

    run(redis_server, body)


def test_a_follower_holds_one_connection_and_gives_it_back(redis_server):
    async def body(bus):
        with redis.Redis.from_url(redis_server.url) as client:
            before = len(client.client_list())
            task = asyncio.create_task(anext(bus.follow([f"t{n}" for n in range(20)])))
            await asyncio.sleep(0.2)
            assert len(client.client_list()) == before + 1
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.1)
            assert len(client.client_list()) == before

    run(redis_server, body)


def test_many_threads_publish_at_once(redis_server):
    async def body(bus):
        def publish(number: int) -> None:
            for n in range(100):
                bus.publish_many_sync([(f"t{number}", {"n": n})])

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        for number in range(4):
            async with aclosing(bus.follow([f"t{number}"], "start")) as followed:
                assert [await next_message(followed) for _ in range(100)] == [(0, n) for n in range(100)]

    run(redis_server, body)


@pytest.mark.parametrize("opened", [RedisBus, Wakes], ids=["bus", "queue"])
def test_an_address_that_is_none_of_redis_is_refused_without_showing_it(opened):
    with pytest.raises(DefinitionError) as raised:
        opened("localhost:secret@6379")
    assert "secret" not in f"{raised.value} {raised.value.hint}"
    assert "FLOWLEAF_REDIS_URL" in raised.value.hint
