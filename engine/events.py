"""Facts about an execution, in order; and the statuses of executions and node runs, with the moves between them."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from engine.items import Items, Outputs

ExecutionStatus = Literal[
    "queued", "running", "waiting", "needs_decision", "succeeded", "failed", "cancelled", "skipped"
]
NodeStatus = Literal["waiting", "running", "succeeded", "reused", "failed", "skipped", "cancelled", "held"]
Kind = Literal[
    "execution.started",
    "node.started",
    "node.progress",
    "node.log",
    "node.retried",
    "node.finished",
    "execution.finished",
]

EXECUTION_MOVES: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = {
    "queued": frozenset({"running", "cancelled", "skipped"}),
    "running": frozenset({"waiting", "needs_decision", "succeeded", "failed", "cancelled", "queued"}),
    "waiting": frozenset({"queued", "cancelled"}),
    "needs_decision": frozenset({"queued", "cancelled", "failed"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "skipped": frozenset(),
}
NODE_MOVES: Mapping[NodeStatus, frozenset[NodeStatus]] = {
    "waiting": frozenset({"running", "succeeded", "failed", "reused", "skipped", "cancelled", "held"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "waiting", "held"}),
    "succeeded": frozenset(),
    "reused": frozenset(),
    "failed": frozenset(),
    "skipped": frozenset(),
    "cancelled": frozenset(),
    "held": frozenset(),
}
TERMINAL: frozenset[ExecutionStatus] = frozenset(status for status, moves in EXECUTION_MOVES.items() if not moves)
PREVIEW_ITEMS = 50


class NodeResult(NamedTuple):
    """How a node run ended.

    Attributes:
        outputs: output name -> items; empty unless it succeeded.
        error: `{"code", "message", "hint"?, "item"?, "line"?}` of a failed run; `item` counts from 0.
        blocked: a skipped run that must hold up what follows too, since something before it failed or was held;
            False where it was skipped because no item came in.
        held: what a write node would do, per item: its params with all expressions filled in.
        response: `{"status", "headers", "body"}` for the call that started the execution, where the node answers it;
            the body is plain data.
    """

    status: NodeStatus
    outputs: Outputs = {}
    error: Mapping[str, Any] | None = None
    blocked: bool = False
    held: tuple[Mapping[str, Any], ...] = ()
    response: Mapping[str, Any] | None = None

    @property
    def stops(self) -> bool:
        """Whether nodes after this one cannot run."""
        return self.blocked or self.status in ("failed", "cancelled", "held")


# A tuple rather than a model: an execution of 5 nodes makes 12 of these, at 0.5 us instead of 3 us each.
class Event(NamedTuple):
    """One fact about an execution.

    Attributes:
        seq: counts from 1 within the execution, without gaps.
        at: seconds since 1970, UTC.
        key: preview key of the node run.
        result: how the node run ended; with `node.finished` only.
        done, total: items, with `node.progress` only.
        attempt: the attempt that failed, counted from 1; with `node.retried` only.
    """

    execution_id: str
    seq: int
    kind: Kind
    at: float
    node_id: str | None = None
    status: str | None = None
    key: str | None = None
    result: NodeResult | None = None
    duration_ms: float | None = None
    message: str | None = None
    error: Mapping[str, Any] | None = None
    done: int | None = None
    total: int | None = None
    attempt: int | None = None

    def as_json(self, preview_items: int = PREVIEW_ITEMS) -> dict[str, Any]:
        """The event as plain data, with item counts and the first items of each output instead of whole outputs."""
        data = {name: value for name, value in self._asdict().items() if value is not None and name != "result"}
        if self.result is not None:
            data["counts"] = {name: len(items) for name, items in self.result.outputs.items()}
            data["preview"] = {name: preview(items, preview_items) for name, items in self.result.outputs.items()}
            if self.result.error:
                data["error"] = dict(self.result.error)
            if self.result.held:
                data["held"] = [dict(request) for request in self.result.held]
        return data


def preview(items: Items, count: int = PREVIEW_ITEMS) -> list[dict[str, Any]]:
    """The first rows of an output; a table is not turned into rows for it."""
    return items[:count].rows
