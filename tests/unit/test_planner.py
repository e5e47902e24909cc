"""Preview keys hold everything that changes an output and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from engine.api import Context, Items, Params, Request
from engine.api import node as declare
from engine.edits import (
    Connect,
    Disconnect,
    Many,
    MoveNode,
    Pin,
    RenameNode,
    SetNode,
    SetNotes,
    SetParam,
    SetParams,
    SetWorkflow,
    apply,
    inverse,
)
from engine.errors import CycleError, UnknownNodeType
from engine.events import NodeResult
from engine.planner import holds, plan
from engine.program import program_of
from engine.registry import Registry
from engine.run import LocalServices, reads
from engine.workflow import Connection, Note, Retry, Settings, Workflow
from tests.support.build import chain, node, run, start, workflow

REGISTRY = Registry()


def keys(drawn: Workflow, registry: Registry = REGISTRY, **more: object) -> dict[str, str]:
    return {step.node_id: step.key for step in plan(drawn, registry, **more)}


def drawn() -> Workflow:
    """a (a list) > b (fields) > c (fields, names a); a > other."""
    return workflow(
        start([{"n": 1}, {"n": 2}], "a"),
        node("b", params={"fields": {"m": "{{ item.n + 1 }}"}}),
        node("c", params={"fields": {"k": '{{ item.m + node("a").first.n }}', "w": "{{ workflow.name }}"}}),
        node("other", "core.limit", {"count": 1}),
        paths=("a > b > c", "a > other"),
    )


EDIT_CASES = {
    "a move": (MoveNode(node_id="b", position=(9, 9)), set()),
    "a rename that nothing names": (RenameNode(node_id="b", label="B!"), set()),
    "a rename that expressions follow": (RenameNode(node_id="a", label="Start here"), set()),
    "a node's note": (SetNode(node_id="b", note="hm"), set()),
    "what happens after a crash": (SetNode(node_id="b", on_crash="stop"), set()),
    "how many run at a time": (SetWorkflow(settings=Settings(priority="low", concurrency=1, when_full="skip")), set()),
    "a sticky note": (SetNotes(notes=(Note(id="x", text="y"),)), set()),
    "params": (SetParam(node_id="b", path=("fields", "m"), value="{{ item.n + 2 }}"), {"b", "c"}),
    "a new param": (SetParam(node_id="b", path=("fields", "z"), value=1), {"b", "c"}),
    "params of a leaf": (SetParam(node_id="other", path=("count",), value=2), {"other"}),
    "disabled": (SetNode(node_id="b", disabled=True), {"b", "c"}),
    "on_error": (SetNode(node_id="b", on_error="continue"), {"b", "c"}),
    "retry": (SetNode(node_id="b", retry=Retry(attempts=2)), {"b", "c"}),
    "timeout": (SetNode(node_id="b", timeout_s=3), {"b", "c"}),
    "pin data": (Pin(node_id="b", pinned={"main": [{"m": 7}]}), {"b", "c"}),
    "other pin data": (Pin(node_id="a", pinned={"main": [{"n": 1}]}), {"a", "b", "c", "other"}),
    "the time zone": (SetWorkflow(settings=Settings(timezone="Europe/Berlin")), {"b", "c", "other"}),
    "the workflow's name, where it is read": (SetWorkflow(name="Else"), {"c"}),
    "a connection less": (Disconnect(connection=Connection(source="b", target="c")), {"c"}),
    "another parent": (
        Many(
            edits=(
                Disconnect(connection=Connection(source="b", target="c")),
                Connect(connection=Connection(source="other", target="c")),
            )
        ),
        {"c"},
    ),
    "one parent more": (Connect(connection=Connection(source="a", target="c")), {"c"}),
    "another kind of node": (SetParams(node_id="other", params={"count": 1, "keep": "last"}), {"other"}),
}


@pytest.mark.parametrize(("edit", "stale"), EDIT_CASES.values(), ids=EDIT_CASES)
def test_an_edit_changes_the_keys_of_what_it_changes_and_no_others(edit, stale):
    before, after = keys(drawn()), keys(apply(drawn(), edit))
    assert {node_id for node_id in before if before[node_id] != after.get(node_id)} == stale


@pytest.mark.parametrize(("edit", "stale"), EDIT_CASES.values(), ids=EDIT_CASES)
def test_undoing_an_edit_runs_nothing(edit, stale):
    stored = {}
    run(drawn(), stored=stored)
    edited = apply(drawn(), edit)
    run(edited, stored=stored)
    assert run(apply(edited, inverse(drawn(), edit)), stored=stored).started == []


def test_an_edit_runs_the_node_and_what_it_feeds():
    stored = {}
    assert run(drawn(), stored=stored).started == ["b", "c", "other"]
    edited = apply(drawn(), SetParam(node_id="b", path=("fields", "m"), value="{{ item.n * 5 }}"))
    again = run(edited, stored=stored)
    assert again.started == ["b", "c"]
    assert again["c"][1]["k"] == 11


def test_what_a_node_reads_outside_is_in_its_key():
    one, other = keys(drawn(), reads={"b": "1"}), keys(drawn(), reads={"b": "2"})
    assert {n for n in one if one[n] != other[n]} == {"b", "c"}


def test_vars_that_an_expression_names_are_in_its_key_and_others_are_not():
    flow = chain(start([{}]), node("x", params={"fields": {"r": "{{ vars.rate }}"}}))
    stored = {}
    run(flow, services=LocalServices(vars={"rate": 1, "other": 1}), stored=stored)
    assert run(flow, services=LocalServices(vars={"rate": 1, "other": 2}), stored=stored).started == []
    assert run(flow, services=LocalServices(vars={"rate": 2}), stored=stored).started == ["x"]


def outside_of(request=None, services=None, **more: Any) -> dict[str, str]:
    """The keys of a workflow that reads all there is."""
    call = {"url": "https://x.org/{{ vars.rate }}", "credential": "shop"}
    named = {"url": "https://x.org", "credential": "{{ vars.who }}"}
    of_item = {"url": "https://x.org", "credential": "{{ item.who }}"}
    flow = workflow(
        node("hook", "core.webhook", {"path": "x"}),
        node("file", "core.read_file", {"path": "a.csv"}),
        node("pin", "core.limit", pinned={"main": [{"n": 1}]}),
        node("call", "core.http_request", call),
        node("named", "core.http_request", named),
        node("of_item", "core.http_request", of_item),
        node("last", "core.limit"),
        paths=("hook > pin > call > named > of_item", "file > last"),
    )
    outside = services or LocalServices(vars={"rate": 1, "who": "bank"})
    return reads(program_of(flow, REGISTRY), outside, request, **more)


class Files:
    def __init__(self, stamp: str) -> None:
        self.stamp = lambda path: f"{path} {stamp}"


class OtherServices:
    """An outside world that is none of ours."""

    def __init__(self, stamp: str = "1", **values: Any) -> None:
        self.vars = {"rate": 1, "who": "bank", **values}
        self.folders = Files(stamp)


READS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing else": ({}, set()),
    "a var": ({"services": OtherServices(rate=2)}, {"call"}),
    "a var that names a credential": ({"services": OtherServices(who="shop")}, {"named"}),
    "a file": ({"services": OtherServices("2")}, {"file"}),
    "the request": ({"request": Request([{"n": 1}])}, {"hook"}),
    "which trigger starts": ({"trigger": "hook"}, {"hook"}),
    "the sample": ({"sample": 5}, {"hook", "file", "pin"}),
    "a credential": ({"credential_revisions": {"shop": "2", "bank": "1", "other": "1"}}, {"call"}),
    "a credential that a var names": ({"credential_revisions": {"shop": "1", "bank": "2"}}, {"named"}),
    "a credential that no node names": ({"credential_revisions": {"shop": "1", "bank": "1", "other": "2"}}, set()),
}


@pytest.mark.parametrize(("change", "changed"), READS.values(), ids=READS)
def test_what_a_node_reads_outside(change, changed):
    usual: dict[str, Any] = {"services": OtherServices(), "credential_revisions": {"shop": "1", "bank": "1"}}
    before, after = outside_of(**usual), outside_of(**(usual | change))
    assert {n for n in before | after if before.get(n) != after.get(n)} == changed


def test_another_sample_size_is_another_sample():
    sizes = [outside_of(sample=size)["file"] for size in (5, 6, None)]
    assert len(set(sizes)) == 3


def test_a_sample_is_kept_apart_from_the_whole():
    flow = chain(start([{"n": n} for n in range(5)]), node("l", "core.limit"))
    stored: dict[str, NodeResult] = {}
    assert len(run(flow, stored=stored, sample=2)["l"]) == 2
    assert len(run(flow, stored=stored)["l"]) == 5
    assert run(flow, stored=stored, sample=2).started == []


def test_a_file_that_changed_is_read_again(tmp_path):
    flow = chain(start([{}]), node("f", "core.read_file", {"path": "a.csv"}))
    file, stored = tmp_path / "a.csv", {}
    file.write_text("n\n1\n")
    assert run(flow, services=LocalServices(folders=[tmp_path]), stored=stored)["f"] == [{"n": 1}]
    assert run(flow, services=LocalServices(folders=[tmp_path]), stored=stored).started == []
    file.write_text("n\n1\n2\n")
    assert run(flow, services=LocalServices(folders=[tmp_path]), stored=stored)["f"] == [{"n": 1}, {"n": 2}]


def test_another_request_runs_what_it_feeds():
    flow = chain(node("hook", "core.webhook", {"path": "x"}), node("l", "core.limit"))
    stored = {}
    run(flow, items=[{"a": 1}], stored=stored)
    assert run(flow, items=[{"a": 1}], stored=stored).started == []
    assert run(flow, items=[{"a": 2}], stored=stored).started == ["hook", "l"]


def test_the_type_and_its_version_are_in_the_key():
    flow = chain(start([{}]), node("x", "test.one"))

    class Nothing(Params):
        pass

    def version(number: int) -> Registry:
        @declare("test.one", version=number, group="test", effects="pure")
        def one(ctx: Context, items: Items, params: Nothing) -> Items:
            """Nothing."""
            return items

        for old in range(1, number):
            one.upgrade_from(old)(lambda raw: raw)
        return Registry([one])

    assert keys(flow, version(1))["x"] != keys(flow, version(2))["x"]
    assert keys(flow, version(1)) == keys(flow, version(1))


def test_two_equal_nodes_under_one_parent_both_run():
    flow = workflow(
        start([{"n": 1}]), node("x", "core.limit"), node("y", "core.limit"), paths=("start > x", "start > y")
    )
    assert keys(flow)["x"] == keys(flow)["y"]
    ran = run(flow)
    assert ran.started == ["x", "y"]
    assert ran["x"] == ran["y"] == [{"n": 1}]


def merged(first: str, second: str) -> Workflow:
    return workflow(
        start([{"n": 1}], "a"),
        start([{"n": 2}], "b"),
        node("m", "core.merge"),
        paths=(f"{first} > m.left", f"{second} > m.right"),
    )


def test_swapped_inputs_of_a_merge_run_it_again():
    stored = {}
    run(merged("a", "b"), stored=stored)
    swapped = run(merged("b", "a"), stored=stored)
    assert swapped.started == ["m"]
    assert swapped["m"] == [{"n": 2}, {"n": 1}]


def test_the_order_of_connections_into_one_input_counts():
    nodes = (start([{"n": 1}], "a"), start([{"n": 2}], "b"), node("l", "core.limit"))
    one, other = workflow(*nodes, paths=("a > l", "b > l")), workflow(*nodes, paths=("b > l", "a > l"))
    assert keys(one)["l"] != keys(other)["l"]
    assert run(other)["l"] == [{"n": 2}, {"n": 1}]


def test_a_pinned_node_cuts_upstream_off():
    flow = chain(
        start([{"n": 1}]),
        node("dear", params={"fields": {"x": "{{ item.gone }}"}}),
        node("pin", "core.limit", pinned={"main": [{"n": 5}]}),
        node("end", "core.limit"),
    )
    ran = run(flow)
    assert ran.started == ["end"]
    assert ran["end"] == [{"n": 5}]
    edited = apply(flow, SetParam(node_id="dear", path=("fields", "x"), value=2))
    assert keys(edited)["end"] == keys(flow)["end"]


def test_a_node_named_beyond_a_pinned_one_is_still_needed():
    flow = chain(
        start([{"n": 3}]),
        node("early", params={"fields": {"x": "{{ item.n }}"}}),
        node("pin", "core.limit", pinned={"main": [{"n": 5}]}),
        node("end", params={"fields": {"y": '{{ node("early").first.x }}'}}),
    )
    assert run(flow)["end"] == [{"n": 5, "y": 3}]


VOLATILE = ["{{ now }}", "{{ execution.id }}", "{{ random() }}", "{{ uuid() }}", "{{ today() }}"]


@pytest.mark.parametrize("expression", VOLATILE)
def test_a_volatile_node_runs_on_request_only(expression):
    flow = chain(start([{}]), node("v", params={"fields": {"x": expression}}), node("after", "core.limit"))
    stored = {}
    first = run(flow, stored=stored)
    assert run(flow, stored=stored).started == []
    again = run(flow, stored=stored, force=["v"])
    assert again.started == ["v", "after"]
    assert again["after"] == again["v"] != first["v"] or expression in ("{{ today() }}",)
    assert holds(plan(flow, REGISTRY), flow, REGISTRY) == {"v": "volatile", "after": "upstream"}


def test_a_failure_is_kept():
    flow = chain(
        start([{"n": "x"}]), node("f", params={"fields": {"y": "{{ item.n * 1.5 }}"}}), node("after", "core.limit")
    )
    stored = {}
    assert run(flow, stored=stored).status == "failed"
    again = run(flow, stored=stored)
    assert again.started == []
    assert again.status == "failed"
    assert again.result("after").status == "skipped"
    assert run(flow, stored=stored, force=["f"]).started == ["f"]


def test_force_runs_what_the_node_feeds_too():
    stored = {}
    run(drawn(), stored=stored)
    assert run(drawn(), stored=stored, force=["b"]).started == ["b", "c"]


def test_a_target_plans_only_what_it_needs():
    assert [s.node_id for s in plan(drawn(), REGISTRY, target="other")] == ["a", "other"]
    with pytest.raises(UnknownNodeType, match="nope"):
        plan(drawn(), REGISTRY, target="nope")


def test_steps_that_are_ready_keep_the_order_they_were_drawn_in():
    flow = workflow(*(start([{}], f"n{i}") for i in (3, 1, 2)), node("x", "core.limit"), paths=("n1 > x", "n2 > x"))
    assert [s.node_id for s in plan(flow, REGISTRY)] == ["n3", "n1", "n2", "x"]


def test_a_cycle_and_an_unknown_type_cannot_be_planned():
    flow = workflow(node("a"), node("b"), paths=("a > b", "b > a"))
    with pytest.raises(CycleError, match='"a" -> "b" -> "a"'):
        plan(flow, REGISTRY)
    with pytest.raises(UnknownNodeType, match=r"core\.sett"):
        plan(workflow(node("a", "core.sett")), REGISTRY)


HOLDS: dict[str, tuple[Callable[[], Workflow], set[str], dict[str, str]]] = {
    "pure nodes run by themselves": (drawn, set(), {}),
    "a read node waits to be confirmed": (
        lambda: chain(start([{}]), node("f", "core.read_file", {"path": "a.csv"}), node("l", "core.limit")),
        set(),
        {"f": "read", "l": "upstream"},
    ),
    "a confirmed read node runs": (
        lambda: chain(start([{}]), node("f", "core.read_file", {"path": "a.csv"})),
        {"f"},
        {},
    ),
    "a write node never runs by itself": (
        lambda: chain(start([{}]), node("h", "core.http_request", {"url": "https://x.org", "method": "POST"})),
        {"h"},
        {"h": "write"},
    ),
    "a method that an expression decides counts as write": (
        lambda: chain(start([{}]), node("h", "core.http_request", {"url": "https://x.org", "method": "{{ item.m }}"})),
        {"h"},
        {"h": "write"},
    ),
    "a pinned write node is only data": (
        lambda: chain(
            start([{}]), node("h", "core.http_request", {"url": "https://x.org", "method": "POST"}, pinned={"main": []})
        ),
        set(),
        {},
    ),
    "a disabled write node passes items on": (
        lambda: chain(
            start([{}]), node("h", "core.http_request", {"url": "https://x.org", "method": "POST"}, disabled=True)
        ),
        set(),
        {},
    ),
}


@pytest.mark.parametrize(("make", "confirmed", "held"), HOLDS.values(), ids=HOLDS)
def test_what_a_reactive_run_holds(make, confirmed, held):
    flow = make()
    assert holds(plan(flow, REGISTRY), flow, REGISTRY, confirmed) == held


def test_reused_steps_are_never_held():
    flow = chain(start([{}]), node("f", "core.read_file", {"path": "a.csv"}))
    steps = [step._replace(reuse=True) for step in plan(flow, REGISTRY)]
    assert holds(steps, flow, REGISTRY) == {}
