"""Executions: what ran, running it, and what may be done with it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from engine.convert import dumps
from engine.runtime.service import Count, ExecutionDetail, ExecutionView, Page, Preview, RunResult, Told
from engine.runtime.service.following import place_of
from studio.api.answers import Json
from studio.api.requests import Cursor, Door, Limit, StrictRoute, Who

router = APIRouter(tags=["executions"], route_class=StrictRoute)

# A line that says nothing, so that nobody on the way takes a quiet stream for a dead one.
STILL_HERE_S = 15.0
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "snapshot, events, status, end", "content": {"text/event-stream": {}}}
}
Status = Literal["queued", "running", "waiting", "needs_decision", "succeeded", "failed", "cancelled", "skipped"]
Kind = Literal["published", "test", "draft"]
Source = Literal["webhook", "schedule", "manual", "api", "retry", "replay", "preview"]
Moment = Annotated[int | None, Query(description="Milliseconds since 1970, UTC.", ge=0, le=2**47)]
NodeIds = Annotated[list[str], Field(max_length=2_000)]


class Begun(BaseModel):
    """The execution that does it."""

    execution_id: str


class Stopped(BaseModel):
    """An execution that was cancelled; `running` until its worker has stopped it."""

    execution_id: str
    status: str


class Run(BaseModel):
    """What a workflow is started with.

    Attributes:
        items: what the trigger gives.
        trigger: its label or id, where there are several.
        wait_s: how long to wait for the end; 0: answer at once.
    """

    model_config = ConfigDict(extra="forbid")

    items: list[dict[str, Any]] | None = None
    trigger: str | None = None
    wait_s: float = Field(0, ge=0, le=60)


class Retry(BaseModel):
    """`confirm`: nodes that change something outside may run."""

    model_config = ConfigDict(extra="forbid")

    confirm: bool = False


class Replay(Retry):
    """Where to begin, and with which revision."""

    from_node: str | None = None
    revision: Literal["same", "published"] = "same"


class Decision(BaseModel):
    """What becomes of an execution that waits for a person."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["retry", "cancel", "fail"]


class Asked(BaseModel):
    """What a preview is to show: see `service.drafts.preview`."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = None
    sample: int | None = Field(None, ge=1, le=1_000_000)
    force: NodeIds = []
    confirm: NodeIds = []
    by_hand: bool = False
    trigger_id: str | None = None


class Sending(BaseModel):
    """The node that is sent."""

    model_config = ConfigDict(extra="forbid")

    node_id: str


@router.get("/executions")
def list_executions(
    actor: Who,
    service: Door,
    cursor: Cursor = None,
    limit: Limit = 50,
    workflow_id: Annotated[str | None, Query(max_length=32)] = None,
    status: Status | None = None,
    kind: Annotated[Kind | None, Query(description="Draft runs are listed only where they are asked for.")] = None,
    source: Source | None = None,
    since_ms: Moment = None,
    until_ms: Moment = None,
) -> Page[ExecutionView]:
    """The executions, the newest first. A part may be short, and `next` still lead on."""
    return service.executions.list(
        actor,
        workflow_id=workflow_id,
        status=status,
        kind=kind,
        source=source,
        since_ms=since_ms,
        until_ms=until_ms,
        cursor=cursor,
        limit=limit,
    )


@router.get("/executions/counts")
def count_executions(
    actor: Who, service: Door, workflow_id: Annotated[str | None, Query(max_length=32)] = None
) -> dict[str, Count]:
    """How many there are of each status. Counting stops somewhere: `at_least`."""
    return service.executions.counts(actor, workflow_id=workflow_id)


@router.get("/executions/{execution_id}")
def get_execution(execution_id: str, actor: Who, service: Door) -> ExecutionDetail:
    """An execution with its node runs: counts, first rows, errors, logs."""
    return service.executions.get(actor, execution_id)


@router.get("/executions/{execution_id}/events", response_class=StreamingResponse, responses=STREAM)
async def follow_execution(
    execution_id: str,
    actor: Who,
    service: Door,
    last_event_id: Annotated[str | None, Header(description="The last id that was received.")] = None,
) -> Response:
    """Follow an execution, as server-sent events: a snapshot, events in order, its end."""
    stream = service.following.follow_execution(actor, execution_id, place_of(last_event_id))
    first = await anext(stream)  # what is not there is answered 404
    return StreamingResponse(
        _lines(first, stream), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


@router.post("/executions/{execution_id}/cancel")
def cancel_execution(execution_id: str, actor: Who, service: Door) -> Stopped:
    """Stop an execution."""
    found = service.actions.cancel(actor, execution_id)
    return Stopped(execution_id=found.id, status=found.status)


@router.post("/executions/{execution_id}/retry", status_code=202)
def retry_execution(execution_id: str, actor: Who, service: Door, given: Retry | None = None) -> Begun:
    """Run again what failed or was stopped, and what comes after it."""
    return Begun(execution_id=service.actions.retry(actor, execution_id, confirm=(given or Retry()).confirm))


@router.post("/executions/{execution_id}/replay", status_code=202)
def replay_execution(execution_id: str, actor: Who, service: Door, given: Replay | None = None) -> Begun:
    """Run an execution once more with the same request, whole or from a node."""
    asked = given or Replay()
    return Begun(
        execution_id=service.actions.replay(
            actor, execution_id, from_node=asked.from_node, revision=asked.revision, confirm=asked.confirm
        )
    )


@router.post("/executions/{execution_id}/decide")
def decide_execution(execution_id: str, given: Decision, actor: Who, service: Door) -> ExecutionView:
    """Decide about an execution whose worker died while a node changed something outside."""
    return service.actions.decide(actor, execution_id, given.decision)


@router.post(
    "/workflows/{workflow_id}/run",
    status_code=202,
    response_model=Begun,
    responses={200: {"model": RunResult, "description": "It has ended in the time that was waited"}},
)
async def run_workflow(workflow_id: str, actor: Who, service: Door, given: Run | None = None) -> Any:
    """Run the published revision; with `wait_s` the answer is its result, if it ends in that time."""
    asked = given or Run()
    id_ = await run_in_threadpool(
        lambda: service.actions.run(actor, workflow_id, items=asked.items, trigger=asked.trigger, source="api")
    )
    if asked.wait_s:
        found = await service.following.until_ended(actor, id_, asked.wait_s)
        if found.status not in ("queued", "running", "waiting"):
            result = await run_in_threadpool(service.actions.result, actor, id_)
            return Json(result.model_dump())
    return Begun(execution_id=id_)


@router.post("/workflows/{workflow_id}/preview")
def preview_workflow(workflow_id: str, actor: Who, service: Door, given: Asked | None = None) -> Preview:
    """What is known of the draft's results; what is not, and may run by itself, is queued."""
    return service.drafts.preview(actor, workflow_id, **(given or Asked()).model_dump())


@router.post("/workflows/{workflow_id}/send", status_code=202)
def send_node(workflow_id: str, given: Sending, actor: Who, service: Door) -> Begun:
    """Run one node of the draft that changes something outside, with all it needs."""
    return Begun(execution_id=service.drafts.send_once(actor, workflow_id, given.node_id))


async def _lines(first: Told, stream: AsyncGenerator[Told, None]) -> AsyncGenerator[bytes, None]:
    """The messages in the form of the HTML standard, 9.2.5."""
    async with aclosing(stream):
        yield _line(first)
        coming: asyncio.Future[Told] = asyncio.ensure_future(anext(stream))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=STILL_HERE_S)
                if not done:
                    yield b":\n\n"
                    continue
                try:
                    told = coming.result()
                except StopAsyncIteration:
                    return
                yield _line(told)
                coming = asyncio.ensure_future(anext(stream))
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


def _line(told: Told) -> bytes:
    head = f"id: {told.place}\nevent: {told.kind}\n" if told.place is not None else f"event: {told.kind}\n"
    data = {name: _plain(value) for name, value in told.data.items()}
    return head.encode() + b"data: " + dumps(data) + b"\n\n"


def _plain(value: BaseModel | Sequence[Any]) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value
