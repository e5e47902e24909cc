"""Workflows, variables, credentials and the catalogue over REST."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from engine.convert import loads
from engine.runtime.parts import Parts
from engine.runtime.service import Service
from tests.support.rest import Api
from tests.support.workflow_files import file, node, webhook

ERROR = {"code", "message", "hint"}


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    with Api(service) as api:
        yield api


@pytest.fixture
def id_(api: Api) -> str:
    return str(api("POST", "/workflows", file(webhook("orders"), node("a"))).json()["id"])


def test_a_workflow_is_made_of_a_file_and_given_back_as_one(api: Api):
    made = api("POST", "/workflows", file(webhook("orders"), node("a")))
    assert (made.status_code, made.json()["name"], made.json()["problems"]) == (201, "Orders", [])
    answer = api("GET", f"/workflows/{made.json()['id']}/file")
    assert answer.headers["content-type"] == "application/json"
    assert api("POST", "/workflows", content=answer.content).json()["file"] == answer.json()


def test_yaml_is_taken_as_well(api: Api):
    text = "flowleaf: 1\nname: From YAML\nnodes: [{id: a, type: core.manual}]\n"
    made = api("POST", "/workflows", content=text, headers={"content-type": "application/yaml"})
    assert (made.status_code, made.json()["name"]) == (201, "From YAML")


def test_a_file_with_mistakes_is_answered_with_all_of_them(api: Api):
    wrong = {**file(node("a", positon=[0, 0]), node("a")), "extra": 1}
    answer = api("POST", "/workflows", wrong)
    assert answer.status_code == 422
    assert answer.json()["code"] == "definition.invalid_workflow"
    codes = {problem["code"] for problem in answer.json()["problems"]}
    assert codes == {"workflow.unknown_key", "workflow.duplicate_id"}


def test_lists_go_on_by_their_cursor(api: Api):
    for number in range(5):
        api("POST", "/workflows", file(name=f"W{number}"))
    first = api("GET", "/workflows?limit=3").json()
    rest = api("GET", f"/workflows?limit=3&cursor={first['next']}").json()
    assert [line["name"] for line in first["items"] + rest["items"]] == ["W4", "W3", "W2", "W1", "W0"]
    assert (set(first), rest["next"]) == ({"items", "next"}, None)
    assert [line["name"] for line in api("GET", "/workflows?search=w3").json()["items"]] == ["W3"]


def test_a_workflow_is_renamed_tagged_deleted_and_brought_back(api: Api, id_):
    changed = api("PATCH", f"/workflows/{id_}", {"name": "New", "tags": ["shop"]}).json()
    assert (changed["name"], changed["tags"], changed["seq"]) == ("New", ["shop"], 1)
    assert api("DELETE", f"/workflows/{id_}").status_code == 204
    assert api("GET", f"/workflows/{id_}").status_code == 404
    assert api("POST", f"/workflows/{id_}/undelete").json()["name"] == "New"


def test_publishing_and_taking_it_back(api: Api, id_):
    assert api("POST", f"/workflows/{id_}/publish").json()["number"] == 1
    assert api("POST", f"/workflows/{id_}/publish", {"note": "again"}).json()["number"] == 2
    assert api("GET", f"/workflows/{id_}").json()["revision"] == 2
    other = api("POST", "/workflows", file(webhook("orders"), node("a"), name="Other")).json()["id"]
    taken = api("POST", f"/workflows/{other}/publish")
    assert (taken.status_code, taken.json()["code"]) == (409, "webhook.path_taken")
    assert '"Orders"' in taken.json()["message"]
    assert api("POST", f"/workflows/{id_}/unpublish").status_code == 204
    assert api("POST", f"/workflows/{other}/publish").status_code == 200


def test_a_workflow_that_cannot_run_is_not_published_and_says_why(api: Api):
    id_ = api("POST", "/workflows", file(node("a", "acme.unknown"))).json()["id"]
    answer = api("POST", f"/workflows/{id_}/publish")
    assert answer.status_code == 422
    assert [problem["node_id"] for problem in answer.json()["problems"]] == ["a", None]


def test_edits_come_in_and_are_listed_taken_back_and_refused(api: Api, id_):
    edit = {"kind": "set_param", "node_id": "a", "path": ["fields", "a"], "value": 5}
    done = api("POST", f"/workflows/{id_}/edits", {"edit": edit, "seen_seq": 0})
    assert (done.status_code, done.json()["seq"]) == (201, 1)
    conflict = api("POST", f"/workflows/{id_}/edits", {"edit": edit, "seen_seq": 0})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "edit.conflict")
    assert api("POST", f"/workflows/{id_}/undo", {"seq": 1}).json()["seq"] == 2
    first = api("GET", f"/workflows/{id_}/edits?limit=1").json()
    rest = api("GET", f"/workflows/{id_}/edits?limit=1&cursor={first['next']}").json()
    assert [e["seq"] for e in first["items"] + rest["items"]] == [1, 2]
    assert [e["seq"] for e in api("GET", f"/workflows/{id_}/edits?after=1").json()["items"]] == [2]


def test_revisions_are_kept_listed_and_brought_back(api: Api, id_):
    assert api("POST", f"/workflows/{id_}/revisions", {"name": "first"}).json()["number"] == 1
    api("PATCH", f"/workflows/{id_}", {"name": "New"})
    assert [r["name"] for r in api("GET", f"/workflows/{id_}/revisions").json()["items"]] == ["first"]
    assert api("GET", f"/workflows/{id_}/revisions/1").json()["published_ms"] is None
    assert api("GET", f"/workflows/{id_}/file?revision=1").json()["name"] == "Orders"
    assert api("POST", f"/workflows/{id_}/revisions/1/restore").status_code == 201
    assert api("GET", f"/workflows/{id_}").json()["name"] == "Orders"
    assert api("GET", f"/workflows/{id_}/revisions/2").status_code == 404


def test_variables_hold_any_json(api: Api):
    for value in (None, [1, {"a": "ü"}], 10**30, "\ud800\0"):
        assert loads(api("PUT", "/vars/rate", {"value": value}).content)["value"] == value
        assert loads(api("GET", "/vars").content)["items"][0]["value"] == value
    assert api("PUT", "/vars/1a", {"value": 1}).status_code == 422
    assert api("DELETE", "/vars/rate").status_code == 204
    assert api("DELETE", "/vars/rate").status_code == 404


def test_credentials_are_written_and_never_read(api: Api):
    made = api("POST", "/credentials", {"name": "Shop", "kind": "bearer", "fields": {"token": "canary-1"}})
    assert made.status_code == 201
    path = f"/credentials/{made.json()['id']}"
    answers = [
        made,
        api("GET", path),
        api("GET", "/credentials"),
        api("PATCH", path, {"fields": {"token": "canary-2"}}),
        api("PATCH", path, {"fields": {"tokn": "canary-3"}}),
        api("POST", "/credentials", {"name": "Shop", "kind": "bearer", "fields": {"token": "canary-4"}}),
        api("POST", "/credentials", {"name": "Shop", "kind": "canary-5", "fields": "canary-6", "feilds": "canary-7"}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 422, 409, 422]
    assert not any(f"canary-{n}" in answer.text for n in (1, 2, 3, 4, 6, 7) for answer in answers)
    assert api("DELETE", path).status_code == 204


def test_a_credential_in_use_goes_only_by_force(api: Api):
    id_ = api("POST", "/credentials", {"name": "Shop", "kind": "bearer", "fields": {"token": "t"}}).json()["id"]
    workflow = api("POST", "/workflows", file(webhook("orders", credential="Shop"), node("a"))).json()["id"]
    api("POST", f"/workflows/{workflow}/publish")
    refused = api("DELETE", f"/credentials/{id_}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert api("DELETE", f"/credentials/{id_}?force=true").status_code == 204


def test_the_catalogue_is_that_of_the_command(api: Api):
    command = "import sys; sys.argv[1:] = ['nodes', '--output', 'json']; from studio.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True).stdout
    assert api("GET", "/nodes").json() == {"items": json.loads(shown), "next": None}


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/workflows/%00", {}, 404),
        ("GET", "/workflows/" + "f" * 5000, {}, 404),
        ("DELETE", "/nodes", {}, 405),
        ("GET", "/workflows?limit=0", {}, 422),
        ("GET", "/workflows?limit=" + "9" * 5000, {}, 422),
        ("GET", "/workflows?cursor=%00", {}, 422),
        ("GET", "/workflows?search=%00", {}, 422),
        ("GET", "/workflows?tag=%ff%fe", {}, 200),
        ("POST", "/workflows", {"content": b""}, 422),
        ("POST", "/workflows", {"content": b"\xff\xfe"}, 400),
        ("POST", "/workflows", {"content": b'{"a":' * 5000}, 422),
        ("POST", "/workflows", {"content": b"[" * 5_000_000}, 422),
        ("POST", "/workflows", {"content": b'{"flowleaf":' + b"[" * 900 + b"]" * 900 + b"}"}, 422),
        ("POST", "/workflows", {"content": b"flowleaf: " + b"[" * 300 + b"]" * 300}, 422),
        ("POST", "/workflows", {"content": b"- " * 5_000}, 422),
        ("PUT", "/vars/a", {"data": {"value": 1}, "content": b'{"value": NaN}'}, 400),
        ("PUT", "/vars/a", {"data": {"value": 1}, "content": b'{"value": ' + b"9" * 5000 + b"}"}, 400),
        ("PUT", "/vars/a", {"data": {"value": 1}, "content": b'{"value": ' + b"[" * 101 + b"]" * 101 + b"}"}, 422),
        ("PUT", "/vars/a", {"data": {"value": 1}, "content": b'{"value": ' + b"[" * 300 + b"]" * 300 + b"}"}, 400),
        ("PUT", "/vars/a", {"content": b'{"value": 1}'}, 422),
        ("PUT", "/vars/a", {"data": []}, 422),
    ],
)
def test_whatever_comes_is_answered_in_the_one_form(api: Api, method, path, more, status):
    answer = api(method, path, **more)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert set(answer.json()) - {"problems"} == ERROR


def test_a_body_beyond_the_bound_is_refused_also_where_its_length_is_not_told(api: Api):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    for content in (b" " * (17 * 2**20), endless()):
        answer = api("PUT", "/vars/a", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_nobody_is_answered_without_being_signed_in(service: Service):
    with Api(service, actor=None) as api:
        paths = api.app.openapi()["paths"]
        assert len(paths) > 15
        for path, methods in paths.items():
            for method in methods:
                real = path.removeprefix("/api/v1").replace("{number}", "1").replace("{name}", "a")
                answer = api(method.upper(), real, {"value": 1} if method in ("put", "patch", "post") else None)
                assert (answer.status_code, answer.json()["code"]) == (401, "actor.not_allowed"), (method, path)


def test_a_database_that_is_away_is_told_with_when_to_come_back(service: Service, parts: Parts, tmp_path):
    lost = Parts(parts.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/none/flowleaf.db"}))
    with Api(Service(lost)) as api:
        answer = api("GET", "/workflows")
    assert (answer.status_code, answer.json()["code"]) == (503, "store.unavailable")
    assert answer.headers["retry-after"] == "1"
