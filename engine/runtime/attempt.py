"""One claim of an execution being run: restored, executed, and handed to the journal as it goes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from engine.api import Request
from engine.convert import dumps
from engine.errors import InternalError, StudioError
from engine.events import Event, NodeResult
from engine.executor import execute
from engine.planner import Step, plan
from engine.runtime.answers import Answer, answer_of, said
from engine.runtime.claims import Claim
from engine.runtime.context import ExecutionServices, Outside
from engine.runtime.data.cuts import cut, is_long
from engine.runtime.data.payloads import Payloads
from engine.runtime.data.records import Bundle, Packed, StoredRun, packed
from engine.runtime.history import Past, past_of, repeated
from engine.runtime.journal import Entry, Journal
from engine.runtime.logs import get_logger
from engine.runtime.measures import Measures
from engine.runtime.orders import Order, unpack_order
from engine.runtime.programs import Programs, Ready
from engine.runtime.run_data import held_key, keep, kept_keys, load_kept
from engine.runtime.store import Store, patiently
from engine.step import in_thread
from engine.workflow import from_data

log = get_logger()

# What is watched is told at most this often: 20 messages a second.
TELL_S = 0.05
# Recovery goes on at the item: outcomes of write nodes are committed at least this often.
ITEMS, ITEMS_S = 100, 1.0
LARGE_ITEMS = 2_000
LONG_BYTES = 256 * 1024
PREVIEW = 50
NOTHING = Packed(b"")


@dataclass(slots=True)
class Shared:
    """What all attempts of a worker share."""

    store: Store
    journal: Journal
    programs: Programs
    outside: Outside
    payloads: Payloads
    measures: Measures


@dataclass(slots=True)
class Attempt:
    """One claim being run.

    Attributes:
        cancel: set to stop it; it then ends as cancelled.
        watched: it runs for so long already that somebody may follow it.
        told_s: when what had happened was handed to the journal last.
        before: node runs of this claim that ended before the attempt took over; nothing of them was written yet.
        shift: how many events those are.
    """

    claim: Claim
    parts: list[bytes]
    shared: Shared
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    began_s: float = 0.0
    watched: bool = False
    told_s: float = 0.0
    part: int = 0
    ended: bool = False
    answered: bool = False
    before: tuple[StoredRun, ...] = ()
    shift: int = 0
    runs: list[StoredRun] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    results: dict[str, NodeResult] = field(default_factory=dict)
    outcomes: dict[str, dict[int, Any]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)  # node id -> how many of its outcomes are committed
    took: dict[str, tuple[str, str, float]] = field(default_factory=dict)  # node id -> type, status, milliseconds
    later: "asyncio.Future[None] | None" = None
    ready: Ready | None = None
    kept: dict[str, NodeResult] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def is_draft(self) -> bool:
        """Whether somebody waits for it in the editor."""
        return self.claim.kind != "published"

    async def run(self) -> None:
        """From the claim to the entry that ends it. Raises nothing but CancelledError."""
        self.began_s = time.monotonic()
        try:
            await self._run()
        except StudioError as exc:
            await self._end("failed", exc)
        except Exception as exc:  # noqa: BLE001  the worker goes on with the others
            await self._end(
                "failed", InternalError(f"{type(exc).__name__}: {exc}", hint="This is a fault of Flowleaf.")
            )

    async def _run(self) -> None:
        claim = self.claim
        long = len(self.parts[0]) > LONG_BYTES
        order = await in_thread(unpack_order, self.parts[0]) if long else unpack_order(self.parts[0])
        past = past_of(self.parts[1:], self.shared.payloads) if len(self.parts) > 1 else Past()
        self.part = len(self.parts)
        self.ready = ready = await self._ready(order)
        self.results.update(past.results)
        self.stored = {node_id: len(found) for node_id, found in past.outcomes.items()}
        if claim.origin_id is not None:
            origin = await patiently(partial(repeated, self.shared.store, self.shared.payloads, claim, ready))
            self._take_over(origin, past)
        self.outcomes = past.outcomes
        if claim.attempts > 1:
            stuck = [n for n in past.started if n in ready.stops_on_crash and n not in self.results]
            if stuck:
                await self._ask(ready, stuck[0])
                return
        self.steps = ready.steps
        if self.is_draft:
            self.held = await self._plan(order, ready)
        variables = await self._vars(ready) if order.vars is None else order.vars
        request = Request(order.items) if order.items is not None else None
        events = execute(
            claim.id,
            ready.workflow,
            self.steps,
            self.shared.programs.registry,
            ExecutionServices(self.shared.outside, claim.project_id, claim.created_ms, variables),
            self.results,
            request,
            trigger=claim.trigger_id,
            hold=self.held,
            cancel=self.cancel,
            partial=self.outcomes,
            sample=order.sample,
            same_as=order.same_as,
            brief=not self.is_draft,
        )
        async with aclosing(events):
            async for event in events:
                waits = self._heard(event)
                if waits is not None:
                    await waits

    def _take_over(self, origin: Past, past: Past) -> None:
        """What is not run again is written down as its own: a retry of this one would not find it elsewhere."""
        at_ms = int(time.time() * 1000)
        for node_id, result in origin.results.items():
            if node_id not in self.results:
                self.results[node_id] = result
                self.runs.append(StoredRun(node_id, "reused", None, None, at_ms, result))
        for node_id, outcomes in origin.outcomes.items():
            past.outcomes.setdefault(node_id, outcomes)

    async def _ready(self, order: Order) -> Ready:
        claim, programs = self.claim, self.shared.programs
        if order.workflow is not None:
            return await asyncio.to_thread(lambda: programs.make(from_data(order.workflow).workflow))
        if claim.revision_id is None:
            raise InternalError("the execution names no revision")
        known = programs.known(claim.revision_id)
        return known if known is not None else await patiently(partial(programs.load, claim.revision_id))

    async def _vars(self, ready: Ready) -> Mapping[str, Any]:
        if not ready.uses_vars:
            return {}
        known = self.shared.outside.known_vars(self.claim.project_id)
        return (
            known
            if known is not None
            else await patiently(partial(self.shared.outside.load_vars, self.claim.project_id))
        )

    async def _plan(self, order: Order, ready: Ready) -> tuple[str, ...]:
        """Plan a draft run: what is kept is reused. Gives the ids of the nodes that are held."""
        project_id, store = self.claim.project_id, self.shared.store

        def look() -> tuple[tuple[Step, ...], dict[str, NodeResult]]:
            def planned(stored: Any) -> list[Step]:
                return plan(
                    ready.workflow,
                    self.shared.programs.registry,
                    stored,
                    reads=order.reads,
                    target=order.target,
                    force=frozenset(order.force),
                )

            keys = kept_keys(store, project_id, [step.key for step in planned(())])
            steps = planned(keys)
            kept = load_kept(store, self.shared.payloads, project_id, [step.key for step in steps if step.reuse])
            return tuple(step._replace(reuse=step.reuse and step.key in kept) for step in steps), kept

        self.steps, self.kept = await patiently(look)
        hits = sum(step.reuse for step in self.steps)
        self.shared.measures.reused(hits, len(self.steps) - hits)
        for step in self.steps:
            if step.reuse:
                self.results.setdefault(step.node_id, self.kept[step.key])
        return tuple(node_id for node_id in order.held if node_id not in self.results)

    def _heard(self, event: Event) -> Awaitable[Any] | None:
        """Take note of an event; gives what has to be waited for before the execution may go on."""
        if self.shift:
            event = event._replace(seq=event.seq + self.shift)
        kind = event.kind
        self.events.append(event)
        if kind == "execution.started":
            self._tell_before(event)
        elif kind == "node.finished":
            return self._node_finished(event)
        elif kind == "node.started":
            assert self.ready is not None and event.node_id is not None
            if event.node_id in self.ready.writes:
                # Everything it depends on is committed before it changes anything outside.
                return self._commit(started=(event.node_id,))
        elif kind == "node.log":
            assert event.node_id is not None
            self.logs.setdefault(event.node_id, []).append(event.message or "")
        elif kind == "node.progress":
            node_id = event.node_id or ""
            new = len(self.outcomes.get(node_id, ())) - self.stored.get(node_id, 0)
            if new >= ITEMS or (new > 0 and time.monotonic() - self.told_s > ITEMS_S):
                return self._commit(items=node_id)
        elif kind == "execution.finished":
            return self._end(event.status or "failed", None)
        return None

    def _tell_before(self, started: Event) -> None:
        """Events of the nodes that ran before this attempt took over, in the place where they would have stood."""
        for run in self.before:
            told: list[tuple[Any, dict[str, Any]]] = [("node.log", {"message": message}) for message in run.log]
            told.append(("node.finished", {"status": run.status, "result": run.result, "duration_ms": run.duration_ms}))
            for kind, fields in told:
                self.shift += 1
                seq, at = started.seq + self.shift, run.at_ms / 1000
                self.events.append(Event(started.execution_id, seq, kind, at, run.node_id, key=run.key, **fields))

    def _node_finished(self, event: Event) -> Awaitable[Any] | None:
        result, node_id = event.result, event.node_id
        assert result is not None and node_id is not None
        log = tuple(self.logs.pop(node_id, ()))
        status = event.status or result.status
        if status == "reused":  # what it gave lies under its key
            result = result._replace(outputs={})
        stored = StoredRun(node_id, status, event.key, event.duration_ms, int(event.at * 1000), result, log)  # type: ignore[arg-type]
        self.runs.append(stored)
        if event.duration_ms is not None and self.ready is not None:
            self.took[node_id] = (self.ready.program.types[node_id].name, status, event.duration_ms)
        if result.response is not None and self._says and not self.answered:
            self.answered = True
            return self._commit(answer=said(result))  # stored, then said
        return None

    @property
    def _says(self) -> bool:
        """Whether a call waits for what a Respond node says, and not for the end."""
        claim, ready = self.claim, self.ready
        if claim.reply_to is None or ready is None or claim.trigger_id is None:
            return False
        return ready.respond.get(claim.trigger_id) == "respond_node"

    def tell(self, now_s: float) -> None:
        """Commit and publish what has happened, where somebody may watch: called every so often."""
        self.watched = self.watched or (self.began_s > 0 and now_s - self.began_s >= TELL_S)
        is_due = now_s - self.told_s >= TELL_S
        if self.events and (self.is_draft or self.watched) and is_due and self.later is None:
            self.told_s = now_s
            self.later = asyncio.ensure_future(self._put_later())

    async def _put_later(self) -> None:
        await self._put()
        self.later = None

    def _commit(self, **more: Any) -> Awaitable[None]:
        """Write what there is; returns once it is committed, and ends the attempt where the claim was lost."""
        self.told_s = time.monotonic()
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def tell(is_mine: bool) -> None:
            if not done.done():
                done.set_result(is_mine)

        def written(is_mine: bool) -> None:
            loop.call_soon_threadsafe(tell, is_mine)

        async def commit() -> None:
            await self._put(written=written, **more)
            if not await done:
                raise asyncio.CancelledError  # another worker has it: nothing more is to be done here

        return commit()

    async def _put(
        self,
        *,
        started: tuple[str, ...] = (),
        items: str | None = None,
        answer: Answer | None = None,
        written: Callable[[bool], None] | None = None,
        **end: Any,
    ) -> None:
        """Hand what has happened since the last time to the journal, in its order."""
        while (later := self.later) is not None and later is not asyncio.current_task():
            try:
                await later  # raises what it raised: what it could not hand over is missing from the record
            finally:
                if later.done() and self.later is later:
                    self.later = None
        runs, self.runs = tuple(self.runs), []
        bundle = Bundle(runs, started, self._new_outcomes(items))
        made, keeping = NOTHING, None
        if any(bundle):
            part, self.part = self.part, self.part + 1
            if is_large(runs):
                made, keeping = await in_thread(self._packed, bundle)
            else:
                made, keeping = self._packed(bundle)
        else:
            part = self.part
        # Most end before anybody could follow them; of one that goes on, its followers get all.
        tells = self.is_draft or self.watched
        events: list[Event] = []
        if tells:
            events, self.events = self.events, events
        self.shared.journal.put(
            Entry(
                self.claim,
                part=part,
                data=made.data or None,
                uses=made.hashes,
                written=written,
                apart=keeping,
                events=[_told(event, self.claim.fence) for event in events],
                answer=answer,
                **end,
            )
        )

    def _packed(self, bundle: Bundle) -> tuple[Packed, Callable[[Connection], None] | None]:
        return packed(bundle, self.shared.payloads), self._keeping(bundle.runs) if self.is_draft else None

    def _new_outcomes(self, node_id: str | None) -> dict[str, dict[int, Any]]:
        """What items of write nodes gave since the last time."""
        found: dict[str, dict[int, Any]] = {}
        for id_ in [node_id] if node_id else list(self.outcomes):
            outcomes, known = self.outcomes.get(id_, {}), self.stored.get(id_, 0)
            if len(outcomes) > known:
                found[id_] = dict(list(outcomes.items())[known:])
                self.stored[id_] = len(outcomes)
        return found

    def _keeping(self, runs: tuple[StoredRun, ...]) -> Callable[[Connection], None] | None:
        """What keeps the results of a draft run by preview key."""
        found = [
            run._replace(key=held_key(run.key))
            if run.node_id in self.held and run.status in ("held", "failed")
            else run
            for run in runs
            if run.key and run.status in ("succeeded", "failed", "skipped", "held") and not run.result.blocked
        ]
        if not found:
            return None
        return keep(self.claim, found, self.shared.payloads)

    async def _ask(self, ready: Ready, node_id: str) -> None:
        """Stop for a person: a node that changes something outside was running when its worker died."""
        node = ready.program.graph.nodes[node_id]
        error = {
            "code": "execution.needs_decision",
            "message": f'"{node.label}" was running when its worker died; whether it did its work is not known',
            "hint": "Look there; then retry to run it again, or cancel.",
            "node_id": node_id,
        }
        self.ended = True
        await self._put(status="needs_decision", error=dumps(error).decode())

    async def _end(self, status: str, error: StudioError | None) -> None:
        """Hand over the entry that ends it."""
        why: dict[str, Any] | None = None
        if error is not None:
            why = error.as_json()
        elif status == "failed":
            failed = next(((i, r.error) for i, r in self.results.items() if r.status == "failed" and r.error), None)
            why = {**failed[1], "node_id": failed[0]} if failed else None
        if status == "failed":  # the code, not the message, which may hold data
            place = {"execution_id": self.claim.id, "workflow_id": self.claim.workflow_id}
            log.info("execution failed", **place, **{n: why[n] for n in ("node_id", "code") if why and n in why})
        answer = self._answer(status, error) if self.claim.reply_to is not None and not self.answered else None
        self.ended = True
        duration_ms = (time.monotonic() - self.began_s) * 1000
        self.shared.measures.execution_ended(self.claim, status, duration_ms, self.took)
        await self._put(status=status, error=dumps(why).decode() if why else None, answer=answer)

    def _answer(self, status: str, error: StudioError | None) -> Answer | None:
        """What the call that waits is answered at the end."""
        claim = self.claim
        if self.ready is not None and claim.trigger_id is not None:
            respond = self.ready.respond.get(claim.trigger_id, "last_node")
            last = self.ready.last.get(claim.trigger_id, ())
            return answer_of(self.ready.workflow, last, respond, claim.id, status, self.results)
        return Answer(500, {**error.as_json(), "execution_id": claim.id}) if error is not None else None


def is_large(runs: Sequence[StoredRun]) -> bool:
    """Whether writing it down takes so long that it is better done in a thread: many items, or long ones."""
    return any(
        len(items) > LARGE_ITEMS or items.is_table or is_long(items.rows)
        for run in runs
        for items in run.result.outputs.values()
    )


def _told(event: Event, fence: int) -> dict[str, Any]:
    """An event as it is published: first items only, long values cut."""
    data = event.as_json(PREVIEW)
    if "preview" in data:
        data["preview"] = {name: cut(rows).as_json() for name, rows in data["preview"].items()}
    return {**data, "fence": fence}


# The statement that a person's decision lets an execution go on with; here so that it stands beside `_ask`.
DECIDED = text(
    "UPDATE execution SET status = 'queued', attempts = 0, error = NULL WHERE id = :id AND status = 'needs_decision'"
)
