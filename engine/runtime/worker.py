"""A worker process: claims executions as it has slots, runs them, and lets its journal write what they give."""

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from engine.registry import Registry
from engine.run import LocalServices
from engine.runtime.at_once import run_at_once
from engine.runtime.attempt import TELL_S, Attempt, Shared
from engine.runtime.bus import Bus, BusUnavailable, Gap
from engine.runtime.claims import BEAT_S, Claims
from engine.runtime.context import Outside
from engine.runtime.credentials.vault import Vault
from engine.runtime.data.payloads import Payloads
from engine.runtime.journal import Claimed, Entry, Journal
from engine.runtime.logs import get_logger
from engine.runtime.measures import Measures
from engine.runtime.programs import Programs
from engine.runtime.queue import Wakes
from engine.runtime.store import Store, StoreUnavailable

# Executions at a time. Those that compute in other processes, or for long, are few; those that wait are many.
SLOTS: Mapping[str, int] = {"async": 200, "code": 8, "heavy": 2, "draft": 8}
QUEUES = {"runs": ("async", "code", "heavy"), "drafts": ("draft",)}
# What is not done so long after the word to stop is left to be recovered.
STOP_S = 4.0
CANCELS = "cancel"
# Executions that end at once hold the event loop no longer than this in one go.
TURN_S = 0.005
BROKE_OFF = (
    '{"code": "internal", "message": "the execution broke off", '
    '"hint": "This is a fault of Flowleaf; its log says more."}'
)

log = get_logger()


def reply_topic(process_id: str) -> str:
    """Where the answers go for which a process waits."""
    return f"reply:{process_id}"


class Worker:
    """Runs executions until told to stop. Made and run on one event loop.

    Args:
        slots: slot -> how many executions at a time; slots that are left out are not served.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        wakes: Wakes,
        payloads: Payloads,
        local: LocalServices,
        vault: Callable[[], Vault],
        *,
        slots: Mapping[str, int] = SLOTS,
        measures: Measures | None = None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._wakes = wakes
        self._slots = dict(slots)
        self._local = local
        self._measures = measures or Measures()
        self._claims = Claims(store)
        self._waiting: deque[Claimed] = deque()
        self._attempts: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._changed: dict[str, list[dict[str, Any]]] = {}
        self._changed_lock = threading.Lock()
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._journal = Journal(
            store, self._claims, slots, claimed=self._on_claimed, committed=self._on_committed, lost=self._on_lost
        )
        self._shared = Shared(
            store,
            self._journal,
            Programs(store, Registry()),
            Outside(store, local, vault),
            payloads,
            self._measures,
        )

    def stop(self) -> None:
        """Claim no more; `run` returns when what runs has ended, or after a few seconds."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, or SIGTERM or SIGINT in a process of its own."""
        await asyncio.to_thread(self._register)
        self._journal.start()
        heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        heart.start()
        queues = [queue for queue, slots in QUEUES.items() if any(self._slots.get(slot) for slot in slots)]
        consumer = self._wakes.consume(queues, lambda queue: self._journal.wake())
        helpers = [asyncio.create_task(self._tell()), asyncio.create_task(self._follow_cancels())]
        log.info("worker started", worker_id=self._claims.worker_id, slots=self._slots)
        try:
            await self._stopping.wait()
        finally:
            self._journal.stop_claiming()
            await asyncio.to_thread(consumer.stop)
            await self._wind_up()
            for task in helpers:
                task.cancel()
            self._ended.set()
            await asyncio.to_thread(self._leave)
            log.info("worker stopped")

    def _register(self) -> None:
        """Begin the lease; a database that is away is waited for."""
        while True:
            try:
                self._claims.register()
                return
            except StoreUnavailable as exc:
                log.warning("waiting for the database", reason=exc.message)
                if self._stopping.is_set():
                    return
                time.sleep(1)

    async def _wind_up(self) -> None:
        """Let what runs end; what does not in time is left to be recovered."""
        tasks = [task for _, task in self._attempts.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
        await asyncio.to_thread(self._journal.close, 1.0)

    def _leave(self) -> None:
        with suppress(StoreUnavailable):
            self._claims.end()

    def _on_claimed(self, claimed: Sequence[Claimed]) -> None:
        self._measures.claimed(len(claimed))
        self._loop.call_soon_threadsafe(self._take, claimed)

    def _take(self, claimed: Sequence[Claimed]) -> None:
        idle = not self._waiting
        self._waiting.extend(claimed)
        if idle:
            self._begin()

    def _begin(self) -> None:
        """Run or begin what was claimed, for a moment; then the loop sees to others first."""
        until = time.perf_counter() + TURN_S
        while self._waiting:
            claim, parts = self._waiting.popleft()
            self._measures.waited(claim, time.time())
            if claim.id in self._attempts:  # by a claim that the database has forgotten
                self._attempts[claim.id][1].cancel()
            made = run_at_once(claim, parts, self._shared)
            if isinstance(made, Entry):
                self._journal.put(made)
            else:
                task = self._loop.create_task(made.run())
                self._attempts[claim.id] = (made, task)
                task.add_done_callback(partial(self._gone, claim.id))
            if time.perf_counter() > until and self._waiting:
                self._loop.call_soon(self._begin)
                return

    def _gone(self, id_: str, task: "asyncio.Task[None]") -> None:
        if id_ in self._attempts and self._attempts[id_][1] is task:
            attempt, _ = self._attempts.pop(id_)
            if not task.cancelled() and (exc := task.exception()) is not None:
                log.error("an attempt broke off", execution_id=id_, exc_info=exc)
                self._journal.put(Entry(attempt.claim, status="failed", error=BROKE_OFF))
            elif not attempt.ended:
                self._journal.release(attempt.claim)

    def _on_committed(self, entries: Sequence[Entry]) -> None:
        """In the journal's thread, after a commit: publish what is now true."""
        self._measures.committed(len(entries))
        answers: dict[str, list[dict[str, Any]]] = {}
        messages: list[tuple[str, Mapping[str, Any]]] = []
        for entry in entries:
            claim = entry.claim
            if entry.answer is not None and claim.reply_to is not None:
                answers.setdefault(claim.reply_to, []).append({"id": claim.id, **entry.answer.as_json()})
            if entry.events:
                messages.append((f"execution:{claim.id}", {"events": list(entry.events)}))
            if entry.status is not None:
                change = {"id": claim.id, "workflow_id": claim.workflow_id, "status": entry.status, "kind": claim.kind}
                with self._changed_lock:
                    self._changed.setdefault(claim.project_id, []).append(change)
        messages += [(reply_topic(process_id), {"answers": found}) for process_id, found in answers.items()]
        if messages:
            with suppress(BusUnavailable):  # its followers are told of a gap; who waits for an answer looks itself
                self._bus.publish_many_sync(messages)

    def _on_lost(self) -> None:
        """The lease lapsed: all that runs here belongs to others now. Begin anew under another id."""
        log.warning("the lease was lost; what ran here is recovered by others", worker_id=self._claims.worker_id)
        self._measures.lease_lost()
        self._claims.worker_id = ""
        self._loop.call_soon_threadsafe(self._drop_all)
        self._journal.forget(self._slots)
        with suppress(StoreUnavailable):  # else at the next look, which finds no lease again
            self._claims.register()

    def _drop_all(self) -> None:
        self._waiting.clear()
        for _, task in self._attempts.values():
            task.cancel()

    def _beat(self) -> None:
        """The heartbeat: beside the loop, so that a node that keeps the loop busy does not lose the lease."""
        while not self._ended.wait(BEAT_S):
            try:
                cancelled = self._claims.beat()
            except StoreUnavailable:
                continue
            except Exception:  # a heart that stops takes all that runs here with it
                log.exception("a heartbeat failed")
                continue
            if cancelled is None:
                self._journal.check_lease()
            elif cancelled:
                self._loop.call_soon_threadsafe(self._cancel, cancelled)

    def _cancel(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            if (found := self._attempts.get(id_)) is not None:
                found[0].cancel.set()

    async def _follow_cancels(self) -> None:
        """Cancel as soon as somebody says so; without Redis the heartbeat finds out within a second."""
        async for received in self._bus.follow([CANCELS], "now"):
            if not isinstance(received, Gap):
                self._cancel([str(received.message.get("execution_id"))])

    async def _tell(self) -> None:
        """Tell those who watch, every so often."""
        while True:
            await asyncio.sleep(TELL_S / 2)
            now = time.monotonic()
            for attempt, _ in list(self._attempts.values()):
                attempt.tell(now)
            if self._changed:
                with self._changed_lock:
                    changed, self._changed = self._changed, {}
                with suppress(Exception):
                    await self._bus.publish_many(
                        [(f"project:{project}", {"executions": found[-200:]}) for project, found in changed.items()]
                    )


async def run_until_signal(worker: Worker) -> None:
    """Run until SIGTERM or SIGINT, also where SIGINT came in ignored."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run()
