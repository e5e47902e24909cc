"""What edits touch, and which of them cannot stand side by side."""

import pytest

from engine.edits import (
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
    conflict,
    touches,
)
from engine.workflow import Connection, Node, Note, Settings, Workflow
from tests.support.build import node, workflow

DRAWN = workflow(node("a"), node("b"), node("c"), paths=("a > b > c", "a > c.right"))
NEW = node("d", note="new")
NOTE = Note(id="s", text="Hello")


# What edits touch

TOUCHED: list[tuple[Edit, set[str]]] = [
    (AddNode(node=NEW), {"nodes/d"}),
    (
        AddNode(node=NEW, connections=(Placed(index=0, connection=Connection(source="d", target="c")),)),
        {"nodes/d", "connections/d/main/c/main"},
    ),
    (RemoveNode(node_id="b"), {"nodes/b", "connections/a/main/b/main", "connections/b/main/c/main"}),
    (MoveNode(node_id="b", position=(0, 0)), {"nodes/b/position"}),
    (RenameNode(node_id="b", label="x"), {"nodes/b/label"}),
    (SetParams(node_id="b", params={}), {"nodes/b/params"}),
    (SetParam(node_id="b", path=("list", 0, "a/b~"), value=1), {"nodes/b/params/list/0/a~1b~0"}),
    (Pin(node_id="b", pinned=None), {"nodes/b/pinned"}),
    (SetNode(node_id="b", note="x", retry=None), {"nodes/b/note", "nodes/b/retry"}),
    (Connect(connection=Connection(source="a", output="x/y", target="c")), {"connections/a/x~1y/c/main"}),
    (Disconnect(connection=Connection(source="a", target="b")), {"connections/a/main/b/main"}),
    (SetNotes(notes=()), {"notes"}),
    (SetWorkflow(name="x"), {"name"}),
    (SetWorkflow(settings=Settings()), {"settings"}),
    (Many(edits=(SetNotes(notes=()), SetWorkflow(name="x"))), {"notes", "name"}),
]


@pytest.mark.parametrize(("edit", "paths"), TOUCHED, ids=lambda value: getattr(value, "kind", ""))
def test_an_edit_touches(edit, paths):
    assert touches(DRAWN, edit) == paths


def param(*path: str | int, node_id: str = "b") -> SetParam:
    return SetParam(node_id=node_id, path=path, value=1)


PAIRS: list[tuple[Edit, Edit, bool]] = [
    (param("count"), param("count"), True),
    (param("count"), param("list"), False),
    (param("count"), param("counter"), False),
    (param("list"), param("list", 0, "x"), True),
    (param("list", 0), param("list", 1), False),
    (param("list", 1), param("list", 10), False),
    (param("count"), SetParams(node_id="b", params={}), True),
    (param("count"), RemoveNode(node_id="b"), True),
    (param("count", node_id="n1"), RemoveNode(node_id="n10"), False),
    (param("count"), MoveNode(node_id="b", position=(0, 0)), False),
    (RenameNode(node_id="a", label="x"), RenameNode(node_id="b", label="x"), False),
    (SetNode(node_id="a", note="x"), SetNode(node_id="a", disabled=True), False),
    (SetNode(node_id="a"), RemoveNode(node_id="a"), False),
    (Disconnect(connection=Connection(source="a", target="b")), RemoveNode(node_id="b"), True),
    (
        Connect(connection=Connection(source="c", target="b")),
        Connect(connection=Connection(source="c", target="b")),
        True,
    ),
    (SetNotes(notes=()), SetNotes(notes=(NOTE,)), True),
    (SetNotes(notes=()), SetWorkflow(name="x"), False),
    (Many(edits=(param("count"), SetNotes(notes=()))), SetNotes(notes=()), True),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_edits_conflict_where_they_touch_the_same(one, other, expected):
    drawn = Workflow(
        nodes=(*DRAWN.nodes, Node(id="n1", type="t", label="n1"), Node(id="n10", type="t", label="n10")),
        connections=DRAWN.connections,
    )
    first, second = touches(drawn, one), touches(drawn, other)
    assert conflict(first, second) is expected
    assert conflict(second, first) is expected
