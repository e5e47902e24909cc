"""Runs a plan and yields events. Stores and sends nothing: its caller does, with what the events say."""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from functools import cached_property
from heapq import heappop, heappush
from typing import Any, NamedTuple

from engine.ancestors import Ancestor, Lineages
from engine.api import Request
from engine.context import Services, StepState
from engine.errors import ExpressionError, did_you_mean
from engine.events import Event, NodeResult
from engine.expressions import Scope
from engine.items import Items, Lineage
from engine.planner import Step, effects_of
from engine.program import program_of
from engine.registry import Registry
from engine.step import StepRun
from engine.workflow import Node, Workflow

PARALLEL = 16
# Nodes that run right here hold the event loop no longer than this in one go.
BREATH_S = 0.01
# How long a node that does not heed being stopped is waited for.
GRACE_S = 5.0


def execute(
    execution_id: str,
    workflow: Workflow,
    steps: Sequence[Step],
    registry: Registry,
    services: Services,
    run_data: MutableMapping[str, NodeResult],
    request: Request | None = None,
    *,
    trigger: str | None = None,
    hold: Collection[str] = (),
    parallel: int = PARALLEL,
    cancel: asyncio.Event | None = None,
    partial: MutableMapping[str, dict[int, Any]] | None = None,
    sample: int | None = None,
    same_as: str | None = None,
    brief: bool = False,
) -> AsyncGenerator[Event]:
    """Run the steps, each as soon as what it depends on has ended; yields events in order.

    A node that fails keeps what depends on it from running; other branches go on to their end, so that a result never
    depends on which branch was quicker. The execution has then failed.

    Args:
        run_data: node id -> result. Read and filled. Nodes that are in it are not run: those of a plan's reused steps
            (put there by the caller), and those that ended before a crash.
        request: what the trigger is started with.
        trigger: id of the trigger that starts this execution; other triggers give nothing. None: there is one at most.
        hold: ids of nodes that are not to be run, but to show what they would do.
        parallel: how many nodes may wait for something, or compute in a thread, at the same time.
        cancel: once set, running nodes are stopped and the execution ends as cancelled.
        partial: node id -> index of an input item -> its outcome, of nodes that go item by item and change something
            outside. Read and filled: what is in it is not run again. An outcome is plain data, `{"rows": [...]}` or
            `{"error": {...}}` of an item that was given up, with `"files"` where its rows have some. Outcomes go once
            their node has succeeded; until then they are told by `node.progress` at least every 100 items or second,
            and no more items begin until that event was taken.
        sample: of nodes that nothing leads to, and of pinned ones, only so many items of each output go on; None: all.
        same_as: id of the execution with whose idempotency keys this one goes on, as a retry of it does.
        brief: leave out `node.started` of nodes that compute on little: they end at once.

    Nothing of a node begins before its `node.started` was taken: whoever stores what came before does it then.
    """
    run = _Run(
        execution_id, workflow, steps, registry, services, run_data, request, trigger, hold, cancel, partial, sample
    )
    run.brief = brief
    run.keys_of = same_as or execution_id
    return run.events(max(parallel, 1))


class Ended(NamedTuple):
    """A node run of `execute_at_once`: as an event of `execute` would tell it."""

    node_id: str
    key: str
    result: NodeResult
    duration_ms: float | None
    at: float
    log: tuple[str, ...]


def execute_at_once(
    execution_id: str,
    workflow: Workflow,
    steps: Sequence[Step],
    registry: Registry,
    services: Services,
    run_data: MutableMapping[str, NodeResult],
    request: Request | None = None,
    *,
    trigger: str | None = None,
) -> tuple[list[Ended], str | None]:
    """Run the steps here and now, one after the other, as long as all they do is to compute on little.

    Without events and tasks, five nodes take 0.8 of the time. Gives the node runs and the status of the execution;
    None where a step has to wait for something, or much time went by: then `execute` goes on with the same `run_data`.
    """
    run = _Run(execution_id, workflow, steps, registry, services, run_data, request, trigger, (), None, None, None)
    ended: list[Ended] = []
    until = time.perf_counter() + BREATH_S
    for step in steps:
        node = run.program.graph.nodes[step.node_id]
        inputs = run._inputs(node)
        result = run._without_running(node, inputs)
        log: list[str] = []
        duration_ms = None
        if result is None:
            step_run = run._prepare(node, inputs)
            started = time.perf_counter()
            if not step_run.is_plain or started > until:
                return ended, None
            step_run.state.log = log.append
            result = step_run.run_here()
            duration_ms = (time.perf_counter() - started) * 1000
        run_data[step.node_id] = result
        if result.status == "failed":
            run.status = "failed"
        ended.append(Ended(step.node_id, step.key, result, duration_ms, time.time(), tuple(log)))
    return ended, run.status


class _Run:
    """The state of one execution while it goes on."""

    def __init__(
        self,
        execution_id: str,
        workflow: Workflow,
        steps: Sequence[Step],
        registry: Registry,
        services: Services,
        run_data: MutableMapping[str, NodeResult],
        request: Request | None,
        trigger: str | None,
        hold: Collection[str],
        cancel: asyncio.Event | None,
        partial: MutableMapping[str, dict[int, Any]] | None,
        sample: int | None,
    ) -> None:
        self.execution_id = execution_id
        self.program = program_of(workflow, registry)
        self.steps = steps
        self.services = services
        self.run_data = run_data
        self.request = request
        self.trigger = trigger
        self.hold = frozenset(hold)
        self.cancel = cancel
        self.partial = partial
        self.sample = sample
        self.keys_of = execution_id
        self.brief = False
        self.is_over = False  # nothing that still runs is waited for
        self.seq = 0
        self.status = "succeeded"
        self.lineages = Lineages(self.program, run_data)
        self.now = _local(services.now, workflow.settings.timezone)
        self.running: dict[asyncio.Task[NodeResult], tuple[Step, float]] = {}
        self.watch: asyncio.Task[None] | None = None

    @cached_property
    def inbox(self) -> "asyncio.Queue[Said | asyncio.Task[NodeResult] | None]":
        """What running nodes say, in order: events to be, or the task that ended, or None for "cancelled"."""
        return asyncio.Queue()

    def is_cancelled(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()

    def is_given_up(self) -> bool:
        """Whether what still computes in a thread may as well stop."""
        return self.is_over or self.is_cancelled()

    def event(
        self,
        kind: Any,
        step: Step | None = None,
        status: str | None = None,
        result: NodeResult | None = None,
        duration_ms: float | None = None,
        **more: Any,
    ) -> Event:
        self.seq += 1
        node_id, key = (step.node_id, step.key) if step else (None, None)
        return Event(self.execution_id, self.seq, kind, time.time(), node_id, status, key, result, duration_ms, **more)

    async def events(self, parallel: int) -> AsyncGenerator[Event]:
        """Everything that happens, to the end. Closing the generator stops what runs."""
        try:
            yield self.event("execution.started", status="running")
            layout = self.program.layout(self.steps)
            waiting, ready = layout.waiting.copy(), layout.ready.copy()
            breathed = time.perf_counter()
            while ready or self.running:
                while ready and len(self.running) < parallel and not self.is_cancelled():
                    step = self.steps[heappop(ready)]
                    for event in self._begin(step):
                        yield event
                    if step.node_id in self.run_data:
                        _release(step, waiting, layout.followers, ready)
                    if time.perf_counter() - breathed > BREATH_S:
                        await asyncio.sleep(0)  # heartbeats, and whoever cancels
                        breathed = time.perf_counter()
                if self.is_cancelled():
                    break
                if self.running:
                    message = await self.inbox.get()
                    for event in self._heard(message):
                        yield event
                        if event.kind == "node.finished" and event.node_id is not None:
                            _release(self.steps[layout.places[event.node_id]], waiting, layout.followers, ready)
            if self.is_cancelled():
                self.status = "cancelled"
                # What ended before is no less done: its message lies before the None of `_watch`.
                while not self.inbox.empty() and (message := self.inbox.get_nowait()) is not None:
                    for event in self._heard(message):
                        yield event
                await self.stop()
                for step in self.steps:
                    if step.node_id not in self.run_data:
                        yield self._end(step, NodeResult("cancelled"), None)
            yield self.event("execution.finished", status=self.status)
        finally:
            if self.running or self.watch is not None:
                await self.stop()

    def _heard(self, message: Any) -> Iterator[Event]:
        """What a running node said, or that it ended."""
        if isinstance(message, tuple):
            step, kind, fields, heard = message
            if step.node_id not in self.run_data:  # else a thread that outlived its time
                yield self.event(kind, step, **fields)
            if heard is not None and not heard.done():
                heard.set_result(None)
        elif message is not None:
            step, started = self.running.pop(message)
            yield self._end(step, message.result(), started)

    def _begin(self, step: Step) -> Iterable[Event]:
        """Begin a step; where it can end at once, end it too."""
        node = self.program.graph.nodes[step.node_id]
        known = self.run_data.get(step.node_id)
        if known is not None:
            if known.status == "failed":
                self.status = "failed"
            if not step.reuse:
                return ()
            shown = known._replace(status="reused") if known.status == "succeeded" else known
            return (self.event("node.finished", step, status="reused", result=shown),)
        inputs = self._inputs(node)
        result = self._without_running(node, inputs)
        if result is not None:
            return (self._end(step, result, None),)
        run = self._prepare(node, inputs)
        if step.node_id in self.hold:
            return (self._end(step, run.hold(), None),)
        if run.is_plain:
            return self._at_once(step, run) if self.brief else self._shown(step, run)
        return self._started(step, run)

    def _shown(self, step: Step, run: StepRun) -> Iterator[Event]:
        """Run a plain step right here, once it was said that it begins."""
        yield self.event("node.started", step, "running")
        yield from self._at_once(step, run)

    def _at_once(self, step: Step, run: StepRun) -> Sequence[Event]:
        """Run a plain step right here."""
        started = time.perf_counter()
        said: list[str] = []
        run.state.log = said.append
        result = run.run_here()
        logs = [self.event("node.log", step, message=message) for message in said]
        return (*logs, self._end(step, result, started))

    def _started(self, step: Step, run: StepRun) -> Iterator[Event]:
        """Let a step run as a task, once it was said that it begins."""
        yield self.event("node.started", step, "running")
        started = time.perf_counter()
        self._listen(step, run)
        task = asyncio.get_running_loop().create_task(run.run())
        self.running[task] = (step, started)
        task.add_done_callback(self.inbox.put_nowait)
        if self.cancel is not None and self.watch is None:
            self.watch = asyncio.get_running_loop().create_task(self._watch(self.cancel))

    def _without_running(self, node: Node, inputs: Mapping[str, Items]) -> NodeResult | None:
        """The result where the node need not run, or None."""
        node_type = self.program.types[node.id]
        if node_type.is_trigger and self.trigger not in (None, node.id):
            return NodeResult("skipped", self._nothing(node))  # whatever is pinned on it
        if node.pinned is not None:
            names = self.program.outputs(node)
            return NodeResult("succeeded", {name: Items(node.pinned.get(name, [])) for name in names})
        incoming = self.program.graph.incoming[node.id]
        for connection in incoming:
            if (source := self.run_data.get(connection.source)) is not None and source.stops:
                return NodeResult("skipped", self._nothing(node), blocked=True)
        if node.disabled:
            name, items = next(iter(inputs.items()), ("", EMPTY))
            passed = items.with_lineage(Lineage({name: None} if name else {}))
            # Its own first output as well: what is drawn from there is to get the items too.
            outputs = {self.program.outputs(node)[0]: passed, "main": passed}
            return NodeResult("succeeded", self._nothing(node) | outputs)
        if incoming and not node_type.run_empty and not any(map(len, inputs.values())):
            return NodeResult("skipped", self._nothing(node))
        return None

    def _nothing(self, node: Node) -> dict[str, Items]:
        return {name: Items([], lineage=Lineage({})) for name in self.program.outputs(node)}

    def _inputs(self, node: Node) -> dict[str, Items]:
        """The items that came in at each input, in the order of its connections."""
        incoming = self.program.graph.incoming[node.id]
        names = self.program.types[node.id].inputs
        if not incoming:
            return {name: Items([{}]) for name in names}  # nothing is connected: it runs once, on one empty item
        parts: dict[str, list[Items]] = {name: [] for name in names}
        for connection in incoming:
            if connection.source in self.run_data:
                outputs = self.run_data[connection.source].outputs
                parts[connection.input].append(outputs.get(connection.output, EMPTY))
        return {name: found[0] if len(found) == 1 else Items.concat(found) for name, found in parts.items()}

    def _prepare(self, node: Node, inputs: Mapping[str, Items]) -> StepRun:
        node_type = self.program.types[node.id]
        state = StepState(
            self.services,
            execution_id=self.keys_of,
            node_id=node.id,
            now=self.now,
            stop=node.on_error == "stop",
            cancelled=self.is_given_up,
            timeout_s=node.timeout_s,
        )
        request = self.request if node_type.is_trigger else None
        run = StepRun(
            node, node_type, self.program.templates[node.id], inputs, self._scope(node), state, request=request
        )
        if self.partial is not None and node_type.shape == "each" and effects_of(self.program, node) == "write":
            run.outcomes = self.partial.setdefault(node.id, {})
            run.is_plain = False
        return run

    def _listen(self, step: Step, run: StepRun) -> None:
        """Let a run that goes on beside others speak through the inbox."""
        loop = asyncio.get_running_loop()

        def say(kind: str, **fields: Any) -> None:
            loop.call_soon_threadsafe(self.inbox.put_nowait, (step, kind, fields, None))

        async def tell(done: int, total: int) -> None:
            heard: asyncio.Future[None] = loop.create_future()
            self.inbox.put_nowait((step, "node.progress", {"done": done, "total": total}, heard))
            await heard

        run.state.log = lambda message: say("node.log", message=message)
        run.progress = lambda done, total: say("node.progress", done=done, total=total)
        run.told = tell if run.outcomes is not None else None
        run.retried = lambda attempt, error: say("node.retried", attempt=attempt, error=error.as_json())

    def _scope(self, node: Node) -> Scope:
        if not self.program.templates[node.id].leaves:
            return NO_SCOPE
        workflow = self.program.workflow
        return Scope(
            node=(lambda label: self._ancestor(node, label)) if node.id in self.program.references else None,
            vars=self.services.vars,
            workflow_name=workflow.name,
            execution_id=self.execution_id,
            now=self.now,
            timezone=workflow.settings.timezone,
        )

    def _ancestor(self, node: Node, label: str) -> Ancestor:
        node_id = self.program.by_label.get(label)
        if node_id is None:
            raise ExpressionError(f"no node is called {label!r}", hint=did_you_mean(label, self.program.by_label))
        return Ancestor(self.lineages, node.id, node_id)

    def _end(self, step: Step, result: NodeResult, started: float | None) -> Event:
        if self.sample is not None and self.program.is_source(step.node_id):
            outputs = {name: items[: self.sample] for name, items in result.outputs.items()}
            result = result._replace(outputs=outputs)
        self.run_data[step.node_id] = result
        if self.partial and result.status == "succeeded":
            self.partial.pop(step.node_id, None)
        if result.status == "failed":
            self.status = "failed"
        duration_ms = None if started is None else (time.perf_counter() - started) * 1000
        self.seq += 1
        return Event(
            self.execution_id,
            self.seq,
            "node.finished",
            time.time(),
            step.node_id,
            result.status,
            step.key,
            result,
            duration_ms,
        )

    async def _watch(self, cancel: asyncio.Event) -> None:
        await cancel.wait()
        self.inbox.put_nowait(None)

    async def stop(self) -> None:
        """End all that runs; returns when it has."""
        self.is_over = True
        tasks: list[asyncio.Task[Any]] = [*self.running, *([self.watch] if self.watch else [])]
        self.running.clear()
        self.watch = None
        for task in tasks:
            task.cancel()
        if tasks:
            ended, _ = await asyncio.wait(tasks, timeout=GRACE_S)
            for task in ended:
                _ = task.cancelled() or task.exception()


# The step that speaks, the kind and the fields of an event to be, and what is set once that event was taken.
Said = tuple[Step, str, dict[str, Any], asyncio.Future[None] | None]
EMPTY = Items([])
NO_SCOPE = Scope()  # of nodes without expressions


def _release(step: Step, waiting: list[int], followers: Mapping[str, Sequence[int]], ready: list[int]) -> None:
    """Let those begin that waited for this step last."""
    for index in followers[step.node_id]:
        waiting[index] -= 1
        if waiting[index] == 0:
            heappush(ready, index)


def _local(now: str, timezone: str) -> str:
    if timezone == "UTC":
        return now
    from zoneinfo import ZoneInfo  # noqa: PLC0415  reads a file

    return datetime.fromisoformat(now).astimezone(ZoneInfo(timezone)).isoformat()
