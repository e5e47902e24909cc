"""One node run: fills in its params and calls the node as its shape asks."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

from engine.api import Request
from engine.context import NodeContext, StepState
from engine.convert import dumps, loads
from engine.errors import NodeError, NodeTimeout, StudioError
from engine.events import NodeResult
from engine.expressions import Scope
from engine.fields import Params
from engine.items import Item, Items, Lineage, Outputs
from engine.node_run import NodeRun
from engine.node_type import NodeType
from engine.params import Template
from engine.workflow import Node, Retry

# More items than this, and a computing node goes to a thread: heartbeats and other branches keep their loop.
# A hand-over costs 70 us; 2,000 items cost a plain node about 2 ms.
HEAVY_ITEMS = 2_000
CONCURRENCY = 10
PROGRESS_S = 0.1
# So many items may have ended, beside those under way, without their outcomes being told.
UNTOLD_ITEMS = 100
HELD_SHOWN = 50
# What a package's function may raise without ending more than its node.
FOREIGN = (Exception, SystemExit, asyncio.CancelledError)


def _unheard(*said: Any) -> None:
    """Nobody listens."""


T = TypeVar("T")


class StepRun(NodeRun):
    """A run that fills in the params and calls the node, here, as a task or in a thread.

    Attributes:
        is_heavy: it would keep the event loop too long.
        is_plain: it can be run right here: it computes, on little, without waits.
        progress: called with (items done, items in all) while an item-by-item node runs.
        retried: called with (attempt, error) before another attempt.
        outcomes: where an item-by-item node finds and puts down what became of its items; None: nowhere.
        told: as `progress`, in place of it where outcomes are put down; returns once whoever listens has heard.
    """

    __slots__ = ("is_heavy", "is_plain", "outcomes", "progress", "request", "retried", "scope", "told")

    def __init__(
        self,
        node: Node,
        node_type: NodeType,
        template: Template,
        inputs: Mapping[str, Items],
        scope: Scope,
        state: StepState,
        *,
        request: Request | None = None,
    ) -> None:
        super().__init__(node, node_type, template, inputs, state)
        self.scope = scope
        self.request = request
        self.progress: Callable[[int, int], None] = _unheard
        self.retried: Callable[[int, StudioError], None] = _unheard
        self.outcomes: dict[int, Any] | None = None
        self.told: Callable[[int, int], Awaitable[None]] | None = None
        many = max(map(len, self.inputs.values()), default=0) > HEAVY_ITEMS
        # A plain function that looks or acts outside waits for something, and would let the loop wait too.
        self.is_heavy = (
            many or node_type.shape == "frame" or not (node_type.is_async or node_type.effects(template.raw) == "pure")
        )
        self.is_plain = not (self.is_heavy or node_type.is_async or node.retry or node.timeout_s is not None)

    def run_here(self) -> NodeResult:
        """The result of a plain run."""
        try:
            return self.succeeded(self._plain())
        except StudioError as exc:
            return self.failed(exc)
        except Exception as exc:  # noqa: BLE001  what the package gave cannot be made into outputs
            return self._broken(exc)

    async def run(self) -> NodeResult:
        """The result of a run that may wait, or goes to a thread."""
        try:
            if self.node_type.shape == "each":
                return self.succeeded(await self._each())
            return self.succeeded(await self._attempts(self._batch))
        except StudioError as exc:
            return self.failed(exc)
        except Exception as exc:  # noqa: BLE001  as above
            return self._broken(exc)

    def _broken(self, exc: Exception) -> NodeResult:
        return NodeResult("failed", error=_foreign(exc, self.node_type).as_json())

    def hold(self) -> NodeResult:
        """What the node would be called with, without calling it."""
        try:
            if self.node_type.shape == "each":
                made, errors = self.template.each(self._scope(), self.items[:HELD_SHOWN])
                if errors and self.state.stop:
                    raise errors[min(errors)]
                params: Sequence[Params | None] = made
            else:
                params = [self._filled()[0]]
        except StudioError as exc:
            return self.failed(exc)
        return NodeResult("held", held=tuple(p.model_dump() for p in params if p is not None))

    def _plain(self) -> Outputs:
        if self.node_type.shape != "each":
            params, kept = self._filled()
            return self.outputs_of(self._call_batch(params, kept), kept)
        params_of = self._each_params()
        made: list[Any] = [None] * len(self.items)
        for index, item in self._alive(()):
            made[index] = self._guarded(index, item, params_of[index])
        return self.gathered(made)

    def _guarded(self, index: int, item: Item, params: Params | None) -> Any:
        """What a computing node makes of one item; an error goes to `reject`."""
        context = NodeContext(self.state, index=index)
        try:
            return self._call(context, item, params)
        except NodeError as exc:
            context.reject(index, exc)
            return None

    async def _batch(self) -> Outputs:
        """One attempt at all items at once."""
        if self.node_type.is_async and self.node_type.shape != "frame":
            params, kept = await self._off_loop(self._filled)
            made = await _awaited(self._call_batch(params, kept), self.node_type)
            return cast(Outputs, await self._off_loop(lambda: self.outputs_of(made, kept)))

        def compute() -> Outputs:
            params, kept = self._filled()
            made = self._call_batch(params, kept)
            if asyncio.iscoroutine(made):
                made = asyncio.run(
                    _awaited(made, self.node_type)
                )  # a frame node written as `async def`: this is a thread without a loop
            return self.outputs_of(made, kept)

        if self.is_heavy or self.node.timeout_s is not None:
            return await in_thread(compute)
        return compute()

    async def _off_loop(self, work: Callable[[], Any]) -> Any:
        return await in_thread(work) if self.is_heavy else work()

    def _call_batch(self, params: Params, kept: Sequence[int] | None) -> Any:
        context = NodeContext(self.state, kept=kept)
        match self.node_type.shape:
            case "trigger":
                return self._call(context, self.request or Request(), params)
            case "inputs":
                return self._call(context, self.inputs, params)
            case "frame":
                return self._call(context, self.items.frame(), params)
        items = self.items
        if kept is not None:
            items = items.take(kept).with_lineage(Lineage({"main": None}))
        return self._call(context, items, params)

    def _call(self, context: NodeContext, data: Any, params: Params | None) -> Any:
        """Call the node; an error that is not ours becomes one."""
        if not self.node_type.name.startswith("core."):
            # Rows are shared with other branches and with what is stored, params with later runs.
            data = _apart(data)
            params = params.model_copy(deep=True) if params is self.template.static and params else params
        try:
            return self.node_type.run(context, data, params)
        except StudioError:
            raise
        except FOREIGN as exc:
            raise _foreign(exc, self.node_type) from exc

    def _filled(self) -> tuple[Params, Sequence[int] | None]:
        """The params over all items, and the indexes of the items to run where some had to be given up."""
        items = self.items if self.node_type.shape == "items" else None
        params, errors, kept = self.template.once(self._scope(), items, drop=not self.state.stop)
        if errors:
            if self.state.stop:
                raise errors[min(errors)]
            self.state.rejected.update(errors)
        return params, kept

    def _each_params(self) -> Sequence[Params | None]:
        made, errors = self.template.each(self._scope(), self.items)
        for index in self.outcomes or ():
            errors.pop(index, None)
        if errors and self.state.stop:
            raise errors[min(errors)]
        self.state.rejected.update(errors)
        return made

    def _scope(self) -> Scope:
        if self.template.uses_items:
            self.scope.items = self.items.rows
        return self.scope

    def _alive(self, known: Container[int]) -> Iterator[tuple[int, Item]]:
        """The items to run: neither given up nor among those that are known."""
        rejected = self.state.rejected
        return ((index, item) for index, item in enumerate(self.items) if index not in rejected and index not in known)

    async def _each(self) -> Outputs:
        """Item by item, some at the same time.

        The error raised is that of the first failing item, as if they had run one after the other: those before it
        are let finish, those after it are not started or stopped.
        """
        in_turn = not self.node_type.is_async and self.node.timeout_s is None and self.node.retry is None
        if in_turn and self.outcomes is None:
            return await in_thread(self._plain)
        params_of = cast(Sequence[Params], await self._off_loop(self._each_params))
        items = self.items
        made: list[Any] = [None] * len(items)
        known = dict(self.outcomes or {})
        for index, outcome in known.items():
            made[index] = self.recall(index, outcome)
        waiting = self._alive(known)
        if len(items) == 1:
            for index, item in waiting:
                made[index] = await self._one(index, item, params_of[index])
            return self.gathered(made)
        failed = len(items)
        done = said = len(known)
        last = asyncio.get_running_loop().time()
        running: dict[asyncio.Task[Any], int] = {}
        error: StudioError | None = None
        try:
            while True:
                while len(running) < (1 if in_turn else CONCURRENCY) and error is None:
                    if (following := next(waiting, None)) is None:
                        break
                    index, item = following
                    running[asyncio.create_task(self._one(index, item, params_of[index]))] = index
                if not running:
                    break
                wait_s = None if self.told is None or done == said else PROGRESS_S
                finished, _ = await asyncio.wait(running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    index = running.pop(task)
                    try:
                        made[index] = task.result()
                        done += 1
                    except StudioError as exc:
                        if index < failed:
                            failed, error = index, exc
                late = {task: index for task, index in running.items() if index > failed}
                for task in late:
                    del running[task]
                await _stop(late)
                now = asyncio.get_running_loop().time()
                if now - last > PROGRESS_S or (self.told is not None and done - said >= UNTOLD_ITEMS):
                    last, said = now, done
                    if self.told is None:
                        self.progress(done, len(items))
                    else:
                        await self.told(done, len(items))
        finally:
            await _stop(running)
        if error is not None:
            raise error
        return self.gathered(made)

    async def _one(self, index: int, item: Item, params: Params) -> Any:
        async def attempt() -> Any:
            rejected: dict[int, StudioError] = {}  # its own: an attempt that failed, or ran out of time, says no more
            context = NodeContext(self.state, index=index, rejected=rejected)
            if not self.node_type.is_async:  # a thread, so that its time can run out
                made = await in_thread(self._call, context, item, params)
            else:
                made = await _awaited(self._call(context, item, params), self.node_type)
            self.state.rejected.update(rejected)
            return made

        made = None
        try:
            made = await self._attempts(attempt)
        except NodeError as exc:
            NodeContext(self.state, index=index).reject(index, exc)
        if self.outcomes is not None and (outcome := self.outcome_of(index, made)) is not None:
            self.outcomes[index] = outcome
        return made

    async def _attempts(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """What `attempt` gives, tried as often and waited for as long as the node says."""
        retry = self.node.retry or Retry(attempts=1)
        number = 1
        while True:
            try:
                return await self._in_time(attempt)
            except NodeError as exc:
                if number >= retry.attempts or not exc.retryable:
                    raise
                self.retried(number, exc)
                self.state.rejected = {} if self.node_type.shape != "each" else self.state.rejected
            wait_s = retry.wait_s * retry.backoff ** (number - 1)
            await asyncio.sleep(wait_s * (1 + retry.jitter * random.uniform(-1, 1)))
            number += 1

    async def _in_time(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        limit = self.node.timeout_s
        if limit is None:
            return await attempt()
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                return await attempt()
        except TimeoutError as exc:
            if not clock.expired():
                raise _foreign(exc, self.node_type) from exc
            raise NodeTimeout(f"did not finish in {limit:g} s", hint="Give it more time, or less to do.") from exc


def _apart(data: Any) -> Any:
    """A copy of what a node is given, at 3 us for an item: a package's node may change it."""
    if isinstance(data, Items):
        if data.is_table:
            return Items(table=data.table, files=data.files, lineage=data.lineage)
        return data.with_rows(loads(dumps(data.rows)))
    if isinstance(data, Item):
        return Item(loads(dumps(data.json)), data.files)
    return {name: _apart(items) for name, items in data.items()} if isinstance(data, dict) else data


# More than run at once: none waits for a thread while its clock runs. Python's own pool has 6 on 2 cores.
THREADS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="node")


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """The result of `work`, done in a thread."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, work, *args)


async def _awaited(made: Any, node_type: NodeType) -> Any:
    """The result of a node's function; an error that is not ours becomes one."""
    if not asyncio.iscoroutine(made):
        return made
    try:
        return await made
    except StudioError:
        raise
    except FOREIGN as exc:
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # it is stopped; else something that it waited for was
        raise _foreign(exc, node_type) from exc


async def _stop(tasks: Mapping[asyncio.Task[Any], int]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, StudioError):
            await task


def _foreign(exc: BaseException, node_type: NodeType) -> NodeError:
    return NodeError(
        f"{type(exc).__name__}: {exc}",
        hint=f"{node_type.name} raised this: a fault of the package that brings it, or data it does not expect.",
    )
