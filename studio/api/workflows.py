"""Workflows, their files, and what is published of them. Edits and revisions: `edits.py`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from engine.runtime.service import Page, RevisionView, WorkflowLine, WorkflowView
from engine.workflow import save
from studio.api.requests import Cursor, Door, Limit, StrictRoute, Who, body_of

router = APIRouter(prefix="/workflows", tags=["workflows"], route_class=StrictRoute)

# YAML is read at a hundredth of the speed of JSON.
MOST_YAML_BYTES = 2**20
FILE_SCHEMA = {
    "type": "object",
    "required": ["flowleaf"],
    "properties": {
        "flowleaf": {"const": 1},
        "name": {"type": "string"},
        "settings": {"type": "object"},
        "nodes": {"type": "array", "items": {"type": "object"}},
        "connections": {"type": "array", "items": {"type": "object"}},
        "notes": {"type": "array", "items": {"type": "object"}},
    },
}
FILE_BODY = {
    "requestBody": {
        "required": True,
        "description": "A workflow file: docs/workflow_file.md. It may be unfinished.",
        "content": {
            "application/json": {"schema": FILE_SCHEMA},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The workflow file", "content": {"application/json": {"schema": FILE_SCHEMA}}}
}


class WorkflowChange(BaseModel):
    """What becomes different."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=200)
    tags: list[str] | None = Field(None, max_length=20)


class Publication(BaseModel):
    """Words that go with a revision."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=200)
    note: str = Field("", max_length=10_000)


@router.get("")
def list_workflows(
    actor: Who,
    service: Door,
    cursor: Cursor = None,
    limit: Limit = 50,
    search: Annotated[str | None, Query(description="Part of the name.", max_length=200)] = None,
    tag: Annotated[str | None, Query(max_length=50)] = None,
    deleted: Annotated[bool, Query(description="Those that were deleted, instead of the others.")] = False,
) -> Page[WorkflowLine]:
    """The workflows, the newest first."""
    return service.workflows.list(actor, cursor=cursor, limit=limit, search=search, tag=tag, deleted=deleted)


@router.post("", status_code=201, openapi_extra=FILE_BODY)
def create_workflow(body: Annotated[bytes, Depends(body_of)], actor: Who, service: Door) -> WorkflowView:
    """Make a workflow of a workflow file, JSON or YAML. What keeps it from running comes back as `problems`."""
    return service.workflows.create(actor, _file_text(body))


@router.get("/{workflow_id}")
def get_workflow(
    workflow_id: str,
    actor: Who,
    service: Door,
    problems: Annotated[bool, Query(description="With what keeps the draft from running.")] = False,
) -> WorkflowView:
    """A workflow with its draft."""
    return service.workflows.get(actor, workflow_id, problems=problems)


@router.patch("/{workflow_id}")
def change_workflow(workflow_id: str, given: WorkflowChange, actor: Who, service: Door) -> WorkflowView:
    """Change a workflow's name or tags."""
    if given.name is not None:
        service.workflows.rename(actor, workflow_id, given.name)
    if given.tags is not None:
        service.workflows.set_tags(actor, workflow_id, tuple(given.tags))
    return service.workflows.get(actor, workflow_id)


@router.delete("/{workflow_id}", status_code=204, response_model=None)
def delete_workflow(workflow_id: str, actor: Who, service: Door) -> None:
    """Unpublish a workflow and put it away."""
    service.workflows.delete(actor, workflow_id)


@router.post("/{workflow_id}/undelete")
def undelete_workflow(workflow_id: str, actor: Who, service: Door) -> WorkflowView:
    """Bring a deleted workflow back, unpublished."""
    return service.workflows.undelete(actor, workflow_id)


@router.post("/{workflow_id}/duplicate", status_code=201)
def duplicate_workflow(workflow_id: str, actor: Who, service: Door) -> WorkflowView:
    """Copy a workflow's draft into a workflow of its own."""
    return service.workflows.duplicate(actor, workflow_id)


@router.get("/{workflow_id}/file", response_class=Response, response_model=None, responses=FILE_ANSWER)
def get_workflow_file(
    workflow_id: str,
    actor: Who,
    service: Door,
    pins: Annotated[bool, Query(description="With the items pinned to nodes.")] = False,
    revision: Annotated[int | None, Query(description="Of a revision, by its number, instead of the draft.")] = None,
) -> Response:
    """The workflow file: the draft, or a revision. Credentials are named in it, and not held."""
    workflow = service.workflows.file(actor, workflow_id, pins=pins, revision=revision)
    return Response(save(workflow).encode(), media_type="application/json")


@router.post("/{workflow_id}/publish")
def publish_workflow(workflow_id: str, actor: Who, service: Door, given: Publication | None = None) -> RevisionView:
    """Publish the draft as it is now."""
    words = given or Publication()
    return service.workflows.publish(actor, workflow_id, note=words.note, name=words.name)


@router.post("/{workflow_id}/unpublish", status_code=204, response_model=None)
def unpublish_workflow(workflow_id: str, actor: Who, service: Door) -> None:
    """Let nothing start the workflow any more."""
    service.workflows.unpublish(actor, workflow_id)


def _file_text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise HTTPException(400, f"the body is not UTF-8: byte {exc.start} cannot be read") from exc
    if text.lstrip("\ufeff \t\r\n")[:1] not in ("{", "[") and len(body) > MOST_YAML_BYTES:
        raise HTTPException(413, "a workflow file in YAML has at most 1 MB: send JSON")
    return text
