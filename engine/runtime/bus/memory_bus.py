"""The bus within one process: for tests, and for what runs without Redis."""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import suppress
from itertools import count, islice

from engine.runtime.bus.messages import EXPIRE_S, KEPT, After, Gap, Message, Received, kept
from engine.runtime.bus.positions import START, Positions, numbers
from engine.runtime.bus.script import grouped

CHECK_S = 5.0


class MemoryBus:
    """A `Bus` whose publishers and followers share a process, in any threads and event loops; see there.

    Args:
        limits: messages kept per topic, by kind.
        expire_s: a topic is forgotten so long after its last message.
    """

    def __init__(self, *, limits: Mapping[str, int] = KEPT, expire_s: float = EXPIRE_S) -> None:
        self._limits = limits
        self._expire_s = expire_s
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}  # the one published on longest ago first
        self._lives = count(time.time_ns() // 1_000_000)
        self._followers: defaultdict[str, set[_Follower]] = defaultdict(set)

    async def publish(self, topic: str, message: Message) -> None:
        """Publish one message."""
        self.publish_many_sync([(topic, message)])

    async def publish_many(self, messages: Iterable[tuple[str, Message]]) -> None:
        """Publish messages."""
        self.publish_many_sync(messages)

    def publish_many_sync(self, messages: Iterable[tuple[str, Message]]) -> None:
        """Publish messages from any thread."""
        entries = grouped(messages)
        with self._lock:
            self._forget_expired()
            for name, data in entries.items():
                topic = self._topics.pop(name, None) or _Topic(next(self._lives), kept(name, self._limits))
                self._topics[name] = topic
                topic.append(data)
            followers = {follower for name in entries for follower in self._followers.get(name, ())}
        for follower in followers:
            follower.wake()

    async def newest(self, topics: Collection[str]) -> dict[str, str]:
        """The id of each topic's newest message; topics that hold none have the place before the first."""
        return dict.fromkeys(topics, START) | self._newest(topics)

    async def follow(self, topics: Collection[str], after: After = "now") -> AsyncGenerator[Received | Gap, None]:
        """What comes after a place."""
        places = Positions(topics, after)
        follower = _Follower()
        with self._lock:
            for topic in topics:
                self._followers[topic].add(follower)
        try:
            while True:
                follower.woken.clear()
                for gap in places.settle(self._newest(topics)):
                    yield gap
                for topic in topics:
                    for given in places.read(topic, self._entries(topic, places[topic])):
                        yield given
                # Not wait_for: that of Python 3.11 loses a cancellation that comes as it is woken.
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await follower.woken.wait()
        finally:
            with self._lock:
                for topic in topics:
                    self._followers[topic].discard(follower)
                    if not self._followers[topic]:
                        del self._followers[topic]

    async def close(self) -> None:
        """Does nothing: there is no connection."""

    def forget_all(self) -> None:
        """Lose every message, as a Redis does that is restarted."""
        with self._lock:
            self._topics.clear()
            followers = {follower for followers in self._followers.values() for follower in followers}
        for follower in followers:
            follower.wake()

    def _newest(self, topics: Collection[str]) -> dict[str, str]:
        with self._lock:
            self._forget_expired()
            return {topic: self._topics[topic].newest for topic in topics if topic in self._topics}

    def _entries(self, topic: str, place: str) -> list[tuple[str, bytes]]:
        with self._lock:
            return self._topics[topic].after(place) if topic in self._topics else []

    def _forget_expired(self) -> None:
        oldest_s = time.monotonic() - self._expire_s
        while self._topics:
            name = next(iter(self._topics))
            if self._topics[name].published_s > oldest_s:
                break
            del self._topics[name]


class _Topic:
    """One life of a topic: its newest messages, numbered from 1 since it began."""

    def __init__(self, life: int, limit: int) -> None:
        self.life = life
        self.last = 0
        self.published_s = 0.0
        self._data: deque[bytes] = deque(maxlen=limit)

    @property
    def newest(self) -> str:
        return f"{self.life}-{self.last}"

    def append(self, data: list[bytes]) -> None:
        self._data.extend(data)
        self.last += len(data)
        self.published_s = time.monotonic()

    def after(self, place: str) -> list[tuple[str, bytes]]:
        life, number = numbers(place) or (0, 0)
        first = self.last - len(self._data) + 1
        start = max(number + 1, first) if life == self.life else first
        return [(f"{self.life}-{start + i}", data) for i, data in enumerate(islice(self._data, start - first, None))]


class _Follower:
    """Wakes one follower, from any thread."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        with suppress(RuntimeError):  # its loop has closed
            self._loop.call_soon_threadsafe(self.woken.set)
