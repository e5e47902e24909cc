"""An execution that broke off goes on at the item: what is known of a node that changes something is not done again."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Context, FileRef, Item, Items, NodeError, Params, field
from engine.api import node as declare
from engine.events import Event, NodeResult
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Retry, Workflow
from tests.support.build import chain, node, start

SENT: list[tuple[int, str, int]] = []  # n of an item, the idempotency key it was sent with, and by which process


class SendParams(Params):
    turns: int = field(0, help="How often to let others go first.")
    seconds: float = field(0, help="How long it takes.")
    gives: str = field("one", help="What comes of it.")
    process: int = field(0, help="Number of the process: threads of one that died may still send here.")


def sent(ctx: Context, item: Item, params: SendParams) -> Any:
    """The effect, and what the node makes of it."""
    SENT.append((item.json["n"], ctx.idempotency_key, params.process))
    match params.gives:
        case "fail":
            raise NodeError("not taken", hint="Ask.")
        case "reject":
            ctx.reject(0, NodeError("given up"))
        case "none":
            return None
        case "two":
            return Items([{"n": item.json["n"], "part": part} for part in (1, 2)])
        case "file":
            return Item({"n": item.json["n"]}, {"bill": FileRef(f"key{item.json['n']}", "bill.pdf", "text/plain", 7)})
        case "number":
            return 5
    return item.derive(sent=True)


@declare("test.send", group="test", effects="write")
async def send(ctx: Context, item: Item, params: SendParams) -> Any:
    """Send each item, some turns of the event loop later."""
    for _ in range(params.turns):
        await asyncio.sleep(0)
    await asyncio.sleep(params.seconds)
    return sent(ctx, item, params)


@declare("test.post", group="test", effects="write")
def post(ctx: Context, item: Item, params: SendParams) -> Any:
    """Send each item, one after the other."""
    time.sleep(params.seconds)
    return sent(ctx, item, params)


@declare("test.ask", group="test", effects="read")
async def ask(ctx: Context, item: Item, params: SendParams) -> Any:
    """Look each item up."""
    return sent(ctx, item, params)


@declare("test.all", group="test", effects="write")
def send_all(ctx: Context, items: Items, params: SendParams) -> Items:
    """Send all items at once."""
    SENT.extend((item.json["n"], ctx.idempotency_key, 0) for item in items)
    return items


REGISTRY = Registry([send, post, ask, send_all])
Results = dict[str, NodeResult]
Partial = dict[str, dict[int, Any]]
BY_ITEM = {"turns": "{{ item.get('turns', 0) }}", "gives": "{{ item.get('gives', 'one') }}"}
OF_PROCESS = {**BY_ITEM, "process": "{{ vars.process }}"}


def sending(rows: list[dict[str, Any]], type_: str = "test.send", **more: Any) -> Workflow:
    """Items are sent; what comes after says which item each came from."""
    params = more.pop("params", BY_ITEM)
    after = node("after", params={"fields": {"from": '{{ node("start").item.n }}'}})
    return chain(start(rows), node("send", type_, params, **more), after)


def stored(partial: Partial) -> Partial:
    """The outcomes, written down and read again."""
    read = json.loads(json.dumps(partial))
    return {node_id: {int(index): outcome for index, outcome in found.items()} for node_id, found in read.items()}


async def broken_off(
    drawn: Workflow, run_data: Results, partial: Partial, after: int = 10**6, process: int = 0
) -> tuple[Results, Partial]:
    """What is known once so many events of the node were taken; then the process dies. All, where there are fewer."""
    services = LocalServices(vars={"process": process})
    events = execute("e", drawn, plan(drawn, REGISTRY), REGISTRY, services, run_data, partial=partial)
    taken = 0
    known: tuple[Results, Partial] = (dict(run_data), stored(partial))
    async for event in events:
        known = (dict(run_data), stored(partial))
        taken += event.node_id == "send"
        if taken == after:
            break
    await events.aclose()
    return known


def seen(results: Results) -> dict[str, Any]:
    """All of the results that a user can see, with lineage and files."""
    return {
        node_id: (
            result.status,
            result.error,
            {
                name: (
                    items.rows,
                    list(items.files),
                    [items.lineage and items.lineage.of(i) for i in range(len(items))],
                )
                for name, items in result.outputs.items()
            },
        )
        for node_id, result in results.items()
    }


GIVES = ["one", "one", "none", "two", "file", "fail", "reject"]


@settings(max_examples=100, deadline=None)
@given(
    drawn_rows=st.lists(st.tuples(st.sampled_from(GIVES), st.integers(0, 30)), min_size=1, max_size=9),
    count=st.sampled_from([1, 12, 101, 330]),
    type_=st.sampled_from(["test.send", "test.post"]),
    on_error=st.sampled_from(["stop", "continue", "output"]),
    retry=st.sampled_from([None, Retry(attempts=2, wait_s=0)]),
    stops=st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_after_any_crashes_each_known_item_was_sent_once_and_the_outcome_is_the_same(
    drawn_rows, count, type_, on_error, retry, stops
):
    items = []
    for n in range(count):
        gives, turns = drawn_rows[n % len(drawn_rows)]
        items.append({"n": n, "gives": gives, "turns": turns})
    drawn = sending(items, type_, on_error=on_error, retry=retry, params=OF_PROCESS)

    async def go() -> tuple[Results, Results]:
        undisturbed, _ = await broken_off(drawn, {}, {}, process=-1)
        SENT.clear()
        results: Results = {}
        partial: Partial = {}
        for process, after in enumerate((*stops, 10**6)):
            before, ended = set(partial.get("send", {})), "send" in results
            results, partial = await broken_off(drawn, results, partial, after, process)
            counts = Counter(n for n, _, by in SENT if by == process)
            assert not before & counts.keys()
            assert not (ended and counts)
            assert max(counts.values(), default=0) <= (retry.attempts if retry else 1)
        assert len({key for _, key, _ in SENT}) == len({n for n, _, _ in SENT}) == len({(n, key) for n, key, _ in SENT})
        return undisturbed, results

    undisturbed, results = asyncio.run(go())
    assert seen(results) == seen(undisturbed)


@pytest.mark.parametrize("type_", ["test.send", "test.post"])
def test_at_most_a_hundred_items_and_those_under_way_are_not_known_while_nobody_listens(type_):
    drawn = sending([{"n": n} for n in range(350)], type_)
    unknown = []

    async def go() -> None:
        SENT.clear()
        partial: Partial = {}
        async for event in execute("e", drawn, plan(drawn, REGISTRY), REGISTRY, LocalServices(), {}, partial=partial):
            known = len(partial.get("send", {}))
            if event.kind == "node.progress":
                await asyncio.sleep(0.05)  # a commit, while the node goes on
                unknown.append(len(SENT) - known)

    asyncio.run(go())
    assert len(SENT) == 350
    assert len(unknown) >= 3
    assert max(unknown) <= 10


def test_what_is_known_is_told_within_a_second_though_the_next_item_takes_longer():
    drawn = sending([{"n": 0}, {"n": 1}], params={"seconds": "{{ item.n * 3 }}"})

    async def go() -> float:
        partial: Partial = {}
        began = time.perf_counter()
        events = execute("e", drawn, plan(drawn, REGISTRY), REGISTRY, LocalServices(), {}, partial=partial)
        async for event in events:
            if event.kind == "node.progress":
                assert (event.done, event.total, list(partial["send"])) == (1, 2, [0])
                break
        took = time.perf_counter() - began
        await events.aclose()
        return took

    assert asyncio.run(go()) < 1


async def outcomes_left(drawn: Workflow, cancel_after_s: float | None = None) -> tuple[str | None, Partial]:
    """How the node ended, and the outcomes that are left then."""
    partial: Partial = {}
    cancel = asyncio.Event()
    if cancel_after_s is not None:
        asyncio.get_running_loop().call_later(cancel_after_s, cancel.set)
    run_data: Results = {}
    async for _ in execute(
        "e", drawn, plan(drawn, REGISTRY), REGISTRY, LocalServices(), run_data, cancel=cancel, partial=partial
    ):
        pass
    return run_data["send"].status, partial


def test_outcomes_are_gone_once_the_node_has_succeeded_and_stay_otherwise():
    rows = [{"n": n} for n in range(3)]
    assert asyncio.run(outcomes_left(sending(rows))) == ("succeeded", {})
    status, partial = asyncio.run(outcomes_left(sending([*rows, {"n": 3, "gives": "fail", "turns": 9}])))
    assert (status, list(partial["send"])) == ("failed", [0, 1, 2])
    waiting = sending(rows, params={"seconds": "{{ item.n * 5 }}"})
    status, partial = asyncio.run(outcomes_left(waiting, cancel_after_s=0.2))
    assert (status, list(partial["send"])) == ("cancelled", [0])


@pytest.mark.parametrize("type_", ["test.ask", "test.all"])
def test_only_nodes_that_change_something_item_by_item_put_outcomes_down(type_):
    _, partial = asyncio.run(outcomes_left(sending([{"n": 1}, {"n": 2}], type_)))
    assert partial == {}


def test_an_outcome_is_plain_data_with_its_files():
    rows = [{"n": n, "gives": gives} for n, gives in enumerate(["one", "none", "file", "fail", "number", "two"])]

    async def go() -> Partial:
        return (await broken_off(sending(rows, on_error="continue"), {}, {}))[1]

    # A node that gives no items fails as a whole: nothing is left of what it did.
    rejected = asyncio.run(go())
    assert rejected == {}
    status, partial = asyncio.run(outcomes_left(sending([*rows, {"n": 6, "gives": "fail", "turns": 20}])))
    assert status == "failed"
    bill = {"bill": {"key": "key2", "name": "bill.pdf", "media_type": "text/plain", "size_bytes": 7}}
    assert partial["send"] == {
        0: {"rows": [{"n": 0, "gives": "one", "sent": True}]},
        1: {"rows": []},
        2: {"rows": [{"n": 2}], "files": [bill]},
        5: {"rows": [{"n": 5, "part": 1}, {"n": 5, "part": 2}]},
    }


def test_what_a_run_before_knew_counts_though_params_cannot_be_made_of_the_item_any_more():
    rows = [{"n": 0}, {"n": 1}]
    drawn = sending(rows, params={"gives": "{{ vars.gives }}"})
    partial: Partial = {"send": {0: {"rows": [{"old": 0}]}, 1: {"rows": [{"old": 1}]}}}
    assert asyncio.run(broken_off(drawn, {}, partial))[0]["send"].status == "failed"
    drawn = sending(rows, params={"turns": "{{ item.gone }}"})
    results, _ = asyncio.run(broken_off(drawn, {}, partial))
    assert results["send"].outputs["main"].rows == [{"old": 0}, {"old": 1}]


WAYS = {
    "a task": sending([{"n": 1}, {"n": 2}]),
    "a thread for each item": sending([{"n": 1}, {"n": 2}], "test.post", timeout_s=5),
    "a thread": sending([{"n": n} for n in range(3000)], "test.all", params={}),
    "right here": sending([{"n": 1}], "test.all", params={}),
    "item by item": sending([{"n": 1}, {"n": 2}], "test.post"),
}


@pytest.mark.parametrize("partial", [None, {}], ids=["without outcomes", "with outcomes"])
@pytest.mark.parametrize("drawn", WAYS.values(), ids=WAYS)
def test_nothing_is_sent_before_the_start_of_the_node_was_taken(drawn, partial):
    async def go() -> list[Event]:
        events = []
        async for event in execute(
            "e", drawn, plan(drawn, REGISTRY), REGISTRY, LocalServices(), {}, partial=partial and dict(partial)
        ):
            events.append(event)
            if event.kind == "node.started" and event.node_id == "send":
                await asyncio.sleep(0.1)  # what came before is committed
                assert SENT == []
        return events

    SENT.clear()
    assert asyncio.run(go())[-1].status == "succeeded"
    assert SENT


def test_a_retry_goes_on_with_the_idempotency_keys_of_what_it_retries():
    drawn = sending([{"n": 1}, {"n": 2}])

    async def keys_of(execution_id: str, same_as: str | None = None) -> set[str]:
        SENT.clear()
        steps = plan(drawn, REGISTRY)
        async for _ in execute(execution_id, drawn, steps, REGISTRY, LocalServices(), {}, same_as=same_as):
            pass
        return {key for _, key, _ in SENT}

    first = asyncio.run(keys_of("one"))
    assert len(first) == 2
    assert asyncio.run(keys_of("two", same_as="one")) == first
    assert not asyncio.run(keys_of("two")) & first
