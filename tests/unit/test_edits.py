"""Edits: applied, taken back, written and read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.edits import (
    EDIT,
    AddNode,
    Connect,
    Disconnect,
    Edit,
    Many,
    MoveNode,
    Pin,
    Placed,
    RemoveNode,
    RenameNode,
    SetNode,
    SetNotes,
    SetParam,
    SetParams,
    SetWorkflow,
    apply,
    inverse,
    touches,
)
from engine.errors import DefinitionError, InvalidConnection, InvalidParams
from engine.workflow import Connection, Note, Retry, Settings, Workflow, save
from tests.support.build import chain, connect, node, workflow
from tests.support.drawn import PARAMS, POSITIONS, RETRIES, ROW, VALUES, WORDS, nodes, workflows

DRAWN = workflow(
    node("a", "core.manual"),
    node("b", params={"count": 1, "list": [{"x": 1}, {"x": 2}]}),
    node("c", disabled=True, retry=Retry(), timeout_s=3, note="n", on_error="continue", on_crash="stop"),
    paths=("a > b > c", "a > c.right"),
)
NEW = node("d", note="new")
NOTE = Note(id="s", text="Hello")


def changed(edit: Edit) -> dict[str, Any]:
    """What differs after the edit: node id -> changed fields (all of a new node, None of a removed one); the rest."""
    after = apply(DRAWN, edit)
    found: dict[str, Any] = {
        name: getattr(after, name)
        for name in ("name", "settings", "connections", "notes")
        if getattr(after, name) != getattr(DRAWN, name)
    }
    before, now = ({n.id: dict(n) for n in w.nodes} for w in (DRAWN, after))
    for node_id in before | now:
        old, new = before.get(node_id, {}), now.get(node_id)
        if old != new:
            found[node_id] = new and {
                name: value for name, value in new.items() if name not in old or value != old[name]
            }
    return found


EDITS: dict[str, tuple[Edit, dict[str, Any]]] = {
    "a node added": (AddNode(node=NEW), {"d": dict(NEW)}),
    "a node added with its connections": (
        AddNode(node=NEW, index=1, connections=(Placed(index=0, connection=Connection(source="d", target="c")),)),
        {"d": dict(NEW), "connections": connect("d > c", "a > b > c", "a > c.right")},
    ),
    "a node removed": (RemoveNode(node_id="b"), {"b": None, "connections": connect("a > c.right")}),
    "a node moved": (MoveNode(node_id="a", position=(5, -1.5)), {"a": {"position": (5, -1.5)}}),
    "a node renamed": (RenameNode(node_id="a", label="Start"), {"a": {"label": "Start"}}),
    "a node renamed as it is called": (RenameNode(node_id="a", label="a"), {}),
    "params set": (SetParams(node_id="b", params={"n": 2}), {"b": {"params": {"n": 2}}}),
    "a param set": (
        SetParam(node_id="b", path=("count",), value=9),
        {"b": {"params": {"count": 9, "list": [{"x": 1}, {"x": 2}]}}},
    ),
    "a new param set": (
        SetParam(node_id="b", path=("new", "deep"), value=None),
        {"b": {"params": {"count": 1, "list": [{"x": 1}, {"x": 2}], "new": {"deep": None}}}},
    ),
    "a param set in a list": (
        SetParam(node_id="b", path=("list", 1, "x"), value=9),
        {"b": {"params": {"count": 1, "list": [{"x": 1}, {"x": 9}]}}},
    ),
    "a param added to a list": (
        SetParam(node_id="b", path=("list", 2, "x"), value=3),
        {"b": {"params": {"count": 1, "list": [{"x": 1}, {"x": 2}, {"x": 3}]}}},
    ),
    "outputs pinned": (Pin(node_id="a", pinned={"main": [{"x": 1}]}), {"a": {"pinned": {"main": [{"x": 1}]}}}),
    "nothing pinned": (Pin(node_id="a", pinned=None), {}),
    "one setting of a node": (SetNode(node_id="a", disabled=True), {"a": {"disabled": True}}),
    "several settings of a node": (
        SetNode(
            node_id="a",
            on_error="output",
            on_crash="stop",
            retry=Retry(attempts=2),
            timeout_s=1.5,
            note="x",
            parent="b",
        ),
        {
            "a": {
                "on_error": "output",
                "on_crash": "stop",
                "retry": Retry(attempts=2),
                "timeout_s": 1.5,
                "note": "x",
                "parent": "b",
            }
        },
    ),
    "settings of a node taken away": (
        SetNode(node_id="c", disabled=None, on_error=None, on_crash=None, retry=None, timeout_s=None, note=None),
        {
            "c": {
                "disabled": False,
                "on_error": "stop",
                "on_crash": "retry",
                "retry": None,
                "timeout_s": None,
                "note": "",
            }
        },
    ),
    "no setting of a node": (SetNode(node_id="c"), {}),
    "a connection drawn": (
        Connect(connection=Connection(source="c", target="a")),
        {"connections": connect("a > b > c", "a > c.right", "c > a")},
    ),
    "a connection drawn before others": (
        Connect(connection=Connection(source="c", target="a"), index=0),
        {"connections": connect("c > a", "a > b > c", "a > c.right")},
    ),
    "a connection removed": (
        Disconnect(connection=Connection(source="a", target="b")),
        {"connections": connect("b > c", "a > c.right")},
    ),
    "notes": (SetNotes(notes=(NOTE,)), {"notes": (NOTE,)}),
    "another name": (SetWorkflow(name="New"), {"name": "New"}),
    "other settings": (
        SetWorkflow(settings=Settings(timezone="Asia/Kolkata", priority="high")),
        {"settings": Settings(timezone="Asia/Kolkata", priority="high")},
    ),
    "nothing of the workflow": (SetWorkflow(), {}),
    "several edits": (
        Many(edits=(RemoveNode(node_id="c"), RenameNode(node_id="a", label="c"), SetWorkflow(name="New"))),
        {"c": None, "a": {"label": "c"}, "name": "New", "connections": connect("a > b")},
    ),
    "no edits": (Many(edits=()), {}),
}
edits = pytest.mark.parametrize(("edit", "expected"), EDITS.values(), ids=EDITS)


@edits
def test_an_edit_changes_what_it_says_and_nothing_else(edit, expected):
    assert changed(edit) == expected


@edits
def test_an_edit_is_taken_back(edit, expected):
    back = apply(apply(DRAWN, edit), inverse(DRAWN, edit))
    assert back == DRAWN
    assert save(back) == save(DRAWN)


@edits
def test_an_edit_taken_back_is_done_again(edit, expected):
    after = apply(DRAWN, edit)
    undo = inverse(DRAWN, edit)
    assert apply(apply(after, undo), inverse(after, undo)) == after


@edits
def test_an_edit_is_the_same_after_it_was_written(edit, expected):
    read_back = EDIT.validate_json(EDIT.dump_json(edit))
    assert read_back == edit
    assert apply(DRAWN, read_back) == apply(DRAWN, edit)
    assert EDIT.validate_python(edit.model_dump()).model_fields_set >= edit.model_fields_set


def test_edits_leave_the_workflow_as_it_was():
    before = save(DRAWN)
    for edit, _ in EDITS.values():
        apply(DRAWN, edit)
    assert save(DRAWN) == before


def test_an_edit_is_read_from_what_a_browser_sends():
    text = b'{"kind": "set_param", "node_id": "b", "path": ["list", 0, "x"], "value": {"a": [1]}}'
    assert EDIT.validate_json(text) == SetParam(node_id="b", path=("list", 0, "x"), value={"a": [1]})


SENT = {
    "no kind": b'{"node_id": "b"}',
    "an unknown kind": b'{"kind": "explode", "node_id": "b"}',
    "an unknown key": b'{"kind": "remove_node", "node_id": "b", "force": true}',
    "an empty path": b'{"kind": "set_param", "node_id": "b", "path": [], "value": 1}',
    "an empty label": b'{"kind": "rename_node", "node_id": "b", "label": ""}',
    "a time below nothing": b'{"kind": "set_node", "node_id": "b", "timeout_s": -1}',
    "a place that is none": b'{"kind": "move_node", "node_id": "b", "position": ["x", 0]}',
}


@pytest.mark.parametrize("text", SENT.values(), ids=SENT)
def test_an_edit_is_refused_with(text):
    with pytest.raises(ValueError, match="validation error"):
        EDIT.validate_json(text)


# What does not fit

UNFIT: dict[str, tuple[Edit, type[DefinitionError], str]] = {
    "a node that is there": (AddNode(node=node("b")), DefinitionError, "a node with the id 'b' is there already"),
    "a label that is taken": (AddNode(node=node("b", id="x")), DefinitionError, "another node is called 'b'"),
    "a new node's connection to nothing": (
        AddNode(node=NEW, connections=(Placed(index=0, connection=Connection(source="d", target="zz")),)),
        InvalidConnection,
        "no node has the id 'zz'",
    ),
    "a new node with others' connections": (
        AddNode(node=NEW, connections=(Placed(index=0, connection=Connection(source="c", target="b")),)),
        InvalidConnection,
        "connections of its own only",
    ),
    "a new node's connection given twice": (
        AddNode(node=NEW, connections=(Placed(index=0, connection=Connection(source="d", target="b")),) * 2),
        InvalidConnection,
        "this connection is there already",
    ),
    "no node to remove": (RemoveNode(node_id="zz"), DefinitionError, "no node has the id 'zz'"),
    "no node to move": (MoveNode(node_id="zz", position=(0, 0)), DefinitionError, "no node has the id 'zz'"),
    "no node to rename": (RenameNode(node_id="zz", label="x"), DefinitionError, "no node has the id 'zz'"),
    "another node's label": (RenameNode(node_id="a", label="b"), DefinitionError, "another node is called 'b'"),
    "no node to set params of": (SetParams(node_id="zz", params={}), DefinitionError, "no node has the id 'zz'"),
    "no node to set a param of": (
        SetParam(node_id="zz", path=("a",), value=1),
        DefinitionError,
        "no node has the id 'zz'",
    ),
    "no node to pin": (Pin(node_id="zz", pinned=None), DefinitionError, "no node has the id 'zz'"),
    "no node to set": (SetNode(node_id="zz"), DefinitionError, "no node has the id 'zz'"),
    "a place past the end of a list": (
        SetParam(node_id="b", path=("list", 3), value=1),
        InvalidParams,
        "the params have no place 'list.3'",
    ),
    "a place before a list": (SetParam(node_id="b", path=("list", -1), value=1), InvalidParams, "no place 'list.-1'"),
    "a name in a list": (SetParam(node_id="b", path=("list", "x"), value=1), InvalidParams, "no place 'list.x'"),
    "an index in an object": (SetParam(node_id="b", path=(0,), value=1), InvalidParams, "no place '0'"),
    "a place inside a number": (SetParam(node_id="b", path=("count", "x"), value=1), InvalidParams, "'count.x'"),
    "a source that is none": (
        Connect(connection=Connection(source="zz", target="a")),
        InvalidConnection,
        "no node has the id 'zz'",
    ),
    "a target that is none": (
        Connect(connection=Connection(source="a", target="zz")),
        InvalidConnection,
        "no node has the id 'zz'",
    ),
    "a connection that is there": (
        Connect(connection=Connection(source="a", target="b")),
        InvalidConnection,
        "this connection is there already",
    ),
    "a connection that is not there": (
        Disconnect(connection=Connection(source="b", target="a")),
        InvalidConnection,
        "there is no such connection",
    ),
    "one of several": (
        Many(edits=(RemoveNode(node_id="a"), RemoveNode(node_id="a"))),
        DefinitionError,
        "no node has the id 'a'",
    ),
}


@pytest.mark.parametrize(("edit", "kind", "message"), UNFIT.values(), ids=UNFIT)
def test_an_edit_that_does_not_fit_is_refused(edit, kind, message):
    with pytest.raises(kind, match=message):
        apply(DRAWN, edit)


# Renaming

TALK = chain(
    node("a", "core.manual"),
    node("b", params={"x": "{{ node('a').first.x }}", "deep": [{"y": "{{ node(\"a\").items }} node('a')"}]}),
    node("c", params={"x": "{{ node('b').first.x }}", "n": 1, "text": "node('a') of a", "pin": None}),
)


def test_expressions_follow_a_node_that_is_renamed():
    after = apply(TALK, RenameNode(node_id="a", label="It's new"))
    assert after.nodes[1].params == {
        "x": "{{ node('It\\'s new').first.x }}",
        "deep": [{"y": "{{ node(\"It's new\").items }} node('a')"}],
    }
    assert after.nodes[2] is TALK.nodes[2]


def test_expressions_stay_where_they_are_not_to_follow():
    after = apply(TALK, RenameNode(node_id="a", label="New", follow=False))
    assert [n.params for n in after.nodes] == [n.params for n in TALK.nodes]
    assert after.nodes[0].label == "New"


def test_a_renaming_taken_back_restores_every_text_as_it_was():
    odd = apply(TALK, SetParam(node_id="b", path=("x",), value="{{ node( 'a' ).first }}{{node('b2')}}"))
    edit = RenameNode(node_id="a", label="b2")
    assert apply(apply(odd, edit), inverse(odd, edit)) == odd


def test_one_param_is_taken_back_without_the_others():
    edit = SetParam(node_id="b", path=("count",), value=9)
    undo = inverse(DRAWN, edit)
    meanwhile = apply(apply(DRAWN, edit), SetParam(node_id="b", path=("list", 0, "x"), value=7))
    assert apply(meanwhile, undo).nodes[1].params == {"count": 1, "list": [{"x": 7}, {"x": 2}]}


def test_a_name_is_taken_back_without_the_settings():
    undo = inverse(DRAWN, SetWorkflow(name="New"))
    meanwhile = apply(DRAWN, SetWorkflow(settings=Settings(timezone="Asia/Tokyo")))
    assert apply(meanwhile, undo).settings.timezone == "Asia/Tokyo"


# Any edit

IDS = st.sampled_from("abcde")
ARROWS = st.builds(Connection, source=IDS, output=WORDS, target=IDS, input=WORDS)
STEPS = st.lists(st.sampled_from(["count", "fields", "list", "a/b", 0, 1]), min_size=1, max_size=3).map(tuple)


def _settings_of_nodes() -> st.SearchStrategy[SetNode]:
    fields = {
        "disabled": st.none() | st.booleans(),
        "on_error": st.sampled_from([None, "stop", "continue", "output"]),
        "on_crash": st.sampled_from([None, "retry", "stop"]),
        "retry": st.none() | RETRIES,
        "timeout_s": st.none() | st.floats(0.1, 10),
        "note": st.none() | st.text(max_size=3),
        "parent": st.none() | IDS,
    }
    return st.tuples(IDS, st.fixed_dictionaries({}, optional=fields)).map(lambda t: SetNode(node_id=t[0], **t[1]))


ONE_EDIT: st.SearchStrategy[Edit] = st.one_of(
    st.builds(
        AddNode,
        node=nodes(IDS),
        index=st.none() | st.integers(0, 5),
        connections=st.lists(st.builds(Placed, index=st.integers(0, 5), connection=ARROWS), max_size=1).map(tuple),
    ),
    st.builds(RemoveNode, node_id=IDS),
    st.builds(MoveNode, node_id=IDS, position=POSITIONS),
    st.builds(RenameNode, node_id=IDS, label=st.sampled_from(["A", "B", "New", "e"]), follow=st.booleans()),
    st.builds(SetParams, node_id=IDS, params=PARAMS),
    st.builds(SetParam, node_id=IDS, path=STEPS, value=VALUES),
    st.builds(Pin, node_id=IDS, pinned=st.none() | st.dictionaries(WORDS, st.lists(ROW, max_size=1), max_size=1)),
    _settings_of_nodes(),
    st.builds(Connect, connection=ARROWS, index=st.none() | st.integers(0, 5)),
    st.builds(Disconnect, connection=ARROWS),
    st.builds(SetNotes, notes=st.just((NOTE,))),
    st.builds(SetWorkflow, name=st.none() | st.text(min_size=1, max_size=3)),
)
ANY_EDIT = ONE_EDIT | st.builds(Many, edits=st.lists(ONE_EDIT, max_size=3).map(tuple))


@st.composite
def fitting(draw: st.DrawFn) -> tuple[Workflow, Edit]:
    """A workflow and an edit that fits it."""
    drawn = draw(workflows())
    own = [Disconnect(connection=c) for c in drawn.connections] + [RemoveNode(node_id=n.id) for n in drawn.nodes]
    found = draw(st.lists(ANY_EDIT | st.sampled_from(own) if own else ANY_EDIT, min_size=1, max_size=4))
    fit = []
    after = drawn
    for edit in found:
        try:
            after = apply(after, edit)
        except DefinitionError:
            continue
        fit.append(edit)
    return drawn, fit[0] if len(fit) == 1 else Many(edits=tuple(fit))


@settings(max_examples=80, deadline=None)
@given(fitting())
def test_any_edit_is_taken_back(found):
    drawn, edit = found
    back = apply(apply(drawn, edit), inverse(drawn, edit))
    assert back == drawn
    assert save(back) == save(drawn)


@settings(max_examples=30, deadline=None)
@given(fitting())
def test_any_edit_and_its_inverse_can_be_written(found):
    drawn, edit = found
    for one in (edit, inverse(drawn, edit)):
        as_text = EDIT.dump_python(one, mode="python")
        assert EDIT.validate_python(as_text) == one
        assert touches(drawn, EDIT.validate_python(as_text)) == touches(drawn, one)
