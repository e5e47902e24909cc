"""No server error, whatever comes: requests made from the schema, with rows that are there, and then spoiled."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from engine.runtime.parts import Parts
from engine.runtime.service import Service
from tests.support.rest import Api, signed_in
from tests.support.servers import OwnRedis
from tests.support.workflow_files import every, file, node, webhook

EXAMPLES = 8  # of each operation, of requests that fit the schema and of those that do not
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]
# These succeed only with what the schema does not tell: an execution that ended, a node's id, a secret's fields.
WANTS_MORE = frozenset(
    {"undelete", "edits", "undo", "events", "retry", "replay", "decide", "send", "credentials", "{of}", "profile"}
    | {"lineage"}
)
NASTY = (
    "", "\0", "a\0b", "\ud800", "\0", "a\0b", "\ufffe", "x" * 5_000, "../..",
    "%", "' OR 1=1 --", "{{ item }}", "{{", "9" * 400,
    -1, 0, 2**31, 2**63, 10**400, 1e308, True, None, [], {}, [[]] * 50, {"": {"\0": []}},
)  # fmt: skip


@pytest.fixture
def api(parts: Parts, redis_server: OwnRedis) -> Iterator[Api]:
    """The API of a service that can wake workers."""
    with_redis = parts.settings.model_copy(update={"redis_url": redis_server.url})
    made = Parts(with_redis, bus=parts.bus)
    with Api(Service(made)) as api:
        yield api
    asyncio.run(made.close())


def test_no_request_ends_in_a_server_error(api: Api):
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", signed_in(api.app))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 25
    refused = set()
    for operation in operations:
        statuses = set().union(*(_try(api, operation, mode) for mode in GenerationMode))
        if min(statuses) >= 400:
            refused.add(operation.label.rpartition("/")[2])
    # All others did what they are asked for at least once: they were not only refused at the door.
    assert refused <= WANTS_MORE


EDITS = (
    {"kind": "add_node", "node": node("b"), "index": 0, "connections": [
        {"index": 0, "connection": {"source": "b", "output": "main", "target": "a", "input": "main"}}]},
    {"kind": "remove_node", "node_id": "a"},
    {"kind": "move_node", "node_id": "a", "position": [1, 2]},
    {"kind": "rename_node", "node_id": "a", "label": "B", "follow": True},
    {"kind": "set_params", "node_id": "a", "params": {"fields": {"a": "{{ item.a }}"}}},
    {"kind": "set_param", "node_id": "a", "path": ["fields", "a"], "value": 1},
    {"kind": "set_param", "node_id": "call", "path": ["path"], "value": "orders/:id"},
    {"kind": "pin", "node_id": "a", "pinned": {"main": [{"a": 1}]}},
    {"kind": "set_node", "node_id": "a", "on_error": "output", "note": "n", "timeout_s": 5, "retry": {"attempts": 2}},
    {"kind": "connect", "connection": {"source": "call", "target": "start"}, "index": 0},
    {"kind": "set_notes", "notes": [{"id": "n", "text": "t", "position": [0, 0], "size": [1, 1]}]},
    {"kind": "set_workflow", "name": "N", "settings": {"timezone": "UTC", "concurrency": 1, "priority": "high"}},
)  # fmt: skip
FILES = (
    file(webhook("a/:b", methods=["GET"], dedupe="header", dedupe_key="X-Id", cors=["*"]), node("a")),
    file(every(5), node("clock2", "core.schedule", {"cron": "0 9 * * *"}), node("a"), settings={"timezone": "UTC"}),
    file(node("m", "core.manual", {}), node("i", "core.if", {"conditions": [{"value": 1, "test": "is_true"}]})),
    file(webhook("c", credential="Shop"), node("h", "core.http_request", {"url": "https://example.com/{{ item.a }}"})),
)
SECRETS = (
    {"name": "A", "kind": "header", "fields": {"name": "X-Key", "value": "v"}},
    {"name": "B", "kind": "basic", "fields": {"user": "u", "password": "p"}},
    {"name": "C", "kind": "hmac", "fields": {"secret": "s", "preset": "github", "tolerance_s": 300}},
)


@settings(
    max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(draw=st.data())
def test_what_is_nearly_right_ends_in_no_server_error(api: Api, draw: st.DataObject):
    edit = {"edit": draw.draw(st.sampled_from(EDITS)), "seen_seq": 0}
    edit = _spoiled(draw, edit) if draw.draw(st.integers(0, 3)) else edit
    drawn = _spoiled(draw, draw.draw(st.sampled_from(FILES)))
    secret = _spoiled(draw, draw.draw(st.sampled_from(SECRETS)))
    made = api("POST", "/workflows", drawn)
    answers = [made, api("POST", "/credentials", secret)]
    base = api("POST", "/workflows", file(webhook("orders"), node("a"), node("start", "core.manual", {})))
    for answer in (made, base):
        if answer.status_code != 201:
            continue
        path = f"/workflows/{answer.json()['id']}"
        answers += [
            api("POST", f"{path}/edits", edit),
            api("GET", f"{path}?problems=true"),
            api("POST", f"{path}/publish"),
            api("POST", f"{path}/duplicate"),
            api("GET", f"{path}/file?pins=true"),
            api("GET", f"{path}/edits"),
            api("POST", f"{path}/undo", {"seq": 1}),
            api("POST", f"{path}/preview", {}),
            api("DELETE", path),
        ]
    assert [answer.text for answer in answers if answer.status_code >= 500] == []


def _try(api: Api, operation: Any, mode: GenerationMode) -> set[int]:
    """Statuses of the answers."""
    known = _rows(api)
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), draw=st.data())
    def call(case: Any, draw: st.DataObject) -> None:
        if case.path_parameters and not operation.label.endswith("/events") and draw.draw(st.integers(0, 3)):
            case.path_parameters = {**case.path_parameters, **known}  # events of one that is there never end
        if isinstance(case.body, dict) and "wait_s" in case.body:
            case.body = {**case.body, "wait_s": 0}
        if isinstance(case.body, (dict, list)) and draw.draw(st.booleans()):
            # Sent by ourselves: its own client cannot write half a surrogate pair.
            path = case.formatted_path.removeprefix("/api/v1")
            answer = api(case.method, path, _spoiled(draw, case.body))
            assert answer.status_code < 500, answer.text
            assert answer.status_code < 400 or {"code", "message"} <= set(answer.json())
        else:
            statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    call()
    return statuses


def _rows(api: Api) -> dict[str, Any]:
    """Ids of rows that are there, by the name that paths have for them."""
    for line in api("GET", "/workflows?limit=200").json()["items"]:
        api("DELETE", f"/workflows/{line['id']}")
    for line in api("GET", "/credentials?limit=200").json()["items"]:
        api("DELETE", f"/credentials/{line['id']}?force=true")
    drawn = file(webhook("orders"), node("a"), node("start", "core.manual", {}))
    workflow_id = api("POST", "/workflows", drawn).json()["id"]
    published = api("POST", f"/workflows/{workflow_id}/publish")
    assert published.status_code == 200, published.text
    api("PATCH", f"/workflows/{workflow_id}", {"name": "Edited"})
    api("PUT", "/vars/rate", {"value": 1})
    credential = api("POST", "/credentials", {"name": "Shop", "kind": "bearer", "fields": {"token": "t"}})
    run = api("POST", f"/workflows/{workflow_id}/run", {"trigger": "start"})
    assert run.status_code == 202, run.text
    execution_id = run.json()["execution_id"]
    return {
        "workflow_id": workflow_id,
        "number": 1,
        "name": "rate",
        "credential_id": credential.json()["id"],
        "execution_id": execution_id,
        "of": execution_id,
    }


def _spoiled(draw: st.DataObject, value: Any) -> Any:
    """The value with one part replaced by something nasty."""
    if isinstance(value, dict) and value and draw.draw(st.integers(0, 4)):
        key = draw.draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: _spoiled(draw, value[key])}
    if isinstance(value, list) and value and draw.draw(st.integers(0, 4)):
        index = draw.draw(st.integers(0, len(value) - 1))
        return [*value[:index], _spoiled(draw, value[index]), *value[index + 1 :]]
    return draw.draw(st.sampled_from(NASTY))
