"""What the caller of a webhook is answered."""

from typing import Any

import pytest

from engine.events import NodeResult
from engine.graph import Graph
from engine.items import Items
from engine.runtime.answers import Answer, answer_of, last_nodes, rows_of, said
from engine.workflow import Workflow
from tests.support.build import chain, connect, node

TWO = Workflow(
    nodes=(node("hook", "core.webhook"), node("a"), node("b"), node("other", "core.manual"), node("c")),
    connections=connect("hook > a", "hook > b", "other > c"),
)


def done(*rows: dict[str, Any]) -> NodeResult:
    return NodeResult("succeeded", {"main": Items(list(rows))})


def answer(flow: Workflow, status: str = "succeeded", respond: str = "last_node", **results: NodeResult) -> Answer:
    return answer_of(flow, last_nodes(flow, Graph(flow), "hook"), respond, "e1", status, results)


ONE = chain(node("hook", "core.webhook"), node("a"))


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (done({"n": 1}), {"n": 1}),
        (done({"n": 1}, {"n": 2}), [{"n": 1}, {"n": 2}]),
        (done(), []),
        (None, []),
        (NodeResult("skipped", {"main": Items([])}), []),
        (NodeResult("held"), []),
        (NodeResult("succeeded", {"true": Items([{"n": 1}]), "false": Items([])}), {"true": [{"n": 1}], "false": []}),
    ],
)
def test_a_result_is_its_items(result: NodeResult | None, body: Any) -> None:
    assert rows_of(result) == body


def test_the_last_node_answers() -> None:
    assert answer(ONE, hook=done({"x": 1}), a=done({"n": 1})) == Answer(200, {"n": 1}, {})


def test_several_last_nodes_answer_by_label_those_of_other_triggers_left_out() -> None:
    assert answer(TWO, a=done({"n": 1}), c=done({"no": 1})).body == {"a": {"n": 1}, "b": []}


def test_a_trigger_alone_is_its_own_last_node() -> None:
    assert answer(Workflow(nodes=(node("hook", "core.webhook"),)), hook=done({"n": 1})).body == {"n": 1}


def test_a_respond_node_says_the_answer_even_where_a_later_one_fails() -> None:
    response = {"status": 201, "body": [1], "headers": {"x-a": "b"}}
    spoken = NodeResult("succeeded", {"main": Items([])}, response=response)
    assert said(spoken) == Answer(201, [1], {"x-a": "b"})
    assert answer(ONE, "failed", "respond_node", a=spoken).status == 201
    assert answer(ONE, "succeeded", "last_node", a=spoken).status == 200


@pytest.mark.parametrize(
    ("status", "respond", "code", "said_"),
    [
        ("succeeded", "respond_node", 500, "webhook.no_answer"),
        ("cancelled", "last_node", 500, "execution.cancelled"),
        ("skipped", "last_node", 503, "execution.skipped"),
        ("needs_decision", "last_node", 503, "execution.needs_decision"),
        ("failed", "last_node", 500, "execution.failed"),
    ],
)
def test_without_a_result_the_caller_learns_why(status: str, respond: str, code: int, said_: str) -> None:
    found = answer(ONE, status, respond)
    assert (found.status, found.body["code"], found.body["execution_id"]) == (code, said_, "e1")


def test_a_failure_names_the_node_and_keeps_its_message_to_itself() -> None:
    error = {"code": "node.failed", "message": "customer Ada has no address"}
    found = answer(ONE, "failed", a=NodeResult("failed", error=error))
    assert found.body["code"] == "node.failed"
    assert '"a"' in found.body["message"]
    assert "Ada" not in str(found)
