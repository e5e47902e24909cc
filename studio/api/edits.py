"""Edits of a workflow's draft, and the revisions that were kept of it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from engine.edits import Edit
from engine.runtime.service import EditView, Page, RevisionView
from studio.api.requests import Cursor, Door, Limit, StrictRoute, Who

router = APIRouter(prefix="/workflows/{workflow_id}", tags=["workflows"], route_class=StrictRoute)
Seq = Annotated[int, Field(ge=0, lt=2**63)]


class NewEdit(BaseModel):
    """An edit, and the number of the last one that its author knew."""

    model_config = ConfigDict(extra="forbid")

    edit: Edit
    seen_seq: Seq


class Undone(BaseModel):
    """The number of the edit to take back."""

    model_config = ConfigDict(extra="forbid")

    seq: Seq


class NewRevision(BaseModel):
    """A name for the draft as it is now."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    note: str = Field("", max_length=10_000)


@router.get("/edits")
def list_edits(
    workflow_id: str,
    actor: Who,
    service: Door,
    after: Annotated[int, Query(description="Number of the last edit that is known.", ge=0, lt=2**63)] = 0,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> Page[EditView]:
    """The edits after one, in their order."""
    return service.workflows.edits_page(actor, workflow_id, after=after, cursor=cursor, limit=limit)


@router.post("/edits", status_code=201)
def edit_workflow(workflow_id: str, given: NewEdit, actor: Who, service: Door) -> EditView:
    """Edit the draft. 409 where another has changed the same since."""
    return service.workflows.edit(actor, workflow_id, given.edit, given.seen_seq)


@router.post("/undo", status_code=201)
def undo_edit(workflow_id: str, given: Undone, actor: Who, service: Door) -> EditView:
    """Take an edit back, by an edit; taking that back is redoing."""
    return service.workflows.undo(actor, workflow_id, given.seq)


@router.get("/revisions")
def list_revisions(
    workflow_id: str, actor: Who, service: Door, cursor: Cursor = None, limit: Limit = 50
) -> Page[RevisionView]:
    """The revisions, the newest first."""
    return service.workflows.revisions(actor, workflow_id, cursor=cursor, limit=limit)


@router.post("/revisions", status_code=201)
def keep_revision(workflow_id: str, given: NewRevision, actor: Who, service: Door) -> RevisionView:
    """Keep the draft as it is now under a name, without publishing it."""
    return service.workflows.keep(actor, workflow_id, name=given.name, note=given.note)


@router.get("/revisions/{number}")
def get_revision(workflow_id: str, number: int, actor: Who, service: Door) -> RevisionView:
    """A revision; its file is that of the workflow with `?revision=`."""
    return service.workflows.revision(actor, workflow_id, number)


@router.post("/revisions/{number}/restore", status_code=201)
def restore_revision(workflow_id: str, number: int, actor: Who, service: Door) -> EditView:
    """Bring a revision back into the draft, by an edit that can be undone."""
    return service.workflows.restore(actor, workflow_id, number)
