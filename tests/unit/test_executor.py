"""What a run does: order, branches, items, lineage, errors, retries, time, cancellation."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest

from engine.api import (
    Context,
    Groups,
    Item,
    Items,
    Lineage,
    NodeError,
    Outputs,
    Params,
    UpstreamError,
    field,
)
from engine.api import (
    node as declare,
)
from engine.events import EXECUTION_MOVES, NODE_MOVES, NodeResult
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Retry, Settings
from tests.support.build import chain, node, run, start, workflow


class Nothing(Params):
    pass


class WaitParams(Params):
    seconds: float = field(0.05, help="How long.")
    fail: bool = field(False, help="Whether to fail then.")


@declare("test.wait", group="test", effects="pure")
async def wait(ctx: Context, item: Item, params: WaitParams) -> Item:
    """Wait for a while."""
    await asyncio.sleep(params.seconds)
    if params.fail:
        raise NodeError("told to fail")
    return item


@declare("test.block", group="test", effects="pure")
def block(ctx: Context, frame, params: WaitParams):
    """Hold the interpreter's thread, as a frame does."""
    time.sleep(params.seconds)
    return frame


@declare("test.double", group="test", effects="pure")
def double(ctx: Context, frame, params: Nothing):
    """Keep what is odd, doubled."""
    kept = frame[frame["n"] % 2 == 1].copy()
    kept["n"] = kept["n"] * 2
    return kept


@declare("test.thread", group="test", effects="pure")
def thread(ctx: Context, items: Items, params: Nothing) -> Items:
    """Say in which thread it runs."""
    return items.with_rows([{"main": threading.current_thread() is threading.main_thread()}] * len(items))


@declare("test.twice", group="test", effects="pure")
def twice(ctx: Context, item: Item, params: Nothing) -> Items | None:
    """Give each item twice, and odd ones not at all."""
    return None if item.json["n"] % 2 else Items.of([item, item])


@declare("test.bug", group="test", effects="pure")
def bug(ctx: Context, items: Items, params: Nothing) -> Items:
    """Fail as a package with a mistake does."""
    return items[{}]


@declare("test.stray", group="test", effects="pure")
def stray(ctx: Context, items: Items, params: Nothing) -> Outputs:
    """Give an output that is not declared."""
    return {"elsewhere": items}


@declare("test.undated", group="test", effects="pure")
def undated(ctx: Context, items: Items, params: Nothing) -> Items:
    """Give something that is no JSON."""
    return Items([{"ok": 1}, {"when": time.gmtime, "n": {1}}])


@declare("test.wrong", group="test", effects="pure")
def wrong(ctx: Context, items: Items, params: Nothing) -> int:
    """Give no items."""
    return 7


@declare("test.say", group="test", effects="pure")
def say(ctx: Context, items: Items, params: Nothing) -> Items:
    """Log a line for each item."""
    for item in items:
        ctx.log(f"saw {item.json['n']}")
    return items


@declare("test.send", group="test", effects="write")
async def send(ctx: Context, item: Item, params: WaitParams) -> Item:
    """Do something outside."""
    raise AssertionError("a held node was run")


@declare("test.key", group="test", effects="pure")
async def key(ctx: Context, item: Item, params: Nothing) -> Item:
    """Show its idempotency key and the time."""
    return item.derive(key=ctx.idempotency_key, now=ctx.now)


@declare("test.always", group="test", effects="pure", run_empty=True)
def always(ctx: Context, items: Items, params: Nothing) -> Items:
    """Count, even nothing."""
    return Items([{"count": len(items)}])


class Flaky:
    """A node type that fails so many times for each item, then goes well."""

    def __init__(self, fails: int, error: type[NodeError] = UpstreamError, **more: bool) -> None:
        self.calls: list[object] = []

        @declare("test.flaky", group="test", effects="pure")
        async def flaky(ctx: Context, item: Item, params: Nothing) -> Item:
            """Fail at first."""
            self.calls.append(item.json.get("n"))
            if self.calls.count(item.json.get("n")) <= fails:
                raise error("not yet", **more)
            return item

        self.registry = Registry([flaky])


REGISTRY = Registry([wait, block, double, thread, twice, bug, stray, undated, wrong, say, send, key, always])


def test_branches_that_are_ready_run_at_the_same_time():
    flow = workflow(
        start([{}]), *(node(f"w{i}", "test.wait", {"seconds": 0.2}) for i in range(5)),
        paths=tuple(f"start > w{i}" for i in range(5)),
    )  # fmt: skip
    began = time.perf_counter()
    assert run(flow, registry=REGISTRY).status == "succeeded"
    assert time.perf_counter() - began < 0.6


def test_a_node_that_computes_long_goes_to_a_thread_and_others_go_on():
    flow = workflow(
        start([{"n": 1}]), node("long", "test.block", {"seconds": 0.4}), node("short", "test.wait", {"seconds": 0.01}),
        paths=("start > long", "start > short"),
    )  # fmt: skip
    ended = [e.node_id for e in run(flow, registry=REGISTRY).events if e.kind == "node.finished"]
    assert ended == ["start", "short", "long"]


def test_few_items_are_computed_here_and_many_in_a_thread():
    for count, here in ((3, True), (3000, False)):
        ran = run(chain(start([{"n": 1}] * count), node("t", "test.thread")), registry=REGISTRY)
        assert ran["t"][0] == {"main": here}


def test_item_by_item_nodes_run_ten_at_a_time_and_keep_the_order():
    flow = chain(start([{"n": i} for i in range(30)]), node("w", "test.wait", {"seconds": "{{ 0.1 - item.n / 400 }}"}))
    began = time.perf_counter()
    assert run(flow, registry=REGISTRY)["w"] == [{"n": i} for i in range(30)]
    assert 0.15 < time.perf_counter() - began < 1


def test_a_node_after_a_branch_that_gave_nothing_is_skipped():
    flow = workflow(
        start([{"n": 1}]),
        node("if", "core.if", {"conditions": [{"value": "{{ item.n }}", "test": "equals", "other": 1}]}),
        node("yes", "core.limit"), node("no", "core.limit"), node("after", "core.limit"), node("count", "test.always"),
        paths=("if.true > yes", "start > if", "if.false > no > after", "no > count"),
    )  # fmt: skip
    ran = run(flow, registry=REGISTRY)
    assert [ran.result(n).status for n in ("yes", "no", "after", "count")] == [
        "succeeded",
        "skipped",
        "skipped",
        "succeeded",
    ]
    assert ran["no"] == []
    assert ran["count"] == [{"count": 0}]


def test_a_node_without_connections_runs_once_on_an_empty_item():
    assert run(workflow(node("set", params={"fields": {"a": 1}})))["set"] == [{"a": 1}]


def test_items_of_several_connections_come_one_after_the_other():
    flow = workflow(start([{"n": 1}], "a"), start([{"n": 2}], "b"), node("x", "core.limit"), paths=("b > x", "a > x"))
    assert run(flow)["x"] == [{"n": 2}, {"n": 1}]


def test_a_disabled_node_passes_its_first_input_on():
    merge = workflow(
        start([{"n": 1}], "a"), start([{"n": 2}], "b"),
        node("m", "core.merge", disabled=True), node("end", "core.limit"),
        paths=("a > m.left", "b > m.right", "m > end"),
    )  # fmt: skip
    assert run(merge)["end"] == [{"n": 1}]
    branch = workflow(
        start([{"n": 1}]),
        node("if", "core.if", {"conditions": [{"value": 1, "test": "equals", "other": 2}]}, disabled=True),
        node("yes", "core.limit"), paths=("start > if", "if.true > yes"),
    )  # fmt: skip
    assert run(branch)["yes"] == [{"n": 1}]


# Lineage


def item_of_start(*nodes, rows=({"n": 1}, {"n": 2}, {"n": 3}), registry=REGISTRY):
    """What the last node sees as node("start").item.n, for each of its items."""
    last = node("last", params={"fields": {"from": '{{ node("start").item.n }}'}, "keep_others": False})
    ran = run(chain(start(list(rows)), *nodes, last), registry=registry)
    return [row["from"] for row in ran["last"]] if ran.status == "succeeded" else ran.error("last")


TWO = {"conditions": [{"value": "{{ item.n }}", "test": "not_equals", "other": 2}]}
SHAPES = {
    "nothing between": ((), [1, 2, 3]),
    "fields": ((node("a", params={"fields": {"n": 0}}),), [1, 2, 3]),
    "a filter": ((node("a", "core.filter", TWO),), [1, 3]),
    "a sort": ((node("a", "core.sort", {"by": [{"field": "n", "order": "descending"}]}),), [3, 2, 1]),
    "a filter, then a sort": (
        (node("a", "core.filter", TWO), node("b", "core.sort", {"by": [{"field": "n", "order": "descending"}]})),
        [3, 1],
    ),
    "items to several": ((node("a", "test.twice"),), [2, 2]),
    "a frame": ((node("a", "test.double"),), [1, 3]),
    "an item at a time": ((node("a", "test.wait", {"seconds": 0}),), [1, 2, 3]),
    "a limit": ((node("a", "core.limit", {"count": 1, "keep": "last"}),), [3]),
}


@pytest.mark.parametrize(("between", "expected"), SHAPES.values(), ids=SHAPES)
def test_lineage_is_kept_through(between, expected):
    assert item_of_start(*between) == expected


def test_lineage_through_both_inputs_of_a_merge():
    flow = workflow(
        start([{"id": 1, "a": "x"}, {"id": 2, "a": "y"}], "a"), start([{"id": 2, "b": "z"}], "b"),
        node("m", "core.merge", {"mode": "join", "on": [{"left": "id"}]}),
        node("last", params={"fields": {"from": '{{ node("a").item.a ~ node("b").item.b }}'}}),
        paths=("a > m.left", "b > m.right", "m > last"),
    )  # fmt: skip
    assert run(flow)["last"] == [{"id": 2, "a": "y", "b": "z", "from": "yz"}]


def test_an_item_of_several_says_so():
    flow = chain(
        start([{"n": 1}, {"n": 2}]), node("sum", "core.summarize"),
        node("last", params={"fields": {"x": '{{ node("start").item.n }}'}}),
    )  # fmt: skip
    error = run(flow).error("last")
    assert error["message"] == 'this item came from several items of "start", not from one'
    assert ".items" in error["hint"]


def test_lost_lineage_names_the_node_that_lost_it():
    @declare("test.fresh", group="test", effects="pure")
    def fresh(ctx: Context, items: Items, params: Nothing) -> Items:
        """Make new items."""
        return Items([{"k": 1}, {"k": 2}])

    error = item_of_start(node("new", "test.fresh"), registry=Registry([fresh]))
    assert 'not known after "new"' in error["message"]
    assert item_of_start(node("new", "test.fresh"), rows=({"n": 5},), registry=Registry([fresh])) == [5, 5]


def test_pinned_items_have_no_lineage():
    error = item_of_start(node("pin", "core.limit", pinned={"main": [{"n": 1}]}))
    assert "pinned" in error["message"]


def test_lineage_a_node_gives_itself():
    lineage = Lineage({"main": Groups([0, 1, 0])})
    assert lineage.of(0) == {"main": (0, 2)}
    assert lineage.take([1, 0]).of(1) == {"main": (0, 2)}
    assert lineage.over([4, 5, 6]).of(0) == {"main": (4, 6)}


# Errors


def test_a_failure_stops_what_depends_on_it_and_lets_other_branches_end():
    flow = workflow(
        start([{"n": "x"}]), node("bad", params={"fields": {"y": "{{ item.n + 1 }}"}}), node("after", "core.limit"),
        node("other", "core.limit"), paths=("start > bad > after", "start > other"),
    )  # fmt: skip
    ran = run(flow)
    assert ran.status == "failed"
    assert [ran.result(n).status for n in ("bad", "after", "other")] == ["failed", "skipped", "succeeded"]
    assert ran.error("bad")["item"] == 0
    assert ran.error("bad")["param"] == "fields.y"


BAD = node("set", params={"fields": {"y": "{{ item.n + 1 }}"}})
MIXED = [{"n": 1}, {"n": "x"}, {"n": 3}]


def test_on_error_continue_lets_failing_items_go_on_with_their_error():
    ran = run(chain(start(MIXED), BAD.model_copy(update={"on_error": "continue"})))
    assert ran.status == "succeeded"
    good, failed = [r for r in ran["set"] if "error" not in r], [r for r in ran["set"] if "error" in r]
    assert good == [{"n": 1, "y": 2}, {"n": 3, "y": 4}]
    assert failed[0]["n"] == "x"
    assert failed[0]["error"]["code"] == "node.expression"


def test_on_error_output_sends_failing_items_aside_and_keeps_their_lineage():
    flow = workflow(
        start(MIXED), BAD.model_copy(update={"on_error": "output"}),
        node("good", params={"fields": {"from": '{{ node("start").item.n }}'}}),
        node("failed", params={"fields": {"from": '{{ node("start").item.n }}'}}),
        paths=("start > set > good", "set.error > failed"),
    )  # fmt: skip
    ran = run(flow)
    assert [r["from"] for r in ran["good"]] == [1, 3]
    assert [r["from"] for r in ran["failed"]] == ["x"]


@pytest.mark.parametrize("mode", ["continue", "output"])
def test_a_node_that_fails_as_a_whole_gives_up_all_its_items(mode):
    ran = run(chain(start([{"n": 1}, {"n": 2}]), node("bug", "test.bug", on_error=mode)), registry=REGISTRY)
    output = "main" if mode == "continue" else "error"
    assert [r["n"] for r in ran.result("bug").outputs[output].rows] == [1, 2]
    assert ran.status == "succeeded"


def test_a_trigger_that_fails_gives_one_item_with_the_error():
    ran = run(workflow(node("hook", "core.webhook", {"path": "x"}, on_error="continue")))
    assert ran["hook"][0]["error"]["code"] == "definition.request_missing"


def test_in_an_item_by_item_node_each_failing_item_goes_its_way():
    rows = [{"n": i, "bad": i % 2 == 1} for i in range(4)]
    flow = chain(start(rows), node("w", "test.wait", {"seconds": 0, "fail": "{{ item.bad }}"}, on_error="continue"))
    ran = run(flow, registry=REGISTRY)
    assert ["error" in row for row in ran["w"]] == [False, True, False, True]
    assert [row["n"] for row in ran["w"]] == [0, 1, 2, 3]


def test_the_error_is_that_of_the_first_failing_item_whichever_is_quicker():
    rows = [{"s": 0.2, "f": False}, {"s": 0.15, "f": True}, {"s": 0.0, "f": True}]
    flow = chain(start(rows), node("w", "test.wait", {"seconds": "{{ item.s }}", "fail": "{{ item.f }}"}))
    assert run(flow, registry=REGISTRY).error("w")["item"] == 1


PACKAGE_FAULTS = {
    "test.bug": "TypeError",
    "test.stray": "gave the output 'elsewhere', which it does not declare",
    "test.undated": "item 1 of its output 'main' is no JSON data",
    "test.wrong": "gave int as its output 'main', not Items",
}


@pytest.mark.parametrize(("type_", "message"), PACKAGE_FAULTS.items())
def test_a_fault_of_a_package_names_the_node_type(type_, message):
    error = run(chain(start([{"n": 1}]), node("x", type_)), registry=REGISTRY).error("x")
    assert message in error["message"]
    assert "package" in error["hint"]


# Retries and time


def test_a_failing_item_is_tried_again_and_each_attempt_is_told():
    flaky = Flaky(2)
    retry = Retry(attempts=3, wait_s=0, jitter=0)
    ran = run(chain(start([{"n": 1}, {"n": 2}]), node("f", "test.flaky", retry=retry)), registry=flaky.registry)
    assert ran["f"] == [{"n": 1}, {"n": 2}]
    assert sorted(e.attempt for e in ran.events if e.kind == "node.retried") == [1, 1, 2, 2]


def test_after_the_last_attempt_the_node_has_failed():
    flaky = Flaky(9)
    retry = Retry(attempts=3, wait_s=0)
    ran = run(chain(start([{"n": 1}]), node("f", "test.flaky", retry=retry)), registry=flaky.registry)
    assert ran.error("f")["message"] == "not yet"
    assert flaky.calls == [1, 1, 1]


def test_what_cannot_go_well_later_is_not_tried_again():
    flaky = Flaky(9, retryable=False)
    run(chain(start([{"n": 1}]), node("f", "test.flaky", retry=Retry(wait_s=0))), registry=flaky.registry)
    assert flaky.calls == [1]


def test_waits_grow_by_the_back_off():
    flaky = Flaky(3)
    retry = Retry(attempts=4, wait_s=0.05, backoff=2, jitter=0)
    began = time.perf_counter()
    run(chain(start([{"n": 1}]), node("f", "test.flaky", retry=retry)), registry=flaky.registry)
    assert 0.35 <= time.perf_counter() - began < 0.6


def test_jitter_spreads_the_waits(monkeypatch):
    waits = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("engine.step.asyncio.sleep", note)
    flaky = Flaky(20)
    retry = Retry(attempts=21, wait_s=1, backoff=1, jitter=0.5)
    run(chain(start([{"n": 1}]), node("f", "test.flaky", retry=retry)), registry=flaky.registry)
    assert all(0.5 <= seconds <= 1.5 for seconds in waits)
    assert len(set(waits)) > 10


@pytest.mark.parametrize("type_", ["test.wait", "test.block"])
def test_a_node_that_takes_too_long_fails(type_):
    ran = run(chain(start([{"n": 1}]), node("x", type_, {"seconds": 0.5}, timeout_s=0.05)), registry=REGISTRY)
    assert ran.error("x")["code"] == "node.timeout"
    assert "0.05 s" in ran.error("x")["message"]


def test_the_time_is_that_of_one_item():
    flow = chain(start([{"n": i} for i in range(40)]), node("x", "test.wait", {"seconds": 0.03}, timeout_s=0.1))
    assert run(flow, registry=REGISTRY).status == "succeeded"


# Cancellation


async def cancelled_after(flow, seconds: float):
    """The events of a run that is cancelled, and how long it took to end."""
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, cancel.set)
    run_data: dict[str, NodeResult] = {}
    steps = plan(flow, REGISTRY)
    began = time.perf_counter()
    events = [e async for e in execute("e", flow, steps, REGISTRY, LocalServices(), run_data, cancel=cancel)]
    return events, run_data, time.perf_counter() - began


def test_cancelling_reaches_a_running_node_and_what_waits():
    flow = chain(start([{}]), node("long", "test.wait", {"seconds": 30}), node("after", "core.limit"))
    events, run_data, took = asyncio.run(cancelled_after(flow, 0.1))
    assert took < 1
    assert events[-1].status == "cancelled"
    assert {n: r.status for n, r in run_data.items()} == {
        "start": "succeeded",
        "long": "cancelled",
        "after": "cancelled",
    }


def test_cancelling_an_item_by_item_node_stops_all_its_items():
    flow = chain(start([{"n": i} for i in range(50)]), node("long", "test.wait", {"seconds": 30}))
    events, _, took = asyncio.run(cancelled_after(flow, 0.1))
    assert took < 1
    assert events[-1].status == "cancelled"


def test_closing_the_events_stops_what_runs():
    async def go() -> None:
        flow = chain(start([{}]), node("long", "test.wait", {"seconds": 30}))
        events = execute("e", flow, plan(flow, REGISTRY), REGISTRY, LocalServices(), {})
        async for event in events:
            if event.kind == "node.started":
                break
        await events.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())


# Events


def test_events_are_numbered_without_gaps_and_statuses_move_as_they_may():
    flow = workflow(
        start([{"n": 1}]), node("a", "test.say"), node("w", "test.wait"),
        node("bad", "test.bug"), node("b", "core.limit"),
        paths=("start > a > b", "start > w", "start > bad"),
    )  # fmt: skip
    ran = run(flow, registry=REGISTRY)
    assert [e.seq for e in ran.events] == list(range(1, len(ran.events) + 1))
    assert ran.events[-1].status in EXECUTION_MOVES["running"]
    states: dict[str, str] = {}
    for event in ran.events:
        if event.node_id and event.status:
            assert event.status in NODE_MOVES[states.get(event.node_id, "waiting")]
            states[event.node_id] = event.status


def test_an_event_as_json_holds_counts_and_the_first_items():
    ran = run(chain(start([{"n": i} for i in range(100)]), node("l", "core.limit", {"count": 80})))
    finished = next(e for e in ran.events if e.kind == "node.finished" and e.node_id == "l").as_json()
    assert finished["counts"] == {"main": 80}
    assert len(finished["preview"]["main"]) == 50
    failed = run(chain(start([{}]), BAD))
    assert (
        next(e for e in failed.events if e.status == "failed").as_json()["error"]["code"] == "node.expression.missing"
    )


@pytest.mark.parametrize("count", [2, 3000])
def test_what_a_node_logs_is_told_in_order(count):
    ran = run(chain(start([{"n": i} for i in range(count)]), node("s", "test.say")), registry=REGISTRY)
    assert ran.log == [f"saw {i}" for i in range(count)]


def test_progress_of_an_item_by_item_node():
    flow = chain(start([{"n": i} for i in range(60)]), node("w", "test.wait", {"seconds": 0.06}))
    progress = [e for e in run(flow, registry=REGISTRY).events if e.kind == "node.progress"]
    assert progress
    assert all(0 < e.done <= e.total == 60 for e in progress)


def test_a_held_node_shows_what_it_would_do_and_holds_up_what_follows():
    flow = chain(
        start([{"n": 1}, {"n": 2}]), node("send", "test.send", {"seconds": "{{ item.n }}"}), node("after", "core.limit")
    )
    ran = run(flow, registry=REGISTRY, hold_writes=True)
    assert ran.status == "succeeded"
    assert [r["seconds"] for r in ran.result("send").held] == [1, 2]
    assert ran.result("after").status == "skipped"
    held = next(e for e in ran.events if e.status == "held").as_json()
    assert held["held"][0] == {"seconds": 1, "fail": False}


def test_a_held_node_whose_params_fail_has_failed():
    flow = chain(start([{}]), node("send", "test.send", {"seconds": "{{ item.gone }}"}))
    assert run(flow, registry=REGISTRY, hold_writes=True).status == "failed"


def test_the_idempotency_key_is_one_per_item_and_now_is_the_start_in_the_workflows_zone():
    services = LocalServices(now=datetime(2026, 7, 1, 12, tzinfo=UTC))
    flow = chain(start([{"n": 1}, {"n": 2}]), node("k", "test.key"), settings=Settings(timezone="Europe/Berlin"))
    rows = run(flow, registry=REGISTRY, services=services)["k"]
    assert rows[0]["key"] != rows[1]["key"]
    assert rows[0]["now"] == "2026-07-01T14:00:00+02:00"


def test_only_the_trigger_that_starts_gives_items():
    flow = workflow(
        node("a", "core.manual"), node("b", "core.manual"), node("x", "core.limit"), node("y", "core.limit"),
        node("both", "core.merge"), paths=("a > x > both.left", "b > y > both.right"),
    )  # fmt: skip
    ran = run(flow, items=[{"n": 1}], trigger="a")
    assert (ran["x"], ran["y"], ran["both"]) == ([{"n": 1}], [], [{"n": 1}])


NINE = [{"n": n} for n in range(9)]


def test_a_sample_is_the_first_items_of_nodes_that_nothing_leads_to_and_of_pinned_ones(tmp_path):
    (tmp_path / "a.csv").write_text("n\n" + "\n".join(map(str, range(9))))
    flow = workflow(
        node("hook", "core.manual"), node("file", "core.read_file", {"path": "a.csv"}),
        node("pin", "core.limit", pinned={"main": NINE}), node("end", "core.limit"), paths=("hook > pin", "hook > end"),
    )  # fmt: skip
    services = LocalServices(folders=[tmp_path])
    ran = run(flow, items=NINE, sample=3, services=services)
    assert [ran[label] for label in ("hook", "file", "pin")] == [NINE[:3]] * 3
    assert [len(run(flow, items=NINE, sample=size, services=services)["file"]) for size in (9, 99, None)] == [9] * 3


def test_a_sample_is_not_taken_again_of_what_is_made_of_it():
    flow = workflow(
        start(NINE, "a"), node("both", "core.merge"),
        node("end", params={"fields": {"from": '{{ node("a").item.n }}'}}),
        paths=("a > both.left", "a > both.right", "both > end"),
    )  # fmt: skip
    assert [row["from"] for row in run(flow, sample=3)["end"]] == [0, 1, 2, 0, 1, 2]


def test_what_is_drawn_by_chance_is_drawn_for_each_item():
    rows = run(chain(start([{"n": 1}, {"n": 2}]), node("s", params={"fields": {"id": "{{ uuid() }}"}})))["s"]
    assert rows[0]["id"] != rows[1]["id"]
    waits = {"seconds": "{{ random() / 1000 }}"}
    assert run(chain(start([{"n": 1}] * 3), node("w", "test.wait", waits)), registry=REGISTRY).status == "succeeded"
    assert len(run(chain(start([{}] * 9), node("l", "core.limit", {"count": "{{ random_int(2, 4) }}"})))["l"]) in (
        2,
        3,
        4,
    )


def test_a_node_that_gave_nothing_is_a_missing_value():
    flow = workflow(
        start([{"n": 1}]),
        node("none", "core.filter", {"conditions": [{"value": "{{ item.n }}", "test": "equals", "other": 2}]}),
        node("s", params={"fields": {"x": '{{ node("none").first.n | default("nobody") }}'}}),
        paths=("start > none", "none.rejected > s"),
    )
    assert run(flow)["s"] == [{"n": 1, "x": "nobody"}]
