"""Changes an author makes. Pure: an edit and a workflow give a new workflow; every edit has an inverse."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

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
    on_crash: Literal["retry", "stop"] | None = None
    retry: Retry | None = None
    timeout_s: float | None = Field(None, gt=0, le=86_400)
    note: str | None = None
    parent: str | None = None

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only the fields given: read again, the others would be taken for changes to None."""
        return {name: v for name, v in handler(self).items() if name == "kind" or name in self.model_fields_set}


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


OfNodes = AddNode | RemoveNode | MoveNode | RenameNode | SetParams | SetParam | Pin | SetNode
OfOthers = Connect | Disconnect | SetNotes | SetWorkflow | Many
Edit = Annotated[OfNodes | OfOthers, Field(discriminator="kind")]
Many.model_rebuild()
EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)


def apply(workflow: Workflow, edit: Edit) -> Workflow:
    """The workflow after the edit. Raises DefinitionError when it does not fit this workflow."""
    return _APPLY[type(edit)](workflow, edit)


def inverse(workflow: Workflow, edit: Edit) -> Edit:
    """The edit that takes `edit` back: `apply(apply(workflow, edit), inverse(workflow, edit)) == workflow`."""
    return _INVERSE[type(edit)](workflow, edit)


def touches(workflow: Workflow, edit: Edit) -> frozenset[str]:
    """What the edit changes, as paths such as `nodes/n1/params/count`, each part without slashes: see `conflict`."""
    match edit:
        case Many():
            return frozenset(path for inner in edit.edits for path in touches(workflow, inner))
        case AddNode():
            return frozenset({_path("nodes", edit.node.id), *(_drawn(p.connection) for p in edit.connections)})
        case RemoveNode():
            gone = [c for c in workflow.connections if edit.node_id in (c.source, c.target)]
            return frozenset({_path("nodes", edit.node_id), *map(_drawn, gone)})
        case SetParam():
            return frozenset({_path("nodes", edit.node_id, "params", *edit.path)})
        case SetNode():
            return frozenset(_path("nodes", edit.node_id, name) for name in edit.model_fields_set - {"kind", "node_id"})
        case SetParams() | RenameNode() | MoveNode() | Pin():
            return frozenset({_path("nodes", edit.node_id, _CHANGED[type(edit)])})
        case Connect() | Disconnect():
            return frozenset({_drawn(edit.connection)})
        case SetNotes():
            return frozenset({"notes"})
        case SetWorkflow():
            return frozenset(_given(edit))


# The field of a node that an edit changes.
_CHANGED: dict[type, str] = {SetParams: "params", RenameNode: "label", MoveNode: "position", Pin: "pinned"}


def conflict(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two edits that touch these paths cannot stand side by side: a path of one lies at or below the other's.

    Conflicts that `apply` would find, such as a connection to a node that is gone, are left to it.
    """
    others = [path + "/" for path in other]
    return any(o.startswith(path + "/") or f"{path}/".startswith(o) for path in one for o in others)


def _path(*parts: str | int) -> str:
    return "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in parts)  # RFC 6901, 3


def _drawn(connection: Connection) -> str:
    return _path("connections", connection.source, connection.output, connection.target, connection.input)


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
    made = workflow.model_copy(update={"nodes": _insert(workflow.nodes, edit.index, edit.node)})
    for placed in sorted(edit.connections, key=lambda p: p.index):
        if edit.node.id not in (placed.connection.source, placed.connection.target):
            raise InvalidConnection("a node is added with connections of its own only")
        made = _connect(made, Connect(connection=placed.connection, index=placed.index))
    return made


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
    for name, default in (("disabled", False), ("on_error", "stop"), ("on_crash", "retry"), ("note", "")):
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


def _given(edit: SetWorkflow) -> list[str]:
    return [name for name in ("name", "settings") if getattr(edit, name) is not None]


def _set_workflow(workflow: Workflow, edit: SetWorkflow) -> Workflow:
    return workflow.model_copy(update={name: getattr(edit, name) for name in _given(edit)})


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


def _undo_param(workflow: Workflow, edit: SetParam) -> Edit:
    """Back to the old value of this one param; where there was none, to the old params."""
    value: Any = _node(workflow, edit.node_id).params
    try:
        for step in edit.path:
            value = value[step]
    except (LookupError, TypeError):
        return SetParams(node_id=edit.node_id, params=_node(workflow, edit.node_id).params)
    return SetParam(node_id=edit.node_id, path=edit.path, value=value)


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
    SetParams: lambda w, e: SetParams(node_id=e.node_id, params=_node(w, e.node_id).params),
    SetParam: _undo_param,
    Pin: lambda w, e: Pin(node_id=e.node_id, pinned=_node(w, e.node_id).pinned),
    SetNode: _undo_set_node,
    Connect: lambda w, e: Disconnect(connection=e.connection),
    Disconnect: lambda w, e: Connect(connection=e.connection, index=w.connections.index(e.connection)),
    SetNotes: lambda w, e: SetNotes(notes=w.notes),
    SetWorkflow: lambda w, e: SetWorkflow(**{name: getattr(w, name) for name in _given(e)}),
    Many: _undo_many,
}
