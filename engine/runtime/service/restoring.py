"""The edit that leads from one workflow to another: how a revision comes back into the draft."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from engine.edits import AddNode, Connect, Disconnect, Edit, Many, RemoveNode, SetNotes, SetWorkflow
from engine.workflow import Workflow

T = TypeVar("T")


def difference(old: Workflow, new: Workflow) -> Many:
    """What makes `new` of `old`: `apply(old, difference(old, new)) == new`. What is the same in both is not touched."""
    edits: list[Edit] = []
    if (old.name, old.settings) != (new.name, new.settings):
        edits.append(SetWorkflow(name=new.name, settings=new.settings))
    if old.notes != new.notes:
        edits.append(SetNotes(notes=new.notes))
    stay = _kept(old.nodes, new.nodes, lambda node: node.id)
    edits += [RemoveNode(node_id=node.id) for node in old.nodes if node.id not in stay]
    edits += [AddNode(node=node, index=index) for index, node in enumerate(new.nodes) if node.id not in stay]
    # With a node its connections went.
    left = [c for c in old.connections if c.source in stay and c.target in stay]
    remain = _kept(left, new.connections, lambda connection: connection)
    edits += [Disconnect(connection=c) for c in dict.fromkeys(left) if c not in remain]
    edits += [Connect(connection=c, index=i) for i, c in enumerate(new.connections) if c not in remain]
    return Many(edits=tuple(edits))


def _kept(old: Sequence[T], new: Sequence[T], key: Callable[[T], Hashable]) -> set[Hashable]:
    """Keys of the old elements that may stay: they are in both, and in the same order."""
    known = {key(element): element for element in old}
    same = {key(element) for element in new if known.get(key(element)) == element}
    orders = [[key(element) for element in elements if key(element) in same] for elements in (old, new)]
    return same if orders[0] == orders[1] else set()
