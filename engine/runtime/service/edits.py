"""Edits of drafts: applied to the newest state, appended, told to the other tabs; taken back by their inverses."""

from collections.abc import Callable
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert, text

from engine.convert import dumps, loads
from engine.edits import EDIT, Edit, SetWorkflow, apply, conflict, inverse, touches
from engine.runtime.ids import now_ms
from engine.runtime.models import EditRow
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, EditConflict, NotFound
from engine.runtime.service.listing import LIMIT, Page, bounded, page_of, place_of
from engine.runtime.service.workflow_rows import Trigger, WorkflowRows, packed_workflow, storable_workflow
from engine.runtime.webhooks.ingress import ROUTES
from engine.workflow import Workflow

# Another edit came in between reading the draft and writing it: with more such in a row something else is wrong.
TRIES = 50
MOST_BEHIND = 5_000
AT_ONCE = 500
# Larger edits, such as of pin data, are read by the tabs from the database.
MOST_TOLD = 65_536

FORGET = text("DELETE FROM sample WHERE workflow_id = :id AND node_id = :node")
INSERT = insert(EditRow.__table__)  # type: ignore[attr-defined]
UPDATE = text(
    "UPDATE workflow SET draft = :draft, draft_seq = :seq, name = :name, updated_ms = :now "
    "WHERE id = :id AND draft_seq = :seen AND deleted_ms IS NULL"
)
SINCE = text(
    "SELECT seq, actor, client, touches FROM edit WHERE workflow_id = :id AND seq > :seen ORDER BY seq DESC LIMIT :n"
)
AFTER = text(
    "SELECT seq, actor, client, edit, at_ms FROM edit "
    "WHERE workflow_id = :id AND project_id = :project AND seq > :seq ORDER BY seq LIMIT :n"
)


class EditView(BaseModel):
    """A committed edit. `seq` numbers those of a workflow from 1, without gaps."""

    model_config = ConfigDict(frozen=True)

    seq: int
    edit: dict[str, Any]
    actor: str
    client: str
    at_ms: int


class Edits(WorkflowRows):
    """Editing of workflows' drafts."""

    def edit(self, actor: Actor, workflow_id: str, edit: Edit, seen_seq: int) -> EditView:
        """Apply an edit to the newest draft, and tell the other tabs on `workflow:{id}`.

        Args:
            seen_seq: number of the last edit that the caller knew. Its own later edits never conflict.

        Raises:
            NotFound: there is no such workflow.
            EditConflict: what it touches was changed by another since; names who did.
            DefinitionError: it does not fit the draft.
        """
        return self._change(require(actor), workflow_id, lambda _: edit, seen_seq)

    def undo(self, actor: Actor, workflow_id: str, seq: int) -> EditView:
        """Take an edit back, as an edit of its own: taking that back is redoing.

        Raises:
            NotFound: there is no such workflow or edit.
            EditConflict: what it changed was changed again since by another.
        """
        actor = require(actor)
        with self._store.read() as connection:
            self._row(connection, actor, workflow_id)
            found = connection.execute(
                text("SELECT inverse FROM edit WHERE workflow_id = :id AND seq = :seq"),
                {"id": workflow_id, "seq": _number(seq)},
            ).scalar()
        if found is None:
            raise NotFound("edit", str(seq))
        back = EDIT.validate_python(loads(found))
        return self._change(actor, workflow_id, lambda _: back, seq)

    def rename(self, actor: Actor, workflow_id: str, name: str) -> EditView:
        """Give a workflow another name: an edit as others are. Raises NotFound."""
        if not 1 <= len(name) <= 200:
            raise BadRequest("the name of a workflow has 1 to 200 characters")
        return self._change(require(actor), workflow_id, lambda _: SetWorkflow(name=name), None)

    def edits_after(self, actor: Actor, workflow_id: str, seq: int, *, limit: int = AT_ONCE) -> tuple[EditView, ...]:
        """The edits after one, in their order, `limit` at most: for a tab that was away. Raises NotFound."""
        actor = require(actor)
        values = {"id": workflow_id, "project": actor.project_id, "seq": _number(seq), "n": limit}
        with self._store.read() as connection:
            self._row(connection, actor, workflow_id)
            rows = connection.execute(AFTER, values).all()
        return tuple(
            EditView(seq=row.seq, edit=loads(row.edit), actor=row.actor, client=row.client, at_ms=row.at_ms)
            for row in rows
        )

    def edits_page(
        self, actor: Actor, workflow_id: str, *, after: int = 0, cursor: str | None = None, limit: int = LIMIT
    ) -> Page[EditView]:
        """As `edits_after`, in parts. Raises NotFound, BadRequest."""
        place = place_of(cursor)
        if place is not None:
            if not place.isascii() or not place.isdecimal() or len(place) > 20:
                raise BadRequest("this cursor leads nowhere", hint="Give back `next` as it came, or none.")
            after = int(place)
        found = self.edits_after(actor, workflow_id, after, limit=bounded(limit) + 1)
        return page_of(found, limit, lambda edit: str(edit.seq), lambda edit: edit)

    def _change(
        self, actor: Actor, workflow_id: str, edit_of: Callable[[Workflow], Edit], seen_seq: int | None
    ) -> EditView:
        """One edit, made from the newest draft; with `seen_seq` None nothing conflicts with it.

        All is computed before the transaction, which others wait for, and done again where an edit came in between.
        """
        seen = None if seen_seq is None else _number(seen_seq)
        for _ in range(TRIES):
            with self._store.read() as connection:
                row = self._row(connection, actor, workflow_id)
                others = self._others(connection, actor, row, seen)
            before = self._draft(row)
            edit = edit_of(before)
            touched = touches(before, edit)
            for seq, name, their in others:
                if conflict(touched, their):
                    both = [path for path in sorted(touched) if conflict([path], their)]
                    raise EditConflict(name, seq, both)
            after = storable_workflow(apply(before, edit), before)
            packed, now = packed_workflow(after), now_ms()
            written = EDIT.dump_python(edit, mode="json")
            values = {
                "workflow_id": workflow_id,
                "seq": row.draft_seq + 1,
                "project_id": actor.project_id,
                "actor": actor.name,
                "client": actor.client,
                "edit": dumps(written).decode(),
                "inverse": dumps(EDIT.dump_python(inverse(before, edit), mode="json")).decode(),
                "touches": dumps(sorted(touched)).decode(),
                "at_ms": now,
            }
            webhooks = self._draft_webhooks(before, after)
            pinned = _newly_pinned(before, after) if any(path.endswith("/pinned") for path in touched) else []
            if self._commit(values, row.draft_seq, packed, after, webhooks, pinned):
                self._keep(workflow_id, packed, after)
                done = EditView(seq=row.draft_seq + 1, edit=written, actor=actor.name, client=actor.client, at_ms=now)
                self._tell((f"workflow:{workflow_id}", _told(done, len(values["edit"]))), *self._draft_routes(webhooks))
                return done
        raise EditConflict("others", row.draft_seq, ["it, again and again"])

    def _others(self, connection: Any, actor: Actor, row: Any, seen: int | None) -> list[tuple[int, str, list[str]]]:
        """The edits of others since: number, who, what they touched; the newest first."""
        if seen is None or seen == row.draft_seq:
            return []
        if seen > row.draft_seq:
            raise BadRequest(f"there is no edit {seen} yet: the last one is {row.draft_seq}", hint="Load it anew.")
        rows = connection.execute(SINCE, {"id": row.id, "seen": seen, "n": MOST_BEHIND + 1}).all()
        if len(rows) > MOST_BEHIND:
            raise EditConflict("others", row.draft_seq, ["very much"])
        mine = (actor.name, actor.client)
        return [
            (seq, name, loads(touched))
            for seq, name, client, touched in rows
            if not actor.client or (name, client) != mine
        ]

    def _commit(
        self,
        values: dict[str, Any],
        seen: int,
        packed: bytes,
        after: Workflow,
        webhooks: list[Trigger] | None,
        pinned: list[str],
    ) -> bool:
        """Append the edit and update the draft; False where another edit came first.

        What is pinned on a trigger takes the place of its last test request: the newer of the two is what previews
        begin with.
        """
        id_, now = values["workflow_id"], values["at_ms"]
        with self._store.write() as connection:
            update = {"id": id_, "draft": packed, "seq": values["seq"], "name": after.name, "now": now, "seen": seen}
            if connection.execute(UPDATE, update).rowcount == 0:
                return False
            connection.execute(INSERT, values)
            if webhooks is not None:
                self._write_draft_webhooks(connection, values["project_id"], id_, webhooks, now)
            for node_id in pinned:
                connection.execute(FORGET, {"id": id_, "node": node_id})
        return True

    @staticmethod
    def _draft_routes(webhooks: list[Trigger] | None) -> list[tuple[str, dict[str, Any]]]:
        """The word that test addresses changed, where they did."""
        return [(ROUTES, {})] if webhooks else []


def _newly_pinned(before: Workflow, after: Workflow) -> list[str]:
    """Ids of the nodes whose pin data is another than before."""
    known = {node.id: node.pinned for node in before.nodes}
    return [node.id for node in after.nodes if node.pinned is not None and node.pinned != known.get(node.id)]


def _told(done: EditView, size: int) -> dict[str, Any]:
    """The edit as the other tabs hear of it: without what it is where it is large, or holds what the bus cannot."""
    told = done.model_dump()
    try:
        is_plain = size <= MOST_TOLD and bool(orjson.dumps(told))
    except TypeError:
        is_plain = False
    return told if is_plain else {**told, "edit": None}


def _number(seq: int) -> int:
    """The number of an edit. Raises BadRequest where none can have it."""
    if not 0 <= seq < 2**63:
        raise BadRequest(f"an edit's number is 0 or more, not {str(seq)[:30]}")
    return seq
