"""Node types tried out: their examples, single steps, and what is refused before a run."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.api import Request
from engine.checks import check
from engine.context import StepState
from engine.events import NodeResult
from engine.expressions import Scope
from engine.items import Items
from engine.node_type import Example, NodeType
from engine.params import Template
from engine.registry import Registry
from engine.run import LocalServices
from engine.step import StepRun
from engine.workflow import Node, Workflow
from tests.support.build import Ran, chain, connect, node, run, start

SAMPLES = Path(__file__).parents[2] / "studio" / "templates"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

# What the service of the HTTP example answers, whole.
ADA = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"id":7,"name":"Ada"}'


class NamedServices(LocalServices):
    """The outside world, with an address of the examples leading to a server on this machine.

    Args:
        named: address in a workflow -> address of the server.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        super().__init__(folders=[SAMPLES], http_allow=["127.0.0.1"], now=NOW)
        self.named = named

    @property
    def http(self) -> Any:
        return _Named(super().http, self.named)


class _Named:
    def __init__(self, client: Any, named: Mapping[str, str]) -> None:
        self.client = client
        self.named = named

    async def request(self, method: str, url: str, **options: Any) -> Any:
        for name, place in self.named.items():
            url = url.replace(name, place)
        return await self.client.request(method, url, **options)


def drawn(node_type: NodeType, example: Example) -> Workflow:
    """A workflow of the node, called `node`, with a pinned trigger for each of its inputs."""
    sources = [start(example.inputs.get(name, []), name) for name in node_type.inputs]
    paths = connect(*(f"{name} > node.{name}" for name in node_type.inputs))
    return Workflow(nodes=(*sources, node("node", node_type.name, example.params)), connections=paths)


def run_example(node_type: NodeType, example: Example, services: LocalServices) -> Ran:
    """A run of the example; its workflow has to be in order."""
    workflow = drawn(node_type, example)
    problems = check(workflow, Registry([node_type]))
    assert problems == []
    items = example.inputs["request"] if node_type.is_trigger else None
    return run(workflow, services=services, items=items, registry=Registry([node_type]))


def run_step(
    node_type: NodeType, params: Mapping[str, Any], inputs: Mapping[str, list[dict[str, Any]]], services: LocalServices
) -> NodeResult:
    """The result of the node on just these items, however few; `request` starts a trigger."""
    given = Node(id="node", type=node_type.name, label="node", params=dict(params))
    state = StepState(services, execution_id="e", node_id="node", now=services.now, stop=True, cancelled=lambda: False)
    step = StepRun(
        given,
        node_type,
        Template(node_type, params, node_type.version),
        {name: Items(inputs.get(name, [])) for name in node_type.inputs},
        Scope(now=services.now),
        state,
        request=Request(inputs.get("request")) if node_type.is_trigger else None,
    )

    async def go() -> NodeResult:
        try:
            return await step.run()
        finally:
            await services.aclose()

    return asyncio.run(go())


def refusals(type_: str, params: Mapping[str, Any], **more: Any) -> list[str]:
    """What keeps a workflow with this node from being saved or run: `place: message`, and the hint behind an arrow."""
    workflow = chain(start([{}]), node("node", type_, params, **more))
    if type_ in ("core.webhook", "core.manual", "core.schedule"):
        workflow = Workflow(nodes=(node("node", type_, params),))
    return [
        f"{problem.field}: {problem.message}" + (f" -> {problem.hint}" if problem.hint else "")
        for problem in check(workflow, Registry())
    ]
