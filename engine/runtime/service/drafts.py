"""Runs of drafts: for the panes of the editor, and for test addresses. They reuse what is kept by preview key.

By itself runs what is pure, and what reads from outside once a person has run it here. What changes something outside
runs when it is named, by `send_once`, and never otherwise.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, bindparam, text

from engine.errors import StudioError
from engine.runtime.answers import Answer, answer_of, said
from engine.runtime.bus import BusUnavailable
from engine.runtime.data.records import pack_json, payload_hashes
from engine.runtime.history import past_of
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Order, execution_row, insert_orders
from engine.runtime.node_runs import NodeRunView, kept_summary, run_of, runs_of
from engine.runtime.orders import Order as Started
from engine.runtime.orders import pack_order, unpack_order
from engine.runtime.parts import Parts
from engine.runtime.programs import make_ready
from engine.runtime.run_data import held_key
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.draft_plans import KEPT, Known, NodePlan, Start, draft_plan, load_known, start_of
from engine.runtime.service.errors import BadRequest, NotFound
from engine.runtime.service.listing import known_id
from engine.runtime.store import chunks
from engine.runtime.webhooks.routes import Route
from engine.workflow import Workflow, from_data

USED_MS = 3_600_000  # how exactly it is known when a kept result was used last
MANY = 500
# `|| ''` keeps a database from walking the workflow's executions for them: the indexes of what is queued or runs are
# short.
OLDER_QUEUED = text(
    "UPDATE execution SET status = 'cancelled', finished_ms = :now WHERE status = 'queued' AND limited = 0 "
    "AND slot = 'draft' AND project_id = :project AND workflow_id || '' = :workflow "
    "AND kind = 'draft' AND source = 'preview'"
)
OLDER_RUNNING = text(
    "UPDATE execution SET cancel = 1 WHERE status = 'running' AND workflow_id || '' = :workflow "
    "AND kind = 'draft' AND source = 'preview' AND cancel = 0 RETURNING id"
)
SENT = "workflow_id || '' = :workflow AND kind = 'draft' AND source = 'manual' AND from_node = :node"
BEING_SENT = text(
    f"SELECT 1 FROM execution WHERE status = 'running' AND {SENT} UNION ALL "  # noqa: S608
    "SELECT 1 FROM execution WHERE status = 'queued' AND limited = 0 AND slot = 'draft' "
    f"AND project_id = :project AND {SENT}"
)
CONFIRM = text(
    "INSERT INTO confirmed (workflow_id, node_id, project_id) VALUES (:workflow, :node, :project) "
    "ON CONFLICT DO NOTHING"
)
SAMPLE = text(
    "INSERT INTO sample (workflow_id, node_id, project_id, data, at_ms) "
    "VALUES (:workflow, :node, :project, :data, :now) "
    "ON CONFLICT (workflow_id, node_id) DO UPDATE SET data = excluded.data, at_ms = excluded.at_ms"
)
USED = text("UPDATE run_data SET used_ms = :now WHERE project_id = :project AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)
TEST = text("SELECT status, trigger_id FROM execution WHERE id = :id AND kind = 'test'")
PARTS = text("SELECT data FROM record WHERE execution_id = :id ORDER BY part")


class HeldBefore(StudioError):
    """A node cannot be sent while one before it is held; the message names those."""

    code = "draft.held_before"


class BeingSent(StudioError):
    """The node is being sent at this moment: twice on a double click would be once too often."""

    code = "draft.being_sent"


class PreviewNode(BaseModel):
    """A node of the draft: what is known of its result now.

    Attributes:
        status: reused, queued, held, waiting or stale: see `draft_plans.NodePlan`.
        reason: why it is held (write, read, volatile) or waits (upstream).
        kept: its result, or of a held one what it would do.
    """

    model_config = ConfigDict(frozen=True)

    node_id: str
    status: str
    reason: str | None
    key: str
    kept: NodeRunView | None


class Preview(BaseModel):
    """What the panes show at once.

    Attributes:
        seq: number of the last edit of the draft that was looked at.
        execution_id: the draft run that gives the rest; None where there is nothing to run.
        trigger_id: the trigger that it starts with.
    """

    model_config = ConfigDict(frozen=True)

    workflow_id: str
    seq: int
    execution_id: str | None
    trigger_id: str | None
    nodes: tuple[PreviewNode, ...]


class FindsDrafts(Protocol):
    """Where drafts are found."""

    def draft(self, actor: Actor, workflow_id: str) -> tuple[Workflow, int]:
        """The draft and the number of its last edit. Raises NotFound."""


class Drafts:
    """Runs drafts."""

    def __init__(self, parts: Parts, workflows: FindsDrafts) -> None:
        self._parts = parts
        self._store = parts.store
        self._workflows = workflows
        self._folders = parts.local().folders

    def preview(
        self,
        actor: Actor,
        workflow_id: str,
        *,
        target: str | None = None,
        sample: int | None = None,
        force: Collection[str] = (),
        confirm: Collection[str] = (),
        by_hand: bool = False,
        trigger_id: str | None = None,
    ) -> Preview:
        """What is known of the draft's results as it is now; what is not, and may run, is queued.

        A newer draft run cancels older ones of the workflow.

        Args:
            target: id of the node wanted; None for the whole draft.
            sample: how many items the first nodes give at the most.
            force: ids of nodes to run though their results are kept.
            confirm: ids of read nodes that may run by themselves from now on.
            by_hand: a person asks for this run: its read nodes are confirmed, its volatile ones run.
            trigger_id: the trigger to start with, where there are several.

        Raises:
            NotFound, BadRequest.
            DefinitionError: the draft cannot be planned.
        """
        actor = require(actor)
        if sample is not None and sample < 1:
            raise BadRequest("a sample has 1 item or more")
        draft, seq = self._workflows.draft(actor, workflow_id)
        self._check(draft, [*force, *confirm, *(one for one in (target, trigger_id) if one is not None)])
        known = self._known(actor, workflow_id)
        start = start_of(draft, self._parts.registry, known, target=target, trigger_id=trigger_id, sample=sample)
        kept, used_ms = self._kept(actor, start.all_keys)
        now_confirmed = self._confirmed(start, known, confirm, target, by_hand)
        planned = draft_plan(
            start,
            self._parts.registry,
            _statuses(kept),
            target=target,
            force=force,
            confirmed=known.confirmed | now_confirmed,
            asked=None if by_hand else force,
        )
        self._write_confirmed(actor, workflow_id, now_confirmed - known.confirmed, used_ms)
        execution_id = None
        if planned.runs:
            order = start.order(target=target, held=planned.held, force=tuple(force))
            execution_id = self._insert(actor, workflow_id, start, order)
        return Preview(
            workflow_id=workflow_id,
            seq=seq,
            execution_id=execution_id,
            trigger_id=start.trigger_id,
            nodes=tuple(self._shown(node, kept) for node in planned.nodes),
        )

    def send_once(self, actor: Actor, workflow_id: str, node_id: str, *, sample: int | None = None) -> str:
        """Run one node that changes something outside, with all it needs; gives the id of the draft run.

        Newer previews leave it alone.

        Raises:
            BadRequest: there is no such node.
            HeldBefore: another such node comes before it, and has not run.
            BeingSent: an earlier call is not done yet.
        """
        actor = require(actor)
        draft, _ = self._workflows.draft(actor, workflow_id)
        self._check(draft, [node_id])
        known = self._known(actor, workflow_id)
        start = start_of(draft, self._parts.registry, known, target=node_id, sample=sample)
        kept, used_ms = self._kept(actor, start.all_keys)
        confirmed = self._confirmed(start, known, (), node_id, True)
        planned = draft_plan(
            start,
            self._parts.registry,
            _statuses(kept),
            target=node_id,
            force=(node_id,),
            confirmed=known.confirmed | confirmed,
            asked=None,
            sends=node_id,
        )
        if planned.held:
            labels = ", ".join(f'"{node.label}"' for node in draft.nodes if node.id in planned.held)
            raise HeldBefore(f"this waits for {labels}", hint="Send that first.")
        self._write_confirmed(actor, workflow_id, confirmed - known.confirmed, used_ms)
        order = start.order(target=node_id, force=(node_id,))
        return self._insert(actor, workflow_id, start, order, source="manual", sends=node_id)

    def test_call(self, actor: Actor, route: Route, item: Mapping[str, Any]) -> str:
        """Run the whole draft with a call of its test address, and keep the call for previews; gives the execution.

        It stops before nodes that change something outside. `test_answer` gives what to answer once it has ended.

        Raises:
            NotFound: the draft has no such workflow or trigger any more.
        """
        actor = require(actor)
        draft, _ = self._workflows.draft(actor, route.workflow_id)
        if all(node.id != route.node_id for node in draft.nodes):
            raise NotFound("trigger", route.node_id)
        known = self._known(actor, route.workflow_id)
        items = [dict(item)]
        start = start_of(draft, self._parts.registry, known, trigger_id=route.node_id, items=items)
        order = start.order(held=start.writes(), force=(route.node_id,))
        return self._insert(actor, route.workflow_id, start, order, kind="test", source="webhook")

    def test_answer(self, execution_id: str) -> Answer | None:
        """The answer to a call of a test address; None as long as its execution goes on.

        As its webhook says; where a node was held that the answer needs, 200 with `{"held": [labels]}`.
        """
        with self._store.read() as connection:
            row = connection.execute(TEST, {"id": execution_id}).first()
            parts = [bytes(data) for data in connection.execute(PARTS, {"id": execution_id}).scalars()]
        if row is None or not parts:
            raise NotFound("test", execution_id)
        status, trigger_id = row
        if status in ("queued", "running", "waiting"):
            return None
        order = unpack_order(parts[0])
        ready = make_ready(from_data(order.workflow).workflow, self._parts.registry)
        results = past_of(parts[1:], self._parts.payloads).results
        respond = ready.respond.get(trigger_id, "at_once")
        if respond == "respond_node":
            for result in results.values():
                if (answer := said(result)) is not None:
                    return answer
        held = [n.label for n in ready.workflow.nodes if n.id in results and results[n.id].status == "held"]
        if held and status == "succeeded":
            return Answer(200, {"held": held})
        if respond == "at_once":
            return Answer(202, {"execution_id": execution_id})
        return answer_of(ready.workflow, ready.last.get(trigger_id, ()), respond, execution_id, status, results)

    def forget_sample(self, actor: Actor, workflow_id: str, node_id: str) -> None:
        """Let a trigger's previews begin with its pin data again."""
        actor = require(actor)
        with self._store.write() as connection:
            connection.execute(
                text("DELETE FROM sample WHERE workflow_id = :workflow AND node_id = :node AND project_id = :project"),
                {"workflow": known_id("workflow", workflow_id), "node": node_id, "project": actor.project_id},
            )

    def _check(self, draft: Workflow, node_ids: Iterable[str]) -> None:
        known = {node.id for node in draft.nodes}
        for node_id in node_ids:
            if node_id not in known:
                raise BadRequest(f"the draft has no node {node_id[:100]!r}")

    def _known(self, actor: Actor, workflow_id: str) -> Known:
        with self._store.read() as connection:
            return load_known(connection, actor.project_id, workflow_id, self._folders)

    def _kept(self, actor: Actor, keys: Sequence[str]) -> tuple[dict[str, NodeRunView], dict[str, int]]:
        """Preview key -> the result kept under it, and when it was used; without those whose files are gone."""
        found: dict[str, NodeRunView] = {}
        used_ms: dict[str, int] = {}
        with self._store.read() as connection:
            rows = [
                row
                for some in chunks(list(dict.fromkeys(keys)), MANY)
                for row in connection.execute(KEPT, {"project": actor.project_id, "keys": list(some)})
            ]
        for key, packed, used in rows:
            data = bytes(packed)
            if all(map(self._parts.payloads.exists, payload_hashes(data))):
                summary = kept_summary(data)
                if summary.status == "held":
                    found[key] = runs_of([data], {summary.node_id: summary}, {}, self._parts.payloads)[0]
                else:
                    found[key] = run_of(summary)
                used_ms[key] = used
        return found, used_ms

    @staticmethod
    def _confirmed(
        start: Start, known: Known, confirm: Collection[str], target: str | None, by_hand: bool
    ) -> frozenset[str]:
        """Ids of the read nodes that a person runs with this."""
        ids = set(confirm)
        if by_hand:
            graph = start.program.graph
            ids |= set(graph.nodes) if target is None else graph.ancestors([target]) | {target}
        # Of what reads now: a node that is made to write and back is asked about again only if it was not run before.
        return frozenset(node_id for node_id in ids if start.effects(node_id) == "read")

    def _write_confirmed(
        self, actor: Actor, workflow_id: str, node_ids: Collection[str], used_ms: Mapping[str, int]
    ) -> None:
        now = now_ms()
        old = [key for key, used in used_ms.items() if used < now - USED_MS]
        if not node_ids and not old:
            return
        with self._store.write(durable=bool(node_ids)) as connection:
            for node_id in node_ids:
                connection.execute(CONFIRM, {"workflow": workflow_id, "node": node_id, "project": actor.project_id})
            for some in chunks(old, MANY):
                connection.execute(USED, {"project": actor.project_id, "keys": list(some), "now": now})

    def _insert(
        self,
        actor: Actor,
        workflow_id: str,
        start: Start,
        order: Started,
        *,
        kind: str = "draft",
        source: str = "preview",
        sends: str | None = None,
    ) -> str:
        row = execution_row(
            id=new_id(), project_id=actor.project_id, workflow_id=workflow_id, kind=kind, source=source, slot="draft",
            trigger_id=start.trigger_id, from_node=sends,
        )  # fmt: skip
        queued = Order(row, pack_order(order))
        of = {"workflow": workflow_id, "project": actor.project_id, "now": now_ms()}
        stopped: list[str] = []
        with self._store.write() as connection:
            if sends is not None:
                if not self._store.is_sqlite:
                    connection.execute(text("SELECT 1 FROM workflow WHERE id = :workflow FOR UPDATE"), of)
                if connection.execute(BEING_SENT, {**of, "node": sends}).first():
                    raise BeingSent("this node is being sent just now", hint="Wait for it to end.")
            if source == "preview":
                stopped = self._cancel_older(connection, of)
            if kind == "test":
                connection.execute(SAMPLE, {**of, "node": start.trigger_id, "data": pack_json(order.items)})
            insert_orders(connection, [queued])
        self._parts.woken([queued])
        change = {"id": row["id"], "workflow_id": workflow_id, "status": "queued", "kind": kind}
        with suppress(BusUnavailable):  # the heartbeat finds what is to stop; followers are told of a gap
            self._parts.bus.publish_many_sync(
                [("cancel", {"execution_id": id_}) for id_ in stopped] + [(f"workflow:{workflow_id}", {"run": change})]
            )
        return str(row["id"])

    @staticmethod
    def _cancel_older(connection: Connection, of: Mapping[str, Any]) -> list[str]:
        """Cancel what is queued; gives the ids of those that their worker has to stop."""
        connection.execute(OLDER_QUEUED, dict(of))
        return list(connection.execute(OLDER_RUNNING, dict(of)).scalars())

    @staticmethod
    def _shown(node: NodePlan, kept: Mapping[str, NodeRunView]) -> PreviewNode:
        key = held_key(node.key) if node.status == "held" else node.key
        found = kept.get(key) if node.status in ("reused", "held") else None
        shown = None if found is None else found.model_copy(update={"node_id": node.node_id})
        return PreviewNode(node_id=node.node_id, status=node.status, reason=node.reason, key=node.key, kept=shown)


def _statuses(kept: Mapping[str, NodeRunView]) -> dict[str, str]:
    return {key: run.status for key, run in kept.items()}
