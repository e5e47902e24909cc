"""Following executions as they go: what the database knows, then what the bus tells, with nothing missed between."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

from engine.runtime.bus import Gap, Received
from engine.runtime.parts import Parts
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest
from engine.runtime.service.executions import ExecutionDetail, Executions, ExecutionView
from engine.runtime.store import StoreUnavailable

# What ends in 50 ms publishes nothing, and the bus may be away: the database is looked at this often.
LOOK_S = 1.0
MERGED = 500  # events in one message, of those that wait already
# At most so many messages a second, whatever the bus holds.
PAUSE_S = 0.05
PLACE = re.compile(r"(\d{1,9})-(\d{1,12})", re.ASCII)
ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})


class Place(NamedTuple):
    """The last event that a follower has: number of the claim, and of the event within it."""

    fence: int
    seq: int

    def __str__(self) -> str:
        return f"{self.fence}-{self.seq}"


class Told(NamedTuple):
    """One message to a follower.

    Attributes:
        kind: "snapshot": the execution with its ended node runs, `execution`; what was told before is in it.
            "events": `events`, in order, each with its fence and seq.
            "status": `execution`, which changed its status without an event.
            "end": `execution`, which has ended: the last message.
        place: what to follow after, once this was taken; None where no event was told yet.
    """

    kind: str
    data: dict[str, Any]
    place: Place | None


def place_of(text: str | None) -> Place | None:
    """The place that its text names. Raises BadRequest."""
    if text is None or text == "":
        return None
    found = PLACE.fullmatch(text)
    if found is None:
        raise BadRequest(f"{text[:50]!r} is no place to follow after", hint="Give back the last id, such as 1-17.")
    return Place(int(found[1]), int(found[2]))


class Following:
    """Follows executions. On one event loop."""

    def __init__(self, parts: Parts, executions: Executions) -> None:
        self._parts = parts
        self._executions = executions

    async def follow_execution(
        self, actor: Actor, execution_id: str, after: Place | None = None
    ) -> AsyncGenerator[Told, None]:
        """A snapshot, then every event behind `after`, in order and none twice, to the end of the execution.

        Without `after`, events of nodes whose end the snapshot holds are left out. Where events may be missing, there
        is another snapshot in their place. At most 20 messages a second.

        Raises:
            NotFound: there is no such execution; before anything is told.
        """
        actor = require(actor)
        # The database first: what is not there may not be followed.
        snapshot = await asyncio.to_thread(self._executions.get, actor, execution_id)
        follower = _Follower(self, actor, execution_id, after, snapshot)
        async with aclosing(follower.told()) as messages:
            paced_s = 0.0
            async for told in messages:
                wait_s = paced_s + PAUSE_S - time.monotonic()
                if wait_s > 0 and told.kind == "events":
                    await asyncio.sleep(wait_s)
                paced_s = time.monotonic()
                yield told

    async def until_ended(self, actor: Actor, execution_id: str, timeout_s: float) -> ExecutionView:
        """The execution once it has ended or waits for a decision, or as it is when that takes longer.

        The database is asked, since what ends quickly tells nobody; the answer is late by a tenth of what it took.

        Raises:
            NotFound: there is no such execution.
            StoreUnavailable: the database could not be asked in all that time.
        """
        began_s = time.monotonic()
        while True:
            waited_s = time.monotonic() - began_s
            try:
                found = await asyncio.to_thread(self._executions.find, actor, execution_id)
            except StoreUnavailable:
                if waited_s >= timeout_s:
                    raise
                await asyncio.sleep(0.25)
                continue
            if found.status in ENDED or found.status == "needs_decision" or waited_s >= timeout_s:
                return found
            await asyncio.sleep(min(max(waited_s / 10, 0.005), 0.25, max(timeout_s - waited_s, 0.001)))

    async def snapshot(self, actor: Actor, execution_id: str) -> ExecutionDetail:
        """The execution with its ended node runs, as soon as the database can be asked."""
        while True:
            try:
                return await asyncio.to_thread(self._executions.get, actor, execution_id)
            except StoreUnavailable:
                await asyncio.sleep(LOOK_S)

    async def look(self, actor: Actor, execution_id: str) -> ExecutionView:
        """The execution without its node runs, as soon as the database can be asked."""
        while True:
            try:
                return await asyncio.to_thread(self._executions.find, actor, execution_id)
            except StoreUnavailable:
                await asyncio.sleep(LOOK_S)

    def received(self, execution_id: str) -> AsyncIterator[Received | Gap]:
        """All that the bus holds of an execution, and what comes."""
        return self._parts.bus.follow([f"execution:{execution_id}"], "start")


class _Follower:
    """One follower of one execution."""

    def __init__(
        self, following: Following, actor: Actor, execution_id: str, after: Place | None, snapshot: ExecutionDetail
    ) -> None:
        self._following = following
        self._actor = actor
        self._id = execution_id
        self._place = after
        self._is_new = after is None
        self._status = snapshot.status
        self._snapshot = snapshot
        self._known = {run.node_id for run in snapshot.runs} if after is None else set()
        self._queue: asyncio.Queue[Received | Gap] = asyncio.Queue(maxsize=200)
        self._has_ended = False

    async def told(self) -> AsyncGenerator[Told, None]:
        """All messages."""
        pump = asyncio.create_task(self._pump())
        try:
            yield self._shown(self._snapshot)
            if self._status in ENDED:
                async for told in self._rest():
                    yield told
                return
            looked_s = time.monotonic()
            while True:
                try:
                    got: Received | Gap | None = await asyncio.wait_for(
                        self._queue.get(), max(looked_s + LOOK_S - time.monotonic(), 0.001)
                    )
                except TimeoutError:
                    got = None
                if got is not None:
                    async for told in self._heard(got):
                        yield told
                    if self._has_ended:
                        yield self._end(await self._following.look(self._actor, self._id))
                        return
                    is_nudge = isinstance(got, Received) and not got.message["events"]
                    if not is_nudge and time.monotonic() - looked_s < LOOK_S:
                        continue
                looked_s = time.monotonic()
                found = await self._following.look(self._actor, self._id)
                if found.status in ENDED:
                    async for told in self._last():
                        yield told
                    return
                if found.status != self._status:
                    self._status = found.status
                    yield Told("status", {"execution": found}, self._place)
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _pump(self) -> None:
        received = self._following.received(self._id)
        try:
            async for one in received:
                await self._queue.put(one)
        finally:
            close = getattr(received, "aclose", None)
            if close is not None:
                await close()

    async def _rest(self) -> AsyncGenerator[Told, None]:
        """Of an execution that had ended when it was asked for: what a follower that comes back has not had."""
        if self._place is not None:
            async for told in self._waiting(0.2):
                yield told
        yield self._end(self._snapshot)

    async def _last(self) -> AsyncGenerator[Told, None]:
        """The database says that it has ended: the events come a moment later, or not at all."""
        async for told in self._waiting(0.1):
            yield told
        if not self._has_ended:
            self._snapshot = await self._following.snapshot(self._actor, self._id)
            yield self._shown(self._snapshot)
        yield self._end(await self._following.look(self._actor, self._id))

    async def _waiting(self, pause_s: float) -> AsyncGenerator[Told, None]:
        """What the bus still has to say, until it is silent for a moment or has told the end."""
        while not self._has_ended:
            try:
                got = await asyncio.wait_for(self._queue.get(), pause_s)
            except TimeoutError:
                return
            async for told in self._heard(got):
                yield told

    async def _heard(self, got: Received | Gap) -> AsyncGenerator[Told, None]:
        """What is made of a message of the bus, and of those that wait behind it."""
        events: list[Mapping[str, Any]] = []
        one: Received | Gap | None = got
        while one is not None:
            if isinstance(one, Gap):
                if events:
                    yield self._events(events)
                    events = []
                yield await self._anew()
            else:
                for event in one.message["events"]:
                    place = Place(event["fence"], event["seq"])
                    if self._place is not None and place <= self._place:
                        continue
                    if self._is_missing(place):
                        if events:
                            yield self._events(events)
                            events = []
                        yield await self._anew()
                    self._place = place
                    self._has_ended = self._has_ended or event["kind"] == "execution.finished"
                    if event.get("node_id") not in self._known:
                        events.append(event)
            is_full = len(events) >= MERGED or self._queue.empty()
            one = None if is_full else self._queue.get_nowait()
        if events:
            yield self._events(events)

    def _is_missing(self, place: Place) -> bool:
        """Whether events before this one were never told."""
        if self._place is None:
            return False  # the snapshot stands for what came before
        if place.fence == self._place.fence:
            return place.seq != self._place.seq + 1
        return True  # another worker began anew from what is in the database

    async def _anew(self) -> Told:
        self._snapshot = await self._following.snapshot(self._actor, self._id)
        self._status = self._snapshot.status
        return self._shown(self._snapshot)

    def _shown(self, snapshot: ExecutionDetail) -> Told:
        return Told("snapshot", {"execution": snapshot}, self._place)

    def _events(self, events: list[Mapping[str, Any]]) -> Told:
        return Told("events", {"events": events}, self._place)

    def _end(self, found: ExecutionView) -> Told:
        shown = ExecutionView(**{name: getattr(found, name) for name in ExecutionView.model_fields})
        return Told("end", {"execution": shown}, self._place)
