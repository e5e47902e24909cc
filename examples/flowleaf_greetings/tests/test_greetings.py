"""What the three node types do, run as Flowleaf runs them."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from flowleaf_greetings.greet import greet
from flowleaf_greetings.look_up import run as look_up
from flowleaf_greetings.rank import rank

from engine.api import Item, NodeType
from engine.events import NodeResult
from engine.registry import Registry
from engine.run import LocalServices, run_workflow
from engine.workflow import Connection, Node, Workflow

NICKNAMES = {"Ada": "Countess", "Grace": "Amazing Grace"}


def result(node_type: NodeType, params: dict[str, Any], rows: list[dict[str, Any]]) -> NodeResult:
    """The node type, run on rows."""
    start = Node(id="start", type="core.manual", label="Start", pinned={"main": rows})
    node = Node(id="node", type=node_type.name, label="Node", params=params)
    workflow = Workflow(nodes=(start, node), connections=(Connection(source="start", target="node"),))

    async def go() -> NodeResult:
        services = LocalServices(http_allow=["127.0.0.1"])
        try:
            return (await run_workflow(workflow, Registry([node_type]), services)).results["node"]
        finally:
            await services.aclose()

    return asyncio.run(go())


@pytest.mark.parametrize("node_type", [greet, rank], ids=lambda node_type: node_type.name)
def test_the_example_in_the_docstring_gives_what_it_says(node_type: NodeType) -> None:
    (example,) = node_type.examples()
    made = result(node_type, dict(example.params), example.inputs["main"])
    assert made.outputs["main"].rows == example.gives["main"]


def test_greet_can_be_called_like_any_function() -> None:
    params = greet.params(name="Ada", language="no", into="text")
    assert greet.run(None, Item({"id": 1}), params) == Item({"id": 1, "text": "Hei Ada!"})


def test_greet_refuses_an_empty_name() -> None:
    made = result(greet, {"name": "{{ item.name }}"}, [{"name": ""}])
    assert made.error is not None
    assert "name" in made.error["message"]


def test_rank_can_begin_with_the_smallest() -> None:
    made = result(rank, {"by": "seconds", "best": "smallest"}, [{"seconds": 9.5}, {"seconds": 8.2}, {"seconds": None}])
    assert made.outputs["main"].column("rank") == [1, 2, 3]
    assert made.outputs["main"].column("seconds") == [8.2, 9.5, None]


def test_rank_names_the_nearest_field() -> None:
    made = result(rank, {"by": "point"}, [{"points": 1}])
    assert made.error is not None
    assert "points" in made.error["hint"]


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service that knows some nicknames."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            names = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({name: NICKNAMES[name] for name in names if name in NICKNAMES}).encode()
            self.send_response(200 if self.path == "/nicknames" else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_look_up_asks_once_and_keeps_the_order(service: str) -> None:
    rows = [{"name": "Grace"}, {"name": "Linus"}, {"name": "Ada"}, {"name": "Grace"}]
    made = result(look_up, {"url": f"{service}/nicknames", "name": "{{ item.name }}"}, rows)
    assert made.outputs["main"].column("nickname") == ["Amazing Grace", None, "Countess", "Amazing Grace"]
    assert made.outputs["main"].column("name") == ["Grace", "Linus", "Ada", "Grace"]


def test_look_up_says_what_the_service_answered(service: str) -> None:
    made = result(look_up, {"url": f"{service}/elsewhere", "name": "Ada"}, [{}])
    assert made.error is not None
    assert made.error["code"] == "node.upstream"
    assert "404" in made.error["message"]
