"""What publishing puts in place, and takes away."""

import asyncio
import json
import threading

import pytest
from sqlalchemy import text

from engine.edits import SetNode, SetParam, SetWorkflow
from engine.errors import InvalidWorkflow
from engine.runtime.bus import START
from engine.runtime.ids import now_ms
from engine.runtime.parts import Parts
from engine.runtime.programs import Programs
from engine.runtime.service import OWNER, BadRequest, NotFound, PathTaken, Service
from engine.runtime.webhooks.routes import Routes
from engine.workflow import Settings
from tests.support.workflow_files import every, file, node, webhook


def published(service: Service, *nodes, name: str = "Orders", **more) -> str:
    made = service.workflows.create(OWNER, file(*nodes, name=name, **more))
    service.workflows.publish(OWNER, made.id)
    return made.id


def rows(parts: Parts, statement: str) -> list:
    with parts.store.read() as connection:
        return [row._asdict() for row in connection.execute(text(statement))]


def test_a_published_workflow_answers_at_its_path(service: Service, parts: Parts):
    id_ = published(service, webhook("shops/:shop/orders", methods=["POST", "PUT"]), node("a"))
    routes = Routes(parts.store)
    routes.refresh()
    found = routes.table.match("shops/7/orders")
    assert found is not None
    route, names = found
    assert (route.workflow_id, route.methods, names) == (id_, {"POST", "PUT"}, {"shop": "7"})
    assert (route.slot, route.priority, route.limited, route.params["timeout_s"]) == ("async", 1, False, 30)
    assert route.revision_id is not None
    assert Programs(parts.store, parts.registry).load(route.revision_id).workflow.name == "Orders"


def test_the_draft_may_change_without_what_is_published(service: Service, parts: Parts):
    id_ = published(service, webhook("orders"), node("a"))
    service.workflows.edit(OWNER, id_, SetParam(node_id="call", path=("path",), value="other"), 0)
    assert [r["path"] for r in rows(parts, "SELECT path FROM webhook WHERE draft = 0")] == ["orders"]
    service.workflows.publish(OWNER, id_)
    assert [r["path"] for r in rows(parts, "SELECT path FROM webhook WHERE draft = 0")] == ["other"]
    assert service.workflows.get(OWNER, id_).revision == 2


def test_settings_go_to_the_rows_that_claims_read(service: Service, parts: Parts):
    settings = {"priority": "high", "concurrency": 3, "when_full": "skip"}
    published(service, webhook("orders"), node("a"), settings=settings)
    assert rows(parts, "SELECT priority, limited FROM revision") == [{"priority": 0, "limited": 1}]
    assert rows(parts, "SELECT max_running, when_full FROM workflow") == [{"max_running": 3, "when_full": "skip"}]


def test_a_limit_beyond_all_bounds_is_kept_as_the_largest(service: Service, parts: Parts):
    published(service, webhook("orders"), node("a"), settings={"concurrency": 10**20})
    assert rows(parts, "SELECT max_running FROM workflow") == [{"max_running": 2**31 - 1}]


@pytest.mark.parametrize(
    ("type_", "params", "slot"),
    [
        ("core.set", {"fields": {"a": 1}}, "async"),
        ("core.code", {"source": "return items"}, "code"),
    ],
)
def test_executions_take_a_slot_by_what_their_nodes_do(service: Service, type_, params, slot):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a", type_, params)))
    assert service.workflows.publish(OWNER, made.id).slot == slot


@pytest.mark.parametrize(
    ("nodes", "code"),
    [
        ([node("a")], "publish.no_trigger"),
        ([], "publish.no_trigger"),
        ([webhook("orders", disabled=True)], None),
        ([webhook("no path"), node("a")], None),
        ([node("a", "acme.unknown"), webhook("orders")], "definition.unknown_node_type"),
    ],
)
def test_what_cannot_run_is_not_published(service: Service, parts: Parts, nodes, code):
    made = service.workflows.create(OWNER, file(*nodes))
    with pytest.raises(InvalidWorkflow) as refused:
        service.workflows.publish(OWNER, made.id)
    assert code is None or code in [problem.code for problem in refused.value.problems]
    assert rows(parts, "SELECT id FROM revision") == []


def test_a_trigger_that_is_disabled_starts_nothing(service: Service):
    made = service.workflows.create(OWNER, file(node("call", "core.webhook", {"path": "orders"}, disabled=True)))
    with pytest.raises(InvalidWorkflow, match="nothing starts"):
        service.workflows.publish(OWNER, made.id)


@pytest.mark.parametrize("path", ["orders", "shops/:shop", "shops/:other"])
def test_a_path_that_is_taken_names_the_workflow_that_has_it(service: Service, path):
    published(service, webhook("orders"), node("a"), name="The first")
    published(service, webhook("shops/:id"), node("a"), name="The first of shops")
    made = service.workflows.create(OWNER, file(webhook(path), node("a"), name="The second"))
    with pytest.raises(PathTaken, match='"The first'):
        service.workflows.publish(OWNER, made.id)
    assert service.workflows.get(OWNER, made.id).revision is None


def test_a_path_stands_once_in_a_workflow(service: Service, parts: Parts):
    made = service.workflows.create(OWNER, file(webhook("a/:x", "one"), webhook("a/:y", "two"), node("a")))
    with pytest.raises(PathTaken, match=r'"two".*"one"'):
        service.workflows.publish(OWNER, made.id)
    assert rows(parts, "SELECT id FROM revision") == []


def test_a_path_written_out_may_stand_beside_one_with_a_name(service: Service):
    published(service, webhook("shops/:id"), node("a"), name="One")
    published(service, webhook("shops/list"), node("a"), name="Other")


def test_of_two_that_publish_one_path_at_once_one_gets_it(service: Service, parts: Parts):
    other = Service(parts)
    ids = [service.workflows.create(OWNER, file(webhook("orders"), node("a"), name=f"W{n}")).id for n in range(4)]
    outcomes: list[object] = []

    def publish(door: Service, id_: str) -> None:
        try:
            outcomes.append(door.workflows.publish(OWNER, id_).number)
        except Exception as exc:
            outcomes.append(type(exc))

    threads = [threading.Thread(target=publish, args=((service, other)[n % 2], id_)) for n, id_ in enumerate(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [1, PathTaken, PathTaken, PathTaken]))
    assert len(rows(parts, "SELECT id FROM webhook WHERE draft = 0")) == 1


def test_two_that_publish_the_same_paths_in_another_order_do_not_wait_for_each_other(service: Service, parts: Parts):
    other = Service(parts)
    paths = [f"p{number}" for number in range(8)]
    outcomes: list[object] = []

    def publish(door: Service, paths: list[str]) -> None:
        hooks = [webhook(path, f"on-{path}") for path in paths]
        id_ = door.workflows.create(OWNER, file(*hooks, node("a"))).id
        for _ in range(5):
            try:
                door.workflows.publish(OWNER, id_)
                door.workflows.unpublish(OWNER, id_)
            except PathTaken:
                continue
            except Exception as exc:
                outcomes.append(exc)

    threads = [
        threading.Thread(target=publish, args=arguments) for arguments in ((service, paths), (other, paths[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == []


@pytest.mark.parametrize("take_back", ["unpublish", "delete"])
def test_what_is_taken_back_starts_no_more_and_gives_its_paths_free(service: Service, parts: Parts, take_back):
    id_ = published(service, webhook("orders"), every(60), node("a"))
    getattr(service.workflows, take_back)(OWNER, id_)
    assert rows(parts, "SELECT id FROM webhook WHERE draft = 0") == []
    assert rows(parts, "SELECT id FROM schedule") == []
    published(service, webhook("orders"), node("a"), name="Another")


def test_schedules_are_due_after_they_are_published(service: Service, parts: Parts):
    cron = node("nightly", "core.schedule", {"cron": "30 2 * * *", "missed": "all"})
    before = now_ms()
    id_ = published(service, every(60), cron, node("a"), settings={"timezone": "Europe/Berlin"})
    after = now_ms()
    found = {row["node_id"]: row for row in rows(parts, "SELECT * FROM schedule")}
    clock, nightly = found["clock"], found["nightly"]
    assert (clock["every_s"], clock["cron"], clock["missed"], clock["last_ms"]) == (60, None, "once", None)
    assert before + 60_000 <= clock["next_ms"] <= after + 60_000
    assert (nightly["cron"], nightly["missed"], nightly["timezone"]) == ("30 2 * * *", "all", "Europe/Berlin")
    assert before < nightly["next_ms"] <= after + 25 * 3_600_000
    assert {row["workflow_id"] for row in found.values()} == {id_}


def test_a_schedule_that_says_the_same_goes_on_as_it_was(service: Service, parts: Parts):
    id_ = published(service, every(60), every(90, "other"), node("a"))
    with parts.store.write() as connection:
        connection.execute(text("UPDATE schedule SET next_ms = 111, last_ms = 99"))
    service.workflows.edit(OWNER, id_, SetParam(node_id="other", path=("every_s",), value=120), 0)
    revision = service.workflows.publish(OWNER, id_)
    found = {row["node_id"]: row for row in rows(parts, "SELECT * FROM schedule")}
    assert (found["clock"]["next_ms"], found["clock"]["last_ms"]) == (111, 99)
    assert found["other"]["next_ms"] > 111
    assert {row["revision_id"] for row in found.values()} == {revision.id}


def test_a_schedule_in_another_time_zone_is_another(service: Service, parts: Parts):
    id_ = published(service, node("clock", "core.schedule", {"cron": "0 9 * * *"}), node("a"))
    service.workflows.edit(OWNER, id_, SetWorkflow(settings=Settings(timezone="Asia/Tokyo")), 0)
    before = rows(parts, "SELECT next_ms FROM schedule")
    service.workflows.publish(OWNER, id_)
    assert rows(parts, "SELECT next_ms FROM schedule") != before


def test_a_disabled_schedule_is_taken_away(service: Service, parts: Parts):
    id_ = published(service, webhook("orders"), every(60), node("a"))
    service.workflows.edit(OWNER, id_, SetNode(node_id="clock", disabled=True), 0)
    service.workflows.publish(OWNER, id_)
    assert rows(parts, "SELECT id FROM schedule") == []


@pytest.mark.parametrize("seconds", [10**9, 10**30])
def test_an_interval_longer_than_ten_years_is_refused(service: Service, seconds):
    made = service.workflows.create(OWNER, file(every(seconds), node("a")))
    with pytest.raises(InvalidWorkflow, match="ten years"):
        service.workflows.publish(OWNER, made.id)


def test_publishing_the_same_again_makes_no_new_revision(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")))
    first = service.workflows.publish(OWNER, made.id, note="the first")
    assert service.workflows.publish(OWNER, made.id).id == first.id
    assert service.workflows.publish(OWNER, made.id, note="another").number == 2


def test_a_named_state_is_kept_and_not_published(service: Service, parts: Parts):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a", "acme.unknown")))
    kept = service.workflows.keep(OWNER, made.id, name="before the sale", note="unfinished")
    assert (kept.number, kept.name, kept.note, kept.published_ms) == (1, "before the sale", "unfinished", None)
    assert service.workflows.get(OWNER, made.id).revision is None
    assert rows(parts, "SELECT id FROM webhook WHERE draft = 0") == []
    assert service.workflows.revision_workflow(OWNER, made.id, 1).nodes[1].type == "acme.unknown"


def test_revisions_are_listed_the_newest_first(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")))
    for number in range(5):
        service.workflows.keep(OWNER, made.id, name=f"r{number}")
    first = service.workflows.revisions(OWNER, made.id, limit=3)
    rest = service.workflows.revisions(OWNER, made.id, limit=3, cursor=first.next)
    assert [r.number for r in (*first.items, *rest.items)] == [5, 4, 3, 2, 1]
    assert rest.next is None
    for number in (0, -1, 6, 2**40):
        with pytest.raises(NotFound):
            service.workflows.revision(OWNER, made.id, number)
    with pytest.raises(BadRequest):
        service.workflows.revisions(OWNER, made.id, cursor=service.workflows.list(OWNER, limit=1).next or "eA")


def test_those_who_answer_webhooks_hear_of_what_is_published(service: Service, parts: Parts):
    async def count() -> int:
        return int((await parts.bus.newest(["routes"]))["routes"].partition("-")[2] or 0)

    assert asyncio.run(parts.bus.newest(["routes"])) == {"routes": START}
    id_ = published(service, webhook("orders"), node("a"))
    counts = [asyncio.run(count())]
    for call in (service.workflows.unpublish, service.workflows.publish, service.workflows.delete):
        call(OWNER, id_)
        counts.append(asyncio.run(count()))
    assert counts == sorted(set(counts))


def test_pinned_items_are_kept_in_a_revision_and_are_no_part_of_what_runs(service: Service, parts: Parts):
    id_ = published(service, webhook("orders"), node("a", pinned={"main": [{"x": 1}]}))
    revision_id = service.workflows.get(OWNER, id_).revision_id
    assert revision_id is not None
    assert Programs(parts.store, parts.registry).load(revision_id).workflow.nodes[1].pinned is None
    assert service.workflows.revision_workflow(OWNER, id_, 1).nodes[1].pinned == {"main": [{"x": 1}]}
    assert "pinned" not in json.dumps(rows(parts, "SELECT params FROM webhook"))
