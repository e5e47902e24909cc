"""Revisions: published, named, listed, brought back. What a published one is started by: webhooks and schedules."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from engine.checks import check, place_of
from engine.errors import InvalidWorkflow, Problem
from engine.program import program_of
from engine.runtime.ids import new_id, now_ms
from engine.runtime.models import PRIORITIES
from engine.runtime.programs import make_ready, read_workflow, slot_of, without_pins
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.edits import Edits, EditView
from engine.runtime.service.errors import BadRequest, NotFound, PathTaken
from engine.runtime.service.listing import LIMIT, Page, bounded, page_of
from engine.runtime.service.listing import place_of as place_in_list
from engine.runtime.service.restoring import difference
from engine.runtime.service.schedules import schedule_values, write_schedules
from engine.runtime.service.storable import storable
from engine.runtime.service.workflow_rows import (
    SCHEDULE,
    WEBHOOK,
    WEBHOOK_ROW,
    Trigger,
    packed_workflow,
    webhook_values,
)
from engine.runtime.webhooks.ingress import ROUTES
from engine.runtime.webhooks.routes import shape_of
from engine.workflow import Workflow

MOST_NAME = 200
MOST_NOTE = 10_000
MOST_RUNNING = 2**31 - 1  # the column's width: a limit beyond is none

COLUMNS = "id, number, name, note, slot, created_by, created_ms, published_ms"
NEWEST = text(f"SELECT {COLUMNS}, workflow FROM revision WHERE workflow_id = :id ORDER BY number DESC LIMIT 1")  # noqa: S608
ONE = text(f"SELECT {COLUMNS}, workflow FROM revision WHERE workflow_id = :id AND number = :number")  # noqa: S608
LIST = text(
    f"SELECT {COLUMNS} FROM revision WHERE workflow_id = :id AND number < :before ORDER BY number DESC LIMIT :n"  # noqa: S608
)
INSERT = text(
    "INSERT INTO revision (id, project_id, workflow_id, number, name, note, slot, priority, limited, workflow, "
    "created_by, created_ms) VALUES (:id, :project, :workflow_id, :number, :name, :note, :slot, :priority, :limited, "
    ":workflow, :by, :now)"
)
SET_PUBLISHED = text(
    "UPDATE workflow SET revision_id = :revision, max_running = :max_running, when_full = :when_full, "
    "updated_ms = :now WHERE id = :id"
)
STAMP = text("UPDATE revision SET published_ms = :now WHERE id = :id")
FORGET_WEBHOOKS = text("DELETE FROM webhook WHERE workflow_id = :workflow AND draft = 0")
FORGET_SCHEDULES = text("DELETE FROM schedule WHERE workflow_id = :workflow")
OWNER_OF_SHAPE = text(
    "SELECT w.name, w.project_id FROM webhook h JOIN workflow w ON w.id = h.workflow_id "
    "WHERE h.draft = 0 AND h.shape = :shape AND h.workflow_id != :workflow"
)


class RevisionView(BaseModel):
    """A kept state of a workflow.

    Attributes:
        number: counts those of a workflow from 1.
        slot: what its executions take a worker's slot of: async, code, heavy.
        published_ms: when it was last published; None where it never was.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    number: int
    name: str
    note: str
    slot: str
    created_by: str
    created_ms: int
    published_ms: int | None


class Publishing(Edits):
    """Publishing of workflows, and their revisions."""

    def publish(self, actor: Actor, workflow_id: str, *, note: str = "", name: str = "") -> RevisionView:
        """Publish the draft as it is now: as a new revision, or as the last one where that says the same.

        Raises:
            NotFound: there is no such workflow.
            InvalidWorkflow: it cannot run as drawn, or no enabled trigger starts it; lists all that is wrong.
            PathTaken: another published webhook has the path of one of its own; names the workflow.
        """
        actor = require(actor)
        draft, _ = self.draft(actor, workflow_id)
        self._must_run(draft)
        state = self._kept_state(draft, name, note, slot_of(make_ready(without_pins(draft), self._registry)))
        now = now_ms()
        webhooks = self._triggers(draft, WEBHOOK)
        _differ(webhooks)
        schedules = schedule_values(self._triggers(draft, SCHEDULE), draft.settings.timezone, now)
        limit = draft.settings.concurrency
        try:
            with self._store.write() as connection:
                self._row(connection, actor, workflow_id, lock=True)
                revision = self._revision(connection, actor, workflow_id, state, now)
                self._write_webhooks(connection, actor, workflow_id, revision.id, webhooks, now)
                write_schedules(connection, actor.project_id, workflow_id, revision.id, schedules)
                connection.execute(STAMP, {"id": revision.id, "now": now})
                values = {
                    "revision": revision.id,
                    "max_running": None if limit is None else min(limit, MOST_RUNNING),
                    "when_full": draft.settings.when_full,
                }
                connection.execute(SET_PUBLISHED, {"id": workflow_id, "now": now, **values})
        except IntegrityError as exc:  # another workflow was published in the same moment
            with self._store.read() as connection:
                self._must_be_free(connection, actor, workflow_id, webhooks)
            raise PathTaken("a path was taken in this moment", hint="Publish again.") from exc
        self._tell_routes()
        return revision.model_copy(update={"published_ms": now})

    def unpublish(self, actor: Actor, workflow_id: str) -> None:
        """Let nothing start the workflow any more; what was accepted is still run. Raises NotFound."""
        actor = require(actor)
        with self._store.write() as connection:
            self._row(connection, actor, workflow_id, lock=True)
            self._take_back(connection, workflow_id)
        self._tell_routes()

    def keep(self, actor: Actor, workflow_id: str, *, name: str, note: str = "") -> RevisionView:
        """Keep the draft as it is now as a revision with a name, without publishing it. Raises NotFound."""
        actor = require(actor)
        draft, _ = self.draft(actor, workflow_id)
        # One that cannot run is never published as it is: what its executions take a slot of is of no matter.
        slot = "async" if check(draft, self._registry) else slot_of(make_ready(without_pins(draft), self._registry))
        state = self._kept_state(draft, name, note, slot)
        with self._store.write() as connection:
            self._row(connection, actor, workflow_id, lock=True)
            return self._revision(connection, actor, workflow_id, state, now_ms())

    def revisions(
        self, actor: Actor, workflow_id: str, *, cursor: str | None = None, limit: int = LIMIT
    ) -> Page[RevisionView]:
        """The revisions of a workflow, the newest first. Raises NotFound."""
        actor = require(actor)
        place = place_in_list(cursor) or str(2**31 - 1)
        if not place.isdecimal() or len(place) > 10 or int(place) >= 2**31:
            raise BadRequest("this cursor leads nowhere", hint="Give back `next` as it came, or none.")
        with self._store.read() as connection:
            self._row(connection, actor, workflow_id)
            values = {"id": workflow_id, "before": int(place), "n": bounded(limit) + 1}
            rows = connection.execute(LIST, values).all()
        return page_of(rows, limit, lambda row: str(row.number), _view)

    def revision(self, actor: Actor, workflow_id: str, number: int) -> RevisionView:
        """A revision by its number. Raises NotFound."""
        return _view(self._numbered(require(actor), workflow_id, number))

    def revision_workflow(self, actor: Actor, workflow_id: str, number: int) -> Workflow:
        """The workflow as it was. Raises NotFound."""
        return read_workflow(bytes(self._numbered(require(actor), workflow_id, number).workflow))

    def restore(self, actor: Actor, workflow_id: str, number: int) -> EditView:
        """Bring a revision back into the draft, as an edit that can be undone. Raises NotFound."""
        actor = require(actor)
        kept = self.revision_workflow(actor, workflow_id, number)
        return self._change(actor, workflow_id, lambda draft: difference(draft, kept), None)

    def _must_run(self, draft: Workflow) -> None:
        problems = check(draft, self._registry)
        types = program_of(draft, self._registry).types
        if not any(types[n.id].is_trigger and not n.disabled for n in draft.nodes if n.id in types):
            hint = "Add a webhook, a schedule or a manual trigger, or enable the one that is there."
            problems.append(Problem("publish.no_trigger", "nothing starts this workflow", hint, "nodes"))
        if problems:
            raise InvalidWorkflow(problems)

    def _kept_state(self, draft: Workflow, name: str, note: str, slot: str) -> dict[str, Any]:
        """What a revision of the draft holds. Raises BadRequest."""
        if len(storable(name, "the name")) > MOST_NAME or len(storable(note, "the note")) > MOST_NOTE:
            raise BadRequest(f"a revision's name has at most {MOST_NAME} characters, and its note {MOST_NOTE}")
        return {
            "name": name,
            "note": note,
            "slot": slot,
            "priority": PRIORITIES[draft.settings.priority],
            "limited": int(draft.settings.concurrency is not None),
            "workflow": packed_workflow(draft),
        }

    def _revision(
        self, connection: Connection, actor: Actor, workflow_id: str, state: dict[str, Any], now: int
    ) -> RevisionView:
        """The newest revision where it is this very state and needs no other name or note, else a new one."""
        newest = connection.execute(NEWEST, {"id": workflow_id}).first()
        if (
            newest is not None
            and bytes(newest.workflow) == state["workflow"]
            and state["name"] in ("", newest.name)
            and state["note"] in ("", newest.note)
        ):
            return _view(newest)
        values = {**state, "id": new_id(now), "number": 1 if newest is None else newest.number + 1, "now": now}
        connection.execute(
            INSERT, {**values, "project": actor.project_id, "workflow_id": workflow_id, "by": actor.name}
        )
        shown = {name: values[name] for name in ("id", "number", "name", "note", "slot")}
        return RevisionView(**shown, created_by=actor.name, created_ms=now, published_ms=None)

    def _write_webhooks(
        self,
        connection: Connection,
        actor: Actor,
        workflow_id: str,
        revision_id: str,
        webhooks: list[Trigger],
        now: int,
    ) -> None:
        self._must_be_free(connection, actor, workflow_id, webhooks)
        connection.execute(FORGET_WEBHOOKS, {"workflow": workflow_id})
        rows = [webhook_values(trigger, actor.project_id, workflow_id, revision_id, now) for trigger in webhooks]
        # In one order for all, so that of two that take the same paths one waits for the other, and not each.
        for row in sorted(rows, key=lambda row: str(row["shape"])):
            connection.execute(WEBHOOK_ROW, row)

    def _must_be_free(self, connection: Connection, actor: Actor, workflow_id: str, webhooks: list[Trigger]) -> None:
        """Raises PathTaken where another workflow has one of the paths."""
        for trigger in webhooks:
            path = trigger.params["path"]
            owner = connection.execute(OWNER_OF_SHAPE, {"shape": shape_of(path), "workflow": workflow_id}).first()
            if owner is not None:
                whose = f'the workflow "{owner.name}"' if owner.project_id == actor.project_id else "another project"
                raise PathTaken(
                    f"{place_of(trigger.node)}: {whose} has the path {path!r} already",
                    hint="Give this webhook another path, or unpublish that workflow.",
                )

    def _take_back(self, connection: Connection, workflow_id: str) -> None:
        """Unpublish, within a transaction."""
        connection.execute(FORGET_WEBHOOKS, {"workflow": workflow_id})
        connection.execute(FORGET_SCHEDULES, {"workflow": workflow_id})
        values = {"id": workflow_id, "revision": None, "max_running": None, "when_full": "queue", "now": now_ms()}
        connection.execute(SET_PUBLISHED, values)

    def _numbered(self, actor: Actor, workflow_id: str, number: int) -> Any:
        with self._store.read() as connection:
            self._row(connection, actor, workflow_id)
            values = {"id": workflow_id, "number": number}
            found = connection.execute(ONE, values).first() if 0 < number < 2**31 else None
        if found is None:
            raise NotFound("revision", str(number))
        return found

    def _tell_routes(self) -> None:
        self._tell((ROUTES, {}))


def _differ(webhooks: list[Trigger]) -> None:
    """Raises PathTaken where two webhooks of one workflow have the same path."""
    by_shape: dict[str, Trigger] = {}
    for trigger in webhooks:
        first = by_shape.setdefault(shape_of(trigger.params["path"]), trigger)
        if first is not trigger:
            raise PathTaken(
                f"{place_of(trigger.node)}: {place_of(first.node)} of this workflow has the path "
                f"{first.params['path']!r} already",
                hint="Give one of them another path.",
            )


def _view(row: Any) -> RevisionView:
    return RevisionView(**{name: getattr(row, name) for name in RevisionView.model_fields})
