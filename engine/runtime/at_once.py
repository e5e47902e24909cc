"""Executions that only compute on little: run from claim to entry in one go, without task and events.

Most calls of webhooks are such. What has to wait for something goes on as an attempt, with what was run here.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.api import Request
from engine.events import NodeResult
from engine.executor import Ended, execute_at_once
from engine.runtime.answers import Answer, answer_of
from engine.runtime.attempt import Attempt, Shared
from engine.runtime.claims import Claim
from engine.runtime.context import ExecutionServices
from engine.runtime.data.records import Bundle, StoredRun, packed
from engine.runtime.journal import Entry
from engine.runtime.orders import unpack_order
from engine.runtime.programs import Ready

# A larger request makes larger outputs, and those are written down in a thread.
REQUEST_BYTES = 64 * 1024
# More may be so much that it is better written down in a thread: the attempt decides.
FEW_ITEMS = 50


def run_at_once(claim: Claim, parts: list[bytes], shared: Shared) -> Entry | Attempt:
    """The entry that ends the execution; or the attempt that has to go on with it."""
    ready = _ready(claim, parts, shared)
    if ready is None:
        return Attempt(claim, parts, shared)
    variables = shared.outside.known_vars(claim.project_id) if ready.uses_vars else {}
    if variables is None:
        return Attempt(claim, parts, shared)
    try:
        return _run(claim, parts, shared, ready, variables)
    except Exception:  # noqa: BLE001  nothing outside was changed: an attempt runs it anew, and says what is wrong
        return Attempt(claim, parts, shared)


def _run(
    claim: Claim, parts: list[bytes], shared: Shared, ready: Ready, variables: Mapping[str, Any]
) -> Entry | Attempt:
    began_s = time.monotonic()
    results: dict[str, NodeResult] = {}
    order = unpack_order(parts[0])
    ended, status = execute_at_once(
        claim.id,
        ready.workflow,
        ready.steps,
        shared.programs.registry,
        ExecutionServices(shared.outside, claim.project_id, claim.created_ms, variables),
        results,
        Request(order.items) if order.items is not None else None,
        trigger=claim.trigger_id,
    )
    runs = tuple(_stored(run) for run in ended)
    took: dict[str, tuple[str, str, float]] = {
        run.node_id: (ready.program.types[run.node_id].name, run.status, run.duration_ms or 0.0) for run in runs
    }
    if status != "succeeded" or any(len(items) > FEW_ITEMS for run in runs for items in run.result.outputs.values()):
        return Attempt(claim, parts, shared, results=results, before=runs, runs=list(runs), took=took)
    made = packed(Bundle(runs), shared.payloads)
    shared.measures.execution_ended(claim, status, (time.monotonic() - began_s) * 1000, took)
    return Entry(
        claim,
        part=1,
        data=made.data,
        uses=made.hashes,
        status=status,
        answer=_answer(claim, ready, status, results),
    )


def _ready(claim: Claim, parts: Sequence[bytes], shared: Shared) -> Ready | None:
    """The workflow, where the execution may be run here: a first run of a published revision that is at hand."""
    if claim.kind != "published" or claim.origin_id is not None or claim.revision_id is None:
        return None
    if len(parts) != 1 or len(parts[0]) > REQUEST_BYTES:
        return None
    return shared.programs.known(claim.revision_id)


def _stored(run: Ended) -> StoredRun:
    result = run.result
    return StoredRun(run.node_id, result.status, run.key, run.duration_ms, int(run.at * 1000), result, run.log)


def _answer(claim: Claim, ready: Ready, status: str, results: dict[str, NodeResult]) -> Answer | None:
    """What the call that waits is answered; None where none does."""
    if claim.reply_to is None or claim.trigger_id is None:
        return None
    respond, last = ready.respond.get(claim.trigger_id, "last_node"), ready.last.get(claim.trigger_id, ())
    return answer_of(ready.workflow, last, respond, claim.id, status, results)
