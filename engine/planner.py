"""Decides what must run. A node is stale when its preview key has no stored result."""

import hashlib
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any, Literal, NamedTuple

from engine.convert import dumps
from engine.errors import UnknownNodeType
from engine.expressions import rename_labels
from engine.program import Program, program_of
from engine.registry import Registry
from engine.workflow import Node, Workflow

# Raised when the same key would no longer mean the same output: every stored preview is stale then.
EPOCH = 1
HoldReason = Literal["write", "read", "volatile", "upstream"]


class Step(NamedTuple):
    """One node of a plan.

    Attributes:
        key: preview key: hash of everything that decides the node's output.
        reuse: its result is stored under `key`; it is not run.
        volatile: its expressions read the clock, the execution or chance: stored results stay shown, and it runs
            again on request only.
    """

    node_id: str
    key: str
    reuse: bool
    volatile: bool = False


def plan(
    workflow: Workflow,
    registry: Registry,
    stored: Container[str] = (),
    *,
    reads: Mapping[str, str] | None = None,
    target: str | None = None,
    force: Collection[str] = frozenset(),
) -> list[Step]:
    """Steps in running order; with `target`, only what that node needs.

    Nodes that are ready at the same time keep the order they were drawn in. What only feeds a pinned node is left out.

    Args:
        stored: preview keys whose result, a failure included, is kept: their steps are reused.
        reads: node id -> digest of what it reads from outside: vars, credentials, files, the request of a trigger.
        target: node id. None means the whole workflow.
        force: ids of nodes to run even so; what they feed runs too, since its input may have changed.

    Raises:
        CycleError: the connections form a loop; the message lists it.
        UnknownNodeType: a node's type is not installed.
    """
    program = program_of(workflow, registry)
    keys = preview_keys(program, reads or {})
    wanted = _needed(program, target)
    again = set(force)
    steps = []
    for node_id in program.graph.order():
        if node_id not in again and not again.isdisjoint(program.feeders(node_id)):
            again.add(node_id)
        if node_id in wanted:
            reuse = keys[node_id] in stored and node_id not in again
            if not reuse and (program.templates[node_id].volatile or _looks_outside(program, node_id)):
                again.add(node_id)  # it may give something else under the same key
            steps.append(Step(node_id, keys[node_id], reuse, program.templates[node_id].volatile))
    return steps


def preview_keys(program: Program, reads: Mapping[str, str]) -> dict[str, str]:
    """Node id -> preview key, for every node. `reads` as for `plan`."""
    if program.missing:
        raise next(iter(program.missing.values()))
    keys: dict[str, str] = {}
    graph = program.graph
    for node_id in graph.order():
        node = graph.nodes[node_id]
        if node.pinned is not None:
            keys[node_id] = digest([EPOCH, "pinned", program.outputs(node), node.pinned, reads.get(node_id)])
            continue
        place: dict[str, int] = {}
        parents = []
        for connection in graph.incoming[node_id]:
            position = place.get(connection.input, 0)
            place[connection.input] = position + 1
            parents.append((connection.input, position, connection.output, keys[connection.source]))
        named = [(other, keys[other]) for other in program.references.get(node_id, ()) if other in keys]
        drawn = _way_back(program, node_id)
        keys[node_id] = digest([_settings(program, node), sorted(parents), sorted(named), drawn, reads.get(node_id)])
    return keys


def _way_back(program: Program, node_id: str) -> list[Any]:
    """The connections that lead to a node which asks where its items came from.

    Two nodes that do the same have one key; which of them an item came through still decides what `.item` finds.
    """
    if not any(leaf.expression.node_item for leaf in program.templates[node_id].leaves):
        return []
    graph = program.graph
    behind = graph.ancestors([node_id]) | {node_id}
    return [(c.source, c.output, c.target, c.input) for n in graph.nodes if n in behind for c in graph.incoming[n]]


def holds(
    steps: list[Step], workflow: Workflow, registry: Registry, confirmed: Container[str] = ()
) -> dict[str, HoldReason]:
    """Which steps a reactive run may not run by itself, and why: node id -> reason.

    Pure nodes run by themselves; read nodes once a person has run them here; write and volatile nodes on request. What
    waits on a held node is held with the reason `upstream`. Steps that are reused are never held.

    Args:
        confirmed: ids of the read nodes that a person has run.
    """
    program = program_of(workflow, registry)
    held: dict[str, HoldReason] = {}
    for step in steps:
        node = program.graph.nodes[step.node_id]
        if step.reuse or node.pinned is not None:
            continue
        if not held.keys().isdisjoint(program.feeders(step.node_id)):
            held[step.node_id] = "upstream"
        elif node.disabled:
            continue
        elif (effects := effects_of(program, node)) == "write":
            held[step.node_id] = "write"
        elif effects == "read" and step.node_id not in confirmed:
            held[step.node_id] = "read"
        elif step.volatile:
            held[step.node_id] = "volatile"
    return held


def _looks_outside(program: Program, node_id: str) -> bool:
    node = program.graph.nodes[node_id]
    return node.pinned is None and not node.disabled and effects_of(program, node) != "pure"


def effects_of(program: Program, node: Node) -> str:
    """What a run of the node does outside: pure, read or write."""
    return program.types[node.id].effects(program.templates[node.id].raw)


def _needed(program: Program, target: str | None) -> set[str]:
    """The nodes that `target` needs, itself included; without one, that any last node of the workflow needs."""
    graph = program.graph
    stack = [target] if target is not None else [n for n in graph.nodes if not graph.outgoing[n]]
    if target is not None and target not in graph.nodes:
        raise UnknownNodeType(f"no node has the id {target!r}")
    needed: set[str] = set()
    while stack:
        node_id = stack.pop()
        if node_id not in needed:
            needed.add(node_id)
            stack += program.feeders(node_id)
    return needed


def _settings(program: Program, node: Node) -> list[Any]:
    """Everything on the node itself that changes its output. Label, note and position do not."""
    template = program.templates[node.id]
    expressions = [leaf.expression for leaf in template.leaves]
    params: Any = node.params
    if any(expression.labels for expression in expressions):
        # A rename changes the text of what names the node, not what it means: ids stand for labels here.
        ids = {label: f"#{node_id}" for label, node_id in program.by_label.items()}
        params = _mapped(params, lambda text: rename_labels(text, ids) if "node" in text else text)
    return [
        EPOCH,
        node.type,
        program.types[node.id].version,
        node.type_version,
        params,
        node.disabled,
        node.on_error,
        node.retry.model_dump() if node.retry else None,
        node.timeout_s,
        program.workflow.settings.timezone,
        program.workflow.name if any("workflow" in e.uses for e in expressions) else None,
    ]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return value


def digest(value: Any) -> str:
    """A short hash of plain data: for preview keys, and for what `reads` holds."""
    # Keys of objects are not sorted: their order is that of the output's fields.
    return hashlib.blake2b(dumps(value), digest_size=20).hexdigest()
