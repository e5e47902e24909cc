"""Outputs paged through, their fields looked at, their items followed back, after a real worker wrote them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.runtime.service import OWNER, Actor, BadRequest, NotFound
from engine.runtime.service.run_data import OriginView
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node, start, workflow
from tests.support.servers import OwnRedis

STRANGER = Actor("stranger", project_id="f" * 32)


@pytest.fixture
def place(tmp_path: Path, database_url: str, redis_server: OwnRedis) -> Iterator[AtWork]:
    with at_work(tmp_path, database_url, redis_server.url) as made:
        yield made


def published(place: AtWork, count: int) -> str:
    """An execution whose node `each` gave so many items `{"n", "even"}`."""
    drawn = chain(
        node("start", "core.manual"),
        node("list", params={"fields": {"n": f"{{{{ range({count}) | list }}}}"}}),
        node("each", "core.split_out", {"field": "n"}),
        node("rows", params={"fields": {"even": "{{ item.n % 2 == 0 }}", "text": "item {{ item.n }}"}}),
    )
    workflow_id = place.publish(drawn)
    with place.worker():
        return place.wait(place.service.actions.run(OWNER, workflow_id, items=[{}])).id


@pytest.mark.parametrize("count", [100, 30_000])
def test_outputs_are_paged_sorted_filtered_and_searched(place: AtWork, count: int) -> None:
    """Small ones lie in the record, large ones in the payload folder."""
    id_ = published(place, count)
    page = place.service.run_data.page

    first = page(OWNER, id_, "rows", start=10, count=2)
    assert [row["n"] for row in first.rows] == [10, 11]
    assert (first.total, first.matching) == (count, count)

    last = page(OWNER, id_, "rows", sort=[("n", "descending")], filters=[("even", "equals", True)], count=2)  # type: ignore[list-item]
    assert [row["n"] for row in last.rows] == [count - 2, count - 4]
    assert last.indexes == (count - 2, count - 4)
    assert last.matching == count // 2

    assert page(OWNER, id_, "rows", search="ITEM 7").rows[0]["n"] == 7


def test_a_profile_tells_what_the_fields_are_like(place: AtWork) -> None:
    found = place.service.run_data.profile(OWNER, published(place, 100), "rows")

    assert found["count"] == 100
    assert (found["fields"]["n"]["min"], found["fields"]["n"]["max"]) == (0, 99)
    assert found["fields"]["even"]["booleans"] == {"true": 50, "false": 50}


def test_long_values_are_cut_unless_they_are_wanted_whole(place: AtWork) -> None:
    workflow_id = place.publish(chain(node("start", "core.manual"), node("long")))
    with place.worker():
        id_ = place.wait(place.service.actions.run(OWNER, workflow_id, items=[{"text": "x" * 5_000}])).id

    shown = place.service.run_data.page(OWNER, id_, "long")
    assert len(shown.rows[0]["text"]) < 1_100
    assert shown.cuts[0]["size"] == 5_000
    whole = place.service.run_data.page(OWNER, id_, "long", whole=True)
    assert whole.rows[0]["text"] == "x" * 5_000


def test_what_a_draft_run_reused_is_found_by_its_execution_and_by_its_key(place: AtWork) -> None:
    def drawn(count: int) -> Any:
        return chain(start([{"n": n} for n in range(9)]), node("few", "core.limit", {"count": 5}),
                     node("fewer", "core.limit", {"count": count}))  # fmt: skip

    workflow_id = place.create(drawn(3))
    with place.worker():
        place.previewed(workflow_id)
        place.change(workflow_id, drawn(2))
        second = place.service.drafts.preview(OWNER, workflow_id)
        assert second.execution_id is not None
        found = place.wait(second.execution_id)

    few = next(run for run in found.runs if run.node_id == "few")
    assert (few.status, few.counts) == ("reused", {"main": 5})
    assert place.service.run_data.page(OWNER, found.id, "few").total == 5
    assert few.key is not None
    assert place.service.run_data.page(OWNER, few.key).total == 5
    origins = place.service.run_data.lineage(OWNER, found.id, "fewer", index=1)
    assert {one.node_id: [item["index"] for item in one.items] for one in origins} == {"few": [1], "start": [1]}
    with pytest.raises(NotFound):
        place.service.run_data.page(STRANGER, few.key)


def origins_of(
    place: AtWork, drawn: Any, items: list[dict[str, Any]], node_id: str, index: int
) -> dict[str, OriginView]:
    workflow_id = place.publish(drawn)
    with place.worker():
        found = place.wait(place.service.actions.run(OWNER, workflow_id, items=items))
    assert found.status == "succeeded"
    return {one.node_id: one for one in place.service.run_data.lineage(OWNER, found.id, node_id, index=index)}


def places(found: OriginView) -> list[tuple[str, int]]:
    return [(item["output"], item["index"]) for item in found.items]


def test_an_item_is_followed_back_through_branches(place: AtWork) -> None:
    conditions = {"conditions": [{"value": "{{ item.n }}", "test": "greater_than", "other": 1}]}
    drawn = workflow(
        node("start", "core.manual"), node("if", "core.if", conditions), node("both"),
        paths=("start > if", "if.true > both", "if.false > both"),
    )  # fmt: skip
    items = [{"n": 3}, {"n": 1}, {"n": 2}]  # `both` gets 3, 2, 1

    found = origins_of(place, drawn, items, "both", 2)

    assert places(found["if"]) == [("false", 0)]
    assert places(found["start"]) == [("main", 1)]


def test_an_item_made_of_several_is_followed_back_to_all_of_them(place: AtWork) -> None:
    figures = {"group_by": ["kind"], "figures": [{"function": "count"}]}
    drawn = chain(node("start", "core.manual"), node("sum", "core.summarize", figures))

    found = origins_of(place, drawn, [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}], "sum", 0)

    assert places(found["start"]) == [("main", 0), ("main", 2)]


def test_where_the_way_back_is_lost_it_says_so(place: AtWork) -> None:
    drawn = chain(
        node("start", "core.manual"),
        node("code", "core.code", {"source": "return [{'total': sum(i['n'] for i in items)}]"}),
        node("last"),
    )

    found = origins_of(place, drawn, [{"n": 1}, {"n": 2}], "last", 0)

    assert found["code"].is_lost
    assert "start" not in found


@pytest.mark.parametrize("asked", [("rows", "nothing", 0), ("nobody", "main", 0), ("rows", "main", 99)])
def test_what_is_not_there_is_not_found(place: AtWork, asked: tuple[str, str, int]) -> None:
    id_ = published(place, 3)
    node_id, output, index = asked
    with pytest.raises(NotFound):
        place.service.run_data.lineage(OWNER, id_, node_id, output, index)
    if index == 0:
        with pytest.raises(NotFound):
            place.service.run_data.page(OWNER, id_, node_id, output)
    with pytest.raises(NotFound):
        place.service.run_data.page(STRANGER, id_, "rows")
    with pytest.raises(BadRequest):
        place.service.run_data.page(OWNER, id_, "rows", count=5_000)


def test_an_output_whose_file_is_gone_is_not_found_and_runs_again(place: AtWork) -> None:
    drawn = chain(start([{"text": "x" * 40_000}] * 3), node("wide", params={"fields": {"a": 1}}))
    workflow_id = place.create(drawn)
    with place.worker():
        found = place.previewed(workflow_id)
        key = next(one.key for one in found.nodes if one.node_id == "wide")
        assert place.service.run_data.page(OWNER, key).total == 3
        for stored in list(place.parts.payloads.all()):
            place.parts.payloads.delete(stored.hash)
        with pytest.raises(NotFound):
            place.service.run_data.page(OWNER, key)
        again = place.service.drafts.preview(OWNER, workflow_id)
        assert {one.node_id: one.status for one in again.nodes} == {"start": "queued", "wide": "queued"}
        assert again.execution_id is not None
        place.wait(again.execution_id)
    assert place.service.run_data.page(OWNER, key).total == 3
