"""What people do with executions: run, cancel, retry, replay, decide. Nothing is sent twice unasked.

Whatever starts an execution inserts a row; whatever ends one is a conditional update, so that of two who act at once
one is told that it came too late.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from engine.convert import dumps
from engine.errors import StudioError, did_you_mean
from engine.runtime.answers import answer_of
from engine.runtime.attempt import DECIDED
from engine.runtime.bus import BusUnavailable
from engine.runtime.claims import Claim
from engine.runtime.history import again_with_effects, parts_of, past_of, repeated
from engine.runtime.ids import new_id, now_ms
from engine.runtime.intake import Order, execution_row, insert_orders
from engine.runtime.orders import Order as Started
from engine.runtime.orders import pack_order, unpack_order
from engine.runtime.parts import Parts
from engine.runtime.programs import Programs, Ready
from engine.runtime.service.actor import Actor, require
from engine.runtime.service.errors import BadRequest, NotFound, one_of
from engine.runtime.service.executions import Executions, ExecutionView
from engine.runtime.service.listing import known_id

CANCELS = "cancel"
DECISIONS = ("retry", "cancel", "fail")
ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})
STOPPED = text(
    "UPDATE execution SET status = :status, finished_ms = :now, error = coalesce(:error, error) "
    "WHERE id = :id AND project_id = :project AND status IN ('queued', 'waiting', 'needs_decision')"
)
GIVEN_UP = text(
    "UPDATE execution SET status = 'failed', finished_ms = :now, error = :error "
    "WHERE id = :id AND project_id = :project AND status = 'needs_decision'"
)
TO_STOP = text(
    "UPDATE execution SET cancel = 1 WHERE id = :id AND project_id = :project AND status = 'running' AND cancel = 0"
)
PUBLISHED = text(
    "SELECT w.id, r.id AS revision_id, r.slot, r.priority, r.limited FROM workflow w "
    "LEFT JOIN revision r ON r.id = w.revision_id "
    "WHERE w.id = :id AND w.project_id = :project AND w.deleted_ms IS NULL"
)
REVISION = text("SELECT id AS revision_id, slot, priority, limited FROM revision WHERE id = :id")


class EffectsAhead(StudioError):
    """Nodes that change something outside would run; the caller has to say that they may.

    Attributes:
        nodes: their `{"id", "label"}`, in the order they would run.
    """

    code = "execution.effects_ahead"

    def __init__(self, nodes: Sequence[Mapping[str, str]]) -> None:
        names = ", ".join(f'"{node["label"]}"' for node in nodes)
        super().__init__(f"this would run what changes something outside: {names}", hint="Say confirm, to go on.")
        self.nodes = tuple(nodes)

    def as_json(self) -> dict[str, Any]:
        """With `nodes`."""
        return {**super().as_json(), "nodes": [dict(node) for node in self.nodes]}


class WrongStatus(StudioError):
    """An execution's status does not allow it."""

    code = "execution.status"


class NotPublished(StudioError):
    """The workflow has no published revision to run."""

    code = "workflow.not_published"


class Cancelled(NamedTuple):
    """What a cancel did: `status` is that of the execution now; it is `running` until its worker has stopped it."""

    id: str
    status: str


class RunResult(BaseModel):
    """An execution, and what it gave.

    Attributes:
        result: of one that succeeded: the items of the last node; one item: the object itself; several nodes: by label.
    """

    model_config = ConfigDict(frozen=True)

    execution: ExecutionView
    result: Any = None


class Actions:
    """Starts and ends executions."""

    def __init__(self, parts: Parts, programs: Programs, executions: Executions) -> None:
        self._parts = parts
        self._store = parts.store
        self._programs = programs
        self._executions = executions

    def run(
        self,
        actor: Actor,
        workflow_id: str,
        *,
        items: Sequence[Mapping[str, Any]] | None = None,
        trigger: str | None = None,
        source: Literal["manual", "api"] = "manual",
    ) -> str:
        """Start the published revision by hand; gives the execution's id.

        Args:
            items: what the trigger gives; None for what it gives by itself.
            trigger: label or id; None for its manual trigger, or else the only one there is.

        Raises:
            NotFound, NotPublished.
            BadRequest: there is no such trigger, or it is not clear which is meant.
        """
        actor = require(actor)
        with self._store.read() as connection:
            row = self._published(connection, actor, workflow_id)
        ready = self._programs.load(row.revision_id)
        record = pack_order(Started(items=None if items is None else [dict(item) for item in items]))
        return self._insert(actor, workflow_id, row, record, source=source, trigger_id=_trigger(ready, trigger))

    def result(self, actor: Actor, id_: str) -> RunResult:
        """An execution with its result, where it has succeeded. Raises NotFound."""
        found = self._executions.find(actor, id_)
        if found.status != "succeeded" or found.revision_id is None or found.trigger_id is None:
            return RunResult(execution=found)
        ready = self._programs.load(found.revision_id)
        past = past_of(parts_of(self._store, id_)[1:], self._parts.payloads)
        last = ready.last.get(found.trigger_id, ())
        answer = answer_of(ready.workflow, last, "last_node", id_, found.status, past.results)
        return RunResult(execution=found, result=answer.body)

    def cancel(self, actor: Actor, id_: str) -> Cancelled:
        """Stop an execution: at once where it waits, within a second where it runs.

        Raises:
            WrongStatus: it has ended otherwise; one that was cancelled already is no error.
        """
        actor = require(actor)
        who = {"id": known_id("execution", id_), "project": actor.project_id, "now": now_ms()}
        with self._store.write() as connection:
            stopped = connection.execute(STOPPED, {**who, "status": "cancelled", "error": None}).rowcount
            if not stopped:
                connection.execute(TO_STOP, who)
        found = self._executions.find(actor, id_)
        if found.status in ENDED - {"cancelled"}:
            raise WrongStatus(f"this execution has ended already: it {_did(found.status)}")
        if stopped:
            self._tell(actor, found)
        else:
            self._publish([(CANCELS, {"execution_id": id_})])  # a lost one is found by the worker's heartbeat
        return Cancelled(id_, found.status)

    def retry(self, actor: Actor, id_: str, *, confirm: bool = False) -> str:
        """Run again what failed or was stopped, and what comes after it; gives the id of the execution that does.

        That is a new one, which takes over what went well and goes on with the same idempotency keys; or this very
        one, where it waits for a decision.

        Raises:
            WrongStatus: it neither failed nor was cancelled.
            EffectsAhead: nodes that change something outside would run, and `confirm` is not said.
        """
        actor = require(actor)
        found = self._executions.find(actor, id_)
        if found.status == "needs_decision":
            if not confirm:
                past = past_of(parts_of(self._store, id_)[1:], self._parts.payloads)
                self._warn(self._ready(found), found.trigger_id, past.results)
            return self._go_on(actor, found)
        if found.status not in ("failed", "cancelled"):
            raise WrongStatus(f"only what failed or was cancelled can be retried; this one {_did(found.status)}")
        order = self._order(found)
        ready = self._ready(found)
        if not confirm:
            self._warn(ready, found.trigger_id, self._taken_over(actor, found, "retry", None, ready))
        record = pack_order(Started(items=order.items, same_as=order.same_as or id_))
        with self._store.read() as connection:
            row = connection.execute(REVISION, {"id": found.revision_id}).one()
        return self._insert(
            actor,
            found.workflow_id,
            row,
            record,
            source="retry",
            trigger_id=found.trigger_id,
            origin_id=id_,
        )

    def replay(
        self,
        actor: Actor,
        id_: str,
        *,
        from_node: str | None = None,
        revision: Literal["same", "published"] = "same",
        confirm: bool = False,
    ) -> str:
        """Run an ended execution once more with the same request, as a new one with keys of its own; gives its id.

        Args:
            from_node: take over what does not depend on this node; None runs all of it.
            revision: the one it ran with, or the one that is published now.

        Raises:
            WrongStatus: it has not ended.
            NotPublished: nothing is published now.
            BadRequest: the revision lacks the node or the trigger.
            EffectsAhead: as of `retry`.
        """
        actor = require(actor)
        one_of(revision, ("same", "published"), "revision to replay with")
        found = self._executions.find(actor, id_)
        if found.status not in ENDED:
            raise WrongStatus("only what has ended can be replayed", hint="Wait for it, or cancel it.")
        order = self._order(found)
        with self._store.read() as connection:
            if revision == "published":
                row = self._published(connection, actor, found.workflow_id)
            else:
                row = connection.execute(REVISION, {"id": found.revision_id}).one()
        ready = self._programs.load(row.revision_id)
        nodes = ready.program.graph.nodes
        for node_id, what in ((from_node, "node to begin at"), (found.trigger_id, "trigger")):
            if node_id is not None and node_id not in nodes:
                raise BadRequest(
                    f"this revision lacks the {what}: {node_id[:100]!r}", hint=did_you_mean(node_id, nodes)
                )
        if not confirm:
            self._warn(ready, found.trigger_id, self._taken_over(actor, found, "replay", from_node, ready))
        return self._insert(
            actor,
            found.workflow_id,
            row,
            pack_order(Started(items=order.items)),
            source="replay",
            trigger_id=found.trigger_id,
            origin_id=id_,
            from_node=from_node,
        )

    def decide(self, actor: Actor, id_: str, decision: str) -> ExecutionView:
        """What becomes of an execution that waits for a person: retry, cancel or fail. Raises WrongStatus."""
        actor = require(actor)
        one_of(decision, DECISIONS, "decision")
        found = self._executions.find(actor, id_)
        if found.status != "needs_decision":
            raise WrongStatus(f"this execution waits for no decision: it {_did(found.status)}")
        if decision == "retry":
            self._go_on(actor, found)
        elif decision == "cancel":
            self.cancel(actor, id_)
        else:
            error = dict(found.error or {}) | {
                "code": "execution.given_up",
                "message": f"{actor.name} decided that it failed",
                "hint": "A retry runs again the node at which it stopped.",
            }
            who = {"id": id_, "project": actor.project_id, "now": now_ms(), "error": dumps(error).decode()}
            with self._store.write() as connection:
                if not connection.execute(GIVEN_UP, who).rowcount:
                    raise WrongStatus("somebody else decided meanwhile")
            self._tell(actor, self._executions.find(actor, id_))
        return self._executions.find(actor, id_)

    def _go_on(self, actor: Actor, found: ExecutionView) -> str:
        with self._store.write() as connection:
            if not connection.execute(DECIDED, {"id": found.id}).rowcount:
                raise WrongStatus("somebody else decided meanwhile")
            slot = connection.execute(text("SELECT slot FROM execution WHERE id = :id"), {"id": found.id}).scalar_one()
        self._parts.woken([Order({"slot": slot}, b"")])
        self._tell(actor, self._executions.find(actor, found.id))
        return found.id

    def _published(self, connection: Connection, actor: Actor, workflow_id: str) -> Any:
        row = connection.execute(
            PUBLISHED, {"id": known_id("workflow", workflow_id), "project": actor.project_id}
        ).first()
        if row is None:
            raise NotFound("workflow", workflow_id)
        if row.revision_id is None:
            raise NotPublished("nothing of this workflow is published", hint="Publish it first.")
        return row

    def _ready(self, found: ExecutionView) -> Ready:
        if found.revision_id is None or found.kind != "published":
            raise WrongStatus("this was a run of the draft", hint="Run it again in the editor.")
        return self._programs.load(found.revision_id)

    def _order(self, found: ExecutionView) -> Started:
        """What it was started with."""
        self._ready(found)
        parts = parts_of(self._store, found.id)
        if not parts:
            raise NotFound("record of the execution", found.id)
        return unpack_order(parts[0])

    def _taken_over(
        self, actor: Actor, found: ExecutionView, source: str, from_node: str | None, ready: Ready
    ) -> Mapping[str, Any]:
        """Node id -> result that the new execution takes over: told by what its worker will ask."""
        claim = Claim(
            "", actor.project_id, found.workflow_id, None, "published", source, found.trigger_id, "", 0, 0, None,
            found.id, from_node, 0,
        )  # fmt: skip
        return repeated(self._store, self._parts.payloads, claim, ready).results

    def _warn(self, ready: Ready, trigger_id: str | None, kept: Mapping[str, Any]) -> None:
        """Raises EffectsAhead where nodes that change something outside would run."""
        graph = ready.program.graph
        ahead = []
        for node_id in again_with_effects(ready, kept):
            behind = graph.ancestors([node_id])
            triggers = [n for n in behind if ready.program.types[n].is_trigger]
            if trigger_id is None or not triggers or trigger_id in triggers:  # else the other trigger gives it nothing
                ahead.append({"id": node_id, "label": graph.nodes[node_id].label})
        if ahead:
            raise EffectsAhead(ahead)

    def _insert(self, actor: Actor, workflow_id: str, revision: Any, record: bytes, *, source: str, **more: Any) -> str:
        row = execution_row(
            id=new_id(),
            project_id=actor.project_id,
            workflow_id=workflow_id,
            kind="published",
            source=source,
            revision_id=revision.revision_id,
            slot=revision.slot,
            priority=revision.priority,
            limited=bool(revision.limited),
            **more,
        )
        order = Order(row, record)
        with self._store.write() as connection:
            insert_orders(connection, [order])
        self._parts.woken([order])
        return str(row["id"])

    def _tell(self, actor: Actor, found: ExecutionView) -> None:
        """Tell the lists, and who follows it: an empty message says that there is something to look at."""
        change = {"id": found.id, "workflow_id": found.workflow_id, "status": found.status, "kind": found.kind}
        self._publish(
            [(f"project:{actor.project_id}", {"executions": [change]}), (f"execution:{found.id}", {"events": []})]
        )

    def _publish(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        with suppress(BusUnavailable):  # it is in the database; followers are told of a gap
            self._parts.bus.publish_many_sync(messages)


def _did(status: str) -> str:
    return {"needs_decision": "waits for a decision", "skipped": "was skipped", "cancelled": "was cancelled"}.get(
        status, f"is {status}" if status in ("queued", "running", "waiting") else status
    )


def _trigger(ready: Ready, wanted: str | None) -> str | None:
    """The id of the trigger to start with. Raises BadRequest."""
    nodes = ready.program.graph.nodes
    triggers = [n for n in nodes.values() if ready.program.types[n.id].is_trigger and not n.disabled]
    if wanted is not None:
        for node in triggers:
            if wanted in (node.id, node.label):
                return node.id
        raise BadRequest(
            f"no trigger is called {wanted[:100]!r}", hint=did_you_mean(wanted[:100], [n.label for n in triggers])
        )
    if len(triggers) > 1:
        by_hand = [node for node in triggers if ready.program.types[node.id].name == "core.manual"]
        if len(by_hand) != 1:
            names = ", ".join(f'"{node.label}"' for node in triggers)
            raise BadRequest(f"the workflow has several triggers: {names}", hint="Name one of them.")
        return by_hand[0].id
    return triggers[0].id if triggers else None
