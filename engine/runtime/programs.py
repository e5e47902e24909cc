"""Published revisions made ready to run, and kept: making one ready costs milliseconds, running it does not."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from engine.errors import DefinitionError
from engine.planner import Step, effects_of, plan
from engine.program import Program, program_of
from engine.registry import Registry
from engine.runtime.answers import last_nodes
from engine.runtime.data.packed import unpack_json
from engine.runtime.store import Store
from engine.workflow import Workflow, from_data

KEPT = 500  # fewer than `engine.program` keeps


@dataclass(frozen=True, slots=True)
class Ready:
    """A workflow with all that is known of it before a run.

    Attributes:
        steps: its whole plan, nothing reused.
        writes: ids of nodes that change something outside.
        stops_on_crash: of those, the ones that wait for a person when their worker died.
        respond: trigger id -> at_once, last_node or respond_node.
        last: trigger id -> id and label of the nodes without successors that it leads to.
        uses_vars: whether an expression reads `vars`.
    """

    workflow: Workflow
    program: Program
    steps: tuple[Step, ...]
    writes: frozenset[str]
    stops_on_crash: frozenset[str]
    respond: Mapping[str, str]
    last: Mapping[str, tuple[tuple[str, str], ...]]
    uses_vars: bool


def make_ready(workflow: Workflow, registry: Registry) -> Ready:
    """Compile and plan. Raises DefinitionError where the workflow cannot run."""
    program = program_of(workflow, registry)
    steps = tuple(plan(workflow, registry))
    nodes = [program.graph.nodes[step.node_id] for step in steps]
    writes = frozenset(n.id for n in nodes if not n.disabled and effects_of(program, n) == "write")
    return Ready(
        workflow,
        program,
        steps,
        writes,
        frozenset(n.id for n in nodes if n.id in writes and n.on_crash == "stop"),
        {
            n.id: str(program.templates[n.id].raw.get("respond", "at_once"))
            for n in nodes
            if program.types[n.id].is_trigger
        },
        {n.id: last_nodes(workflow, program.graph, n.id) for n in nodes if program.types[n.id].is_trigger},
        any("vars" in leaf.expression.uses for t in program.templates.values() for leaf in t.leaves),
    )


def slot_of(ready: Ready) -> str:
    """What its executions take a slot of: a worker runs few at a time that compute in other processes or for long."""
    types = ready.program.types.values()
    if any(t.name == "core.code" for t in types):
        return "code"
    return "heavy" if any(t.shape == "frame" for t in types) else "async"


def read_workflow(data: bytes) -> Workflow:
    """The workflow of a stored file. Raises DefinitionError where it cannot be read by this release."""
    found = from_data(unpack_json(data))
    if found.problems:
        raise DefinitionError(f"the stored workflow cannot be read: {found.problems[0].message}")
    return found.workflow


def without_pins(workflow: Workflow) -> Workflow:
    """The workflow as it is published: what is pinned is for editing."""
    if all(node.pinned is None for node in workflow.nodes):
        return workflow
    nodes = tuple(n if n.pinned is None else n.model_copy(update={"pinned": None}) for n in workflow.nodes)
    return workflow.model_copy(update={"nodes": nodes})


class Programs:
    """The revisions used last, ready to run."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self.registry = registry
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Ready] = OrderedDict()

    def known(self, revision_id: str) -> Ready | None:
        """The revision, where it is at hand."""
        return self._kept.get(revision_id)

    def load(self, revision_id: str) -> Ready:
        """The revision, from the database where need be: not on an event loop.

        Raises:
            DefinitionError: there is no such revision, or it cannot run with the node types installed here.
            StoreUnavailable: the database cannot be used now.
        """
        with self._lock:
            found = self._kept.get(revision_id)
            if found is None:
                with self._store.read() as connection:
                    statement = text("SELECT workflow FROM revision WHERE id = :id")
                    data: Any = connection.execute(statement, {"id": revision_id}).scalar()
                if data is None:
                    raise DefinitionError("this revision is no longer there", hint="Its workflow was deleted.")
                found = make_ready(without_pins(read_workflow(data)), self.registry)
                self._kept[revision_id] = found
            self._kept.move_to_end(revision_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def make(self, workflow: Workflow) -> Ready:
        """A draft made ready: not kept. Not on an event loop."""
        with self._lock:
            return make_ready(workflow, self.registry)
