"""One node run: what becomes of items, outputs and errors, whatever the node's function does."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from engine.api import Context, CredentialError, Item, Items, Lineage, NodeError, Outputs, Params, PerItem, field
from engine.api import node as declare
from engine.registry import Registry
from engine.workflow import Retry, Workflow
from tests.support.build import Ran, chain, connect, node, run, start

ENDED: list[str] = []


class Nothing(Params):
    pass


class Act(Params):
    what: str = field("pass", help="What to do.")
    seconds: float = field(0, help="After how long.")


@declare("test.act", group="test", effects="read")
async def act(ctx: Context, item: Item, params: Act) -> Any:
    """Do what each item says."""
    try:
        await asyncio.sleep(params.seconds)
    except asyncio.CancelledError:
        ENDED.append(f"{item.json['n']} stopped")
        raise
    ENDED.append(f"{item.json['n']} ended")
    if params.what == "fail":
        raise NodeError("told to fail")
    if params.what == "refuse":
        raise CredentialError("no credential here", hint="Make one.")
    if params.what == "time out":
        raise TimeoutError("of its own")
    return {"number": 5, "list": [item, item], "nothing": None}.get(params.what, item)


@declare("test.plain", group="test", effects="pure")
def plain(ctx: Context, item: Item, params: Act) -> Any:
    """Do what each item says, at once."""
    if params.what == "fail":
        raise NodeError("told to fail")
    time.sleep(params.seconds)
    return 5 if params.what == "number" else item


@declare("test.two", group="test", effects="pure", inputs=("left", "right"))
def two(ctx: Context, inputs: dict[str, Items], params: Nothing) -> Items:
    """Give the left items."""
    return inputs["left"]


@declare("test.listed", group="test", effects="pure")
def listed(ctx: Context, items: Items, params: Nothing) -> Any:
    """Give a list of Item."""
    return [item.derive(seen=True) for item in items]


@declare("test.pairs", group="test", effects="pure")
def pairs(ctx: Context, items: Items, params: Nothing) -> Items:
    """Join each two items that follow one another; refuse those without a number."""
    for index, item in enumerate(items):
        if item.json["n"] is None:
            ctx.reject(index, NodeError("no number"))
    numbers = [(i, item.json["n"]) for i, item in enumerate(items) if item.json["n"] is not None]
    both = list(pairwise(numbers))
    return Items([{"n": a[1] + b[1]} for a, b in both], lineage=Lineage({"main": [(a[0], b[0]) for a, b in both]}))


@declare("test.lost", group="test", effects="pure")
def lost(ctx: Context, items: Items, params: Nothing) -> Items:
    """Give other items, and say nothing of where they come from; refuse the last one."""
    ctx.reject(len(items) - 1, NodeError("the last"))
    return Items([{"n": 0}])


@declare("test.later", group="test", effects="pure")
async def later(ctx: Context, frame: Any, params: Act) -> Any:
    """Wait, then do it to a frame."""
    await asyncio.sleep(0)
    if params.what == "raise":
        raise ValueError("a bug")
    return frame.assign(n=frame["n"] * 2)


@declare("test.stopped", group="test", effects="pure")
def stopped(ctx: Context, items: Items, params: Nothing) -> Items:
    """Say whether it should stop."""
    return items.with_rows([{"cancelled": ctx.cancelled}] * len(items))


class Typed(Params):
    number: PerItem[int] = field(0, help="A number.")
    pair: PerItem[list[int]] = field([0, 0], help="Two numbers.")


@declare("test.typed", group="test", effects="pure")
def typed(ctx: Context, items: Items, params: Typed) -> Items:
    """Give the params of each item."""
    rows = [{"number": params.number[i], "pair": params.pair[i]} for i in range(len(items))]
    return items.with_rows(rows)


@declare("test.answer", group="test", effects="pure")
def answer(ctx: Context, items: Items, params: Act) -> Items:
    """Answer twice, the second time with what the params say."""
    ctx.respond(500, {}, None)
    ctx.respond(202, {"x": "y"}, {1, 2} if params.what == "set" else [params.what])
    return items


REGISTRY = Registry([answer, act, plain, two, listed, pairs, lost, later, stopped, typed])
BY_ITEM = {"what": "{{ item.what }}", "seconds": "{{ item.get('s', 0) }}"}


def ran(type_: str, rows: list[dict[str, Any]], params: dict[str, Any] | None = None, **more: Any) -> Ran:
    ENDED.clear()
    return run(chain(start(rows), node("node", type_, params, **more)), registry=REGISTRY)


def rows_of(*what: str, **seconds: float) -> list[dict[str, Any]]:
    return [{"n": n, "what": word, "s": seconds.get(f"s{n}", 0)} for n, word in enumerate(what)]


def test_when_an_item_fails_those_before_it_end_and_those_after_it_are_stopped():
    done = ran("test.act", rows_of("pass", "fail", "pass", "pass", s0=0.1, s1=0.03, s2=5, s3=5), BY_ITEM)
    assert done.status == "failed"
    assert done.error("node") == {"code": "node", "message": "told to fail", "item": 1}
    assert sorted(ENDED) == ["0 ended", "1 ended", "2 stopped", "3 stopped"]


def test_of_two_failing_items_the_first_is_named_though_the_second_fails_sooner():
    done = ran("test.act", rows_of("pass", "fail", "fail", s1=0.06, s2=0.02), BY_ITEM)
    assert done.error("node")["item"] == 1


def test_an_error_that_is_not_of_the_data_stops_all_items_too():
    done = ran("test.act", rows_of("pass", "refuse", "pass", s0=0.05, s1=0.02, s2=5), BY_ITEM)
    assert done.error("node") == {"code": "credential", "message": "no credential here", "hint": "Make one."}
    assert sorted(ENDED) == ["0 ended", "1 ended", "2 stopped"]


@pytest.mark.parametrize("mode", ["continue", "output"])
def test_an_error_that_is_not_of_the_data_gives_up_all_items(mode):
    done = ran("test.act", rows_of("pass", "refuse"), BY_ITEM, on_error=mode)
    assert done.status == "succeeded"
    aside = done.result("node").outputs["main" if mode == "continue" else "error"].rows
    assert [row["error"]["message"] for row in aside] == ["no credential here"] * 2


RESULTS = {
    "an item": ("pass", [1], None),
    "a list of items": ("list", [2], None),
    "nothing": ("nothing", [0], None),
    "something else": ("number", None, "test.act gave int as its output 'main', not Items"),
    "a time-out of its own": ("time out", None, "TimeoutError: of its own"),
}


@pytest.mark.parametrize(("what", "count", "message"), RESULTS.values(), ids=RESULTS)
def test_an_item_by_item_node_gives_items_or_none(what, count, message):
    done = ran("test.act", [{"n": 0}], {"what": what}, timeout_s=5)
    if message:
        assert done.error("node")["message"] == message
    else:
        assert [len(done["node"])] == count


def test_a_computing_item_by_item_node_may_have_its_time():
    done = ran("test.plain", [{"s": 0}, {"s": 0.9}], {"seconds": "{{ item.s }}"}, timeout_s=0.4)
    assert (done.error("node")["code"], done.error("node")["item"]) == ("node.timeout", 1)


def test_a_computing_item_by_item_node_is_tried_again():
    retry = Retry(attempts=2, wait_s=0, jitter=0)
    done = ran("test.plain", rows_of("pass", "fail"), {"what": "{{ item.what }}"}, retry=retry)
    assert [event.attempt for event in done.events if event.kind == "node.retried"] == [1]
    assert done.error("node")["item"] == 1


@pytest.mark.parametrize("mode", ["continue", "output"])
def test_many_items_fail_one_by_one_in_a_thread(mode):
    rows = rows_of(*("fail" if n % 1000 == 0 else "pass" for n in range(3_000)))
    done = ran("test.plain", rows, {"what": "{{ item.what }}"}, on_error=mode)
    outputs = done.result("node").outputs
    aside = [row for row in outputs["main" if mode == "continue" else "error"].rows if "error" in row]
    assert [row["n"] for row in aside] == [0, 1000, 2000]
    assert len(outputs["main"]) == (3_000 if mode == "continue" else 2_997)


def test_a_list_of_items_may_be_given_for_all_at_once():
    assert ran("test.listed", [{"n": 1}, {"n": 2}])["node"] == [{"n": 1, "seen": True}, {"n": 2, "seen": True}]


def test_a_node_of_two_inputs_has_an_error_output_where_its_author_wants_one():
    left, right = start([{"n": 1}], "left"), start([{"n": 2}], "right")
    paths = connect("left > node.left", "right > node.right")
    flow = Workflow(nodes=(left, right, node("node", "test.two", on_error="output")), connections=paths)
    outputs = run(flow, registry=REGISTRY).result("node").outputs
    assert {name: items.rows for name, items in outputs.items()} == {"main": [{"n": 1}], "error": []}


def test_failing_items_come_last_where_items_are_made_of_several():
    done = ran("test.pairs", [{"n": 1}, {"n": None}, {"n": 2}, {"n": 4}], on_error="continue")
    assert [row["n"] for row in done["node"]] == [3, 6, None]
    lineage = done.result("node").outputs["main"].lineage
    assert [lineage.of(i)["main"] for i in range(3)] == [(0, 2), (2, 3), (1,)]


def test_failing_items_come_last_where_lineage_is_lost():
    done = ran("test.lost", [{"n": 1}, {"n": 2}], on_error="continue")
    assert [(row["n"], "error" in row) for row in done["node"]] == [(0, False), (2, True)]
    assert done.result("node").outputs["main"].lineage is None


def test_lineage_is_counted_in_all_items_though_some_were_given_up_before():
    rows = [{"n": 1}, {"m": 0}, {"n": 3}]
    typed_rows = ran("test.typed", rows, {"number": "{{ item.n }}"}, on_error="output")
    lineage = typed_rows.result("node").outputs["main"].lineage
    assert [lineage.of(i)["main"] for i in range(2)] == [(0,), (2,)]
    assert typed_rows["node"] == [{"number": 1, "pair": [0, 0]}, {"number": 3, "pair": [0, 0]}]


def test_a_frame_node_may_wait():
    assert ran("test.later", [{"n": 1}, {"n": 2}])["node"] == [{"n": 2}, {"n": 4}]


def test_a_fault_in_a_frame_node_that_waits_names_the_node_type():
    error = ran("test.later", [{"n": 1}], {"what": "raise"}).error("node")
    assert error["message"] == "ValueError: a bug"
    assert "test.later raised this" in error["hint"]


def test_a_node_can_see_that_it_is_to_stop():
    assert ran("test.stopped", [{}])["node"] == [{"cancelled": False}]


def test_fields_per_item_are_checked_and_may_stand_inside_lists():
    done = ran("test.typed", [{"n": "1"}, {"n": 2}], {"number": "{{ item.n }}", "pair": ["{{ item.n }}", 5]})
    assert done["node"] == [{"number": 1, "pair": [1, 5]}, {"number": 2, "pair": [2, 5]}]


@pytest.mark.parametrize("params", [{"number": "{{ item.n }}"}, {"pair": [1, "{{ item.n }}"]}])
def test_a_field_per_item_refuses_what_it_cannot_hold(params):
    error = ran("test.typed", [{"n": 1}, {"n": "x"}], params).error("node")
    assert error["code"] == "node.expression"
    assert next(iter(params)) in error["message"]


def held(type_: str, rows: list[dict[str, Any]], params: dict[str, Any], **more: Any) -> Any:
    """The result of the node, shown and not run."""

    @declare(f"held.{type_}", group="test", effects="write")
    async def by_item(ctx: Context, item: Item, params: Act) -> Item:
        """Change something outside."""
        raise AssertionError("it was run")

    @declare(f"held.all_{type_}", group="test", effects="write")
    def at_once(ctx: Context, items: Items, params: Typed) -> Outputs:
        """Change something outside at once."""
        raise AssertionError("it was run")

    flow = chain(start(rows), node("node", f"held.{'all_' if 'number' in params else ''}{type_}", params, **more))
    return run(flow, registry=Registry([by_item, at_once]), hold_writes=True).result("node")


def test_a_held_node_shows_the_params_of_each_item_or_of_all():
    rows = [{"n": 1}, {"n": 2}]
    assert held("x", rows, {"what": "{{ item.n }}"}).held == ({"what": "1", "seconds": 0}, {"what": "2", "seconds": 0})
    assert held("x", rows, {"number": "{{ item.n }}"}).held == ({"number": [1, 2], "pair": [0, 0]},)


@pytest.mark.parametrize("params", [{"what": "{{ item.n }}"}, {"number": "{{ item.n }}"}])
def test_a_held_node_leaves_out_items_whose_params_fail(params):
    rows = [{"n": 1}, {"m": 2}]
    assert held("x", rows, params).error["item"] == 1
    assert len(held("x", rows, params, on_error="output").held) == 1


def test_of_several_answers_the_last_counts():
    done = ran("test.answer", [{"n": 1}], {"what": "thanks"})
    assert done.result("node").response == {"status": 202, "headers": {"x": "y"}, "body": ["thanks"]}


def test_an_answer_that_is_no_json_data_fails_the_node_and_names_it():
    done = ran("test.answer", [{"n": 1}], {"what": "set"})
    assert "test.answer answers with what is no JSON data" in done.error("node")["message"]
