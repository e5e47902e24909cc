"""What packages' nodes may do wrong, and what it does not lead to."""

import asyncio
import gc
import sys
import time

import pytest

from engine.api import Context, Item, Items, NodeError, Params, UpstreamError, field
from engine.api import node as declare
from engine.events import NodeResult
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Retry
from tests.support.build import chain, node, run, start, workflow


class Nothing(Params):
    pass


class HowParams(Params):
    how: str = field("exit", help="What to raise.")
    names: list[str] = field([], help="A list to change.")


RAISED = {"exit": SystemExit(3), "cancel": asyncio.CancelledError("no"), "bug": ZeroDivisionError("by 0")}


@declare("test.raise", group="test", effects="pure")
def plain_raise(ctx: Context, items: Items, params: HowParams) -> Items:
    """Raise what no node should."""
    raise RAISED[params.how]


@declare("test.raise_later", group="test", effects="pure")
async def late_raise(ctx: Context, item: Item, params: HowParams) -> Item:
    """Raise it after a wait."""
    await asyncio.sleep(0)
    raise RAISED[params.how]


@declare("test.raise_framed", group="test", effects="pure")
def framed_raise(ctx: Context, frame, params: HowParams):
    """Raise it in a thread."""
    raise RAISED[params.how]


@declare("test.spoil", group="test", effects="pure")
def spoil(ctx: Context, items: Items, params: HowParams) -> Items:
    """Change what it is given."""
    params.names.append("more")
    for row in items.rows:
        row["n"] = "spoilt"
        row["list"].append("spoilt")
    return Items([{"names": list(params.names)}])


@declare("test.slow", group="test", effects="pure")
def slow(ctx: Context, item: Item, params: Nothing) -> Item:
    """Compute for a while."""
    time.sleep(0.15)
    return item


@declare("test.stubborn", group="test", effects="pure")
async def stubborn(ctx: Context, item: Item, params: Nothing) -> Item:
    """Not heed being stopped."""
    for _ in range(100):
        try:
            await asyncio.sleep(0.3)
            break
        except asyncio.CancelledError:
            continue
    return item


REGISTRY = Registry([plain_raise, late_raise, framed_raise, spoil, slow, stubborn])


@pytest.mark.parametrize("type_", ["test.raise", "test.raise_later", "test.raise_framed"])
@pytest.mark.parametrize("how", RAISED)
def test_whatever_a_node_raises_fails_that_node_only(type_, how):
    flow = workflow(
        start([{"n": 1}, {"n": 2}]), node("bad", type_, {"how": how}), node("other", "core.limit"),
        paths=("start > bad", "start > other"),
    )  # fmt: skip
    ran = run(flow, registry=REGISTRY)
    assert ran.events[-1].kind == "execution.finished"
    assert ran.error("bad")["message"].startswith(type(RAISED[how]).__name__)
    assert ran["other"] == [{"n": 1}, {"n": 2}]


def test_a_node_that_changes_what_it_is_given_spoils_nothing_else():
    rows = [{"n": 1, "list": [1]}]
    flow = workflow(
        start(rows), node("spoil", "test.spoil", {"names": ["a"]}), node("after", "core.limit"),
        paths=("start > spoil", "start > after"),
    )  # fmt: skip
    for _ in range(2):
        ran = run(flow, registry=REGISTRY)
        assert ran["spoil"] == [{"names": ["a", "more"]}]
        assert ran["after"] == [{"n": 1, "list": [1]}]
    assert rows == [{"n": 1, "list": [1]}]


def test_time_runs_only_while_an_item_does():
    flow = chain(start([{"n": i} for i in range(30)]), node("s", "test.slow", timeout_s=0.6))
    assert run(flow, registry=REGISTRY).status == "succeeded"


def test_plain_nodes_let_the_event_loop_breathe():
    async def go() -> tuple[int, float]:
        nodes = [node(f"n{i}", params={"fields": {"x": "{{ item.n }}"}}) for i in range(1500)]
        flow = chain(start([{"n": i} for i in range(500)]), *nodes)
        cancel, beats = asyncio.Event(), 0

        async def heart() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.01)

        heartbeat = asyncio.create_task(heart())
        steps = plan(flow, REGISTRY)
        asyncio.get_running_loop().call_later(0.3, cancel.set)
        began = time.perf_counter()
        async for _ in execute("e", flow, steps, REGISTRY, LocalServices(), {}, cancel=cancel):
            pass
        heartbeat.cancel()
        return beats, time.perf_counter() - began

    gc.disable()  # a pass over all that the other tests left behind takes longer than what is looked at here
    try:
        beats, took = asyncio.run(go())
    finally:
        gc.enable()
    assert beats >= 3
    assert took < 1.5


def test_what_ended_before_the_cancellation_stays_ended():
    async def go() -> dict[str, NodeResult]:
        cancel = asyncio.Event()

        @declare("test.stops", group="test", effects="pure")
        async def stops(ctx: Context, item: Item, params: Nothing) -> Item:
            """End, and cancel in the same moment."""
            cancel.set()
            return item

        registry = Registry([stops])
        flow = chain(start([{}]), node("last", "test.stops"), node("never", "core.limit"))
        run_data: dict[str, NodeResult] = {}
        async for _ in execute("e", flow, plan(flow, registry), registry, LocalServices(), run_data, cancel=cancel):
            pass
        return run_data

    assert [r.status for r in asyncio.run(go()).values()] == ["succeeded", "succeeded", "cancelled"]


def test_a_node_that_does_not_heed_being_stopped_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr("engine.executor.GRACE_S", 0.2)

    async def go() -> float:
        cancel = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, cancel.set)
        flow = chain(start([{}]), node("s", "test.stubborn"))
        began = time.perf_counter()
        async for _ in execute("e", flow, plan(flow, REGISTRY), REGISTRY, LocalServices(), {}, cancel=cancel):
            pass
        return time.perf_counter() - began

    assert asyncio.run(go()) < 1


def test_what_an_attempt_rejected_is_forgotten_with_the_attempt():
    calls = []

    @declare("test.rejects", group="test", effects="pure")
    async def rejects(ctx: Context, item: Item, params: Nothing) -> Item:
        """Reject the item and fail, once."""
        calls.append(1)
        if len(calls) == 1:
            ctx.reject(0, NodeError("not this time"))
            raise UpstreamError("gone")
        return item

    flow = chain(start([{"n": 1}]), node("r", "test.rejects", on_error="output", retry=Retry(wait_s=0)))
    ran = run(flow, registry=Registry([rejects]))
    assert ran["r"] == [{"n": 1}]
    assert len(ran.result("r").outputs["error"]) == 0


def test_a_failing_merge_puts_the_items_of_both_inputs_aside():
    flow = workflow(
        start([{"a": 1}], "l"), start([{"b": 2}], "r"),
        node("m", "core.merge", {"mode": "join", "on": [{"left": "a", "right": "gone"}]}, on_error="output"),
        node("aside", params={"fields": {"from": '{{ node("r").item.b | default("left") }}'}}, on_error="continue"),
        paths=("l > m.left", "r > m.right", "m.error > aside"),
    )  # fmt: skip
    rows = run(flow)["aside"]
    assert [sorted(row.keys() & {"a", "b"}) for row in rows] == [["a"], ["b"]]
    assert "gone" in rows[1]["error"]["message"]
    assert rows[1]["from"] == 2


def test_a_failure_with_nothing_on_the_first_input_is_not_swallowed():
    flow = workflow(
        start([], "l"), start([{"b": 2}], "r"),
        node("m", "core.merge", {"mode": "join", "on": [{"left": "a", "right": "gone"}]}, on_error="continue"),
        paths=("l > m.left", "r > m.right"),
    )  # fmt: skip
    assert run(flow)["m"][0]["error"]["message"]


def test_a_trigger_that_was_not_chosen_gives_nothing_and_its_nothing_is_not_reused():
    flow = workflow(
        node("t1", "core.manual"), node("t2", "core.manual"), node("a", "core.limit"), node("b", "core.limit"),
        paths=("t1 > a", "t2 > b"),
    )  # fmt: skip
    stored = {}
    assert run(flow, items=[{"n": 1}], trigger="t1", stored=stored)["a"] == [{"n": 1}]
    second = run(flow, items=[{"n": 1}], trigger="t2", stored=stored)
    assert (second["a"], second["b"]) == ([], [{"n": 1}])
    pinned = workflow(start([{"n": 1}], "t1"), start([{"n": 2}], "t2"), node("b", "core.limit"), paths="t2 > b")
    assert run(pinned, trigger="t1")["b"] == []


def test_lineage_through_a_long_chain_and_through_many_ways_is_quick():
    limits = [node(f"n{i}", "core.limit") for i in range(1500)]
    last = node("last", params={"fields": {"x": '{{ node("start").item.n }}'}})
    assert run(chain(start([{"n": 7}]), *limits, last))["last"] == [{"n": 7, "x": 7}]
    assert sys.getrecursionlimit() < 1500 * 2
    diamonds = [start([{"n": 7}], "d0")]
    paths = []
    for i in range(1, 20):
        only_n = {"fields": {"n": "{{ item.n }}"}, "keep_others": False}
        diamonds += [node(f"l{i}", "core.limit"), node(f"m{i}", "core.merge", {"mode": "position"})]
        diamonds.append(node(f"d{i}", params=only_n))
        paths += [f"d{i - 1} > l{i} > m{i}.left", f"d{i - 1} > m{i}.right", f"m{i} > d{i}"]
    diamonds.append(node("end", params={"fields": {"x": '{{ node("d0").item.n }}'}}))
    began = time.perf_counter()
    assert run(workflow(*diamonds, paths=(*paths, "d19 > end")))["end"][0]["x"] == 7
    assert time.perf_counter() - began < 1
