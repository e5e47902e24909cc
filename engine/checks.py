"""All that is wrong with a workflow, in one go, each with its place and what to do."""

import re
from collections.abc import Container, Iterator

from engine.errors import CycleError, InvalidParams, InvalidWorkflow, Problem, did_you_mean
from engine.program import Program, program_of
from engine.registry import Registry
from engine.workflow import Connection, Node, Workflow, read


def load(text: str, registry: Registry) -> Workflow:
    """The workflow of a file's text. Raises InvalidWorkflow with everything that is wrong with it."""
    found = read(text)
    # What only follows from a mistake in the file's form is not said twice.
    said = {(problem.node_id, _first(problem.field)) for problem in found.problems}
    others = check(found.workflow, registry, unsure=found.unsure, whole=found.whole)
    problems = found.problems + [p for p in others if p.node_id is None or (p.node_id, _first(p.field)) not in said]
    if problems:
        raise InvalidWorkflow(problems)
    return found.workflow


def _first(field: str | None) -> str | None:
    """The first part of a dotted path."""
    return re.split(r"[.\[]", field)[0] if field else None


def check(workflow: Workflow, registry: Registry, *, unsure: Container[str] = (), whole: bool = True) -> list[Problem]:
    """What keeps the workflow from running as drawn; [] when nothing does.

    Args:
        unsure: labels of which it is not known what node they mean; what names them is not judged.
        whole: False where connections are missing, so that it is not known which node comes before which.
    """
    program = program_of(workflow, registry)
    problems = [*_settings(workflow), *_connections(program)]
    for node in workflow.nodes:
        problems += _node(program, node)
    try:
        program.graph.order()
    except CycleError as exc:
        problems.append(Problem(exc.code, exc.message, exc.hint, "connections"))
    for node_id in program.templates:
        problems += _references(program, node_id, unsure, whole)
    return problems


def place_of(node: Node, field: str | None = None) -> str:
    """How a person finds the node, and the field in it."""
    return f'node "{node.label}"' + (f", {field}" if field else "")


def _settings(workflow: Workflow) -> Iterator[Problem]:
    name = workflow.settings.timezone
    if name == "UTC":
        return
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415  reads a folder of files

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = did_you_mean(name, sorted(available_timezones()))
        yield Problem("workflow.timezone", f"no time zone is called {name!r}", hint, "settings.timezone")


def _node(program: Program, node: Node) -> Iterator[Problem]:
    if error := program.missing.get(node.id):
        yield Problem(error.code, error.message, error.hint, place_of(node, "type"), node.id, "type")
        return
    template = program.templates[node.id]
    for problem in template.problems:
        field = f"params.{problem.field}" if problem.field else "params"
        yield Problem(problem.code, problem.message, problem.hint, place_of(node, field), node.id, field)
    if node.pinned is not None and _outputs_are_known(program, node.id):
        outputs = program.outputs(node)
        for name in node.pinned:
            if name not in outputs:
                message = f"pin data for the output {name!r}, which {node.type} has not"
                yield Problem(
                    "workflow.pinned", message, did_you_mean(name, outputs), place_of(node, "pinned"), node.id, "pinned"
                )
    if node.parent is not None and node.parent not in program.graph.nodes:
        message = f"its parent {node.parent!r} is no node of this workflow"
        hint = "Name the id of a node, or leave parent out."
        yield Problem("workflow.parent", message, hint, place_of(node, "parent"), node.id, "parent")


Fault = tuple[str, str, str | None]  # message, hint, id of the node to show it on


def _connections(program: Program) -> Iterator[Problem]:
    seen: set[Connection] = set()
    for number, connection in enumerate(program.workflow.connections, 1):
        faults = [*_ends(program, connection)]
        if connection in seen:
            shown_on = connection.source if connection.source in program.graph.nodes else None
            faults.append(("it is drawn twice", "Remove one of them.", shown_on))
        seen.add(connection)
        for message, hint, node_id in faults:
            ends = f"{_label(program, connection.source)} -> {_label(program, connection.target)}"
            yield Problem("definition.invalid_connection", message, hint, f"connection {number} ({ends})", node_id)


def _ends(program: Program, connection: Connection) -> Iterator[Fault]:
    """Whether the nodes, the output and the input of a connection exist."""
    nodes = program.graph.nodes
    ends = {"source": connection.source, "target": connection.target}
    unknown = {end: node_id for end, node_id in ends.items() if node_id not in nodes}
    for end, node_id in unknown.items():
        hint = did_you_mean(node_id, nodes)
        if node_id in program.by_label:
            hint = f"Connections name ids: write {program.by_label[node_id]!r}."
        shown_on = next((other for other in ends.values() if other in nodes), None)
        yield f"its {end} {node_id!r} is no node's id", hint, shown_on
    if unknown:
        return
    source, target = nodes[connection.source], nodes[connection.target]
    if _outputs_are_known(program, source.id) and connection.output not in (outputs := program.outputs(source)):
        hint = did_you_mean(connection.output, outputs)
        if connection.output == "error":
            hint = 'Set "on_error": "output" on the node, and failing items leave through it.'
        yield f'"{source.label}" has no output {connection.output!r}', hint, source.id
    if target.id in program.types:
        node_type = program.types[target.id]
        if node_type.is_trigger:
            hint = "A trigger starts the workflow: remove the connection, or put the node before it elsewhere."
            yield f'"{target.label}" is a trigger and takes no input', hint, target.id
        elif connection.input not in node_type.inputs:
            hint = did_you_mean(connection.input, node_type.inputs)
            yield f'"{target.label}" has no input {connection.input!r}', hint, target.id


def _outputs_are_known(program: Program, node_id: str) -> bool:
    """Whether a node's type and params are sound enough to say what its outputs are."""
    if node_id not in program.templates:
        return False
    problems = program.templates[node_id].problems
    is_fixed = program.types[node_id].has_fixed_outputs and all(p.code != InvalidParams.code for p in problems)
    return is_fixed or not problems


def _references(program: Program, node_id: str, unsure: Container[str], whole: bool) -> Iterator[Problem]:
    """Whether the nodes that expressions name are there, and come before."""
    node = program.graph.nodes[node_id]
    leaves = [leaf for leaf in program.templates[node_id].leaves if leaf.expression.labels]
    if not leaves:
        return
    ancestors = program.graph.ancestors([node_id])
    before = [label for label, other in program.by_label.items() if other in ancestors]
    for leaf in leaves:
        path = "params." + leaf.dotted
        for label in leaf.expression.labels:
            other = program.by_label.get(label)
            if other in ancestors or label in unsure:
                continue
            if other is None:
                message, hint = f"no node is called {label!r}", did_you_mean(label, before)
            elif other == node_id:
                message, hint = "a node cannot read its own output", "Write item for the item that came in."
            elif whole:
                message = f'"{label}" does not come before this node'
                hint = "Connect it to this node, directly or through others."
            else:
                continue
            yield Problem("node.expression", message, hint, place_of(node, path), node_id, path)


def _label(program: Program, node_id: str) -> str:
    return f'"{program.graph.nodes[node_id].label}"' if node_id in program.graph.nodes else repr(node_id)
