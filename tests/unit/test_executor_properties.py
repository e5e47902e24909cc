"""What holds for every workflow, shown on random graphs."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import Context, Item, Items, NodeError, Params, field
from engine.api import node as declare
from engine.events import Event, NodeResult
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Connection, Node, Workflow
from tests.support.build import run


class StepParams(Params):
    turns: int = field(0, help="How often to let others go first.")
    add: int = field(1, help="What to add to n.")
    fail_at: int | None = field(None, help="The n to fail at.")


@declare("test.each", group="test", effects="pure")
async def each(ctx: Context, item: Item, params: StepParams) -> Item:
    """Add to n, some turns of the event loop later."""
    for _ in range(params.turns):
        await asyncio.sleep(0)
    if item.json["n"] == params.fail_at:
        raise NodeError("this n")
    return item.derive(n=item.json["n"] + params.add)


@declare("test.batch", group="test", effects="pure", outputs=("main", "rest"))
def batch(ctx: Context, items: Items, params: StepParams) -> dict[str, Items]:
    """Even n one way, odd n the other."""
    even = [i for i, item in enumerate(items) if item.json["n"] % 2 == 0]
    odd = [i for i, item in enumerate(items) if item.json["n"] % 2]
    if any(item.json["n"] == params.fail_at for item in items):
        raise NodeError("this n among them")
    return {"main": items.take(even), "rest": items.take(odd)}


@declare("test.frame", group="test", effects="pure")
def frame(ctx: Context, frame: Any, params: StepParams) -> Any:
    """Sort by n, in a thread."""
    return frame.sort_values("n", ascending=False, kind="stable")


REGISTRY = Registry([each, batch, frame])
TYPES = ("test.each", "test.batch", "test.frame", "core.limit", "core.merge", "core.set")


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """Up to 9 nodes, each with up to 3 connections from earlier ones, in any drawing order."""
    count = draw(st.integers(1, 8))
    rows = [{"n": n} for n in draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))]
    nodes = [Node(id="n0", type="core.manual", label="n0", pinned={"main": rows})]
    connections = []
    for i in range(1, count + 1):
        kind = draw(st.sampled_from(TYPES))
        params: dict[str, Any] = {}
        if kind in ("test.each", "test.batch"):
            params = {"turns": draw(st.integers(0, 3)), "fail_at": draw(st.sampled_from([None, None, None, 3]))}
        elif kind == "core.set":
            params = {"fields": {f"f{i}": "{{ item.n * 2 }}"}}
        nodes.append(
            Node(
                id=f"n{i}",
                type=kind,
                label=f"label {i}",
                params=params,
                on_error=draw(st.sampled_from(["stop", "stop", "continue", "output"])),
                disabled=draw(st.sampled_from([False, False, False, True])),
            )
        )
        for source in draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)):
            output = "main"
            if nodes[source].type == "test.batch":
                output = draw(st.sampled_from(["main", "rest"]))
            if nodes[source].on_error == "output" and draw(st.booleans()):
                output = "error"
            input_ = draw(st.sampled_from(["left", "right"])) if kind == "core.merge" else "main"
            connections.append(Connection(source=f"n{source}", output=output, target=f"n{i}", input=input_))
    return Workflow(nodes=tuple(draw(st.permutations(nodes))), connections=tuple(connections))


Results = dict[str, NodeResult]


def go(drawn: Workflow, run_data: Results | None = None, parallel: int = 16) -> tuple[Results, list[Event]]:
    """Run to the end."""
    data: Results = dict(run_data or {})

    async def all_events() -> list[Event]:
        steps = plan(drawn, REGISTRY)
        return [e async for e in execute("e", drawn, steps, REGISTRY, LocalServices(), data, parallel=parallel)]

    return data, asyncio.run(all_events())


def seen(results: Results) -> dict[str, Any]:
    """Everything of the results that a user can see, lineage too."""
    return {
        node_id: (
            result.status,
            {
                name: (items.rows, [items.lineage.of(i) for i in range(len(items))] if items.lineage else None)
                for name, items in result.outputs.items()
            },
            result.error,
        )
        for node_id, result in results.items()
    }


RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RUNS
@given(workflows())
def test_every_node_runs_at_most_once_and_after_all_that_feeds_it(drawn):
    results, events = go(drawn)
    assert results.keys() == {node.id for node in drawn.nodes}
    started = [e.node_id for e in events if e.kind == "node.started"]
    assert len(started) == len(set(started))
    ended: set[str | None] = set()
    for event in events:
        if event.kind == "node.started":
            sources = {c.source for c in drawn.connections if c.target == event.node_id}
            assert sources <= ended
        elif event.kind == "node.finished":
            assert event.node_id not in ended
            ended.add(event.node_id)


@RUNS
@given(workflows())
def test_running_branches_at_the_same_time_changes_no_result(drawn):
    (one, events), (other, more) = go(drawn, parallel=1), go(drawn, parallel=16)
    assert seen(one) == seen(other)
    assert events[-1].status == more[-1].status


@RUNS
@given(workflows(), st.data())
def test_reusing_results_never_changes_a_result(drawn, data):
    whole, _ = go(drawn)
    kept = data.draw(st.sets(st.sampled_from(sorted(whole))))
    steps = [s._replace(reuse=s.node_id in kept) for s in plan(drawn, REGISTRY)]
    run_data = {node_id: whole[node_id] for node_id in kept}

    async def again() -> list[Event]:
        return [e async for e in execute("e", drawn, steps, REGISTRY, LocalServices(), run_data)]

    events = asyncio.run(again())
    assert seen(run_data) == seen(whole)
    assert kept.isdisjoint(e.node_id for e in events if e.kind == "node.started")


@RUNS
@given(workflows(), st.data())
def test_going_on_after_a_stop_at_any_event_gives_what_never_stopping_gives(drawn, data):
    whole, events = go(drawn)
    at = data.draw(st.integers(0, len(events)))
    told = {e.node_id: e.result for e in events[:at] if e.kind == "node.finished" and e.node_id and e.result}
    resumed, more = go(drawn, run_data=told)
    assert seen(resumed) == seen(whole)
    assert told.keys().isdisjoint(e.node_id for e in more if e.kind == "node.started")
    assert more[-1].status == events[-1].status


def edited(drawn: Workflow, chosen: st.DataObject) -> Workflow:
    """The workflow after one edit by chance."""
    nodes, connections = list(drawn.nodes), list(drawn.connections)
    at = chosen.draw(st.integers(0, len(nodes) - 1))
    kind = chosen.draw(st.sampled_from(["disabled", "on_error", "params", "cut", "swap"]))
    if kind == "disabled":
        nodes[at] = nodes[at].model_copy(update={"disabled": not nodes[at].disabled})
    elif kind == "on_error" and nodes[at].on_error == "stop":
        nodes[at] = nodes[at].model_copy(update={"on_error": "continue"})
    elif kind == "params" and nodes[at].type in ("test.each", "test.batch"):
        params = {**nodes[at].params, "fail_at": chosen.draw(st.integers(0, 5))}
        nodes[at] = nodes[at].model_copy(update={"params": params})
    elif kind == "cut" and connections:
        connections.pop(chosen.draw(st.integers(0, len(connections) - 1)))
    elif kind == "swap" and len(connections) > 1:
        connections.append(connections.pop(0))
    return drawn.model_copy(update={"nodes": tuple(nodes), "connections": tuple(connections)})


@RUNS
@given(workflows(), st.data())
def test_after_any_edits_what_is_kept_gives_what_a_fresh_run_gives(drawn, data):
    stored: Results = {}
    for _ in range(4):
        kept = run(drawn, registry=REGISTRY, stored=stored).finished.results
        fresh = run(drawn, registry=REGISTRY).finished.results
        assert seen(kept) == seen(fresh)
        drawn = edited(drawn, data)
