"""What an execution is started with: part 0 of its record."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.runtime.data.packed import pack_json, unpack_json


class Order(NamedTuple):
    """Part 0.

    Attributes:
        items: what the trigger is started with; None where it gives by itself what it gives.
        same_as: of a retry: the execution whose idempotency keys it goes on with.
        workflow: of a draft run or a test: the file's data of the draft as it was then.
        target: of a draft run: the node wanted; None for the whole workflow.
        held: ids of nodes that are not to be run, but to show what they would do.
        reads: node id -> digest of what it reads from outside, so that keys are those that were planned with.
        force: ids of nodes to run though their results are kept.
        sample: how many items the first nodes give at the most.
        vars: of a draft run: the variables that its keys were made with; None takes those of the moment it runs.
    """

    items: Sequence[Mapping[str, Any]] | None = None
    same_as: str | None = None
    workflow: Mapping[str, Any] | None = None
    target: str | None = None
    held: Sequence[str] = ()
    reads: Mapping[str, str] = {}
    force: Sequence[str] = ()
    sample: int | None = None
    vars: Mapping[str, Any] | None = None


DEFAULTS = Order._field_defaults


def pack_order(order: Order) -> bytes:
    """The order as few bytes; what is at its default is left out."""
    return pack_json({name: value for name, value in order._asdict().items() if value != DEFAULTS[name]})


def pack_items(items: Sequence[Mapping[str, Any]]) -> bytes:
    """The order of a call: items only."""
    return pack_json({"items": items})


def unpack_order(data: bytes) -> Order:
    """The order that was packed."""
    return Order(**unpack_json(data))
