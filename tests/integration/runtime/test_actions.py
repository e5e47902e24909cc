"""What people do with executions, run by a real worker."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.runtime.service import (
    OWNER,
    BadRequest,
    EffectsAhead,
    ExecutionDetail,
    NotFound,
    NotPublished,
    WrongStatus,
)
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node, workflow
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


def post(server: Server, label: str = "send", path: str = "/echo", **more: Any) -> Any:
    return node(label, "core.http_request", {"url": server.url + path, "method": "POST"}, **more)


def keys(server: Server, path: str = "/echo") -> list[str]:
    return [one.headers["idempotency-key"] for one in server.requests if one.path == path]


def ended(found: ExecutionDetail) -> dict[str, str]:
    return {run.node_id: run.status for run in found.runs}


FIRST_FAILS = '{{ 1 if item.get("ok") else item.nothing }}'


# Run


def test_a_run_by_hand_gives_its_result(place: AtWork) -> None:
    workflow_id = place.publish(
        chain(node("start", "core.manual"), node("double", params={"fields": {"n": "{{ item.n * 2 }}"}}))
    )
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id, items=[{"n": 1}, {"n": 2}])
        place.wait(id_)

    found = place.service.actions.result(OWNER, id_)
    assert found.result == [{"n": 2}, {"n": 4}]
    assert (found.execution.source, found.execution.kind) == ("manual", "published")


def test_of_several_triggers_one_has_to_be_named(place: AtWork) -> None:
    two = workflow(
        node("a", "core.webhook", {"path": "a"}),
        node("b", "core.schedule", {"every_s": 3600}),
        node("c"),
        paths=("a > c", "b > c"),
    )
    workflow_id = place.publish(two)

    with pytest.raises(BadRequest, match="several triggers"):
        place.service.actions.run(OWNER, workflow_id)
    with pytest.raises(BadRequest, match="no trigger"):
        place.service.actions.run(OWNER, workflow_id, trigger="c")
    with place.worker():
        found = place.wait(place.service.actions.run(OWNER, workflow_id, trigger="b"))
    assert found.status == "succeeded"
    assert found.trigger_id == "b"


def test_what_is_not_published_cannot_be_run(place: AtWork) -> None:
    workflow_id = place.create(chain(node("start", "core.manual")))

    with pytest.raises(NotPublished):
        place.service.actions.run(OWNER, workflow_id)
    with pytest.raises(NotFound):
        place.service.actions.run(OWNER, "f" * 32)


# Cancel


def test_a_queued_execution_is_cancelled_at_once_and_never_runs(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual")))
    id_ = place.service.actions.run(OWNER, workflow_id)

    assert place.service.actions.cancel(OWNER, id_).status == "cancelled"

    with place.worker():
        later = place.wait(place.service.actions.run(OWNER, workflow_id))
    assert later.status == "succeeded"
    assert ended(place.service.executions.get(OWNER, id_)) == {}
    assert place.service.actions.cancel(OWNER, id_).status == "cancelled"


def test_cancelling_reaches_a_running_node_within_a_second(place: AtWork, server: Server) -> None:
    workflow_id = place.publish(
        chain(node("start", "core.manual"), node("slow", "core.http_request", {"url": server.url + "/slow?s=20"}))
    )
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id)
        while not server.requests:
            time.sleep(0.005)
        began = time.monotonic()
        place.service.actions.cancel(OWNER, id_)
        found = place.wait(id_)
        took_s = time.monotonic() - began

    assert found.status == "cancelled"
    assert ended(found)["slow"] == "cancelled"
    assert took_s < 1


def test_what_has_ended_cannot_be_cancelled(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual")))
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id)
        place.wait(id_)

    with pytest.raises(WrongStatus, match="succeeded"):
        place.service.actions.cancel(OWNER, id_)
    with pytest.raises(NotFound):
        place.service.actions.cancel(OWNER, "f" * 32)


# Retry


def test_a_retry_runs_what_failed_and_keeps_the_keys_of_what_is_sent(place: AtWork, server: Server) -> None:
    drawn = chain(
        node("start", "core.manual"),
        post(server, "first", "/first"),
        post(server, "second", "/flaky?fail=1&key=a"),
        node("last"),
    )
    workflow_id = place.publish(drawn)
    with place.worker():
        failed = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))
        id_ = place.service.actions.retry(OWNER, failed.id, confirm=True)
        found = place.wait(id_)

    assert (failed.status, found.status) == ("failed", "succeeded")
    assert (found.origin_id, found.source, found.revision_id) == (failed.id, "retry", failed.revision_id)
    assert ended(found) == {"start": "reused", "first": "reused", "second": "succeeded", "last": "succeeded"}
    assert len(keys(server, "/first")) == 1
    assert len(keys(server, "/flaky")) == 2
    assert len(set(keys(server, "/flaky"))) == 1


def test_a_retry_of_a_retry_still_knows_what_the_first_one_did(place: AtWork, server: Server) -> None:
    drawn = chain(
        node("start", "core.manual"), post(server, "first", "/first"), post(server, "second", "/flaky?fail=2")
    )
    workflow_id = place.publish(drawn)
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}])
        for _ in range(2):
            assert place.wait(id_).status == "failed"
            id_ = place.service.actions.retry(OWNER, id_, confirm=True)
        found = place.wait(id_)

    assert found.status == "succeeded"
    assert len(keys(server, "/first")) == 1
    assert len(set(keys(server, "/flaky"))) == 1
    first = next(run for run in found.runs if run.node_id == "first")
    assert first.counts == {"main": 1}
    assert place.service.run_data.page(OWNER, found.id, "first").total == 1


def test_a_retry_sends_only_the_items_that_failed(place: AtWork, server: Server) -> None:
    url = server.url + "{{ '/flaky?fail=2&key=x' if item.n == 29 else '/echo' }}"
    drawn = chain(
        node("start", "core.manual"), node("send", "core.http_request", {"url": url, "method": "POST"}), node("last")
    )
    workflow_id = place.publish(drawn)
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id, items=[{"n": n} for n in range(30)])
        for _ in range(2):
            assert place.wait(id_).status == "failed"
            id_ = place.service.actions.retry(OWNER, id_, confirm=True)
        assert place.wait(id_).status == "succeeded"

    # Ten go on at a time: those under way when one fails may have been sent, and are sent again with their keys.
    assert len(set(keys(server))) == 29
    assert len(keys(server)) <= 29 + 2 * 9
    assert len(set(keys(server, "/flaky"))) == 1


def test_a_retry_warns_of_effects_and_names_the_nodes(place: AtWork, server: Server) -> None:
    drawn = chain(
        node("start", "core.manual"), post(server, "first"), node("bad", params={"fields": {"x": FIRST_FAILS}}),
        post(server, "then", "/then"),
    )  # fmt: skip
    workflow_id = place.publish(drawn)
    with place.worker():
        failed = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))
    count = place.rows("SELECT count(*) FROM execution")[0][0]

    with pytest.raises(EffectsAhead) as raised:
        place.service.actions.retry(OWNER, failed.id)

    assert raised.value.nodes == ({"id": "then", "label": "then"},)
    assert place.rows("SELECT count(*) FROM execution")[0][0] == count


def test_a_retry_without_effects_needs_no_word(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual"), node("bad", params={"fields": {"x": FIRST_FAILS}})))
    with place.worker():
        failed = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))
        found = place.wait(place.service.actions.retry(OWNER, failed.id))
        fine = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"ok": True}]))

    assert found.status == "failed"
    with pytest.raises(WrongStatus):
        place.service.actions.retry(OWNER, fine.id)


# Replay


def test_a_replay_runs_all_again_with_keys_of_its_own(place: AtWork, server: Server) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual"), post(server)))
    with place.worker():
        first = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))
        with pytest.raises(EffectsAhead):
            place.service.actions.replay(OWNER, first.id)
        found = place.wait(place.service.actions.replay(OWNER, first.id, confirm=True))

    assert found.status == "succeeded"
    assert ended(found) == {"start": "succeeded", "send": "succeeded"}
    assert len(set(keys(server))) == 2


def test_a_replay_from_a_node_takes_over_what_does_not_depend_on_it(place: AtWork, server: Server) -> None:
    drawn = workflow(
        node("start", "core.manual"), post(server, "send"), node("middle"), node("last"),
        paths=("start > send > middle > last",),
    )  # fmt: skip
    workflow_id = place.publish(drawn)
    with place.worker():
        first = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))
        id_ = place.service.actions.replay(OWNER, first.id, from_node="middle")
        found = place.wait(id_)
        with pytest.raises(EffectsAhead):
            place.service.actions.replay(OWNER, first.id, from_node="send")

    assert ended(found) == {"start": "reused", "send": "reused", "middle": "succeeded", "last": "succeeded"}
    assert len(keys(server)) == 1


def test_a_replay_may_use_the_revision_that_is_published_now(place: AtWork) -> None:
    def version(number: int) -> Any:
        return chain(node("start", "core.manual"), node("set", params={"fields": {"v": number}}))

    workflow_id = place.publish(version(1))
    with place.worker():
        first = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{}]))
        place.change(workflow_id, version(2))
        place.service.workflows.publish(OWNER, workflow_id)
        old = place.wait(place.service.actions.replay(OWNER, first.id))
        new = place.wait(place.service.actions.replay(OWNER, first.id, revision="published"))

    assert place.service.actions.result(OWNER, old.id).result == {"v": 1}
    assert place.service.actions.result(OWNER, new.id).result == {"v": 2}


def test_a_replay_refuses_a_node_that_the_revision_lacks(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual"), node("set")))
    with place.worker():
        first = place.wait(place.service.actions.run(OWNER, workflow_id))

    with pytest.raises(BadRequest, match="nowhere"):
        place.service.actions.replay(OWNER, first.id, from_node="nowhere")


def test_effects_behind_another_trigger_are_no_reason_to_warn(place: AtWork, server: Server) -> None:
    drawn = workflow(
        node("start", "core.manual"), node("set"), node("hook", "core.webhook", {"path": "x"}), post(server),
        paths=("start > set", "hook > send"),
    )  # fmt: skip
    workflow_id = place.publish(drawn)
    with place.worker():
        first = place.wait(place.service.actions.run(OWNER, workflow_id))
        found = place.wait(place.service.actions.replay(OWNER, first.id))

    assert found.status == "succeeded"
    assert server.requests == []


# Decide


def undecided(place: AtWork, server: Server) -> str:
    """An execution whose worker died while it sent something, as recovery leaves it."""
    drawn = chain(node("start", "core.manual"), post(server, on_crash="stop"), node("last"))
    workflow_id = place.publish(drawn)
    with place.worker():
        id_ = place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}])
        place.wait(id_)
    # Back to where its worker had begun to send, and died.
    place.write("DELETE FROM record WHERE execution_id = :id AND part > 1", id=id_)
    place.write("UPDATE execution SET status = 'queued', attempts = 1, finished_ms = NULL WHERE id = :id", id=id_)
    with place.worker():
        assert place.wait(id_, "needs_decision").error is not None
    return id_


def test_deciding_to_retry_lets_the_same_execution_go_on(place: AtWork, server: Server) -> None:
    id_ = undecided(place, server)
    with place.worker():
        place.service.actions.decide(OWNER, id_, "retry")
        found = place.wait(id_, "succeeded")

    assert found.id == id_
    assert len(keys(server)) == 2
    assert len(set(keys(server))) == 1
    with pytest.raises(WrongStatus):
        place.service.actions.decide(OWNER, id_, "retry")


def test_a_retry_of_what_waits_for_a_decision_warns_and_goes_on(place: AtWork, server: Server) -> None:
    id_ = undecided(place, server)
    with pytest.raises(EffectsAhead):
        place.service.actions.retry(OWNER, id_)
    with place.worker():
        assert place.service.actions.retry(OWNER, id_, confirm=True) == id_
        assert place.wait(id_, "succeeded")


@pytest.mark.parametrize(("decision", "status"), [("cancel", "cancelled"), ("fail", "failed")])
def test_deciding_against_it_ends_it(place: AtWork, server: Server, decision: str, status: str) -> None:
    id_ = undecided(place, server)

    found = place.service.actions.decide(OWNER, id_, decision)

    assert found.status == status
    assert found.finished_ms is not None
    assert len(keys(server)) == 1
