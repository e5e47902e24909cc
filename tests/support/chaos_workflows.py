"""The workflows that run while things break."""

from engine.workflow import Workflow
from tests.benchmarks.engine import orders_workflow
from tests.support.build import chain, node

MANY = 300


def pure() -> Workflow:
    """/hooks/orders: five nodes that change nothing outside."""
    return orders_workflow()


def once() -> Workflow:
    """/hooks/once: a call with the same header `call-id` starts nothing again."""
    webhook = node("call", "core.webhook", {"path": "once", "dedupe": "header", "dedupe_key": "call-id"})
    return chain(webhook, node("set", params={"fields": {"id": "{{ item.body.id }}"}}), name="once")


def answers() -> Workflow:
    """/hooks/answers: answers with its last node's items."""
    webhook = node("call", "core.webhook", {"path": "answers", "respond": "last_node", "timeout_s": 20})
    return chain(webhook, node("set", params={"fields": {"id": "{{ item.body.id }}"}}), name="answers")


def writes(url: str) -> Workflow:
    """/hooks/writes: two nodes after each other that change something outside."""
    return chain(
        node("call", "core.webhook", {"path": "writes"}),
        node("first", "core.http_request", _post(f"{url}/first", "{{ item.body.id }}")),
        node("second", "core.http_request", _post(f"{url}/second", "{{ item.id }}")),
        name="writes",
    )


def slow(url: str, seconds: float = 0.3) -> Workflow:
    """/hooks/slow: a node that takes a while."""
    return chain(
        node("call", "core.webhook", {"path": "slow"}),
        node("wait", "core.http_request", {"url": f"{url}/wait/{seconds}"}),
        node("set", params={"fields": {"done": True}}),
        name="slow",
    )


def many(url: str) -> Workflow:
    """/hooks/many: a node that changes something outside for each of the call's `rows`."""
    return chain(
        node("call", "core.webhook", {"path": "many"}),
        node("split", "core.split_out", {"field": "body.rows"}),
        node("item", "core.http_request", _post(f"{url}/item", "{{ item.id }}")),
        name="many",
    )


def ticks() -> Workflow:
    """Each second."""
    return chain(
        node("tick", "core.schedule", {"every_s": 1, "missed": "all"}),
        node("set", params={"fields": {"at": "{{ item.time }}"}}),
        name="ticks",
    )


def _post(url: str, id_: str) -> dict[str, object]:
    return {"url": url, "method": "POST", "body": {"id": id_}}


def rows(call_id: str, count: int = MANY) -> list[dict[str, str]]:
    return [{"id": f"{call_id}-{index}"} for index in range(count)]


def called(url: str) -> list[Workflow]:
    """All that are started by calls, given the address of the service that they call."""
    return [pure(), once(), answers(), writes(url), slow(url), many(url)]
