"""Secrets put in over REST are found nowhere but sealed in their column."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from engine.runtime.context import Outside
from engine.runtime.data.packed import unpack_json
from engine.runtime.logs import QUIETER, ROUTED, configure_logs
from engine.runtime.models import metadata
from engine.runtime.parts import Parts
from engine.runtime.service import LOCAL_PROJECT, Service
from engine.runtime.webhooks.keyring import Keyring
from tests.support.rest import Api
from tests.support.workflow_files import file, node, webhook

CANARIES = {
    "Header": ("header", {"name": "X-Key", "value": "canary-header-5f1d"}),
    "Bearer": ("bearer", {"token": "canary-bearer-83aa"}),
    "Basic": ("basic", {"user": "ada", "password": "canary-basic-77c0"}),
    "Hmac": ("hmac", {"secret": "canary-hmac-e2b9", "preset": "github"}),
}
# Each also comes as a mistake: in a field of another name, in a kind that does not take it.
MISTAKES: tuple[dict[str, Any], ...] = (
    {"name": "M", "kind": "bearer", "fields": {"tokn": "canary-mistake-1"}},
    {"name": "M", "kind": "bearer", "fields": {"token": ["canary-mistake-2"]}},
    {"name": "M", "kind": "bearer", "fields": {"token": "canary-mistake-3 \n"}},
    {"name": "M", "kind": "nothing", "fields": {"token": "canary-mistake-4"}},
    {"name": "M", "kind": "bearer", "fields": "canary-mistake-5"},
    {"name": "M", "kind": "bearer", "fields": {}, "token": "canary-mistake-6"},
    {"name": "Bearer", "kind": "bearer", "fields": {"token": "canary-mistake-7"}},
    {"name": "M", "kind": "basic", "fields": {"user": "canary-mistake-8:", "password": "canary-mistake-9"}},
)


@pytest.fixture(autouse=True)
def _the_log_is_given_back() -> Iterator[None]:
    config, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    loggers = {name: logging.getLogger(name) for name in {*ROUTED, *QUIETER}}
    before = {name: (list(log.handlers), log.level, log.propagate) for name, log in loggers.items()}
    yield
    logging.captureWarnings(False)
    structlog.configure(**config)
    root.handlers, root.level = handlers, level
    for name, (its_handlers, its_level, propagate) in before.items():
        loggers[name].handlers, loggers[name].propagate = its_handlers, propagate
        loggers[name].setLevel(its_level)


@pytest.mark.parametrize("readable", [True, False], ids=["lines", "json"])
def test_secrets_are_found_nowhere(service: Service, parts: Parts, capfd: pytest.CaptureFixture[str], readable):
    configure_logs("debug", process="web", readable=readable)
    logging.getLogger().setLevel(logging.DEBUG)
    found: list[str] = []
    with Api(service) as api:
        ids = {}
        for name, (kind, fields) in CANARIES.items():
            answer = api("POST", "/credentials", {"name": name, "kind": kind, "fields": fields})
            assert answer.status_code == 201
            ids[name] = answer.json()["id"]
            found.append(answer.text)
            found.append(api("PATCH", f"/credentials/{ids[name]}", {"fields": fields}).text)
        for mistake in MISTAKES:
            answer = api("POST", "/credentials", mistake)
            assert answer.status_code in (409, 422)
            found.append(answer.text)
        calls = [node(f"to{n}", "core.http_request", {"url": "https://example.com", "credential": n}) for n in CANARIES]
        hooks = [webhook(f"from/{n.lower()}", f"from{n}", credential=n) for n in CANARIES]
        id_ = api("POST", "/workflows", file(*hooks, *calls)).json()["id"]
        api("PATCH", f"/workflows/{id_}", {"name": "Renamed"})
        assert api("POST", f"/workflows/{id_}/publish").status_code == 200
        for name in CANARIES:
            found.append(api("DELETE", f"/credentials/{ids[name]}").text)
            _open(parts, name)
        found += _answers(api, {"workflow_id": id_, "credential_id": ids["Basic"], "number": "1"})
    found += _tables(parts) + _messages(parts, id_)
    output = capfd.readouterr()
    found += [output.out, output.err]
    assert len("".join(found)) > 10_000
    assert "from/bearer" in "".join(found)  # what is to be found is
    assert [text for text in found if "canary" in text] == []


def _open(parts: Parts, name: str) -> None:
    """Use a credential as nodes and webhooks do."""
    kind, fields = CANARIES[name]
    opened = Outside(parts.store, parts.local(), parts.vault).secret(LOCAL_PROJECT, name)
    assert fields.items() - {("preset", "github")} <= opened.items()
    assert asyncio.run(Keyring(parts.store, parts.vault).get(LOCAL_PROJECT, name))[0] == kind


def _answers(api: Api, ids: dict[str, str]) -> list[str]:
    """Every answer of every GET route that ids are known for, also of exports."""
    asked = ["/workflows?deleted=true", f"/workflows/{ids['workflow_id']}?problems=true"]
    asked += [f"/workflows/{ids['workflow_id']}/file?{query}" for query in ("pins=true", "revision=1")]
    for path, methods in api.app.openapi()["paths"].items():
        if "get" in methods and "/executions/{" not in path and "run-data" not in path:
            asked.append(path.removeprefix("/api/v1").format(**ids))
    answers = [api("GET", path) for path in asked]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.text for answer in answers] + [json.dumps(api.app.openapi())]


def _tables(parts: Parts) -> list[str]:
    """All that is in all tables but the sealed column."""
    found = []
    with parts.store.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(text(f"SELECT * FROM {table.name}")):
                for name, value in row._asdict().items():
                    if (table.name, name) == ("credential", "sealed"):
                        continue
                    is_packed = isinstance(value, (bytes, memoryview))
                    found.append(json.dumps(unpack_json(bytes(value))) if is_packed else str(value))
    return found


def _messages(parts: Parts, workflow_id: str) -> list[str]:
    """All that was published on the bus."""

    async def read(topic: str) -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(5):
            last = (await parts.bus.newest([topic]))[topic]
            async for received in parts.bus.follow([topic], "start"):
                found.append(repr(received))
                if received.id == last:
                    break
        return found

    topics = ("routes", f"workflow:{workflow_id}")
    return [message for topic in topics for message in asyncio.run(read(topic))]
