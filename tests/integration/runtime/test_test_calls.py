"""Calls to test addresses over HTTP: they run the draft, and stop before they change anything."""

import asyncio

import pytest
from httpx import ASGITransport, AsyncClient, Response

from engine.edits import SetParam
from engine.runtime.processes import make_ingress
from engine.runtime.service import OWNER
from engine.workflow import Node, Workflow
from studio.hooks import Hooks
from tests.support.at_work import AtWork, at_work
from tests.support.build import chain, node


@pytest.fixture
def place(tmp_path, redis_server):
    with at_work(tmp_path, f"sqlite:///{tmp_path / 'flowleaf.db'}", redis_server.url) as made, made.worker():
        yield made


def call(place: AtWork, path: str, body: object) -> Response:
    async def go() -> Response:
        ingress, startup, shutdown = make_ingress(place.parts)
        tests = place.service.test_ingress()
        await startup()
        await tests.start()
        app = Hooks(ingress, limit_bytes=10_000, test=tests)
        try:
            async with asyncio.timeout(30), AsyncClient(transport=ASGITransport(app), base_url="http://t") as client:
                return await client.post(path, json=body)
        finally:
            await tests.close()
            await shutdown()

    return asyncio.run(go())


def hook(*others, respond="last_node") -> Workflow:
    return chain(node("hook", "core.webhook", {"path": "shops/:shop/orders", "respond": respond}), *others)


def double() -> Node:
    fields = {"n": "{{ item.body.n * 2 }}", "shop": "{{ item.params.shop }}"}
    return node("double", params={"fields": fields, "keep_others": False})


def test_a_draft_that_was_never_published_answers_at_its_test_address_only(place):
    place.create(hook(double()))
    tested = call(place, "/hooks-test/shops/north/orders", {"n": 4})
    assert (tested.status_code, tested.json()) == (200, {"n": 8, "shop": "north"})
    assert call(place, "/hooks/shops/north/orders", {"n": 4}).status_code == 404


def test_an_edit_is_in_the_very_next_test_call(place):
    workflow_id = place.create(hook(double()))
    assert call(place, "/hooks-test/shops/north/orders", {"n": 4}).json()["n"] == 8
    edit = SetParam(node_id="double", path=("fields", "n"), value="{{ item.body.n * 3 }}")
    place.service.workflows.edit(OWNER, workflow_id, edit, 0)
    assert call(place, "/hooks-test/shops/north/orders", {"n": 4}).json()["n"] == 12


def test_a_test_call_stops_before_what_writes_and_names_it(place):
    post = node("send", "core.http_request", {"url": "http://127.0.0.1:9/never", "method": "POST"})
    place.create(hook(double(), post))
    answer = call(place, "/hooks-test/shops/north/orders", {"n": 4})
    assert (answer.status_code, answer.json()) == (200, {"held": ["send"]})


def test_what_fails_says_where(place):
    place.create(hook(node("broken", params={"fields": {"n": "{{ item.body.missing }}"}})))
    answer = call(place, "/hooks-test/shops/north/orders", {"n": 4})
    assert answer.status_code == 500
    assert '"broken"' in answer.json()["message"]
    assert answer.json()["execution_id"]


@pytest.mark.parametrize(("path", "status"), [("/hooks-test/shops/north", 404), ("/hooks-test/", 404)])
def test_other_paths_are_not_found(place, path, status):
    place.create(hook(double()))
    assert call(place, path, {}).status_code == status
