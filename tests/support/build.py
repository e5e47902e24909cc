"""Workflows in few words, and runs of them, for tests."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from engine.api import Request
from engine.errors import StudioError
from engine.events import Event, NodeResult
from engine.registry import Registry
from engine.run import Finished, LocalServices, run_workflow
from engine.workflow import Connection, Node, Workflow


def node(label: str, type_: str = "core.set", params: Mapping[str, Any] | None = None, **more: Any) -> Node:
    """A node whose id is its label."""
    return Node(id=more.pop("id", label), label=label, type=type_, params=dict(params or {}), **more)


def start(rows: list[dict[str, Any]], label: str = "start", **more: Any) -> Node:
    """A manual trigger that gives `rows`."""
    return node(label, "core.manual", pinned={"main": rows}, **more)


def connect(*paths: str) -> tuple[Connection, ...]:
    """Connections of paths such as `a > b > c`, `if.true > b`, `a > merge.right`."""
    made = []
    for path in paths:
        ends = [end.strip() for end in path.split(">")]
        for source, target in pairwise(ends):
            source_id, _, output = source.partition(".")
            target_id, _, input_ = target.partition(".")
            made.append(Connection(source=source_id, output=output or "main", target=target_id, input=input_ or "main"))
    return tuple(made)


def workflow(*nodes: Node, paths: tuple[str, ...] | str = (), **more: Any) -> Workflow:
    """A workflow of nodes and paths; with one path as a text too."""
    return Workflow(nodes=nodes, connections=connect(*([paths] if isinstance(paths, str) else paths)), **more)


def chain(*nodes: Node, **more: Any) -> Workflow:
    """A workflow whose nodes follow one another."""
    return Workflow(nodes=nodes, connections=connect(" > ".join(n.id for n in nodes)), **more)


class Ran:
    """A finished run with its events."""

    def __init__(self, finished: Finished, events: list[Event]) -> None:
        self.finished = finished
        self.events = events
        self.status = finished.status

    def __getitem__(self, label: str) -> Any:
        return self.finished.rows(label)

    def result(self, label: str) -> NodeResult:
        return self.finished.results[label]

    def error(self, label: str) -> Mapping[str, Any]:
        found = self.finished.results[label].error
        assert found is not None, f"{label} did not fail"
        return found

    @property
    def started(self) -> list[str]:
        """Ids of the nodes that were really run, in the order they began."""
        return [e.node_id for e in self.events if e.kind == "node.started" and e.node_id]

    @property
    def log(self) -> list[str | None]:
        return [e.message for e in self.events if e.kind == "node.log"]


def run(
    drawn: Workflow,
    *,
    registry: Registry | None = None,
    services: LocalServices | None = None,
    items: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Ran:
    """Run a workflow in memory; `items` start its trigger."""
    events: list[Event] = []
    outside = services or LocalServices()

    async def go() -> Finished:
        try:
            request = Request(items) if items is not None else None
            return await run_workflow(
                drawn, registry or Registry(), outside, request=request, on_event=events.append, **more
            )
        finally:
            await outside.aclose()

    return Ran(asyncio.run(go()), events)


def run_node(
    type_: str,
    params: Mapping[str, Any],
    rows: list[dict[str, Any]],
    *,
    services: LocalServices | None = None,
    **more: Any,
) -> Ran:
    """Run one node called `node` on rows; raises nothing: look at its result."""
    return run(chain(start(rows), node("node", type_, params, **more)), services=services)


def problems_of(error: StudioError) -> list[str]:
    """The messages of a workflow's problems."""
    return [problem.message for problem in getattr(error, "problems", ())]
