"""Runs of drafts, by a real worker: what runs by itself, what is held, what is kept."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.edits import Pin
from engine.runtime.ids import new_id
from engine.runtime.service import OWNER, BadRequest, BeingSent, HeldBefore, NotFound, Preview
from engine.runtime.service.drafts import PreviewNode
from engine.runtime.webhooks.routes import Route
from engine.workflow import Workflow
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node, start, workflow
from tests.support.http_server import Server, http_server
from tests.support.servers import OwnRedis


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_server: OwnRedis) -> Iterator[AtWork]:
    with at_work(tmp_path, database_url, redis_server.url) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as running:
        yield running


def http(server: Server, label: str, method: str, path: str = "/echo") -> Any:
    return node(label, "core.http_request", {"url": server.url + path, "method": method})


def shown(preview: Preview) -> dict[str, Any]:
    """Node id -> status, with the reason where there is one."""
    return {n.node_id: n.status if n.reason is None else f"{n.status}: {n.reason}" for n in preview.nodes}


def of(preview: Preview, node_id: str) -> PreviewNode:
    return next(n for n in preview.nodes if n.node_id == node_id)


def rows(preview: Preview, node_id: str, output: str = "main") -> Any:
    kept = of(preview, node_id).kept
    assert kept is not None, f"nothing is kept of {node_id}"
    return kept.first[output]["rows"]


def paid(start_rows: list[dict[str, Any]], limit: int) -> Workflow:
    return chain(
        start(start_rows), node("pay", params={"fields": {"paid": "{{ item.n * 2 }}"}}),
        node("few", "core.limit", {"count": limit}), node("last"),
    )  # fmt: skip


N = [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_preview_says_at_once_what_runs_and_then_shows_it(place: AtWork) -> None:
    workflow_id = place.create(paid(N, 2))

    first = place.service.drafts.preview(OWNER, workflow_id)
    assert set(shown(first).values()) == {"queued"}
    with place.worker():
        assert first.execution_id is not None
        found = place.wait(first.execution_id)
    second = place.service.drafts.preview(OWNER, workflow_id)

    assert found.status == "succeeded"
    assert second.execution_id is None
    assert set(shown(second).values()) == {"reused"}
    assert rows(second, "last") == [{"n": 1, "paid": 2}, {"n": 2, "paid": 4}]


def test_an_edit_runs_what_it_made_stale_and_undoing_it_runs_nothing(place: AtWork) -> None:
    workflow_id = place.create(paid(N, 2))
    with place.worker():
        place.previewed(workflow_id)
        place.change(workflow_id, paid(N, 1))
        changed = place.service.drafts.preview(OWNER, workflow_id)
        assert shown(changed) == {"start": "reused", "pay": "reused", "few": "queued", "last": "queued"}
        assert changed.execution_id is not None
        ran = place.wait(changed.execution_id)
        place.change(workflow_id, paid(N, 2))
        undone = place.service.drafts.preview(OWNER, workflow_id)

    assert {run.node_id: run.status for run in ran.runs} == {
        "start": "reused",
        "pay": "reused",
        "few": "succeeded",
        "last": "succeeded",
    }
    assert undone.execution_id is None
    assert len(rows(undone, "last")) == 2


def test_a_preview_of_one_node_runs_what_that_node_needs(place: AtWork) -> None:
    workflow_id = place.create(paid(N, 2))
    with place.worker():
        found = place.previewed(workflow_id, target="pay")

    assert shown(found) == {"start": "reused", "pay": "reused", "few": "stale", "last": "stale"}


def test_a_sample_lets_the_first_nodes_give_few_items(place: AtWork) -> None:
    workflow_id = place.create(paid(N * 10, 100))
    with place.worker():
        found = place.previewed(workflow_id, sample=5)
        kept = of(found, "last").kept
        assert kept is not None
        assert kept.counts == {"main": 5}
        assert place.service.drafts.preview(OWNER, workflow_id).execution_id is not None


def test_what_reads_runs_once_a_person_has_run_it(place: AtWork, server: Server) -> None:
    drawn = chain(start([{}]), http(server, "get", "GET"), node("last"))
    workflow_id = place.create(drawn)
    with place.worker():
        by_itself = place.previewed(workflow_id)
        assert shown(by_itself) == {"start": "reused", "get": "held: read", "last": "waiting: upstream"}
        assert server.requests == []

        assert shown(place.previewed(workflow_id, confirm=["get"]))["last"] == "reused"
        assert len(server.requests) == 1

        place.change(workflow_id, chain(start([{}]), http(server, "get", "GET", "/items"), node("last")))
        assert shown(place.previewed(workflow_id))["get"] == "reused"
    assert len(server.requests) == 2


def test_a_run_by_hand_confirms_what_reads(place: AtWork, server: Server) -> None:
    workflow_id = place.create(chain(start([{}]), http(server, "get", "GET")))
    with place.worker():
        place.previewed(workflow_id, by_hand=True)
        place.previewed(workflow_id, force=["get"])

    assert len(server.requests) == 2


def test_what_writes_shows_what_it_would_send_and_sends_nothing(place: AtWork, server: Server) -> None:
    drawn = chain(start([{"n": 7}]), node("send", "core.http_request", {
        "url": server.url, "method": "POST", "body": {"n": "{{ item.n }}"}}), node("last"))  # fmt: skip
    workflow_id = place.create(drawn)
    with place.worker():
        found = place.previewed(workflow_id, by_hand=True, force=["send"], confirm=["send"])

    assert shown(found) == {"start": "reused", "send": "held: write", "last": "waiting: upstream"}
    kept = of(found, "send").kept
    assert kept is not None
    assert kept.held[0]["body"] == {"n": 7}
    assert server.requests == []
    assert place.service.drafts.preview(OWNER, workflow_id).execution_id is None


def test_one_node_is_sent_when_it_is_named(place: AtWork, server: Server) -> None:
    drawn = chain(start([{}]), http(server, "first", "POST", "/first"), http(server, "second", "POST", "/second"))
    workflow_id = place.create(drawn)
    with place.worker():
        with pytest.raises(HeldBefore, match="first"):
            place.service.drafts.send_once(OWNER, workflow_id, "second")
        place.wait(place.service.drafts.send_once(OWNER, workflow_id, "first"))
        assert [one.path for one in server.requests] == ["/first"]
        assert shown(place.previewed(workflow_id)) == {"start": "reused", "first": "reused", "second": "held: write"}
        place.wait(place.service.drafts.send_once(OWNER, workflow_id, "second"))

    assert [one.path for one in server.requests] == ["/first", "/second"]


def test_a_double_click_sends_once(place: AtWork, server: Server) -> None:
    workflow_id = place.create(chain(start([{}]), http(server, "send", "POST", "/slow?s=0.3")))
    first = place.service.drafts.send_once(OWNER, workflow_id, "send")
    with pytest.raises(BeingSent):
        place.service.drafts.send_once(OWNER, workflow_id, "send")
    with place.worker():
        place.wait(first, "running")
        with pytest.raises(BeingSent):
            place.service.drafts.send_once(OWNER, workflow_id, "send")
        place.service.drafts.preview(OWNER, workflow_id, force=["start"])  # leaves it alone
        assert place.wait(first).status == "succeeded"
        place.wait(place.service.drafts.send_once(OWNER, workflow_id, "send"))

    assert len(server.requests) == 2


def test_a_held_node_whose_params_cannot_be_told_says_why(place: AtWork, server: Server) -> None:
    drawn = chain(start([{}]), node("send", "core.http_request", {"url": "{{ item.to }}", "method": "POST"}))
    workflow_id = place.create(drawn)
    with place.worker():
        found = place.previewed(workflow_id)

    send = of(found, "send")
    assert (send.status, send.reason) == ("held", "write")
    assert send.kept is not None
    assert send.kept.error is not None
    assert place.service.drafts.preview(OWNER, workflow_id).execution_id is None


def test_a_failure_is_kept_and_does_not_run_again_by_itself(place: AtWork) -> None:
    drawn = chain(start([{}]), node("bad", params={"fields": {"x": "{{ item.y }}"}}), node("last"))
    workflow_id = place.create(drawn)
    with place.worker():
        found = place.previewed(workflow_id)

    assert found.execution_id is None
    assert shown(found) == {"start": "reused", "bad": "reused", "last": "waiting: upstream"}
    bad = of(found, "bad").kept
    assert bad is not None
    assert bad.status == "failed"


def test_what_reads_the_clock_runs_when_a_person_asks(place: AtWork) -> None:
    workflow_id = place.create(chain(start([{}]), node("clock", params={"fields": {"at": "{{ now }}"}})))
    with place.worker():
        assert shown(place.previewed(workflow_id))["clock"] == "held: volatile"
        assert shown(place.previewed(workflow_id, by_hand=True))["clock"] == "reused"


def test_a_changed_variable_makes_stale_what_reads_it(place: AtWork) -> None:
    workflow_id = place.create(chain(start([{}]), node("tax", params={"fields": {"rate": "{{ vars.rate }}"}})))
    with place.worker():
        place.service.variables.set(OWNER, "rate", 1)
        assert rows(place.previewed(workflow_id), "tax") == [{"rate": 1}]
        place.service.variables.set(OWNER, "rate", 2)
        assert shown(place.service.drafts.preview(OWNER, workflow_id))["tax"] == "queued"
        assert rows(place.previewed(workflow_id), "tax") == [{"rate": 2}]


def test_a_newer_draft_run_cancels_the_older(place: AtWork, server: Server) -> None:
    def slow(seconds: int) -> Workflow:
        return chain(start([{}]), http(server, "slow", "GET", f"/slow?s={seconds}"))

    workflow_id = place.create(slow(20))
    with place.worker():
        running = place.service.drafts.preview(OWNER, workflow_id, by_hand=True).execution_id
        assert running is not None
        while not server.requests:
            time.sleep(0.005)
        place.change(workflow_id, slow(0))
        began = time.monotonic()
        newer = place.service.drafts.preview(OWNER, workflow_id).execution_id
        assert newer is not None
        assert place.wait(running).status == "cancelled"
        assert place.wait(newer).status == "succeeded"
    assert time.monotonic() - began < 3


def test_a_queued_draft_run_is_cancelled_by_a_newer_one_of_its_workflow_only(place: AtWork) -> None:
    workflow_id, other = place.create(paid(N, 1)), place.create(paid(N, 9))
    first = place.service.drafts.preview(OWNER, workflow_id).execution_id
    beside = place.service.drafts.preview(OWNER, other).execution_id
    second = place.service.drafts.preview(OWNER, workflow_id).execution_id

    assert first and beside and second
    assert [place.status(one) for one in (first, beside, second)] == ["cancelled", "queued", "queued"]


def test_nothing_unknown_is_previewed(place: AtWork) -> None:
    workflow_id = place.create(paid(N, 1))
    with pytest.raises(BadRequest):
        place.service.drafts.preview(OWNER, workflow_id, target="nowhere")
    with pytest.raises(BadRequest):
        place.service.drafts.preview(OWNER, workflow_id, sample=0)
    with pytest.raises(NotFound):
        place.service.drafts.preview(OWNER, new_id())


# Test addresses


def hooked(place: AtWork, server: Server | None = None, *, respond: str = "last_node") -> tuple[str, Route]:
    """A draft with a webhook, and the route of its test address."""
    nodes = [node("hook", "core.webhook", {"path": "orders", "respond": respond}),
             node("double", params={"fields": {"n": "{{ item.body.n * 2 }}"}, "keep_others": False})]  # fmt: skip
    if respond == "respond_node":
        nodes.append(node("say", "core.respond", {"status": 201}))
    if server is not None:
        nodes.append(http(server, "send", "POST"))
    workflow_id = place.create(chain(*nodes))
    route = Route(workflow_id, OWNER.project_id, None, "hook", "orders", {}, "draft", 1, False, frozenset(), respond)
    return workflow_id, route


def call(number: int) -> dict[str, Any]:
    return {"body": {"n": number}, "query": {}, "headers": {}, "params": {}, "method": "POST", "path": "orders"}


def test_a_test_call_runs_the_draft_and_is_kept_for_previews(place: AtWork) -> None:
    workflow_id, route = hooked(place)
    with place.worker():
        for number in (1, 4):
            id_ = place.service.drafts.test_call(OWNER, route, call(number))
            found = place.wait(id_)
            answer = place.service.drafts.test_answer(id_)
            assert answer is not None
            assert (answer.status, answer.body) == (200, {"n": number * 2})
        preview = place.service.drafts.preview(OWNER, workflow_id)

    assert (found.kind, found.source) == ("test", "webhook")
    assert preview.execution_id is None
    assert rows(preview, "double") == [{"n": 8}]


def test_the_newer_of_test_call_and_pin_data_is_what_previews_begin_with(place: AtWork) -> None:
    pins = {"main": [{"body": {"n": 100}}]}
    drawn = chain(
        node("hook", "core.webhook", {"path": "orders"}, pinned=pins),
        node("double", params={"fields": {"n": "{{ item.body.n * 2 }}"}, "keep_others": False}),
    )
    workflow_id = place.create(drawn)
    route = hooked(place)[1]._replace(workflow_id=workflow_id)
    with place.worker():
        assert rows(place.previewed(workflow_id), "double") == [{"n": 200}]
        place.wait(place.service.drafts.test_call(OWNER, route, call(3)))
        assert rows(place.previewed(workflow_id), "double") == [{"n": 6}]
        place.service.drafts.forget_sample(OWNER, workflow_id, "hook")
        assert rows(place.previewed(workflow_id), "double") == [{"n": 200}]
        place.wait(place.service.drafts.test_call(OWNER, route, call(3)))
        pin = Pin(node_id="hook", pinned={"main": [{"body": {"n": 7}}]})
        seq = place.service.workflows.get(OWNER, workflow_id).seq
        place.service.workflows.edit(OWNER, workflow_id, pin, seq)
        assert rows(place.previewed(workflow_id), "double") == [{"n": 14}]


@pytest.mark.parametrize("respond", ["at_once", "last_node"])
def test_a_test_call_stops_before_what_writes_and_says_so(place: AtWork, server: Server, respond: str) -> None:
    _, route = hooked(place, server, respond=respond)
    id_ = place.service.drafts.test_call(OWNER, route, call(1))
    assert place.service.drafts.test_answer(id_) is None
    with place.worker():
        place.wait(id_)

    answer = place.service.drafts.test_answer(id_)
    assert answer is not None
    assert (answer.status, answer.body) == (200, {"held": ["send"]})
    assert server.requests == []


def test_a_test_call_is_answered_by_its_respond_node(place: AtWork, server: Server) -> None:
    _, route = hooked(place, server, respond="respond_node")
    with place.worker():
        id_ = place.service.drafts.test_call(OWNER, route, call(5))
        place.wait(id_)

    answer = place.service.drafts.test_answer(id_)
    assert answer is not None
    assert (answer.status, answer.body) == (201, {"n": 10})


def test_a_test_call_runs_again_what_an_earlier_one_gave(place: AtWork, server: Server) -> None:
    drawn = chain(node("hook", "core.webhook", {"path": "orders"}), http(server, "get", "GET"))
    workflow_id = place.create(drawn)
    route = hooked(place)[1]._replace(workflow_id=workflow_id)
    with place.worker():
        for _ in range(2):
            place.wait(place.service.drafts.test_call(OWNER, route, call(1)))

    assert len(server.requests) == 2


def test_a_node_that_names_a_held_one_runs_once_that_was_sent(place: AtWork, server: Server) -> None:
    names = node("names", params={"fields": {"m": '{{ node("send").first.method }}'}})
    drawn = workflow(start([{}]), http(server, "send", "POST"), names, paths=("start > send", "start > names"))
    workflow_id = place.create(drawn)
    with place.worker():
        assert shown(place.previewed(workflow_id))["names"] == "waiting: upstream"
        place.wait(place.service.drafts.send_once(OWNER, workflow_id, "send"))
        found = place.previewed(workflow_id)

    assert rows(found, "names") == [{"m": "POST"}]
