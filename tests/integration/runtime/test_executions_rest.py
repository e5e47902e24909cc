"""Executions, previews and run data over REST, with a real worker behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.workflow import Workflow
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node, start
from tests.support.http_server import Server, http_server
from tests.support.rest import Api
from tests.support.servers import OwnRedis


@pytest.fixture
def place(tmp_path: Path, redis_server: OwnRedis) -> Iterator[AtWork]:
    with at_work(tmp_path, f"sqlite:///{tmp_path / 'flowleaf.db'}", redis_server.url) as made:
        yield made


@pytest.fixture
def api(place: AtWork) -> Iterator[Api]:
    with Api(place.service) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as running:
        yield running


def doubling() -> Workflow:
    return chain(node("start", "core.manual"), node("double", params={"fields": {"n": "{{ item.n * 2 }}"}}))


def sending(server: Server, path: str = "/echo") -> Workflow:
    return chain(
        node("start", "core.manual"), node("send", "core.http_request", {"url": server.url + path, "method": "POST"})
    )


def told(text: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Id, name and data of server-sent events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def test_a_run_is_answered_at_once_or_with_its_result(place: AtWork, api: Api) -> None:
    workflow_id = place.publish(doubling())

    begun = api("POST", f"/workflows/{workflow_id}/run", {"items": [{"n": 1}]})
    assert begun.status_code == 202
    with place.worker():
        found = api("POST", f"/workflows/{workflow_id}/run", {"items": [{"n": 4}], "wait_s": 10})
        assert found.status_code == 200
        assert found.json()["result"] == {"n": 8}
        assert found.json()["execution"]["source"] == "api"
        place.wait(begun.json()["execution_id"])

    late = api("POST", f"/workflows/{workflow_id}/run", {"wait_s": 0.1})
    assert (late.status_code, set(late.json())) == (202, {"execution_id"})


def test_executions_are_listed_counted_and_shown(place: AtWork, api: Api) -> None:
    workflow_id = place.publish(doubling())
    with place.worker():
        runs = [
            api("POST", f"/workflows/{workflow_id}/run", {"items": [{"n": 1}], "wait_s": 10}).json() for _ in range(3)
        ]
    ids = [run["execution"]["id"] for run in runs]

    first = api("GET", f"/executions?limit=2&workflow_id={workflow_id}").json()
    second = api("GET", f"/executions?limit=2&workflow_id={workflow_id}&cursor={first['next']}").json()
    assert [one["id"] for one in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert api("GET", "/executions/counts").json()["succeeded"] == {"count": 3, "at_least": False}
    shown = api("GET", f"/executions/{ids[0]}").json()
    assert [run["node_id"] for run in shown["runs"]] == ["start", "double"]
    assert shown["runs"][1]["first"]["main"]["rows"] == [{"n": 2}]
    assert api("GET", "/executions?status=done").status_code == 422
    assert api("GET", f"/executions/{'f' * 32}").status_code == 404


def test_effects_ahead_are_listed_and_have_to_be_confirmed(place: AtWork, api: Api, server: Server) -> None:
    workflow_id = place.publish(sending(server, "/status/500"))
    with place.worker():
        run = api("POST", f"/workflows/{workflow_id}/run", {"items": [{"n": 1}], "wait_s": 10}).json()
        id_ = run["execution"]["id"]
        assert run["execution"]["status"] == "failed"
        for action in ("retry", "replay"):
            refused = api("POST", f"/executions/{id_}/{action}")
            assert (refused.status_code, refused.json()["code"]) == (409, "execution.effects_ahead")
            assert refused.json()["nodes"] == [{"id": "send", "label": "send"}]
            begun = api("POST", f"/executions/{id_}/{action}", {"confirm": True})
            assert begun.status_code == 202
            place.wait(begun.json()["execution_id"])
    assert len(server.requests) == 3


def test_an_execution_is_cancelled_and_what_has_ended_is_refused(place: AtWork, api: Api) -> None:
    workflow_id = place.publish(doubling())
    id_ = api("POST", f"/workflows/{workflow_id}/run").json()["execution_id"]

    for _ in range(2):
        stopped = api("POST", f"/executions/{id_}/cancel")
        assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")
    assert api("POST", f"/executions/{id_}/decide", {"decision": "fail"}).json()["code"] == "execution.status"
    with place.worker():
        done = api("POST", f"/workflows/{workflow_id}/run", {"items": [{"n": 1}], "wait_s": 10}).json()["execution"][
            "id"
        ]
    assert api("POST", f"/executions/{done}/cancel").status_code == 409


def test_what_is_not_published_cannot_be_run(place: AtWork, api: Api) -> None:
    answer = api("POST", f"/workflows/{place.create(doubling())}/run")
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow.not_published")


def test_an_execution_is_followed_as_server_sent_events(place: AtWork, api: Api, server: Server) -> None:
    nodes = [node(f"n{n}", "core.http_request", {"url": f"{server.url}/slow?s=0.1"}) for n in range(3)]
    workflow_id = place.publish(chain(node("start", "core.manual"), *nodes))
    id_ = api("POST", f"/workflows/{workflow_id}/run").json()["execution_id"]
    with place.worker():
        answer = api("GET", f"/executions/{id_}/events", timeout=20)

    assert answer.headers["content-type"].startswith("text/event-stream")
    messages = told(answer.text)
    assert messages[0][1] == "snapshot"
    assert messages[-1][1] == "end"
    seqs = [event["seq"] for _, kind, data in messages if kind == "events" for event in data["events"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert messages[-1][2]["execution"]["status"] == "succeeded"

    middle = seqs[len(seqs) // 2]
    again = told(api("GET", f"/executions/{id_}/events", headers={"last-event-id": f"1-{middle}"}).text)
    assert [event["seq"] for _, kind, data in again if kind == "events" for event in data["events"]] == seqs[middle:]
    assert again[-1][0] == f"1-{seqs[-1]}"
    assert api("GET", f"/executions/{'f' * 32}/events").status_code == 404
    assert api("GET", f"/executions/{id_}/events", headers={"last-event-id": "x"}).status_code == 422


def test_a_draft_is_previewed_and_its_run_data_paged(place: AtWork, api: Api, server: Server) -> None:
    rows = [{"n": n, "name": f"item {n}"} for n in range(60)]
    drawn = chain(start(rows), node("set"), node("send", "core.http_request", {"url": server.url, "method": "POST"}))
    workflow_id = place.create(drawn)
    with place.worker():
        begun = api("POST", f"/workflows/{workflow_id}/preview", {}).json()
        place.wait(begun["execution_id"])
        shown = api("POST", f"/workflows/{workflow_id}/preview").json()
        assert shown["execution_id"] is None
        nodes = {one["node_id"]: one for one in shown["nodes"]}
        assert (nodes["send"]["status"], nodes["send"]["reason"]) == ("held", "write")
        assert nodes["send"]["kept"]["held"][0]["method"] == "POST"
        assert server.requests == []
        sent = api("POST", f"/workflows/{workflow_id}/send", {"node_id": "send"})
        assert sent.status_code == 202
        place.wait(sent.json()["execution_id"])
    assert len(server.requests) == 60

    key = nodes["set"]["key"]
    page = api("GET", f"/run-data/{key}", params={"sort": "n:descending", "count": 2,
               "filters": '[["n", "less_than", 50]]', "search": "ITEM"}).json()  # fmt: skip
    assert [row["n"] for row in page["rows"]] == [49, 48]
    assert (page["matching"], page["total"], page["indexes"]) == (50, 60, [49, 48])
    assert api("GET", f"/run-data/{key}/profile").json()["fields"]["n"]["max"] == 59
    id_ = begun["execution_id"]
    assert api("GET", f"/run-data/{id_}?node_id=set&start=58").json()["rows"] == rows[58:]
    lineage = api("GET", f"/run-data/{id_}/lineage?node_id=set&index=7").json()
    assert lineage["items"] == [
        {"node_id": "start", "items": [{"output": "main", "index": 7}], "more": False, "is_lost": False}
    ]
    assert api("GET", f"/run-data/{key}?sort=nothing").status_code == 422
    assert api("GET", f"/run-data/{key}", params={"filters": "[1]"}).status_code == 422
    assert api("GET", "/run-data/unknown").status_code == 404


def test_a_preview_of_nothing_known_is_refused(place: AtWork, api: Api) -> None:
    workflow_id = place.create(doubling())
    assert api("POST", f"/workflows/{workflow_id}/preview", {"target": "nowhere"}).status_code == 422
    assert api("POST", f"/workflows/{'f' * 32}/preview", {}).status_code == 404
    assert api("POST", f"/workflows/{workflow_id}/preview", {"sampel": 3}).status_code == 422
