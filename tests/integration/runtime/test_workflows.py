"""Workflows as the service keeps them."""

import pytest

from engine.edits import SetParam
from engine.errors import InvalidWorkflow
from engine.runtime.service import OWNER, Actor, BadRequest, NotFound, Service
from engine.workflow import save
from tests.support.workflow_files import file, node, webhook

STRANGER = Actor("stranger", project_id="f" * 32)


def test_a_workflow_is_kept_with_its_draft_and_number_of_edits(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")), tags=("shop",))
    found = service.workflows.get(OWNER, made.id)
    assert (found.name, found.tags, found.seq, found.revision) == ("Orders", ("shop",), 0, None)
    assert [n["id"] for n in found.file["nodes"]] == ["call", "a"]


def test_an_unfinished_draft_is_kept_and_says_what_keeps_it_from_running(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a", "acme.unknown")))
    assert made.problems is not None
    assert [(p.code, p.node_id) for p in made.problems] == [("definition.unknown_node_type", "a")]
    assert service.workflows.get(OWNER, made.id).problems is None
    assert service.workflows.get(OWNER, made.id, problems=True).problems == made.problems


@pytest.mark.parametrize(
    "written", ["{", {"flowleaf": 2}, [], {"flowleaf": 1, "nodes": [{"type": "core.set"}]}, "a: 1"]
)
def test_what_is_no_workflow_file_is_refused_with_its_problems(service: Service, written):
    with pytest.raises(InvalidWorkflow) as refused:
        service.workflows.create(OWNER, written)
    assert refused.value.problems
    assert service.workflows.list(OWNER).items == ()


def test_a_file_comes_back_as_the_text_it_was(service: Service):
    text = save(service.workflows.file(OWNER, service.workflows.create(OWNER, file(node("a"), node("b"))).id))
    again = service.workflows.create(OWNER, text)
    assert save(service.workflows.file(OWNER, again.id)) == text


def test_a_file_holds_pinned_items_only_on_request(service: Service):
    made = service.workflows.create(OWNER, file(node("a", pinned={"main": [{"email": "ada@example.com"}]})))
    assert "ada@example.com" not in save(service.workflows.file(OWNER, made.id))
    assert "ada@example.com" in save(service.workflows.file(OWNER, made.id, pins=True))


def test_yaml_is_taken_as_well(service: Service):
    made = service.workflows.create(OWNER, "flowleaf: 1\nname: From YAML\nnodes: [{id: a, type: core.manual}]\n")
    assert (made.name, made.problems) == ("From YAML", ())


def test_lists_give_each_workflow_once_the_newest_first(service: Service):
    made = [service.workflows.create(OWNER, file(name=f"W{number}")).id for number in range(7)]
    seen, cursor = [], None
    while True:
        page = service.workflows.list(OWNER, limit=3, cursor=cursor)
        seen += [line.id for line in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)


@pytest.mark.parametrize(
    ("search", "found"), [("order", ["Orders"]), ("100%", ["100% of it"]), ("_", ["a_b"]), ("", None), ("!", [])]
)
def test_a_search_finds_parts_of_names_as_they_are_written(service: Service, search, found):
    names = ["Orders", "100% of it", "a_b", "1000 of it"]
    for name in names:
        service.workflows.create(OWNER, file(name=name))
    listed = [line.name for line in service.workflows.list(OWNER, search=search).items]
    assert sorted(listed) == sorted(names if found is None else found)


def test_a_tag_finds_those_that_have_exactly_it(service: Service):
    for name, tags in (("one", ("shop",)), ("two", ("shopping", 'say "shop"')), ("three", ("Shop", "ü"))):
        service.workflows.create(OWNER, file(name=name), tags=tags)
    names = {tag: [line.name for line in service.workflows.list(OWNER, tag=tag).items] for tag in ("shop", "Shop", "ü")}
    assert names == {"shop": ["one"], "Shop": ["three"], "ü": ["three"]}


def test_tags_are_changed_and_bounded(service: Service):
    made = service.workflows.create(OWNER, file())
    assert service.workflows.set_tags(OWNER, made.id, ("a", " a ", "b")).tags == ("a", "b")
    for wrong in (("",), ("x" * 51,), tuple(map(str, range(21))), ("\0",), ("\ud800",)):
        with pytest.raises(BadRequest):
            service.workflows.set_tags(OWNER, made.id, wrong)


def test_renaming_is_an_edit_that_can_be_undone(service: Service):
    made = service.workflows.create(OWNER, file(name="Before"))
    done = service.workflows.rename(OWNER, made.id, "After")
    assert service.workflows.get(OWNER, made.id).name == "After"
    assert service.workflows.list(OWNER).items[0].name == "After"
    service.workflows.undo(OWNER, made.id, done.seq)
    assert service.workflows.get(OWNER, made.id).name == "Before"
    assert service.workflows.get(OWNER, made.id).file["name"] == "Before"


def test_a_deleted_workflow_is_gone_until_it_is_brought_back(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")))
    service.workflows.publish(OWNER, made.id)
    service.workflows.delete(OWNER, made.id)
    for call in (service.workflows.get, service.workflows.delete, service.workflows.publish):
        with pytest.raises(NotFound):
            call(OWNER, made.id)
    assert service.workflows.list(OWNER).items == ()
    assert [line.id for line in service.workflows.list(OWNER, deleted=True).items] == [made.id]
    back = service.workflows.undelete(OWNER, made.id)
    assert (back.file, back.revision) == (made.file, None)
    with pytest.raises(NotFound):
        service.workflows.undelete(OWNER, made.id)


def test_a_copy_is_a_workflow_of_its_own(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")), tags=("shop",))
    copy = service.workflows.duplicate(OWNER, made.id)
    service.workflows.edit(OWNER, copy.id, SetParam(node_id="a", path=("fields", "a"), value=2), 0)
    assert (copy.name, copy.tags) == ("Orders (copy)", ("shop",))
    assert service.workflows.get(OWNER, made.id).file == made.file


def test_another_project_finds_nothing(service: Service):
    made = service.workflows.create(OWNER, file(webhook("orders"), node("a")))
    service.workflows.publish(OWNER, made.id)
    edit = SetParam(node_id="a", path=("fields", "a"), value=2)
    for call in (
        lambda: service.workflows.get(STRANGER, made.id),
        lambda: service.workflows.file(STRANGER, made.id),
        lambda: service.workflows.edit(STRANGER, made.id, edit, 0),
        lambda: service.workflows.edits_after(STRANGER, made.id, 0),
        lambda: service.workflows.undo(STRANGER, made.id, 1),
        lambda: service.workflows.revision(STRANGER, made.id, 1),
        lambda: service.workflows.unpublish(STRANGER, made.id),
        lambda: service.workflows.delete(STRANGER, made.id),
        lambda: service.workflows.duplicate(STRANGER, made.id),
    ):
        with pytest.raises(NotFound):
            call()
    assert service.workflows.list(STRANGER).items == ()


@pytest.mark.parametrize("cursor", ["x", "", "ä", "\0", "W10", "bnVsbA", "A" * 500, "Ilx1MDAwMCI"])
def test_a_cursor_that_was_not_given_is_refused(service: Service, cursor):
    service.workflows.create(OWNER, file())
    with pytest.raises(BadRequest):
        service.workflows.list(OWNER, cursor=cursor)


@pytest.mark.parametrize("id_", ["", "x", "\0", "f" * 32, "F" * 32, "0" * 33, "\ud800", "' OR 1=1 --"])
def test_an_id_that_nothing_has_is_not_found(service: Service, id_):
    with pytest.raises(NotFound):
        service.workflows.get(OWNER, id_)


@pytest.mark.parametrize("odd", ["\0", "\ud800", "ü", "日本", "🌿", 10**30, -(10**400), 1e308, [[]], None])
def test_params_may_hold_any_json(service: Service, odd):
    made = service.workflows.create(OWNER, file(node("a", params={"fields": {"odd": odd}})))
    service.workflows.edit(OWNER, made.id, SetParam(node_id="a", path=("fields", "more"), value=[odd]), 0)
    assert service.workflows.get(OWNER, made.id).file["nodes"][0]["params"] == {"fields": {"odd": odd, "more": [odd]}}
    assert service.workflows.edits_after(OWNER, made.id, 0)[0].edit["value"] == [odd]


@pytest.mark.parametrize("change", [{"name": "a\0"}, {"name": "\ud800"}, {"nodes": [node("a\0")]}])
def test_names_and_ids_hold_only_what_a_database_takes(service: Service, change):
    with pytest.raises((BadRequest, InvalidWorkflow)):
        service.workflows.create(OWNER, {**file(), **change})


def test_what_is_nested_too_deeply_is_refused(service: Service):
    deep: list = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadRequest, match="nested"):
        service.workflows.create(OWNER, file(node("a", params={"fields": {"deep": deep}})))
    made = service.workflows.create(OWNER, file(node("a")))
    with pytest.raises(BadRequest, match="nested"):
        service.workflows.edit(OWNER, made.id, SetParam(node_id="a", path=("fields", "deep"), value=deep), 0)
