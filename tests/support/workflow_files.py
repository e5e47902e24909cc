"""The data of small workflow files."""

from itertools import pairwise
from typing import Any

Data = dict[str, Any]


def node(id_: str, type_: str = "core.set", params: Data | None = None, **more: Any) -> Data:
    return {"id": id_, "type": type_, "params": {"fields": {"a": 1}} if params is None else params, **more}


def webhook(path: str, id_: str = "call", **params: Any) -> Data:
    return node(id_, "core.webhook", {"path": path, **params})


def every(seconds: int, id_: str = "clock", **params: Any) -> Data:
    return node(id_, "core.schedule", {"every_s": seconds, **params})


def file(*nodes: Data, name: str = "Orders", **more: Any) -> Data:
    """A workflow whose nodes follow one another, triggers beside each other in front."""
    triggers = [n["id"] for n in nodes if n["type"] in ("core.webhook", "core.schedule", "core.manual")]
    others = [n["id"] for n in nodes if n["id"] not in triggers]
    ends = [(trigger, others[0]) for trigger in triggers if others] + list(pairwise(others))
    connections = [{"source": source, "target": target} for source, target in ends]
    return {"flowleaf": 1, "name": name, "nodes": list(nodes), "connections": connections, **more}
