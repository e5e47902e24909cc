"""What the caller of a webhook is answered, from the results of the execution that the call started."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.events import NodeResult
from engine.graph import Graph
from engine.workflow import Workflow


class Answer(NamedTuple):
    """An HTTP answer. `body` is any JSON value; text stays text where the headers name another type than JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}

    def as_json(self) -> dict[str, Any]:
        """As it travels from the worker to the process that holds the call."""
        return {"status": self.status, "headers": dict(self.headers), "body": self.body}


def said(result: NodeResult) -> Answer | None:
    """What a Respond node said; None where the node is none."""
    if result.response is None:
        return None
    return Answer(int(result.response["status"]), result.response["body"], result.response["headers"])


def answer_of(
    workflow: Workflow,
    last: Sequence[tuple[str, str]],
    respond: str,
    execution_id: str,
    status: str,
    results: Mapping[str, NodeResult],
) -> Answer:
    """The answer of an execution that has ended.

    Args:
        last: as `last_nodes` gives them for the trigger.
        respond: the webhook's param: `last_node` or `respond_node`.
        status: how the execution ended.
        results: node id -> result.
    """
    if respond == "respond_node":
        for result in results.values():
            if (found := said(result)) is not None:
                return found
    if status == "succeeded":
        if respond == "last_node":
            return Answer(200, _last(last, results))
        return _problem(500, "webhook.no_answer", "the workflow ended without reaching a Respond node", execution_id)
    if status == "cancelled":
        return _problem(500, "execution.cancelled", "the execution was cancelled", execution_id)
    if status in ("skipped", "needs_decision"):
        return _problem(503, f"execution.{status}", f"the execution is {status.replace('_', ' ')}", execution_id)
    failed = next(((id_, r.error) for id_, r in results.items() if r.status == "failed" and r.error), None)
    if failed is None:
        return _problem(500, "execution.failed", "the execution failed", execution_id)
    node = workflow.node(failed[0])
    where = f'"{node.label}"' if node is not None else failed[0]
    # The node's own message may hold data of the workflow; the caller learns where to look.
    return _problem(500, str(failed[1]["code"]), f"the execution failed at the node {where}", execution_id)


def _problem(status: int, code: str, message: str, execution_id: str) -> Answer:
    hint = f"Its owner finds it as execution {execution_id}."
    return Answer(status, {"code": code, "message": message, "hint": hint, "execution_id": execution_id})


def last_nodes(workflow: Workflow, graph: Graph, trigger_id: str) -> tuple[tuple[str, str], ...]:
    """Id and label of the nodes without successors that a trigger leads to."""
    reached = {trigger_id} | graph.descendants([trigger_id])
    return tuple((n.id, n.label) for n in workflow.nodes if n.id in reached and not graph.outgoing[n.id])


def _last(last: Sequence[tuple[str, str]], results: Mapping[str, NodeResult]) -> Any:
    """The items of the last node; of several, by label."""
    if len(last) == 1:
        return rows_of(results.get(last[0][0]))
    return {label: rows_of(results.get(node_id)) for node_id, label in last}


def rows_of(result: NodeResult | None) -> Any:
    """A node's result as plain data: its items (one: the object itself); without `main`, output -> items."""
    if result is None or not result.outputs or result.stops or result.status == "skipped":
        return []
    outputs = {name: items.rows for name, items in result.outputs.items()}
    if "main" not in outputs:
        return outputs
    rows = outputs["main"]
    return rows[0] if len(rows) == 1 else rows
