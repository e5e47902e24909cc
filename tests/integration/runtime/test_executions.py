"""Executions listed, counted and looked at, on both databases."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from engine.runtime.ids import new_id
from engine.runtime.intake import execution_row
from engine.runtime.models import Execution
from engine.runtime.service import LOCAL_PROJECT, OWNER, Actor, BadRequest, NotFound
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node
from tests.support.servers import OwnRedis

WORKFLOW, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_server: OwnRedis) -> Iterator[AtWork]:
    with at_work(tmp_path, database_url, redis_server.url) as made:
        yield made


def accepted(place: AtWork, count: int, *, at_ms: int = 1_000_000, **values: Any) -> list[str]:
    """Ids of executions put in as they are, a millisecond between them, the oldest first."""
    rows = []
    for number in range(count):
        id_ = new_id(at_ms + number)
        row = execution_row(
            id=id_, project_id=LOCAL_PROJECT, workflow_id=WORKFLOW, kind="published", source="webhook", slot="async",
            created_ms=at_ms + number,
        )  # fmt: skip
        rows.append(row | {"status": "succeeded"} | values)
    with place.store.write() as connection:
        connection.execute(insert(Execution.__table__), rows)  # type: ignore[attr-defined]
    return [row["id"] for row in rows]


def listed(place: AtWork, **asked: Any) -> list[str]:
    """The ids of a list, all its parts."""
    found: list[str] = []
    cursor = None
    while True:
        page = place.service.executions.list(OWNER, cursor=cursor, **asked)
        found += [one.id for one in page.items]
        if page.next is None:
            return found
        cursor = page.next


def test_a_list_goes_on_where_its_last_part_ended(place: AtWork) -> None:
    ids = accepted(place, 25)

    assert listed(place, limit=7) == ids[::-1]


@pytest.mark.parametrize("status", ["running", "queued", "failed", "succeeded", "needs_decision", "waiting"])
def test_a_list_of_a_status_holds_all_of_it_and_nothing_else(place: AtWork, status: str) -> None:
    others = "failed" if status != "failed" else "succeeded"
    accepted(place, 30, status=others)
    ids = accepted(place, 7, at_ms=2_000_000, status=status)
    ids += accepted(place, 3, at_ms=3_000_000, status=status, limited=1, workflow_id=OTHER)
    ids += accepted(place, 3, at_ms=4_000_000, status=status, slot="code", priority=0)
    accepted(place, 9, at_ms=5_000_000, status=others)

    assert listed(place, status=status, limit=4) == ids[::-1]


def test_a_list_of_one_workflow_and_status_leaves_out_those_of_others(place: AtWork) -> None:
    for status in ("failed", "queued", "running", "succeeded"):
        accepted(place, 5, status=status)
        ids = accepted(place, 3, status=status, workflow_id=OTHER)
        assert listed(place, status=status, workflow_id=OTHER, limit=2) == ids[::-1]


def test_draft_runs_are_listed_where_they_are_asked_for(place: AtWork) -> None:
    published = accepted(place, 3)
    drafts = accepted(place, 3, kind="draft", source="preview", slot="draft")

    assert listed(place) == published[::-1]
    assert listed(place, kind="draft") == drafts[::-1]


def test_a_list_by_time_counts_its_beginning_and_not_its_end(place: AtWork) -> None:
    ids = accepted(place, 10, at_ms=1_000_000)

    assert listed(place, since_ms=1_000_003, until_ms=1_000_006) == ids[3:6][::-1]


def test_what_is_rare_is_found_behind_much_else(place: AtWork) -> None:
    rare = accepted(place, 2, at_ms=1_000, source="schedule")
    accepted(place, 12_000)

    assert listed(place, source="schedule") == rare[::-1]


def test_another_project_finds_nothing(place: AtWork) -> None:
    (id_,) = accepted(place, 1)
    stranger = Actor("stranger", project_id="f" * 32)

    assert place.service.executions.list(stranger).items == ()
    with pytest.raises(NotFound):
        place.service.executions.get(stranger, id_)
    with pytest.raises(NotFound):
        place.service.actions.cancel(stranger, id_)


@pytest.mark.parametrize("asked", [{"status": "done"}, {"kind": "real"}, {"source": "mail"}, {"cursor": "?"}])
def test_what_no_execution_can_be_is_refused(place: AtWork, asked: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        place.service.executions.list(OWNER, **asked)  # type: ignore[arg-type]


def test_counts_are_exact_as_long_as_there_are_few(place: AtWork) -> None:
    accepted(place, 4)
    accepted(place, 3, status="failed")
    accepted(place, 2, status="queued", workflow_id=OTHER)
    accepted(place, 5, kind="draft", slot="draft")

    counts = place.service.executions.counts(OWNER)

    assert {status: one.count for status, one in counts.items() if one.count} == {
        "succeeded": 4,
        "failed": 3,
        "queued": 2,
    }
    assert not any(one.at_least for one in counts.values())
    assert place.service.executions.counts(OWNER, workflow_id=OTHER)["queued"].count == 2


def test_counting_stops_somewhere_and_says_so(place: AtWork) -> None:
    accepted(place, 1_500, status="failed", at_ms=1_000)
    accepted(place, 3, status="running", at_ms=2_000)
    accepted(place, 10_100)

    counts = place.service.executions.counts(OWNER)

    assert (counts["failed"].count, counts["failed"].at_least) == (1_000, True)
    assert (counts["running"].count, counts["running"].at_least) == (3, False)
    assert counts["succeeded"].at_least


def test_an_execution_shows_what_its_nodes_gave(place: AtWork) -> None:
    workflow = chain(
        node("start", "core.manual"),
        node("list", "core.set", {"fields": {"rows": "{{ range(60) | list }}"}}),
        node("each", "core.split_out", {"field": "rows"}),
        node("broken", "core.set", {"fields": {"x": "{{ item.nothing }}"}}),
        node("after", "core.limit"),
    )
    workflow_id = place.publish(workflow)
    with place.worker():
        found = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"a": 1}]))

    runs = {run.node_id: run for run in found.runs}
    assert found.status == "failed"
    assert found.error is not None and found.error["node_id"] == "broken"
    assert runs["each"].counts == {"main": 60}
    assert len(runs["each"].first["main"]["rows"]) == 50
    assert runs["broken"].error is not None and runs["broken"].error["code"] == "node.expression.missing"
    assert runs["after"].status == "skipped"
    assert found.duration_ms is not None and found.finished_ms is not None
