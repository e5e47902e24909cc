"""Cancelling an execution reaches what its nodes wait for, within a second."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from engine.api import Context, Item, Items, NodeError, Params
from engine.api import node as declare
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Retry, Workflow
from tests.support.build import chain, node, start
from tests.support.http_server import Server, http_server

TOLD: list[list[float]] = [[]]  # for each test, when its threads were told to stop


class Nothing(Params):
    pass


def looks(ctx: Context) -> None:
    """Compute until told to stop."""
    told = TOLD[-1]
    deadline = time.monotonic() + 20
    while not ctx.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    told.append(time.monotonic())


@declare("test.compute", group="test", effects="pure")
def compute(ctx: Context, frame: Any, params: Nothing) -> Any:
    """Compute in a thread."""
    looks(ctx)
    return frame


@declare("test.each", group="test", effects="write")
def each(ctx: Context, item: Item, params: Nothing) -> Item:
    """Compute in a thread, item by item."""
    looks(ctx)
    return item


@declare("test.all", group="test", effects="read")
def all_of_them(ctx: Context, items: Items, params: Nothing) -> Items:
    """Wait for something outside as a plain function does."""
    looks(ctx)
    return items


@declare("test.fail", group="test", effects="read")
async def fail(ctx: Context, item: Item, params: Nothing) -> Item:
    """Fail, to be tried again."""
    raise NodeError("not yet")


@declare("test.batch", group="test", effects="read")
async def batch(ctx: Context, items: Items, params: Nothing) -> Items:
    """Fail as a whole, to be tried again."""
    raise NodeError("not yet")


REGISTRY = Registry([compute, each, all_of_them, fail, batch])
LATER = Retry(attempts=5, wait_s=60)


def children() -> list[int]:
    """The processes that this one started and that are there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(folder.name))
    return found


def drawn(type_: str, params: dict[str, Any] | None = None, rows: int = 3, **more: Any) -> Workflow:
    return chain(
        start([{"n": n} for n in range(rows)]), node("node", type_, params, **more), node("after", "core.limit")
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as server:
        yield server


SLOW: dict[str, Callable[[Server], Workflow]] = {
    "a service that does not answer": lambda s: drawn("core.http_request", {"url": s.url + "/slow?s=30"}),
    "a service that sends byte by byte": lambda s: drawn("core.http_request", {"url": s.url + "/drip"}),
    "a call that writes": lambda s: drawn("core.http_request", {"url": s.url + "/slow?s=30", "method": "POST"}, 30),
    "code without an end": lambda s: drawn("core.code", {"source": "while True: pass"}),
    "code that computes item by item": lambda s: drawn("core.code", {"source": "while True: pass", "shape": "item"}),
    "the wait before another attempt of an item": lambda s: drawn("test.fail", retry=LATER),
    "the wait before another attempt of all": lambda s: drawn("test.batch", retry=LATER),
    "a frame in a thread": lambda s: drawn("test.compute"),
    "an item in a thread": lambda s: drawn("test.each", rows=1),
    "items in a thread": lambda s: drawn("test.each"),
    "all items in a thread": lambda s: drawn("test.all"),
    "items in threads, with a time of their own": lambda s: drawn("test.each", timeout_s=30),
}


@pytest.mark.parametrize("partial", [None, {}], ids=["", "with outcomes"])
@pytest.mark.parametrize("make", SLOW.values(), ids=SLOW)
def test_cancelling_ends_it_within_a_second(server, make, partial):
    async def go() -> tuple[str | None, float]:
        cancel = asyncio.Event()
        flow = make(server)
        services = LocalServices(http_allow=["127.0.0.1"])
        began = 0.0
        status = None
        events = execute("e", flow, plan(flow, REGISTRY), REGISTRY, services, {}, cancel=cancel, partial=partial and {})
        async for event in events:
            if event.kind == "node.started" and event.node_id == "node":
                asyncio.get_running_loop().call_later(0.5, cancel.set)
                began = time.monotonic() + 0.5
            status = event.status
        took = time.monotonic() - began
        await services.aclose()
        return status, took

    before = children()
    status, took = asyncio.run(go())
    assert status == "cancelled"
    assert took < 1
    assert children() == before


def test_a_thread_is_told_to_stop_when_nobody_waits_for_it_any_more():
    async def consume() -> None:
        flow = drawn("test.compute")
        async with aclosing(execute("e", flow, plan(flow, REGISTRY), REGISTRY, LocalServices(), {})) as events:
            async for _ in events:
                pass

    async def go() -> float:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        assert told == []
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return time.monotonic()

    told: list[float] = []
    TOLD.append(told)
    gone = asyncio.run(go())
    while not told and time.monotonic() < gone + 2:
        time.sleep(0.01)
    assert told
    assert told[0] < gone + 0.5
