"""What every bus does: on Redis and in memory."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

import pytest
import redis

from engine.runtime.bus import START, Bus, Gap, MemoryBus, Received, RedisBus, ThrottledPublisher
from tests.support.servers import OwnRedis

LIMITS = {"short": 100}


class Harness:
    """Makes a bus and loses what it holds."""

    def __init__(self, server: OwnRedis | None) -> None:
        self._server = server
        self.bus: Bus

    async def __aenter__(self) -> "Harness":
        self.bus = self.make()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.bus.close()

    def make(self, expire_s: int = 600) -> Bus:
        if self._server is None:
            return MemoryBus(limits=LIMITS, expire_s=expire_s)
        return RedisBus(self._server.url, limits=LIMITS, expire_s=expire_s)

    def lose_all(self) -> None:
        if isinstance(self.bus, MemoryBus):
            self.bus.forget_all()
        else:
            with redis.Redis.from_url(self._server.url) as client:
                client.flushall()


@pytest.fixture(params=["memory", "redis"])
def run(request) -> Callable[[Callable[[Harness], Awaitable[None]]], None]:
    """Runs a coroutine function with a harness, in an event loop of its own."""
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None

    def call(body: Callable[[Harness], Awaitable[None]]) -> None:
        async def main() -> None:
            async with Harness(server) as harness, asyncio.timeout(10):
                await body(harness)

        asyncio.run(main())

    return call


async def take(followed: AsyncIterator[Received | Gap], count: int) -> list[Received | Gap]:
    return [await anext(followed) for _ in range(count)]


def contents(given: Iterable[Received | Gap]) -> list[Any]:
    """The number in each message, or "gap"."""
    return ["gap" if isinstance(one, Gap) else one.message["n"] for one in given]


async def rest(followed: AsyncIterator[Received | Gap], quiet_s: float = 0.15) -> list[Received | Gap]:
    """What comes until it is quiet."""
    given: list[Received | Gap] = []

    async def collect() -> None:
        async for one in followed:
            given.append(one)

    with suppress(TimeoutError):
        await asyncio.wait_for(collect(), quiet_s)
    return given


def numbered(topic: str, numbers: Iterable[int]) -> list[tuple[str, dict[str, Any]]]:
    return [(topic, {"n": n}) for n in numbers]


async def started(followed: AsyncIterator[Received | Gap]) -> asyncio.Task[Received | Gap]:
    """A task that waits for the first, after it has had time to reach the bus."""
    task = asyncio.ensure_future(anext(followed))
    await asyncio.sleep(0.1)
    return task


def test_a_follower_gets_what_is_published_in_order(run):
    async def body(harness):
        async with aclosing(harness.bus.follow(["a"])) as followed:
            first = await started(followed)
            await harness.bus.publish("a", {"n": 0, "text": "Zoë", "deep": {"list": [1, None]}})
            await harness.bus.publish_many(numbered("a", range(1, 300)))
            given = [await first, *await take(followed, 299)]
        assert contents(given) == list(range(300))
        assert given[0].topic == "a"
        assert given[0].message == {"n": 0, "text": "Zoë", "deep": {"list": [1, None]}}

    run(body)


def test_a_follower_from_now_gets_nothing_older(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("a", range(3)))
        async with aclosing(harness.bus.follow(["a"])) as followed:
            first = await started(followed)
            await harness.bus.publish("a", {"n": 3})
            assert contents([await first]) == [3]

    run(body)


def test_a_follower_from_the_start_gets_all_that_is_kept(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("a", range(3)))
        async with aclosing(harness.bus.follow(["a"], "start")) as followed:
            assert contents(await take(followed, 3)) == [0, 1, 2]
            await harness.bus.publish("a", {"n": 3})
            assert contents(await take(followed, 1)) == [3]

    run(body)


def test_following_again_by_id_misses_nothing_and_repeats_nothing(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("a", range(10)))
        async with aclosing(harness.bus.follow(["a"], "start")) as followed:
            seen = await take(followed, 4)
        await harness.bus.publish_many(numbered("a", range(10, 12)))
        async with aclosing(harness.bus.follow(["a"], {"a": seen[-1].id})) as followed:
            assert contents(await rest(followed)) == list(range(4, 12))

    run(body)


def test_following_after_the_newest_gets_what_was_published_since_it_was_asked(run):
    async def body(harness):
        await harness.bus.publish("a", {"n": 0})
        newest = await harness.bus.newest(["a", "b"])
        await harness.bus.publish_many([("a", {"n": 1}), ("b", {"n": 2})])
        async with aclosing(harness.bus.follow(["a", "b"], newest)) as followed:
            assert sorted(contents(await rest(followed))) == [1, 2]

    run(body)


def test_several_followers_get_everything_each(run):
    async def body(harness):
        await harness.bus.publish("a", {"n": 0})

        async def follow() -> list[Any]:
            async with aclosing(harness.bus.follow(["a"], "start")) as followed:
                return contents(await take(followed, 100))

        followers = [asyncio.create_task(follow()) for _ in range(5)]
        await asyncio.sleep(0.05)
        for n in range(1, 100):
            await harness.bus.publish("a", {"n": n})
        assert await asyncio.gather(*followers) == [list(range(100))] * 5

    run(body)


def test_a_follower_of_some_topics_gets_no_others(run):
    async def body(harness):
        messages = [(topic, {"n": n, "of": topic}) for n in range(20) for topic in ("a", "b", "c")]
        await harness.bus.publish_many(messages)
        async with aclosing(harness.bus.follow(["a", "c"], "start")) as followed:
            given = await rest(followed)
        assert {one.topic for one in given} == {"a", "c"}
        assert all(one.message["of"] == one.topic for one in given)
        for topic in ("a", "c"):
            assert contents(one for one in given if one.topic == topic) == list(range(20))

    run(body)


def test_threads_publish_too(run):
    async def body(harness):
        def publish(start: int) -> None:
            for n in range(start, start + 50):
                harness.bus.publish_many_sync([("a", {"n": n})])

        async with aclosing(harness.bus.follow(["a"])) as followed:
            first = await started(followed)
            threads = [threading.Thread(target=publish, args=(start,)) for start in (0, 1_000)]
            for thread in threads:
                thread.start()
            given = contents([await first, *await take(followed, 99)])
            for thread in threads:
                thread.join()
        assert [n for n in given if n < 1_000] == list(range(50))
        assert [n for n in given if n >= 1_000] == list(range(1_000, 1_050))

    run(body)


def test_following_while_others_publish_misses_nothing(run):
    async def body(harness):
        async def publish() -> None:
            for n in range(400):
                await harness.bus.publish("a", {"n": n})
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish())
        place, seen = START, []
        while len(seen) < 400:
            async with aclosing(harness.bus.follow(["a"], {"a": place})) as followed:
                given = await take(followed, min(7, 400 - len(seen)))
            seen += contents(given)
            place = given[-1].id
        await publishing
        assert seen == list(range(400))

    run(body)


def test_a_place_that_was_trimmed_away_gives_a_gap_then_what_is_kept(run):
    async def body(harness):
        await harness.bus.publish("short:1", {"n": 0})
        place = await harness.bus.newest(["short:1"])
        await harness.bus.publish_many(numbered("short:1", range(1, 500)))
        async with aclosing(harness.bus.follow(["short:1"], place)) as followed:
            given = contents(await rest(followed))
        assert given[0] == "gap"
        assert given[-1] == 499
        assert len(given) >= 101
        assert given[1:] == list(range(500 - len(given) + 1, 500))

    run(body)


def test_a_place_that_was_trimmed_where_nothing_unread_went_gives_no_gap(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("short:1", range(1_000)))
        place = await harness.bus.newest(["short:1"])
        await harness.bus.publish_many(numbered("short:1", range(1_000, 1_050)))
        async with aclosing(harness.bus.follow(["short:1"], place)) as followed:
            assert contents(await rest(followed)) == list(range(1_000, 1_050))

    run(body)


def test_a_follower_that_is_too_slow_is_told(run):
    async def body(harness):
        async with aclosing(harness.bus.follow(["short:1"])) as followed:
            first = await started(followed)
            await harness.bus.publish("short:1", {"n": 0})
            await first
            await harness.bus.publish_many(numbered("short:1", range(1, 2_000)))
            given = contents(await rest(followed))
        # It may have read some before they were trimmed; whatever is missing, a gap stands in its place.
        assert given.count("gap") == 1
        gap = given.index("gap")
        assert given[:gap] == list(range(1, gap + 1))
        assert given[gap + 1 :] == list(range(2_000 - len(given) + gap + 1, 2_000))

    run(body)


def test_following_on_from_the_id_of_a_gap_repeats_nothing(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("short:1", range(500)))
        async with aclosing(harness.bus.follow(["short:1"], "start")) as followed:
            gap = await anext(followed)
        assert isinstance(gap, Gap)
        async with aclosing(harness.bus.follow(["short:1"], {"short:1": gap.id})) as followed:
            given = contents(await rest(followed))
        assert given == list(range(500 - len(given), 500))

    run(body)


def test_a_place_in_what_was_lost_gives_a_gap(run):
    async def body(harness):
        await harness.bus.publish_many(numbered("a", range(5)))
        place = await harness.bus.newest(["a"])
        harness.lose_all()
        await asyncio.sleep(0.005)
        await harness.bus.publish_many(numbered("a", range(5, 20)))
        async with aclosing(harness.bus.follow(["a"], place)) as followed:
            assert contents(await rest(followed)) == ["gap", *range(5, 20)]

    run(body)


def test_a_place_is_lost_also_where_nothing_came_since(run):
    async def body(harness):
        await harness.bus.publish("a", {"n": 0})
        place = await harness.bus.newest(["a"])
        harness.lose_all()
        async with aclosing(harness.bus.follow(["a"], place)) as followed:
            assert contents(await rest(followed)) == ["gap"]

    run(body)


@pytest.mark.parametrize("place", ["", "abc", "1", "-", "1-2-3", "²-1", "999999999999999-5", "9" * 5_000 + "-1"])
def test_a_place_that_is_none_gives_a_gap(run, place):
    async def body(harness):
        await harness.bus.publish("a", {"n": 0})
        async with aclosing(harness.bus.follow(["a"], {"a": place})) as followed:
            assert contents(await rest(followed)) == ["gap", 0]

    run(body)


def test_a_topic_is_forgotten_some_time_after_its_last_message(run):
    async def body(harness):
        bus = harness.make(expire_s=1)
        await bus.publish_many([("old", {"n": 0}), ("busy", {"n": 1})])
        await asyncio.sleep(0.6)
        await bus.publish("busy", {"n": 2})
        await asyncio.sleep(0.6)
        async with aclosing(bus.follow(["old", "busy"], "start")) as followed:
            assert contents(await rest(followed)) == [1, 2]
        await bus.close()

    run(body)


def test_cancelling_its_task_ends_a_follower(run):
    async def body(harness):
        async def follow() -> None:
            async for _ in harness.bus.follow(["a"]):
                pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)

    run(body)


def test_publishing_nothing_is_fine(run):
    async def body(harness):
        await harness.bus.publish_many([])
        harness.bus.publish_many_sync([])

    run(body)


def test_a_busy_topic_becomes_few_messages_and_loses_no_event(run):
    async def body(harness):
        async with aclosing(harness.bus.follow(["a"])) as followed:
            first = await started(followed)
            async with ThrottledPublisher(harness.bus, per_s=20) as publisher:
                for n in range(300):
                    publisher.publish("a", {"n": n})
                    await asyncio.sleep(0.001)
            messages = [(await first).message, *(one.message for one in await rest(followed))]
        assert [event["n"] for message in messages for event in message["events"]] == list(range(300))
        assert messages[0] == {"events": [{"n": 0}]}
        assert len(messages) < 100  # 20 a second, however long the 300 took: far fewer than one each

    run(body)


def test_a_follower_ends_at_once_however_soon_after_a_message_it_is_cancelled(run):
    async def body(harness: Harness) -> None:
        for turns in range(8):
            got = asyncio.Event()

            async def follow(got: asyncio.Event = got) -> None:
                async for _ in harness.bus.follow(["reply:x"], "now"):
                    got.set()

            following = asyncio.create_task(follow())
            await asyncio.sleep(0.05)
            await harness.bus.publish("reply:x", {})
            await got.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            following.cancel()
            done, _ = await asyncio.wait([following], timeout=1)
            assert done, f"cancelled {turns} turns after a message, it goes on"

    run(body)


def test_numbers_of_any_size_and_any_text_arrive_as_they_were(run):
    async def body(harness: Harness) -> None:
        message = {"long": [2**70, -(2**63) - 1, 2**64 - 1], "text": "half a pair: \ud800", "float": 1.5}
        await harness.bus.publish("reply:x", message)
        async with aclosing(harness.bus.follow(["reply:x"], "start")) as followed:
            async for received in followed:
                assert isinstance(received, Received)
                assert received.message == message
                break

    run(body)
