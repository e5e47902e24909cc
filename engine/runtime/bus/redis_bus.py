"""The bus on Redis streams: one stream per topic, one script call per publish, one blocking read per follower."""

import asyncio
import logging
import random
import threading
from collections.abc import AsyncGenerator, Awaitable, Collection, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar, cast

import redis.asyncio
from redis.exceptions import RedisError

from engine.runtime.bus.messages import EXPIRE_S, KEPT, After, BusUnavailable, Gap, Message, Received
from engine.runtime.bus.positions import Positions
from engine.runtime.bus.script import PUBLISH, arguments, grouped
from engine.runtime.circuit import Circuit
from engine.runtime.redis_clients import loop_client, thread_client

PREFIX = "flowleaf:bus:"
DATABASE = 1  # where the url names none: the queue's maintenance lists all keys of database 0
THREAD_LIMIT_S = 0.2
LOOP_LIMIT_S = 0.5  # a busy event loop is late by itself
BLOCK_MS = 5_000
READ_COUNT = 500
LOST_TOPICS_LIMIT = 10_000
LOST_TOPICS_PER_CALL = 500
RECONNECT_S = (0.05, 1.0)

T = TypeVar("T")
_Entries: TypeAlias = Iterable[tuple[bytes, Mapping[bytes, bytes]]]
_Answer: TypeAlias = Iterable[tuple[bytes, _Entries]]  # of XREAD, by protocol 2

_log = logging.getLogger(__name__)


class RedisBus:
    """A `Bus` on a Redis server; see there.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        limits: messages kept per topic, by kind. Redis trims whole blocks of 100: somewhat more may be kept.
        expire_s: a topic is forgotten so long after its last message.
    """

    def __init__(self, url: str, *, limits: Mapping[str, int] = KEPT, expire_s: int = EXPIRE_S) -> None:
        self._url = url
        self._limits = limits
        self._expire_s = expire_s
        self._circuit = Circuit()
        self._lost = _LostTopics()
        self._loop_client = loop_client(url, database=DATABASE, limit_s=LOOP_LIMIT_S)
        self._thread_client = thread_client(url, database=DATABASE, limit_s=THREAD_LIMIT_S)
        self._loop_script = self._loop_client.register_script(PUBLISH)
        self._thread_script = self._thread_client.register_script(PUBLISH)

    async def publish(self, topic: str, message: Message) -> None:
        """Publish one message."""
        await self.publish_many([(topic, message)])

    async def publish_many(self, messages: Iterable[tuple[str, Message]]) -> None:
        """Publish messages in one round trip."""
        entries = self._entries(messages)
        if not entries:
            return
        keys, values = self._call(entries)
        try:
            await self._loop_script(keys, values)
        except (RedisError, OSError) as exc:
            raise self._unavailable(entries) from exc
        except asyncio.CancelledError:
            self._lost.add(entries)  # it may or may not have arrived
            raise
        self._circuit.worked()

    def publish_many_sync(self, messages: Iterable[tuple[str, Message]]) -> None:
        """As `publish_many`, from any thread."""
        entries = self._entries(messages)
        if not entries:
            return
        keys, values = self._call(entries)
        try:
            self._thread_script(keys, values)
        except (RedisError, OSError) as exc:
            raise self._unavailable(entries) from exc
        self._circuit.worked()

    async def newest(self, topics: Collection[str]) -> dict[str, str]:
        """The id of each topic's newest message; topics that hold none have the place before the first."""
        try:
            found = await self._newest(self._loop_client, topics)
        except (RedisError, OSError) as exc:
            raise BusUnavailable("Redis cannot be reached.") from exc
        places = Positions(topics, "now")
        places.settle(found)
        return {topic: places[topic] for topic in topics}

    async def follow(self, topics: Collection[str], after: After = "now") -> AsyncGenerator[Received | Gap, None]:
        """What comes after a place, on a connection of its own; comes back by itself when Redis does."""
        places = Positions(topics, after)
        topic_of = {(PREFIX + topic).encode(): topic for topic in topics}
        was_away, wait_s = False, RECONNECT_S[0]
        client = loop_client(self._url, database=DATABASE, limit_s=BLOCK_MS / 1_000 + 2.0)
        try:
            while True:
                try:
                    found = await _cancellable(self._newest(client, topics))
                    for gap in places.settle(found, was_away=was_away):
                        yield gap
                    was_away, wait_s = False, RECONNECT_S[0]
                    # An idle read ends after a while, and the loop looks whether what was read is still there.
                    while answer := await _cancellable(
                        client.xread(
                            {key: places[topic] for key, topic in topic_of.items()}, count=READ_COUNT, block=BLOCK_MS
                        )
                    ):
                        for key, entries in cast(_Answer, answer):
                            for given in places.read(topic_of[key], _data(entries)):
                                yield given
                except (RedisError, OSError) as exc:
                    if not was_away:
                        _log.info("Redis cannot be followed: %s", exc)
                    was_away = True
                    await asyncio.sleep(wait_s * random.uniform(0.7, 1.0))
                    wait_s = min(wait_s * 2, RECONNECT_S[1])
        finally:
            await client.aclose()

    async def close(self) -> None:
        """Give up the connections of loop and threads; followers have their own and end with their task."""
        await self._loop_client.aclose()
        self._thread_client.close()

    async def _newest(self, client: redis.asyncio.Redis, topics: Collection[str]) -> dict[str, str]:
        async with client.pipeline(transaction=False) as pipeline:
            for topic in topics:
                pipeline.xrevrange(PREFIX + topic, count=1)
            answers = await pipeline.execute()
        return {topic: answer[0][0].decode() for topic, answer in zip(topics, answers, strict=True) if answer}

    def _entries(self, messages: Iterable[tuple[str, Message]]) -> dict[str, list[bytes]]:
        if self._circuit.is_open:
            self._lost.add(topic for topic, _ in messages)
            raise BusUnavailable("Redis could not be reached a moment ago.")
        return grouped(messages, self._lost.take())

    def _call(self, entries: Mapping[str, list[bytes]]) -> tuple[list[str], list[bytes | int]]:
        return [PREFIX + topic for topic in entries], arguments(entries, self._limits, self._expire_s)

    def _unavailable(self, topics: Iterable[str]) -> BusUnavailable:
        self._circuit.failed()
        self._lost.add(topics)
        return BusUnavailable("Redis cannot be reached.")


class _LostTopics:
    """Topics on which a message could not be published: their followers are owed a gap."""

    def __init__(self) -> None:
        self._topics: dict[str, None] = {}
        self._lock = threading.Lock()

    def add(self, topics: Iterable[str]) -> None:
        with self._lock:
            self._topics.update(dict.fromkeys(topics))
            while len(self._topics) > LOST_TOPICS_LIMIT:  # the oldest: Redis was away so long that followers noticed
                del self._topics[next(iter(self._topics))]

    def take(self) -> list[str]:
        if not self._topics:
            return []
        with self._lock:
            taken = list(self._topics)[:LOST_TOPICS_PER_CALL]
            for topic in taken:
                del self._topics[topic]
            return taken


async def _cancellable(call: Awaitable[T]) -> T:
    """The result of a call of the client, given up at once where the task is cancelled.

    Python 3.11's `wait_for`, by which the client sends, loses a cancellation that comes as its work is done: the
    follower would then read on, and whoever waits for its end with it.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise
    return task.result()


def _data(entries: _Entries) -> Iterator[tuple[str, bytes]]:
    for entry_id, fields in entries:
        yield entry_id.decode(), fields[b"m"]
