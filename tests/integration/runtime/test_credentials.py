"""Credentials and variables as the service keeps them."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.convert import dumps
from engine.errors import CredentialError
from engine.runtime.context import Outside
from engine.runtime.parts import Parts
from engine.runtime.service import OWNER, Actor, BadRequest, InUse, NotFound, Service, Taken
from engine.runtime.webhooks.keyring import Keyring
from tests.support.workflow_files import file, node, webhook

STRANGER = Actor("stranger", project_id="f" * 32)
SECRET = "canary-8131"


def outside(parts: Parts) -> Outside:
    return Outside(parts.store, parts.local(), parts.vault)


def test_a_credential_is_shown_without_its_secret(service: Service):
    made = service.credentials.create(OWNER, "Shop", "header", {"name": "X-Key", "value": SECRET})
    assert (made.name, made.kind, made.fields) == ("Shop", "header", {"name": "X-Key"})
    assert service.credentials.get(OWNER, made.id) == made
    assert service.credentials.list(OWNER).items == (made,)
    assert SECRET not in repr(made)


def test_nodes_and_webhooks_open_it_by_name(service: Service, parts: Parts):
    service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    assert outside(parts).secret(OWNER.project_id, "Shop") == {"kind": "bearer", "token": SECRET}
    kind, fields = asyncio.run(Keyring(parts.store, parts.vault).get(OWNER.project_id, "Shop"))
    assert (kind, fields["token"]) == ("bearer", SECRET)


def test_the_database_holds_no_secret_to_read(service: Service, parts: Parts):
    service.credentials.create(OWNER, "Shop", "basic", {"user": "ada", "password": SECRET})
    with parts.store.read() as connection:
        row = connection.execute(text("SELECT * FROM credential")).one()
    assert all(SECRET.encode() not in (v if isinstance(v, bytes) else str(v).encode()) for v in row)


def test_fields_that_are_left_out_stay_as_they_are(service: Service, parts: Parts):
    made = service.credentials.create(OWNER, "Shop", "basic", {"user": "ada", "password": SECRET})
    changed = service.credentials.update(OWNER, made.id, fields={"user": "bob"})
    assert changed.fields == {"user": "bob"}
    assert outside(parts).secret(OWNER.project_id, "Shop")["password"] == SECRET
    service.credentials.update(OWNER, made.id, fields={"password": "other"})
    assert outside(parts).secret(OWNER.project_id, "Shop") == {"kind": "basic", "user": "bob", "password": "other"}


def test_another_preset_brings_its_own_form(service: Service):
    made = service.credentials.create(OWNER, "Hub", "hmac", {"secret": SECRET, "preset": "github"})
    changed = service.credentials.update(OWNER, made.id, fields={"preset": "stripe"})
    assert changed.fields["preset"] == "stripe"
    assert changed.fields["header"] != made.fields["header"]


def test_every_change_gives_a_new_revision(service: Service, parts: Parts):
    def revision() -> str:
        with parts.store.read() as connection:
            return str(connection.execute(text("SELECT revision FROM credential")).scalar())

    made = service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    before = revision()
    service.credentials.update(OWNER, made.id, fields={"token": "other"})
    assert revision() != before


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("bearer", {"token": 5}),
        ("bearer", {"tokn": SECRET}),
        ("bearer", {}),
        ("oauth", {"token": SECRET}),
        ("header", {"name": "Host", "value": SECRET}),
        ("bearer", {"token": SECRET + "\0"}),
        ("basic", {"user": "a", "password": "\ud800" + SECRET}),
        ("hmac", {"secret": SECRET, "preset": "unknown"}),
    ],
)
def test_fields_that_do_not_fit_are_refused_without_their_values(service: Service, kind, fields):
    with pytest.raises(CredentialError) as refused:
        service.credentials.create(OWNER, "Shop", kind, fields)
    assert SECRET not in refused.value.message + str(refused.value.hint)
    assert service.credentials.list(OWNER).items == ()


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\0", "\ud800", "x" * 201])
def test_a_name_is_one_line_of_text(service: Service, name):
    with pytest.raises(BadRequest):
        service.credentials.create(OWNER, name, "bearer", {"token": SECRET})


def test_a_name_stands_once(service: Service):
    service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    other = service.credentials.create(OWNER, "Other", "bearer", {"token": SECRET})
    for call in (
        lambda: service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET}),
        lambda: service.credentials.update(OWNER, other.id, name="Shop"),
    ):
        with pytest.raises(Taken) as refused:
            call()
        assert refused.value.__cause__ is None
    service.credentials.create(STRANGER, "Shop", "bearer", {"token": "theirs"})


def test_one_that_a_published_workflow_names_goes_only_by_force(service: Service):
    made = service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    call = node("send", "core.http_request", {"url": "https://example.com", "credential": "Shop"})
    for name, nodes in (("Sends", (webhook("a"), call)), ("Is called", (webhook("b", credential="Shop"), node("a")))):
        workflow = service.workflows.create(OWNER, file(*nodes, name=name))
        service.credentials.update(OWNER, made.id, fields={"token": "new"})
        service.workflows.publish(OWNER, workflow.id)
        with pytest.raises(InUse, match=name):
            service.credentials.delete(OWNER, made.id)
        with pytest.raises(InUse, match=name):
            service.credentials.update(OWNER, made.id, name="Renamed")
        service.workflows.unpublish(OWNER, workflow.id)
    service.workflows.publish(OWNER, workflow.id)
    service.credentials.delete(OWNER, made.id, force=True)
    assert service.credentials.list(OWNER).items == ()


def test_another_project_finds_no_credential_and_no_variable(service: Service):
    made = service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    service.variables.set(OWNER, "rate", 1)
    for call in (
        lambda: service.credentials.get(STRANGER, made.id),
        lambda: service.credentials.update(STRANGER, made.id, name="x"),
        lambda: service.credentials.delete(STRANGER, made.id),
        lambda: service.variables.delete(STRANGER, "rate"),
    ):
        with pytest.raises(NotFound):
            call()
    assert service.credentials.list(STRANGER).items == service.variables.list(STRANGER).items == ()


def test_with_another_key_it_says_what_to_do(service: Service, parts: Parts, tmp_path: Path):
    made = service.credentials.create(OWNER, "Shop", "bearer", {"token": SECRET})
    (tmp_path / "home" / "key").unlink()
    parts._vault = None
    with pytest.raises(CredentialError, match="sealed with the key"):
        service.credentials.update(OWNER, made.id, name="Other")


def test_expressions_read_what_a_variable_was_set_to(service: Service, parts: Parts):
    for value in (1, {"a": [None, "ü"]}, 10**30, "\0 \ud800"):
        assert service.variables.set(OWNER, "rate", value).value == value
        assert outside(parts).load_vars(OWNER.project_id) == {"rate": value}
    service.variables.delete(OWNER, "rate")
    assert outside(parts).load_vars(OWNER.project_id) == {}
    with pytest.raises(NotFound):
        service.variables.delete(OWNER, "rate")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", "ü", "a\n", "\0", "x" * 101])
def test_a_variable_is_named_by_an_identifier(service: Service, name):
    with pytest.raises(BadRequest):
        service.variables.set(OWNER, name, 1)
    with pytest.raises(NotFound):
        service.variables.delete(OWNER, name)


def test_a_variable_holds_no_more_than_it_should(service: Service):
    with pytest.raises(BadRequest, match="65536"):
        service.variables.set(OWNER, "big", "x" * 70_000)
    with pytest.raises(BadRequest, match="no JSON"):
        service.variables.set(OWNER, "odd", object())


def test_lists_of_variables_go_on_where_they_ended(service: Service):
    for name in ("b", "a", "C", "d"):
        service.variables.set(OWNER, name, name)
    first = service.variables.list(OWNER, limit=3)
    rest = service.variables.list(OWNER, limit=3, cursor=first.next)
    assert sorted(v.name for v in (*first.items, *rest.items)) == ["C", "a", "b", "d"]
    assert dumps([v.value for v in rest.items]) and rest.next is None
