"""Rows of workflows: found, decoded, encoded. What reading, editing and publishing share."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from engine.convert import dumps
from engine.program import program_of
from engine.runtime.bus import BusUnavailable
from engine.runtime.data.packed import json_text, pack_text
from engine.runtime.ids import new_id
from engine.runtime.parts import Parts
from engine.runtime.programs import read_workflow
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, NotFound
from engine.runtime.service.listing import known_id
from engine.runtime.service.storable import shallow, storable
from engine.runtime.webhooks.routes import shape_of
from engine.workflow import Node, Workflow, as_data

WEBHOOK = "core.webhook"
SCHEDULE = "core.schedule"
KEPT = 50
MOST_BYTES = 32 * 1024 * 1024

ROW = text(
    "SELECT w.id, w.project_id, w.name, w.tags, w.draft, w.draft_seq, w.revision_id, r.number, w.created_ms, "
    "w.updated_ms, w.deleted_ms FROM workflow w LEFT JOIN revision r ON r.id = w.revision_id "
    "WHERE w.id = :id AND w.project_id = :project"
)
LOCK = text("SELECT 1 FROM workflow WHERE id = :id FOR UPDATE")
FORGET_DRAFT_WEBHOOKS = text("DELETE FROM webhook WHERE workflow_id = :workflow AND draft = 1")
WEBHOOK_ROW = text(
    "INSERT INTO webhook (id, project_id, workflow_id, revision_id, node_id, draft, shape, path, params, updated_ms) "
    "VALUES (:id, :project, :workflow, :revision, :node, :draft, :shape, :path, :params, :now)"
)


class Trigger(NamedTuple):
    """An enabled trigger whose params are in order, with all of them written out."""

    node: Node
    params: Mapping[str, Any]


class WorkflowRows:
    """Finds and decodes workflows for the classes that build on it. The drafts used last are kept decoded."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._registry = parts.registry
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, Workflow]] = OrderedDict()

    def draft(self, actor: Actor, workflow_id: str) -> tuple[Workflow, int]:
        """The draft and the number of its last edit. Raises NotFound."""
        actor = require(actor)
        with self._store.read() as connection:
            row = self._row(connection, actor, workflow_id)
        return self._draft(row), row.draft_seq

    def _row(self, connection: Connection, actor: Actor, id_: str, *, deleted: bool = False, lock: bool = False) -> Any:
        """The workflow's row. Raises NotFound: no such workflow, or one that was deleted.

        Args:
            deleted: find those that were deleted, and no others.
            lock: nobody else changes it until the transaction ends. On SQLite that is so in every writing one.
        """
        values = {"id": known_id("workflow", id_), "project": actor.project_id}
        if lock and not self._store.is_sqlite:
            connection.execute(LOCK, {"id": id_})
        row = connection.execute(ROW, values).first()
        if row is None or (row.deleted_ms is not None) is not deleted:
            raise NotFound("workflow", id_)
        return row

    def _draft(self, row: Row[Any]) -> Workflow:
        """The draft of a row; the same object while it is the same."""
        packed = bytes(row.draft)
        with self._lock:
            kept = self._kept.get(row.id)
        if kept is not None and kept[0] == packed:
            return kept[1]
        workflow = read_workflow(packed)
        self._keep(row.id, packed, workflow)
        return workflow

    def _keep(self, id_: str, packed: bytes, workflow: Workflow) -> None:
        with self._lock:
            self._kept[id_] = (packed, workflow)
            self._kept.move_to_end(id_)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _triggers(self, workflow: Workflow, type_: str) -> list[Trigger]:
        """The enabled triggers of a type; those with mistakes are left out."""
        nodes = tuple(node for node in workflow.nodes if node.type == type_ and not node.disabled)
        if not nodes:
            return []
        templates = program_of(Workflow(nodes=nodes), self._registry).templates
        found = []
        for node in nodes:
            template = templates.get(node.id)
            if template is not None and template.static is not None and not template.problems:
                found.append(Trigger(node, template.static.model_dump(mode="json")))
        return found

    def _draft_webhooks(self, before: Workflow | None, after: Workflow) -> list[Trigger] | None:
        """The webhooks of a draft; None where they are those of the draft before."""
        if before is not None and _webhook_nodes(before) == _webhook_nodes(after):
            return None
        return self._triggers(after, WEBHOOK)

    def _write_draft_webhooks(
        self, connection: Connection, project_id: str, workflow_id: str, webhooks: list[Trigger], now: int
    ) -> None:
        connection.execute(FORGET_DRAFT_WEBHOOKS, {"workflow": workflow_id})
        for trigger in webhooks:
            connection.execute(WEBHOOK_ROW, webhook_values(trigger, project_id, workflow_id, None, now))

    def _tell(self, *messages: tuple[str, Mapping[str, Any]]) -> None:
        """Publish; where the bus is away its followers are told of a gap, and read what was committed."""
        with suppress(BusUnavailable):
            self._parts.bus.publish_many_sync(messages)


def webhook_values(
    trigger: Trigger, project_id: str, workflow_id: str, revision_id: str | None, now: int
) -> dict[str, Any]:
    """The row of a webhook: of a revision, or of the draft."""
    path = str(trigger.params["path"])
    return {
        "id": new_id(now),
        "project": project_id,
        "workflow": workflow_id,
        "revision": revision_id,
        "node": trigger.node.id,
        "draft": int(revision_id is None),
        "shape": shape_of(path),
        "path": path,
        "params": dumps(trigger.params).decode(),
        "now": now,
    }


def packed_workflow(workflow: Workflow) -> bytes:
    """The workflow as it is stored. Raises BadRequest where it is too large."""
    written, long = json_text(as_data(workflow))
    if len(written) > MOST_BYTES:
        raise BadRequest(
            f"the workflow has {len(written) >> 20} MB, and at most {MOST_BYTES >> 20} MB can be kept",
            hint="Pin fewer items, or read them from a file.",
        )
    return pack_text(written, long)


def storable_workflow(after: Workflow, before: Workflow | None = None) -> Workflow:
    """The workflow. Raises BadRequest where the database or our own code cannot take its name or a changed node."""
    storable(after.name, "the name of the workflow")
    # An edit leaves the other nodes the same objects.
    known = {id(node) for node in before.nodes} if before is not None else set()
    for node in after.nodes:
        if id(node) not in known:
            storable(node.id, "the id of a node")
            shallow(node.params, f'what is set on the node "{node.label[:100]}"')
            shallow(node.pinned, f'what is pinned to the node "{node.label[:100]}"')
    return after


def _webhook_nodes(workflow: Workflow) -> list[tuple[Any, ...]]:
    return [(n.id, n.params, n.type_version, n.disabled) for n in workflow.nodes if n.type == WEBHOOK]
