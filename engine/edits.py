"""Changes an author makes. Pure: an edit and a workflow give a new workflow; every edit has an inverse."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter

from engine.errors import DefinitionError, InvalidConnection, InvalidParams, did_you_mean
from engine.expressions import rename_labels
from engine.workflow import Connection, Frozen, Node, Note, Position, Retry, Settings, Workflow

ParamPath = tuple[str | int, ...]
T = TypeVar("T")


class Placed(Frozen):
    """A connection with its place in the workflow's list: the order decides how inputs are joined."""

    index: int
    connection: Connection


class AddNode(Frozen):
    """Add a node, at `index` of the drawing order (None: last), with connections at their places."""

    kind: Literal["add_node"] = "add_node"
    node: Node
    index: int | None = None
    connections: tuple[Placed, ...] = ()


class RemoveNode(Frozen):
    """Remove a node and its connections."""

    kind: Literal["remove_node"] = "remove_node"
    node_id: str


class MoveNode(Frozen):
    """Put a node elsewhere on the canvas."""

    kind: Literal["move_node"] = "move_node"
    node_id: str
    position: Position


class RenameNode(Frozen):
    """Give a node another label; expressions that name it follow, unless `follow` is False."""

    kind: Literal["rename_node"] = "rename_node"
    node_id: str
    label: str = Field(min_length=1, max_length=200)
    follow: bool = True


class SetParams(Frozen):
    """Replace all params of a node."""

    kind: Literal["set_params"] = "set_params"
    node_id: str
    params: dict[str, Any]


class SetParam(Frozen):
    """Set the param at `path`, such as `("conditions", 0, "other")`; an index one past the end appends."""

    kind: Literal["set_param"] = "set_param"
    node_id: str
    path: ParamPath = Field(min_length=1)
    value: Any


class Pin(Frozen):
    """Freeze a node's outputs for editing; None lets it run again."""

    kind: Literal["pin"] = "pin"
    node_id: str
    pinned: dict[str, list[dict[str, Any]]] | None


class SetNode(Frozen):
    """Set how a node runs; only the fields given are changed."""

    kind: Literal["set_node"] = "set_node"
    node_id: str
    disabled: bool | None = None
    on_error: Literal["stop", "continue", "output"] | None = None
    retry: Retry | None = None
    timeout_s: float | None = Field(None, gt=0, le=86_400)
    note: str | None = None
    parent: str | None = None


class Connect(Frozen):
    """Draw a connection, at `index` of the list (None: last)."""

    kind: Literal["connect"] = "connect"
    connection: Connection
    index: int | None = None


class Disconnect(Frozen):
    """Remove a connection."""

    kind: Literal["disconnect"] = "disconnect"
    connection: Connection


class SetNotes(Frozen):
    """Replace the sticky notes."""

    kind: Literal["set_notes"] = "set_notes"
    notes: tuple[Note, ...]


class SetWorkflow(Frozen):
    """Rename the workflow or change its settings; only the fields given are changed."""

    kind: Literal["set_workflow"] = "set_workflow"
    name: str | None = Field(None, min_length=1, max_length=200)
    settings: Settings | None = None


class Many(Frozen):
    """Several edits as one: all of them or none."""

    kind: Literal["many"] = "many"
    edits: tuple["Edit", ...]


Edit = Annotated[
    AddNode
    | RemoveNode
    | MoveNode
    | RenameNode
    | SetParams
    | SetParam
    | Pin
    | SetNode
    | Connect
    | Disconnect
    | SetNotes
    | SetWorkflow
    | Many,
    Field(discriminator="kind"),
]
Many.model_rebuild()
EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


def apply(workflow: Workflow, edit: Edit) -> Workflow:
    """The workflow after the edit. Raises DefinitionError when it does not fit this workflow."""
    return _APPLY[type(edit)](workflow, edit)


def inverse(workflow: Workflow, edit: Edit) -> Edit:
    """The edit that takes `edit` back: `apply(apply(workflow, edit), inverse(workflow, edit)) == workflow`."""
    return _INVERSE[type(edit)](workflow, edit)


def touches(workflow: Workflow, edit: Edit) -> frozenset[str]:
    """What the edit changes, as paths such as `nodes/n1/params/count` or `connections/n2/main`.

    Two edits conflict when a path of one is, or starts with, a path of the other.
    """
    match edit:
        case Many():
            return frozenset(path for inner in edit.edits for path in touches(workflow, inner))
        case AddNode():
            return frozenset({f"nodes/{edit.node.id}"})
        case RemoveNode():
            return frozenset({f"nodes/{edit.node_id}"})
        case SetParam():
            return frozenset({"/".join(["nodes", edit.node_id, "params", *map(str, edit.path)])})
        case SetParams():
            return frozenset({f"nodes/{edit.node_id}/params"})
        case SetNode():
            return frozenset(f"nodes/{edit.node_id}/{name}" for name in edit.model_fields_set - {"kind", "node_id"})
        case RenameNode():
            return frozenset({f"nodes/{edit.node_id}/label"})
        case MoveNode():
            return frozenset({f"nodes/{edit.node_id}/position"})
        case Pin():
            return frozenset({f"nodes/{edit.node_id}/pinned"})
        case Connect() | Disconnect():
            c = edit.connection
            return frozenset({f"connections/{c.source}/{c.output}/{c.target}/{c.input}"})
        case SetNotes():
            return frozenset({"notes"})
        case SetWorkflow():
            return frozenset(edit.model_fields_set - {"kind"})


def _node(workflow: Workflow, node_id: str) -> Node:
    found = workflow.node(node_id)
    if found is None:
        raise DefinitionError(f"no node has the id {node_id!r}", hint="It may have been removed meanwhile.")
    return found


def _change(workflow: Workflow, node_id: str, **update: Any) -> Workflow:
    _node(workflow, node_id)
    nodes = tuple(n.model_copy(update=update) if n.id == node_id else n for n in workflow.nodes)
    return workflow.model_copy(update={"nodes": nodes})


def _with_connections(workflow: Workflow, connections: Iterable[Connection]) -> Workflow:
    return workflow.model_copy(update={"connections": tuple(connections)})


def _insert(elements: tuple[T, ...], index: int | None, element: T) -> tuple[T, ...]:
    at = len(elements) if index is None else index
    return (*elements[:at], element, *elements[at:])


def _add_node(workflow: Workflow, edit: AddNode) -> Workflow:
    if workflow.node(edit.node.id):
        raise DefinitionError(f"a node with the id {edit.node.id!r} is there already")
    _free_label(workflow, edit.node.label)
    connections = workflow.connections
    for placed in sorted(edit.connections, key=lambda p: p.index):
        connections = _insert(connections, placed.index, placed.connection)
    return workflow.model_copy(
        update={"nodes": _insert(workflow.nodes, edit.index, edit.node), "connections": connections}
    )


def _free_label(workflow: Workflow, label: str) -> None:
    if any(node.label == label for node in workflow.nodes):
        raise DefinitionError(f"another node is called {label!r}", hint="Labels are unique within a workflow.")


def _remove_node(workflow: Workflow, edit: RemoveNode) -> Workflow:
    _node(workflow, edit.node_id)
    nodes = tuple(n for n in workflow.nodes if n.id != edit.node_id)
    kept = [c for c in workflow.connections if edit.node_id not in (c.source, c.target)]
    return _with_connections(workflow.model_copy(update={"nodes": nodes}), kept)


def _rename(workflow: Workflow, edit: RenameNode) -> Workflow:
    node = _node(workflow, edit.node_id)
    if edit.label == node.label:
        return workflow
    _free_label(workflow, edit.label)
    renamed = _change(workflow, edit.node_id, label=edit.label)
    if not edit.follow:
        return renamed
    nodes = []
    for other in renamed.nodes:
        params = _renamed_in(other.params, {node.label: edit.label})
        nodes.append(other if params == other.params else other.model_copy(update={"params": params}))
    return renamed.model_copy(update={"nodes": tuple(nodes)})


def _renamed_in(value: Any, labels: dict[str, str]) -> Any:
    if isinstance(value, str):
        return rename_labels(value, labels) if "node" in value else value
    if isinstance(value, dict):
        return {key: _renamed_in(inner, labels) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed_in(inner, labels) for inner in value]
    return value


def _set_param(workflow: Workflow, edit: SetParam) -> Workflow:
    def put(value: Any, path: ParamPath) -> Any:
        if not path:
            return edit.value
        step, rest = path[0], path[1:]
        if isinstance(value, dict) and isinstance(step, str):
            return {**value, step: put(value.get(step, {} if rest else None), rest)}
        if isinstance(value, list) and isinstance(step, int) and 0 <= step <= len(value):
            inner = put(value[step] if step < len(value) else {}, rest)
            return [*value[:step], inner, *value[step + 1 :]]
        raise InvalidParams(f"the params have no place {'.'.join(map(str, edit.path))!r}")

    return _change(workflow, edit.node_id, params=put(_node(workflow, edit.node_id).params, edit.path))


def _set_node(workflow: Workflow, edit: SetNode) -> Workflow:
    given = {name: getattr(edit, name) for name in edit.model_fields_set - {"kind", "node_id"}}
    for name, default in (("disabled", False), ("on_error", "stop"), ("note", "")):
        if name in given and given[name] is None:
            given[name] = default
    return _change(workflow, edit.node_id, **given)


def _connect(workflow: Workflow, edit: Connect) -> Workflow:
    ids = [node.id for node in workflow.nodes]
    for end in (edit.connection.source, edit.connection.target):
        if end not in ids:
            raise InvalidConnection(f"no node has the id {end!r}", hint=did_you_mean(end, ids))
    if edit.connection in workflow.connections:
        raise InvalidConnection("this connection is there already")
    return _with_connections(workflow, _insert(workflow.connections, edit.index, edit.connection))


def _disconnect(workflow: Workflow, edit: Disconnect) -> Workflow:
    if edit.connection not in workflow.connections:
        raise InvalidConnection("there is no such connection", hint="It may have been removed meanwhile.")
    return _with_connections(workflow, [c for c in workflow.connections if c != edit.connection])


def _many(workflow: Workflow, edit: Many) -> Workflow:
    for inner in edit.edits:
        workflow = apply(workflow, inner)
    return workflow


def _set_workflow(workflow: Workflow, edit: SetWorkflow) -> Workflow:
    given = {n: getattr(edit, n) for n in ("name", "settings") if getattr(edit, n) is not None}
    return workflow.model_copy(update=given)


def _undo_remove(workflow: Workflow, edit: RemoveNode) -> Edit:
    node = _node(workflow, edit.node_id)
    placed = [
        Placed(index=i, connection=c)
        for i, c in enumerate(workflow.connections)
        if edit.node_id in (c.source, c.target)
    ]
    return AddNode(node=node, index=workflow.nodes.index(node), connections=tuple(placed))


def _undo_rename(workflow: Workflow, edit: RenameNode) -> Edit:
    """Back to the old label, and to the old text of every param that followed."""
    after = _rename(workflow, edit)
    changed = [
        SetParams(node_id=old.id, params=old.params)
        for old, new in zip(workflow.nodes, after.nodes, strict=True)
        if old.params != new.params
    ]
    back = RenameNode(node_id=edit.node_id, label=_node(workflow, edit.node_id).label, follow=False)
    return Many(edits=(back, *changed))


def _undo_many(workflow: Workflow, edit: Many) -> Edit:
    undone: list[Edit] = []
    for inner in edit.edits:
        undone.append(inverse(workflow, inner))
        workflow = apply(workflow, inner)
    return Many(edits=tuple(reversed(undone)))


def _undo_set_node(workflow: Workflow, edit: SetNode) -> Edit:
    node = _node(workflow, edit.node_id)
    given = edit.model_fields_set - {"kind", "node_id"}
    return SetNode(node_id=edit.node_id, **{name: getattr(node, name) for name in given})


def _undo_params(workflow: Workflow, edit: SetParams | SetParam) -> Edit:
    return SetParams(node_id=edit.node_id, params=_node(workflow, edit.node_id).params)


_APPLY: dict[type, Callable[[Workflow, Any], Workflow]] = {
    AddNode: _add_node,
    RemoveNode: _remove_node,
    MoveNode: lambda w, e: _change(w, e.node_id, position=e.position),
    RenameNode: _rename,
    SetParams: lambda w, e: _change(w, e.node_id, params=e.params),
    SetParam: _set_param,
    Pin: lambda w, e: _change(w, e.node_id, pinned=e.pinned),
    SetNode: _set_node,
    Connect: _connect,
    Disconnect: _disconnect,
    SetNotes: lambda w, e: w.model_copy(update={"notes": e.notes}),
    SetWorkflow: _set_workflow,
    Many: _many,
}
_INVERSE: dict[type, Callable[[Workflow, Any], Edit]] = {
    AddNode: lambda w, e: RemoveNode(node_id=e.node.id),
    RemoveNode: _undo_remove,
    MoveNode: lambda w, e: MoveNode(node_id=e.node_id, position=_node(w, e.node_id).position),
    RenameNode: _undo_rename,
    SetParams: _undo_params,
    SetParam: _undo_params,
    Pin: lambda w, e: Pin(node_id=e.node_id, pinned=_node(w, e.node_id).pinned),
    SetNode: _undo_set_node,
    Connect: lambda w, e: Disconnect(connection=e.connection),
    Disconnect: lambda w, e: Connect(connection=e.connection, index=w.connections.index(e.connection)),
    SetNotes: lambda w, e: SetNotes(notes=w.notes),
    SetWorkflow: lambda w, e: SetWorkflow(name=w.name, settings=w.settings),
    Many: _undo_many,
}
