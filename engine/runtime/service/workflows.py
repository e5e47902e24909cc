"""Workflows: made, found, listed, named, copied, deleted; their files."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from engine.checks import check
from engine.convert import dumps, loads
from engine.errors import InvalidWorkflow, Problem
from engine.file_text import parse
from engine.runtime.ids import new_id, now_ms
from engine.runtime.programs import without_pins
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest
from engine.runtime.service.listing import LIMIT, Page, bounded, like, page_of, place_of
from engine.runtime.service.publishing import Publishing
from engine.runtime.service.storable import shallow, storable
from engine.runtime.service.workflow_rows import packed_workflow, storable_workflow
from engine.workflow import Reading, Workflow, as_data, from_data, read

MOST_TAGS = 20
MOST_TAG = 50

INSERT = text(
    "INSERT INTO workflow (id, project_id, name, draft, draft_seq, tags, when_full, created_ms, updated_ms) "
    "VALUES (:id, :project, :name, :draft, 0, :tags, 'queue', :now, :now)"
)
LISTED = (
    "SELECT w.id, w.name, w.tags, w.draft_seq, w.revision_id, r.number, w.created_ms, w.updated_ms "
    "FROM workflow w LEFT JOIN revision r ON r.id = w.revision_id"
)


class WorkflowLine(BaseModel):
    """A workflow in a list.

    Attributes:
        seq: number of the last edit of its draft.
        revision: number of the published revision; None while nothing is.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    tags: tuple[str, ...]
    seq: int
    revision: int | None
    revision_id: str | None
    created_ms: int
    updated_ms: int


class ProblemView(BaseModel):
    """One thing that is wrong with a workflow; see `engine.errors.Problem`."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str | None = None
    place: str = ""
    node_id: str | None = None
    field: str | None = None

    @classmethod
    def of(cls, problem: Problem) -> "ProblemView":
        """The problem as it is sent."""
        return cls(**{name: getattr(problem, name) for name in cls.model_fields})


class WorkflowView(WorkflowLine):
    """A workflow with its draft.

    Attributes:
        file: the draft as the data of a workflow file.
        problems: what keeps the draft from running; None where it was not asked for.
    """

    file: dict[str, Any]
    problems: tuple[ProblemView, ...] | None = None


class Workflows(Publishing):
    """The workflows of a project: what is here, and what is in `edits.py` and `publishing.py`."""

    def create(self, actor: Actor, file: Any, *, tags: tuple[str, ...] = ()) -> WorkflowView:
        """A new workflow from the text or the data of a workflow file. It may be unfinished: then it has problems.

        Raises:
            InvalidWorkflow: it cannot be read; lists everything that is wrong with its form.
        """
        actor = require(actor)
        return self._create(actor, _reading(file), tags)

    def _create(self, actor: Actor, found: Reading, tags: tuple[str, ...]) -> WorkflowView:
        if found.problems:
            raise InvalidWorkflow(found.problems)
        workflow = storable_workflow(found.workflow)
        packed, now = packed_workflow(workflow), now_ms()
        webhooks = self._draft_webhooks(None, workflow) or []
        id_ = new_id(now)
        values = {"id": id_, "project": actor.project_id, "name": workflow.name, "draft": packed, "now": now}
        with self._store.write() as connection:
            connection.execute(INSERT, {**values, "tags": _tags(tags)})
            self._write_draft_webhooks(connection, actor.project_id, id_, webhooks, now)
        self._keep(id_, packed, workflow)
        self._tell(*self._draft_routes(webhooks))
        return self.get(actor, id_, problems=True)

    def get(self, actor: Actor, workflow_id: str, *, problems: bool = False) -> WorkflowView:
        """A workflow with its draft. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            row = self._row(connection, actor, workflow_id)
        draft = self._draft(row)
        found = tuple(map(ProblemView.of, check(draft, self._registry))) if problems else None
        return WorkflowView(**_line(row), file=as_data(draft), problems=found)

    def list(
        self,
        actor: Actor,
        *,
        cursor: str | None = None,
        limit: int = LIMIT,
        search: str | None = None,
        tag: str | None = None,
        deleted: bool = False,
    ) -> Page[WorkflowLine]:
        """The newest first.

        Args:
            search: part of the name, in small or capital letters.
            deleted: those that were deleted, instead of the others.
        """
        actor = require(actor)
        found = ["w.project_id = :project", f"w.deleted_ms IS {'NOT ' if deleted else ''}NULL"]
        values: dict[str, Any] = {"project": actor.project_id, "n": bounded(limit) + 1}
        if (after := place_of(cursor)) is not None:
            found.append("w.id < :after")
            values["after"] = after
        if search:
            found.append("lower(w.name) LIKE :search ESCAPE '!'")
            values["search"] = like(storable(search, "what is searched for"))
        if tag:
            # The JSON of a tag stands in the JSON of its list, and nowhere else: quotes inside tags are escaped.
            found.append("instr(w.tags, :tag) > 0" if self._store.is_sqlite else "strpos(w.tags, :tag) > 0")
            values["tag"] = dumps(storable(tag, "a tag")).decode()
        statement = text(f"{LISTED} WHERE {' AND '.join(found)} ORDER BY w.id DESC LIMIT :n")
        with self._store.read() as connection:
            rows = connection.execute(statement, values).all()
        return page_of(rows, limit, lambda row: str(row.id), lambda row: WorkflowLine(**_line(row)))

    def set_tags(self, actor: Actor, workflow_id: str, tags: tuple[str, ...]) -> WorkflowView:
        """Give a workflow other tags. Raises NotFound, BadRequest."""
        actor = require(actor)
        written = _tags(tags)
        with self._store.write() as connection:
            self._row(connection, actor, workflow_id)
            connection.execute(
                text("UPDATE workflow SET tags = :tags, updated_ms = :now WHERE id = :id"),
                {"id": workflow_id, "tags": written, "now": now_ms()},
            )
        return self.get(actor, workflow_id)

    def delete(self, actor: Actor, workflow_id: str) -> None:
        """Unpublish a workflow and put it away; `undelete` brings it back, unpublished. Raises NotFound."""
        actor = require(actor)
        with self._store.write() as connection:
            self._row(connection, actor, workflow_id, lock=True)
            self._take_back(connection, workflow_id)
            self._write_draft_webhooks(connection, actor.project_id, workflow_id, [], now_ms())
            connection.execute(
                text("UPDATE workflow SET deleted_ms = :now WHERE id = :id"), {"id": workflow_id, "now": now_ms()}
            )
        self._tell_routes()

    def undelete(self, actor: Actor, workflow_id: str) -> WorkflowView:
        """Bring a deleted workflow back. Raises NotFound where none of this id was deleted."""
        actor = require(actor)
        with self._store.write() as connection:
            row = self._row(connection, actor, workflow_id, deleted=True, lock=True)
            webhooks = self._draft_webhooks(None, self._draft(row)) or []
            self._write_draft_webhooks(connection, actor.project_id, workflow_id, webhooks, now_ms())
            connection.execute(text("UPDATE workflow SET deleted_ms = NULL WHERE id = :id"), {"id": workflow_id})
        self._tell(*self._draft_routes(webhooks))
        return self.get(actor, workflow_id)

    def duplicate(self, actor: Actor, workflow_id: str) -> WorkflowView:
        """A copy of the draft as a workflow of its own, with the same tags, unpublished. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            row = self._row(connection, actor, workflow_id)
        copy = self._draft(row).model_copy(update={"name": f"{row.name[:190]} (copy)"})
        return self._create(actor, Reading(copy, []), tuple(loads(row.tags)))

    def file(self, actor: Actor, workflow_id: str, *, pins: bool = False, revision: int | None = None) -> Workflow:
        """A workflow to save as a file: the draft, or a revision. It names credentials and holds none.

        Args:
            pins: with the items that are pinned to nodes: they may be anything.
            revision: number of a revision.
        """
        actor = require(actor)
        if revision is None:
            workflow, _ = self.draft(actor, workflow_id)
        else:
            workflow = self.revision_workflow(actor, workflow_id, revision)
        return workflow if pins else without_pins(workflow)


def _reading(file: Any) -> Reading:
    """What of a workflow file's text or data can be read. Raises BadRequest where it is nested too deeply."""
    if isinstance(file, str):
        try:
            file = parse(file)
        except ValueError:
            return read(file)  # says where
    return from_data(shallow(file, "the file"))


def _line(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "tags": tuple(loads(row.tags)),
        "seq": row.draft_seq,
        "revision": row.number,
        "revision_id": row.revision_id,
        "created_ms": row.created_ms,
        "updated_ms": row.updated_ms,
    }


def _tags(tags: tuple[str, ...]) -> str:
    """The tags as they are stored, each once. Raises BadRequest."""
    found = list(dict.fromkeys(storable(tag, "a tag").strip() for tag in tags))
    if any(not 1 <= len(tag) <= MOST_TAG for tag in found):
        raise BadRequest(f"a tag has 1 to {MOST_TAG} characters")
    if len(found) > MOST_TAGS:
        raise BadRequest(f"a workflow has at most {MOST_TAGS} tags")
    return dumps(found).decode()
