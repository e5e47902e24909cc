"""What a draft run would do, decided before anything is queued: which results are kept, what runs, what is held."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, text

from engine.api import Request
from engine.convert import loads
from engine.files import Folders
from engine.planner import HoldReason, Step, effects_of, holds, plan, preview_keys
from engine.program import Program, program_of
from engine.registry import Registry
from engine.run import reads
from engine.runtime.data.packed import unpack_json
from engine.runtime.orders import Order
from engine.runtime.run_data import held_key
from engine.workflow import Workflow, as_data

Status = Literal["reused", "queued", "held", "waiting", "stale"]

VARS = text("SELECT name, value FROM variable WHERE project_id = :project")
CREDENTIALS = text("SELECT name, revision FROM credential WHERE project_id = :project")
CONFIRMED = text("SELECT node_id FROM confirmed WHERE workflow_id = :workflow AND project_id = :project")
SAMPLES = text(
    "SELECT node_id, data FROM sample WHERE workflow_id = :workflow AND project_id = :project ORDER BY at_ms DESC"
)
KEPT = text("SELECT key, data, used_ms FROM run_data WHERE project_id = :project AND key IN :keys").bindparams(
    bindparam("keys", expanding=True)
)


class Known(NamedTuple):
    """What the database knows that decides what a draft gives. `folders` is where files are looked for.

    Attributes:
        samples: trigger id -> the items of its last test request, the newest first.
        confirmed: ids of the read nodes that a person has run here.
    """

    vars: Mapping[str, Any]
    credential_revisions: Mapping[str, str]
    confirmed: frozenset[str]
    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    folders: Folders


def load_known(connection: Connection, project_id: str, workflow_id: str, folders: Folders) -> Known:
    """What is known of a workflow now."""
    of = {"project": project_id, "workflow": workflow_id}
    return Known(
        {name: loads(value.encode()) for name, value in connection.execute(VARS, of)},
        {row.name: row.revision for row in connection.execute(CREDENTIALS, of)},
        frozenset(connection.execute(CONFIRMED, of).scalars()),
        {node_id: unpack_json(bytes(data)) for node_id, data in connection.execute(SAMPLES, of)},
        folders,
    )


@dataclass(frozen=True, slots=True)
class Start:
    """How a draft run begins.

    Attributes:
        workflow: the draft; without the pin data of a trigger that a request starts.
        items: the request; None where the trigger gives its pin data, or what it gives by itself.
        reads: of all nodes, as `plan` takes it.
        keys: node id -> preview key, of all nodes.
        vars: the variables that the keys were made with.
    """

    workflow: Workflow
    program: Program
    trigger_id: str | None
    items: Sequence[Mapping[str, Any]] | None
    sample: int | None
    reads: Mapping[str, str]
    keys: Mapping[str, str]
    vars: Mapping[str, Any]

    @property
    def all_keys(self) -> list[str]:
        """The keys of all nodes, and those of what they would do where they are held."""
        return [*self.keys.values(), *map(held_key, self.keys.values())]

    def order(self, **more: Any) -> Order:
        """What its execution is started with."""
        templates = self.program.templates.values()
        uses_vars = any("vars" in leaf.expression.uses for template in templates for leaf in template.leaves)
        return Order(
            items=self.items,
            workflow=as_data(self.workflow),
            reads=self.reads,
            sample=self.sample,
            vars=self.vars if uses_vars else None,
            **more,
        )

    def writes(self) -> list[str]:
        """Ids of the nodes that change something outside."""
        nodes = self.program.graph.nodes.values()
        return [n.id for n in nodes if not n.disabled and n.pinned is None and self.effects(n.id) == "write"]

    def effects(self, node_id: str) -> str:
        """What a run of the node does outside."""
        return effects_of(self.program, self.program.graph.nodes[node_id])


def start_of(
    workflow: Workflow,
    registry: Registry,
    known: Known,
    *,
    target: str | None = None,
    trigger_id: str | None = None,
    items: Sequence[Mapping[str, Any]] | None = None,
    sample: int | None = None,
) -> Start:
    """How a run of the draft begins.

    Of several triggers it is the one named; else, of those that `target` needs, the one with the newest test request,
    or the one drawn first. The request is `items`; else the last test request that was kept; else there is none.

    Raises:
        DefinitionError: the draft cannot be planned.
    """
    program = program_of(workflow, registry)
    if trigger_id is None:
        trigger_id = _trigger(program, known, target)
    if items is None and trigger_id is not None:
        items = known.samples.get(trigger_id)
    if items is not None and trigger_id is not None and program.graph.nodes[trigger_id].pinned is not None:
        nodes = tuple(n.model_copy(update={"pinned": None}) if n.id == trigger_id else n for n in workflow.nodes)
        workflow = workflow.model_copy(update={"nodes": nodes})
        program = program_of(workflow, registry)
    found = reads(
        program,
        known,
        None if items is None else Request(items),
        trigger=trigger_id,
        sample=sample,
        credential_revisions=known.credential_revisions,
    )
    return Start(workflow, program, trigger_id, items, sample, found, preview_keys(program, found), known.vars)


def _trigger(program: Program, known: Known, target: str | None) -> str | None:
    nodes = program.graph.nodes
    triggers = [n for n, kind in program.types.items() if kind.is_trigger and not nodes[n].disabled]
    if target in nodes:
        needed = program.graph.ancestors([target]) | {target}
        triggers = [n for n in triggers if n in needed] or triggers
    tested = [n for n in known.samples if n in triggers]
    return next(iter(tested or triggers), None)


class NodePlan(NamedTuple):
    """What becomes of a node.

    Attributes:
        status: reused: its result is kept. queued: it runs now. held: it needs a person, for `reason`. waiting: on a
            node before it that is held or failed. stale: nothing is kept, and nobody asked for it.
        reason: write, read, volatile; upstream of one that waits.
    """

    node_id: str
    key: str
    status: Status
    reason: HoldReason | None = None


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """A draft run before it is queued.

    Attributes:
        held: ids of the nodes that are not to be run.
        runs: whether anything has to run, if only to tell what a held node would do.
    """

    nodes: tuple[NodePlan, ...]
    held: tuple[str, ...]
    runs: bool


def draft_plan(
    start: Start,
    registry: Registry,
    kept: Mapping[str, str],
    *,
    target: str | None = None,
    force: Collection[str] = (),
    confirmed: Collection[str] = (),
    asked: Collection[str] | None = (),
    sends: str | None = None,
) -> DraftPlan:
    """Decide what runs.

    Args:
        kept: preview key -> status of the result kept under it; `held_key` -> that what would be done is known.
        force: ids of nodes to run though their results are kept.
        confirmed: ids of the read nodes that may run.
        asked: ids of the volatile nodes that may run; None: all of them.
        sends: id of the one write node that may run.
    """
    program, workflow = start.program, start.workflow
    steps = plan(workflow, registry, kept.keys(), reads=start.reads, target=target, force=frozenset(force))
    held = _held(steps, start, registry, confirmed, asked, sends)
    found: dict[str, NodePlan] = {}
    stops: set[str] = set()
    runs = False
    for step in steps:
        status, reason, is_run = _status(step, program, held, kept, stops)
        found[step.node_id] = NodePlan(step.node_id, step.key, status, reason)
        runs = runs or is_run
    for node_id, key in start.keys.items():
        if node_id not in found:
            found[node_id] = NodePlan(node_id, key, "reused" if key in kept else "stale")
    return DraftPlan(tuple(found[node.id] for node in workflow.nodes), tuple(held), runs)


def _held(
    steps: Sequence[Step],
    start: Start,
    registry: Registry,
    confirmed: Collection[str],
    asked: Collection[str] | None,
    sends: str | None,
) -> Mapping[str, HoldReason]:
    """As `planner.holds`, where a person asked for some nodes."""
    looked_at: Iterable[Step] = (
        step._replace(volatile=step.volatile and asked is not None and step.node_id not in asked) for step in steps
    )
    # What is sent now is held by nothing but what comes before it, which is asked about apart.
    return holds(
        [step for step in looked_at if step.node_id != sends], start.workflow, registry, confirmed=frozenset(confirmed)
    )


def _status(
    step: Step, program: Program, held: Mapping[str, HoldReason], kept: Mapping[str, str], stops: set[str]
) -> tuple[Status, HoldReason | None, bool]:
    """Status, reason, and whether an execution is needed; adds the node to `stops` where nothing gets past it."""
    node = program.graph.nodes[step.node_id]
    if step.reuse:
        if kept[step.key] == "failed":
            stops.add(step.node_id)
        return "reused", None, False
    is_blocked = node.pinned is None and any(c.source in stops for c in program.graph.incoming[node.id])
    reason = held.get(step.node_id)
    if reason is not None or is_blocked:
        stops.add(step.node_id)
    if reason == "upstream" or (reason is None and is_blocked):
        return "waiting", "upstream", False
    if reason is not None:
        return "held", reason, not is_blocked and held_key(step.key) not in kept
    return "queued", None, True
