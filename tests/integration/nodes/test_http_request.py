"""core.http_request: calls of a real server on this machine."""

import asyncio
import copy
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from engine.errors import CredentialError
from engine.executor import execute
from engine.planner import plan
from engine.registry import Registry
from engine.run import LocalServices
from engine.workflow import Retry
from tests.support.build import chain, node, run, run_node, start
from tests.support.http_server import ITEMS, Server, http_server, raw_server
from tests.support.nodes import refusals


class Services(LocalServices):
    """The outside world with one credential, which counts how many calls go on at the same time."""

    def __init__(self, credential: Mapping[str, str] | None = None) -> None:
        super().__init__(http_allow=["127.0.0.1"])
        self.secret = credential
        self.calls = 0
        self.most = 0

    async def credential(self, name: str) -> Mapping[str, str]:
        if self.secret is None:
            raise CredentialError(f"no credential {name!r} here", hint="Make one.")
        return self.secret

    @property
    def http(self) -> Any:
        return self

    async def request(self, method: str, url: str, **options: Any) -> Any:
        self.calls += 1
        self.most = max(self.most, self.calls)
        try:
            return await super().http.request(method, url, **options)
        finally:
            self.calls -= 1


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as server:
        yield server


def called(server, path="/x", rows=({},), *, on_error="stop", retry=None, **params):
    params = {"url": server.url + path, **params}
    return run_node("core.http_request", params, list(rows), services=Services(), on_error=on_error, retry=retry)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_it_calls_by_any_method(server, method):
    assert called(server, method=method)["node"][0]["method"] == method


def test_a_head_has_no_body(server):
    assert called(server, method="HEAD")["node"] == [{"body": None}]


def test_query_and_headers_are_sent(server):
    (seen,) = called(
        server,
        "/users/{{ item.id }}?a=1",
        [{"id": 7, "tags": ["x", "y z"]}],
        query={"id": "{{ item.id }}", "tag": "{{ item.tags }}"},
        headers={"X-Id": "{{ item.id }}", "x-text": "no {{ item.id }}"},
    )["node"]
    assert seen["target"] == "/users/7?a=1&id=7&tag=x&tag=y+z"
    assert (seen["headers"]["x-id"], seen["headers"]["x-text"]) == ("7", "no 7")


BODIES = {
    "json": ({"body": {"n": "{{ item.n }}", "list": [1, None]}}, '{"n":7,"list":[1,null]}', "application/json"),
    "a list as json": ({"body": ["{{ item.n }}"]}, "[7]", "application/json"),
    "text as json": ({"body": "hi"}, '"hi"', "application/json"),
    "a form": (
        {"body": {"n": "{{ item.n }}", "t": "a b"}, "body_as": "form"},
        "n=7&t=a+b",
        "application/x-www-form-urlencoded",
    ),
    "text": ({"body": "n is {{ item.n }}", "body_as": "text"}, "n is 7", None),
    "an object as text": ({"body": {"n": "{{ item.n }}", "ok": True}, "body_as": "text"}, '{"n":7,"ok":true}', None),
    "a type of one's own": (
        {"body": "<a/>", "body_as": "text", "headers": {"Content-Type": "text/xml"}},
        "<a/>",
        "text/xml",
    ),
    "no body": ({}, "", None),
}


@pytest.mark.parametrize(("params", "body", "content_type"), BODIES.values(), ids=BODIES)
def test_a_body_is_written_as_told(server, params, body, content_type):
    (seen,) = called(server, rows=[{"n": 7}], method="POST", **params)["node"]
    assert (seen["body"], seen["headers"].get("content-type")) == (body, content_type)


def test_a_get_sends_no_body(server):
    assert called(server, body={"a": 1})["node"][0]["body"] == ""


def test_a_form_has_to_be_an_object(server):
    error = called(server, method="POST", body="a=b", body_as="form").error("node")
    assert error["message"] == "a form needs an object of fields, and the body is text"
    assert "send it as json or text" in error["hint"]
    assert server.requests == []


def raw(status, content_type, body):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ANSWERS = {
    "a list of objects": ("application/json", b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "a list of others": ("application/json", b'[1, "x", {"a": 2}]', [{"body": 1}, {"body": "x"}, {"a": 2}]),
    "an empty list": ("application/json", b"[]", []),
    "an object": ("application/problem+json; charset=utf-8", b'{"a": 1}', [{"a": 1}]),
    "a number": ("application/json", b"5", [{"body": 5}]),
    "a long number": ("application/json", b'{"id": 1180591620717411303424}', [{"id": 2**70}]),
    "text": ("text/plain; charset=latin-1", "Zoë".encode("latin-1"), [{"body": "Zoë"}]),
    "nothing": ("application/json", b"", [{"body": None}]),
}


@pytest.mark.parametrize(("content_type", "body", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_becomes_items(content_type, body, expected):
    with raw_server(raw("200 OK", content_type, body)) as server:
        assert called(server)["node"] == expected


def test_the_answer_may_come_beside_the_item(server):
    (row,) = called(server, "/items", [{"id": 7}], result="field")["node"]
    assert row["id"] == 7
    assert (row["response"]["status"], row["response"]["body"]) == (200, ITEMS)
    assert row["response"]["headers"]["content-type"] == "application/json"


def test_json_that_is_none_is_an_error():
    with raw_server(raw("200 OK", "application/json", b"<html>")) as server:
        error = called(server).error("node")
    assert error["message"].startswith("the answer says it is JSON and is not: line 1, column 1")
    assert error["hint"] == "It starts with: <html>"


REFUSED = {
    "with what the service says": (
        "404 Not Found",
        "application/json",
        b'{"error":\n "no user 7"}',
        'It said: {"error": "no user 7"}',
    ),
    "with a page": ("404 Not Found", "text/html", b"<html>...</html>", "Check the address."),
    "with nothing": ("404 Not Found", "text/plain", b"", "Check the address."),
    "without a credential": (
        "401 Unauthorized",
        "text/html",
        b"<p>",
        "It wants to know who calls: choose a credential.",
    ),
    "too often": ("429 Too Many Requests", "text/plain", b"", "It asks for fewer calls"),
}


@pytest.mark.parametrize(("status", "content_type", "body", "hint"), REFUSED.values(), ids=REFUSED)
def test_an_answer_of_400_or_above_fails_with_a_hint(status, content_type, body, hint):
    with raw_server(raw(status, content_type, body)) as server:
        error = called(server).error("node")
    assert error["code"] == "node.upstream"
    assert error["message"] == f"GET 127.0.0.1 answered {status}"
    assert error["hint"].startswith(hint)
    assert error["item"] == 0


def test_an_answer_of_400_or_above_may_be_a_result_like_any_other(server):
    (row,) = called(server, "/status/404", accept_errors=True, result="field")["node"]
    assert (row["response"]["status"], row["response"]["body"]) == (404, {"status": 404})


def test_items_whose_call_fails_go_aside(server):
    ran = called(server, "/status/{{ item.s }}", [{"s": 200}, {"s": 404}, {"s": 201}], on_error="output")
    assert ran["node"] == [{"status": 200}, {"status": 201}]
    (aside,) = ran.result("node").outputs["error"].rows
    assert aside["s"] == 404
    assert aside["error"]["code"] == "node.upstream"


QUICK = Retry(attempts=3, wait_s=0.01, backoff=1, jitter=0)


def test_a_503_is_tried_again_as_the_node_says(server):
    ran = called(server, "/flaky?fail=2", retry=QUICK)
    assert ran["node"] == [{"calls": 3}]
    assert [event.attempt for event in ran.events if event.kind == "node.retried"] == [1, 2]


@pytest.mark.parametrize(
    ("path", "calls"), [("/status/503", 3), ("/status/429", 3), ("/status/404", 1), ("/status/400", 1)]
)
def test_only_what_may_go_well_later_is_tried_again(server, path, calls):
    assert called(server, path, retry=QUICK).status == "failed"
    assert len(server.requests) == calls


def test_redirects_are_followed_unless_told_otherwise(server):
    assert called(server, f"/redirect?to={server.url}/items")["node"] == ITEMS
    ran = called(server, f"/redirect?to={server.url}/items", follow_redirects=False, result="field")
    assert ran["node"][0]["response"]["status"] == 302


def test_it_gives_up_in_time(server):
    started = time.perf_counter()
    error = called(server, "/slow?s=5", timeout_s=0.1).error("node")
    assert "did not answer within 0.1 s" in error["message"]
    assert time.perf_counter() - started < 2


def test_a_private_address_is_refused_with_the_setting_that_allows_it(server):
    error = run_node("core.http_request", {"url": server.url}, [{}], services=LocalServices()).error("node")
    assert error["code"] == "node.address_refused"
    assert "127.0.0.1" in error["message"]
    assert "FLOWLEAF_HTTP_ALLOW" in error["hint"]
    assert server.requests == []


@pytest.mark.parametrize("url", ["api.example.com/x", "ftp://127.0.0.1/x", "http://", "{{ item.url }}"])
def test_an_address_that_cannot_be_called_fails_before_any_call(server, url):
    services = Services()
    ran = run_node("core.http_request", {"url": url}, [{"url": "/relative"}], services=services)
    assert ran.status == "failed"
    assert ran.error("node")["message"]


def test_the_idempotency_key_is_the_items_own_and_the_same_for_each_attempt(server):
    rows = [{"n": 1}, {"n": 2}]
    ran = called(server, "/flaky?fail=1&key={{ item.n }}", rows, method="POST", retry=QUICK)
    assert ran.status == "succeeded"
    keys = {row["n"]: set() for row in rows}
    for request in server.requests:
        keys[int(request.query["key"])].add(request.headers["idempotency-key"])
    assert len(server.requests) == 4
    assert [len(found) for found in keys.values()] == [1, 1]
    assert keys[1] != keys[2]


def test_the_idempotency_key_of_an_item_is_the_same_after_a_crash_and_new_in_another_execution(server):
    flow = chain(
        start([{"n": n} for n in range(130)]),
        node("post", "core.http_request", {"url": server.url + "/x?n={{ item.n }}", "method": "POST"}),
    )
    registry = Registry()

    async def until(kind: str, execution_id: str, partial: dict[str, dict[int, Any]]) -> dict[str, dict[int, Any]]:
        services = LocalServices(http_allow=["127.0.0.1"])
        events = execute(execution_id, flow, plan(flow, registry), registry, services, {}, partial=partial)
        known: dict[str, dict[int, Any]] = {}
        async for event in events:
            known = {node_id: dict(outcomes) for node_id, outcomes in partial.items()}
            if event.kind == kind and len(known.get("post", {})) > 9:
                break
        await events.aclose()
        await services.aclose()
        return known

    known = asyncio.run(until("node.progress", "e", {}))
    before = list(server.requests)
    asyncio.run(until("execution.finished", "e", copy.deepcopy(known)))
    after = server.requests[len(before) :]
    assert known["post"].keys() & {int(request.query["n"]) for request in after} == set()
    keys: dict[str, set[str]] = {}
    for request in server.requests:
        keys.setdefault(request.query["n"], set()).add(request.headers["idempotency-key"])
    assert len(keys) == 130
    assert all(len(found) == 1 for found in keys.values())
    assert len(set.union(*keys.values())) == 130
    server.requests.clear()
    asyncio.run(until("execution.finished", "f", {}))
    assert not {request.headers["idempotency-key"] for request in server.requests} & set.union(*keys.values())


def test_reading_sends_no_idempotency_key(server):
    assert "idempotency-key" not in called(server)["node"][0]["headers"]


def test_a_header_of_ones_own_takes_the_place_of_the_nodes(server):
    (seen,) = called(server, method="POST", headers={"Idempotency-KEY": "mine"})["node"]
    assert seen["headers"]["idempotency-key"] == "mine"


def test_a_credential_brings_headers_and_goes_before_those_of_the_node(server):
    params = {"url": server.url, "headers": {"authorization": "mine", "x": "1"}, "credential": "shop"}
    services = Services({"kind": "bearer", "token": "token-1"})
    assert run_node("core.http_request", params, [{}], services=services).status == "succeeded"
    (sent,) = server.requests
    assert (sent.headers["authorization"], sent.headers["x"]) == ("Bearer token-1", "1")


CREDENTIALS = {
    "header": ({"kind": "header", "name": "X-API-Key", "value": 'k"e/y 1234'}, "x-api-key", 'k"e/y 1234'),
    "a header with a scheme": (
        {"kind": "header", "name": "Authorization", "value": "Token abcd1234"}, "authorization", "Token abcd1234",
    ),
    "bearer": ({"kind": "bearer", "token": "abcd1234"}, "authorization", "Bearer abcd1234"),
    "bearer of digits": ({"kind": "bearer", "token": "12345678"}, "authorization", "Bearer 12345678"),
    "basic": (
        {"kind": "basic", "user": "Zoë", "password": "pass wörd"}, "authorization", "Basic Wm/DqzpwYXNzIHfDtnJk",
    ),
}  # fmt: skip
CANARIES = (
    'k"e/y', "1234", "abcd", "pass w", "W" + "m/Dqzp", "5678", "k%22e", 'k\\"e', "pass%20w", "pass w\\u00f6rd",
)  # fmt: skip


@pytest.mark.parametrize(("credential", "header", "sent"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_credential_is_sent_by_its_kind(server, credential, header, sent):
    params = {"url": server.url, "credential": "shop"}
    run_node("core.http_request", params, [{}], services=Services(credential))
    assert server.requests[0].headers[header] == sent


@pytest.mark.parametrize("credential", [{"kind": "hmac", "secret": "s3cret"}, {"kind": "cookie", "x": "s3cret"}, {}])
def test_a_credential_that_no_request_can_send_is_refused_by_name(server, credential):
    ran = run_node("core.http_request", {"url": server.url, "credential": "shop"}, [{}], services=Services(credential))
    error = ran.error("node")
    assert error["code"] == "credential"
    assert error["message"].startswith("the credential 'shop' is ")
    assert ("for webhooks" in error["message"]) == (credential.get("kind") == "hmac")
    assert "s3cret" not in str(error)
    assert server.requests == []


def echoes(credential: Mapping[str, str], sent: str) -> dict[str, bytes]:
    """Answers that give the secret back, each in its own way."""
    secrets = [sent, *(value for name, value in credential.items() if name not in ("kind", "name", "user"))]
    said = " and ".join([*secrets, *map(quote, secrets)])
    escaped = json.dumps({"said": secrets, sent: [{"n": secrets[-1]}]})
    number = secrets[-1] if secrets[-1].isdigit() else "1"
    filler = b"x" * (200 - len(sent) // 2)
    return {
        "as text": raw("200 OK", "text/plain", said.encode()),
        "as json": raw("200 OK", "application/json", escaped.encode()),
        "as json beyond ASCII": raw("200 OK", "application/json", json.dumps(secrets, ensure_ascii=False).encode()),
        "as json with escapes": raw("200 OK", "application/json", escaped.replace("/", "\\/").encode()),
        "as a number": raw("200 OK", "application/json", f'{{"n": {number}}}'.encode()),
        "as json that is none": raw("200 OK", "application/json", f"<html>{said}".encode()),
        "in a header": b"HTTP/1.1 200 OK\r\nX-Seen: " + sent.encode() + b"\r\nContent-Length: 0\r\n\r\n",
        "in an error": raw("400 Bad Request", "text/plain", b"you sent " + said.encode()),
        "at the end of the hint": raw("400 Bad Request", "text/plain", filler + sent.encode()),
        "as the reason": raw(f"400 {sent}", "text/plain", b""),
        "as an error in json": raw("401 Unauthorized", "application/json", escaped.encode()),
    }


@pytest.mark.parametrize("result", ["items", "field"])
@pytest.mark.parametrize(("credential", "header", "sent"), CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("way", echoes({"token": "x"}, "x"))
def test_a_secret_that_comes_back_is_in_no_item_and_no_error(credential, header, sent, way, result):
    with raw_server(echoes(credential, sent)[way]) as server:
        params = {"url": server.url, "credential": "shop", "result": result}
        ran = run_node("core.http_request", params, [{}], services=Services(credential), on_error="output")
    # Without what holds hexadecimal digits by chance: a canary may be among them.
    told = [event._replace(at=0, duration_ms=0, execution_id="", key=None).as_json() for event in ran.events]
    everything = repr([told, [items.rows for r in ran.finished.results.values() for items in r.outputs.values()]])
    assert [canary for canary in CANARIES if canary in everything] == []
    assert way in ("in a header", "as a number", "at the end of the hint") or "***" in everything


def test_what_is_no_secret_stays(server):
    params = {"url": server.url + "/items", "credential": "shop"}
    for token in ("Ada", "abcd1234"):  # the first is too short to be one
        assert (
            run_node("core.http_request", params, [{}], services=Services({"kind": "bearer", "token": token}))["node"]
            == ITEMS
        )


def test_a_dry_run_shows_the_name_of_the_credential_only(server):
    params = {"url": server.url, "method": "POST", "credential": "shop"}
    flow = chain(start([{}]), node("node", "core.http_request", params))
    ran = run(flow, services=Services({"kind": "bearer", "token": "abcd1234"}), hold_writes=True)
    assert ran.result("node").held[0]["credential"] == "shop"
    assert "abcd1234" not in repr(ran.events)


def test_a_credential_that_is_not_there_is_named(server):
    params = {"url": server.url, "credential": "shop"}
    error = run_node("core.http_request", params, [{}], services=Services()).error("node")
    assert (error["code"], error["message"]) == ("credential", "no credential 'shop' here")
    assert server.requests == []


def test_twenty_items_are_called_ten_at_a_time_and_stay_in_order(server):
    services = Services()
    rows = [{"n": n, "s": 0.1 if n % 3 else 0.02} for n in range(20)]
    params = {"url": server.url + "/slow?s={{ item.s }}&n={{ item.n }}", "result": "field"}
    ran = run_node("core.http_request", params, rows, services=services)
    assert [row["n"] for row in ran["node"]] == list(range(20))
    assert services.most == 10
    assert len(server.requests) == 20


METHODS = {
    "GET": "read", "HEAD": "read", "POST": "write", "PUT": "write", "PATCH": "write", "DELETE": "write",
    "{{ vars.method }}": "write",
}  # fmt: skip


@pytest.mark.parametrize(("method", "effects"), METHODS.items())
def test_what_it_does_outside_depends_on_the_method(method, effects):
    node_type = Registry().get("core.http_request")
    assert node_type.effects({"method": method}) == effects
    assert node_type.effects({}) == "read"


def test_a_call_that_writes_is_only_shown_in_a_dry_run(server):
    params = {"url": server.url + "/users/{{ item.id }}", "method": "DELETE"}
    flow = chain(start([{"id": 1}, {"id": 2}]), node("node", "core.http_request", params))
    ran = run(flow, services=Services(), hold_writes=True)
    held = ran.result("node").held
    assert [(call["method"], call["url"]) for call in held] == [
        ("DELETE", f"{server.url}/users/1"), ("DELETE", f"{server.url}/users/2"),
    ]  # fmt: skip
    assert server.requests == []


BAD = {
    "no address": ({}, "'url' is missing"),
    "an empty address": ({"url": ""}, "params.url: should have at least 1 character"),
    "a method in small letters": ({"url": "x", "method": "post"}, "Did you mean 'POST'?"),
    "a header that is no text": ({"url": "x", "headers": {"a": [1]}}, "params.headers.a: should be a valid string"),
    "no time": ({"url": "x", "timeout_s": 0}, "params.timeout_s: should be greater than 0, not 0"),
    "a misspelt param": ({"url": "x", "header": {}}, "Did you mean 'headers'?"),
}


@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(params, said):
    assert said in "\n".join(refusals("core.http_request", params))
