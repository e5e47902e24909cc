"""A workflow made ready: its graph, the type of each node, its params compiled. Made once per state of a workflow."""

import gc
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from engine.api import NodeType
from engine.errors import UnknownNodeType
from engine.graph import Graph
from engine.params import Template
from engine.registry import Registry
from engine.workflow import Node, Workflow

KEPT = 512  # a worker keeps as many revisions at hand
KEPT_TEMPLATES = 20_000


class Layout(NamedTuple):
    """How the steps of a plan wait for each other; made once for a plan that is run many times.

    Attributes:
        waiting: for each step, how many others it waits for.
        followers: node id -> indexes of the steps that wait for it.
        ready: indexes of the steps that wait for none.
        places: node id -> index of its step.
    """

    waiting: list[int]
    followers: dict[str, list[int]]
    ready: list[int]
    places: dict[str, int]


class HasNode(Protocol):
    """A step, as far as its layout goes."""

    @property
    def node_id(self) -> str:
        """The node that it runs."""


class Program:
    """A workflow with all that can be known of it before a run.

    Attributes:
        types: node id -> its type, for those that are installed.
        templates: node id -> its compiled params, for the same nodes.
        missing: node id -> why its type is not known.
        by_label: label -> node id.
        references: node id -> ids of the nodes that its expressions name, where there are such.
    """

    __slots__ = (
        "__weakref__",
        "_feeders",
        "_layout",
        "by_label",
        "graph",
        "missing",
        "references",
        "templates",
        "types",
        "workflow",
    )

    def __init__(self, workflow: Workflow, registry: Registry) -> None:
        self.workflow = workflow
        self.graph = Graph(workflow)
        self.types: dict[str, NodeType] = {}
        self.templates: dict[str, Template] = {}
        self.missing: dict[str, UnknownNodeType] = {}
        self.by_label = {node.label: node.id for node in workflow.nodes}
        self.references: dict[str, tuple[str, ...]] = {}
        self._feeders: dict[str, frozenset[str]] = {}
        self._layout: tuple[Sequence[HasNode], Layout] | None = None
        for node in workflow.nodes:
            try:
                node_type = registry.get(node.type)
            except UnknownNodeType as exc:
                self.missing[node.id] = exc
                continue
            self.types[node.id] = node_type
            template = _template(node, node_type)
            self.templates[node.id] = template
            labels = [label for leaf in template.leaves for label in leaf.expression.labels]
            if labels:
                found = (self.by_label.get(label) for label in dict.fromkeys(labels))
                self.references[node.id] = tuple(node_id for node_id in found if node_id is not None)

    def outputs(self, node: Node) -> tuple[str, ...]:
        """Names of the node's outputs, `error` included where failing items leave through it."""
        names = self.templates[node.id].outputs
        return (*names, "error") if node.on_error == "output" else names

    def is_source(self, node_id: str) -> bool:
        """Whether its items come from no other node: nothing leads to it, or they are pinned."""
        return not self.graph.incoming[node_id] or self.graph.nodes[node_id].pinned is not None

    def layout(self, steps: Sequence[HasNode]) -> Layout:
        """How the steps wait for each other; that of the last plan asked for is kept."""
        if self._layout is None or self._layout[0] is not steps:
            places = {step.node_id: index for index, step in enumerate(steps)}
            followers: dict[str, list[int]] = {node_id: [] for node_id in places}
            waiting = []
            for index, step in enumerate(steps):
                feeders = [f for f in self.feeders(step.node_id) if f in places]
                waiting.append(len(feeders))
                for feeder in feeders:
                    followers[feeder].append(index)
            ready = [index for index, count in enumerate(waiting) if count == 0]
            self._layout = (steps, Layout(waiting, followers, ready, places))
        return self._layout[1]

    def feeders(self, node_id: str) -> frozenset[str]:
        """Nodes that must have ended before this one can run: by its connections and by its expressions.

        A pinned node waits for nothing.
        """
        if node_id not in self._feeders:
            sources = {c.source for c in self.graph.incoming[node_id]} | set(self.references.get(node_id, ()))
            pinned = self.graph.nodes[node_id].pinned is not None
            self._feeders[node_id] = frozenset() if pinned else frozenset(sources)
        return self._feeders[node_id]


# The last programs, by the identity of workflow and registry: workflows are frozen, so one object never changes.
_programs: "OrderedDict[tuple[int, int], tuple[Program, Registry]]" = OrderedDict()
_templates: "OrderedDict[tuple[int, int], tuple[weakref.ref[Node], NodeType, Template]]" = OrderedDict()
# The service checks workflows in many threads.
_making = threading.Lock()


def program_of(workflow: Workflow, registry: Registry) -> Program:
    """The program of a workflow; the last ones made are kept."""
    key = (id(workflow), id(registry))
    if (kept := _programs.get(key)) is not None:
        with suppress(KeyError):  # another thread made one too many just now
            _programs.move_to_end(key)
        return kept[0]
    with _making:
        # All that is made here lives on. Left to itself, the collector goes through it again and again while it grows:
        # half the time for 2,000 nodes.
        collects = gc.isenabled()
        gc.disable()
        try:
            program = Program(workflow, registry)
        finally:
            if collects:
                gc.enable()
        _programs[key] = (program, registry)  # holds both, so that their ids are not given to others
        if len(_programs) > KEPT:
            _programs.popitem(last=False)
        return program


def _template(node: Node, node_type: NodeType) -> Template:
    """The compiled params of a node. An edit leaves the other nodes the same objects: theirs are not made again."""
    key = (id(node), id(node_type))
    kept = _templates.get(key)
    if kept is not None and kept[0]() is node:
        return kept[2]
    template = Template(node_type, node.params, node.type_version)
    _templates[key] = (weakref.ref(node), node_type, template)
    if len(_templates) > KEPT_TEMPLATES:
        _templates.popitem(last=False)
    return template
