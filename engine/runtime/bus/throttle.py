"""Gathers events by topic, so that a busy topic becomes a few messages a second."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from engine.runtime.bus.messages import Bus, BusUnavailable, Message


class Throttle:
    """Says which message to publish when: `{"events": [...]}`, at most so many a second per topic, none lost.

    The first event of a quiet topic goes at once; those that follow too soon go together, when their time has come.
    Only decides: whoever holds it publishes, and asks again after `wait_s()`. For one thread.

    Args:
        per_s: messages a second, per topic.
        clock: seconds, never going back.
    """

    def __init__(self, per_s: float = 20.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = 1.0 / per_s
        self._clock = clock
        # By topic, when it may publish again; the soonest first, since every pause is as long.
        self._free_at_s: dict[str, float] = {}
        self._waiting: dict[str, list[Mapping[str, Any]]] = {}

    def add(self, topic: str, event: Mapping[str, Any]) -> Message | None:
        """The message to publish now for this event; None: it is kept for later."""
        now_s = self._clock()
        if topic in self._waiting:
            self._waiting[topic].append(event)
            return None
        if self._free_at_s.get(topic, now_s) > now_s:
            self._waiting[topic] = [event]
            return None
        self._hold(topic, now_s)
        return {"events": [event]}

    def due(self) -> list[tuple[str, Message]]:
        """The messages whose time has come, by topic."""
        now_s = self._clock()
        messages: list[tuple[str, Message]] = []
        while self._free_at_s:
            topic, free_at_s = next(iter(self._free_at_s.items()))
            if free_at_s > now_s:
                break
            if topic in self._waiting:
                messages.append((topic, {"events": self._waiting.pop(topic)}))
                self._hold(topic, now_s)
            else:
                del self._free_at_s[topic]
        return messages

    def flush(self) -> list[tuple[str, Message]]:
        """All that is kept, whether its time has come or not: the last to publish."""
        messages: list[tuple[str, Message]] = [(topic, {"events": events}) for topic, events in self._waiting.items()]
        self._waiting.clear()
        self._free_at_s.clear()
        return messages

    def wait_s(self) -> float | None:
        """Seconds until `due()` has something to say; None: nothing is kept."""
        if not self._waiting:
            return None
        return max(0.0, next(iter(self._free_at_s.values())) - self._clock())

    def _hold(self, topic: str, now_s: float) -> None:
        self._free_at_s.pop(topic, None)
        self._free_at_s[topic] = now_s + self._pause_s


class ThrottledPublisher:
    """Publishes events through a Throttle, in one event loop; leaving it publishes the last.

    What the bus cannot take is dropped: the bus tells the followers of a gap.
    """

    def __init__(self, bus: Bus, *, per_s: float = 20.0) -> None:
        self._bus = bus
        self._throttle = Throttle(per_s)
        self._ready: list[tuple[str, Message]] = []
        self._added = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def publish(self, topic: str, event: Mapping[str, Any]) -> None:
        """Publish an event, now or with its next neighbours; never waits."""
        message = self._throttle.add(topic, event)
        if message is not None:
            self._ready.append((topic, message))
        self._added.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._publish())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._added.set()
        if self._task is not None:
            await self._task

    async def _publish(self) -> None:
        while not self._is_closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._added.wait(), self._throttle.wait_s())
            self._added.clear()
            messages, self._ready = self._ready + self._throttle.due(), []
            await self._send(messages)
        await self._send(self._ready + self._throttle.flush())

    async def _send(self, messages: list[tuple[str, Message]]) -> None:
        if messages:
            with suppress(BusUnavailable):
                await self._bus.publish_many(messages)
