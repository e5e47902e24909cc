"""Waits for the answers of executions: told by the bus, or found in the database where the bus is not there."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, text

from engine.errors import StudioError
from engine.runtime.answers import Answer, answer_of
from engine.runtime.bus import Bus, Gap
from engine.runtime.data.payloads import Payloads
from engine.runtime.history import past_of
from engine.runtime.logs import get_logger
from engine.runtime.programs import Programs
from engine.runtime.store import Store, StoreUnavailable, chunks

# An answer that the bus did not bring is looked for after this, and then again and again.
LOOK_S = 0.25
MANY = 500
ENDED = text(
    "SELECT id, status, revision_id, trigger_id FROM execution WHERE id IN :ids "
    "AND status IN ('succeeded', 'failed', 'cancelled', 'skipped', 'needs_decision')"
).bindparams(bindparam("ids", expanding=True))
PARTS = text("SELECT data FROM record WHERE execution_id = :id AND part > 0 ORDER BY part")


log = get_logger()


class Replies:
    """The answers that this process waits for.

    Args:
        topic: of the bus; named in the executions' `reply_to`.
    """

    def __init__(self, store: Store, bus: Bus, programs: Programs, payloads: Payloads, topic: str) -> None:
        self._store = store
        self._bus = bus
        self._programs = programs
        self._payloads = payloads
        self._topic = topic
        # Several calls may wait for one execution: those with the same key.
        self._waiting: dict[str, list[tuple[asyncio.Future[Answer], float]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow. On an event loop."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._look())]

    async def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def expect(self, execution_id: str) -> "asyncio.Future[Answer]":
        """The answer of an execution, once it is there: ask before the execution can end."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        one = (answer, time.monotonic())
        self._waiting.setdefault(execution_id, []).append(one)
        answer.add_done_callback(lambda _: self._gone(execution_id, one))
        return answer

    def _gone(self, execution_id: str, one: "tuple[asyncio.Future[Answer], float]") -> None:
        others = self._waiting[execution_id]
        others.remove(one)
        if not others:
            del self._waiting[execution_id]

    async def _follow(self) -> None:
        async for received in self._bus.follow([self._topic], "now"):
            if isinstance(received, Gap):
                continue  # `_look` finds what was missed
            for found in received.message["answers"]:
                self._give(str(found["id"]), Answer(found["status"], found["body"], found["headers"]))

    def _give(self, execution_id: str, answer: Answer) -> None:
        for waiting, _ in self._waiting.get(execution_id, ()):
            if not waiting.done():
                waiting.set_result(answer)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            late = [id_ for id_, all_ in self._waiting.items() if any(now - since > LOOK_S for _, since in all_)]
            for some in chunks(late, MANY):
                try:
                    found = await asyncio.to_thread(self._ended, some)
                except StoreUnavailable:
                    break
                for id_, answer in found:
                    self._give(id_, answer)

    def _ended(self, ids: Sequence[str]) -> list[tuple[str, Answer]]:
        """Those of the executions that have ended, with their answers."""
        with self._store.read() as connection:
            rows = connection.execute(ENDED, {"ids": list(ids)}).all()
            parts = {row[0]: [bytes(d) for d in connection.execute(PARTS, {"id": row[0]}).scalars()] for row in rows}
        return [(row[0], self._answer(row, parts[row[0]])) for row in rows]

    def _answer(self, row: Any, parts: Sequence[bytes]) -> Answer:
        try:
            return self._made(row, parts)
        except StoreUnavailable:
            raise
        except Exception as exc:
            log.exception("an answer cannot be made", execution_id=row[0])
            message = exc.message if isinstance(exc, StudioError) else "the answer cannot be made"
            return Answer(500, {"code": "webhook.no_answer", "message": message, "execution_id": row[0]})

    def _made(self, row: Any, parts: Sequence[bytes]) -> Answer:
        id_, status, revision_id, trigger_id = row
        ready = self._programs.load(revision_id)
        past = past_of(parts, self._payloads)
        respond, last = ready.respond.get(trigger_id, ""), ready.last.get(trigger_id, ())
        return answer_of(ready.workflow, last, respond, id_, status, past.results)
