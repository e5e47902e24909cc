"""Plans and executes in memory, without servers: what `flowleaf run` and the tests use."""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from engine.api import Request
from engine.errors import CredentialError, DefinitionError, ExpressionError, did_you_mean
from engine.events import Event, NodeResult
from engine.executor import execute
from engine.expressions import Scope
from engine.files import Folders
from engine.planner import Step, digest, effects_of, plan
from engine.program import Program, program_of
from engine.registry import Registry
from engine.workflow import Workflow

if TYPE_CHECKING:
    from engine.http import HttpClient
    from engine.sandbox import CodeResult


class LocalServices:
    """The outside world of a run in this process.

    Args:
        folders: where file nodes may read.
        http_allow: private hosts or networks that HTTP nodes may call.
        now: the start of the execution; None takes the clock.
    """

    def __init__(
        self,
        *,
        folders: Iterable[Path] = (),
        http_allow: Iterable[str] = (),
        vars: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> None:
        self.folders = Folders(folders)
        self.vars: Mapping[str, Any] = vars or {}
        self.now = (now or datetime.now(UTC)).isoformat()
        self._http_allow = tuple(http_allow)
        self._http: HttpClient | None = None

    @property
    def http(self) -> "HttpClient":
        """The HTTP client, made when first asked for: importing it takes 0.1 s."""
        if self._http is None:
            from engine.http import HttpClient  # noqa: PLC0415

            try:
                self._http = HttpClient(allow=self._http_allow)
            except ValueError as exc:
                raise DefinitionError(f"FLOWLEAF_HTTP_ALLOW: {exc}") from exc
        return self._http

    async def credential(self, name: str) -> Mapping[str, str]:
        """There are none without a server."""
        raise CredentialError(
            f"no credential {name!r} here", hint="Credentials are kept by a server; this run has none."
        )

    async def run_code(
        self,
        source: str,
        rows: list[dict[str, Any]],
        *,
        shape: Literal["items", "item"],
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        keep_going: bool,
        timeout_s: float | None,
        on_log: Callable[[str, int], None] | None = None,
    ) -> "CodeResult":
        """The author's Python, in a child process."""
        from engine.sandbox import Limits, run_code  # noqa: PLC0415

        limits = Limits() if timeout_s is None else Limits(wall_s=timeout_s, cpu_s=timeout_s)
        return await run_code(
            source, rows, shape=shape, inputs=inputs, keep_going=keep_going, limits=limits, on_log=on_log
        )

    def open_file(self, path: str) -> BinaryIO:
        """A file below the folders."""
        return self.folders.open(path)

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


@dataclass(slots=True)
class Finished:
    """How a run went.

    Attributes:
        status: succeeded, failed or cancelled.
        results: node id -> result, for every node of the plan.
        steps: the plan.
    """

    status: str
    steps: list[Step]
    results: dict[str, NodeResult] = field(default_factory=dict)

    def rows(self, node_id: str) -> Any:
        """A node's result as plain data: the rows of `main`; without a `main`, output name -> rows; [] if not run."""
        result = self.results.get(node_id)
        if result is None or not result.outputs or result.stops or result.status == "skipped":
            return []
        outputs = {name: items.rows for name, items in result.outputs.items()}
        return outputs.get("main", outputs)


async def run_workflow(
    workflow: Workflow,
    registry: Registry,
    services: LocalServices,
    *,
    stored: MutableMapping[str, NodeResult] | None = None,
    request: Request | None = None,
    trigger: str | None = None,
    target: str | None = None,
    force: Collection[str] = (),
    hold_writes: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
    cancel: asyncio.Event | None = None,
    parallel: int = 16,
    sample: int | None = None,
) -> Finished:
    """Run a workflow, or what `target` needs of it.

    Args:
        stored: preview key -> result. What is in it is not run again; what ran is put into it.
        request: what the trigger is started with; None for its pin data, or what it gives by itself.
        hold_writes: nodes that change something outside only show what they would do.
        force: as for `plan`.
        sample: as for `execute`.

    Raises:
        DefinitionError: the workflow cannot be planned.
    """
    kept: MutableMapping[str, NodeResult] = {} if stored is None else stored
    if request is not None and request.items is not None:
        workflow = _without_pins(workflow, trigger, registry)
    program = program_of(workflow, registry)
    steps = plan(
        workflow,
        registry,
        kept,
        reads=reads(program, services, request, trigger=trigger, sample=sample),
        target=target,
        force=frozenset(force),
    )
    run_data = {step.node_id: kept[step.key] for step in steps if step.reuse}
    nodes = program.graph.nodes
    hold = [s.node_id for s in steps if hold_writes and effects_of(program, nodes[s.node_id]) == "write"]
    finished = Finished("succeeded", steps)
    events = execute(
        os.urandom(8).hex(),
        workflow,
        steps,
        registry,
        services,
        run_data,
        request,
        trigger=trigger,
        hold=hold,
        cancel=cancel,
        parallel=parallel,
        sample=sample,
    )
    async with aclosing(events):  # so that nothing runs on where the listener raises
        async for event in events:
            on_event(event)
            if event.kind == "execution.finished":
                finished.status = event.status or "failed"
    for step in steps:
        result = run_data[step.node_id]
        if result.status in ("succeeded", "failed", "skipped") and not result.blocked:
            kept[step.key] = result
    finished.results = run_data
    return finished


def triggers(workflow: Workflow, registry: Registry) -> list[str]:
    """Ids of the workflow's triggers that are not disabled, in drawing order."""
    program = program_of(workflow, registry)
    nodes = program.graph.nodes.values()
    return [n.id for n in nodes if not n.disabled and n.id in program.types and program.types[n.id].is_trigger]


def node_called(workflow: Workflow, label: str) -> str:
    """The id of the node with this label. Raises DefinitionError with the nearest label."""
    for node in workflow.nodes:
        if node.label == label:
            return node.id
    raise DefinitionError(
        f"no node is called {label!r}", hint=did_you_mean(label, [node.label for node in workflow.nodes])
    )


class Stamps(Protocol):
    """Files, as far as it matters whether they changed."""

    def stamp(self, path: str) -> str | None:
        """Another stamp means other contents. None where there is no such file."""


class Outside(Protocol):
    """The outside world, as far as it decides what a node gives."""

    @property
    def vars(self) -> Mapping[str, Any]:
        """Values that expressions read as `vars.name`."""

    @property
    def folders(self) -> Stamps:
        """The files that nodes may read."""


def reads(
    program: Program,
    outside: Outside,
    request: Request | None = None,
    *,
    trigger: str | None = None,
    sample: int | None = None,
    credential_revisions: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Node id -> digest of what the node reads from outside, for `plan`.

    That is: vars, files, credentials, the request, which trigger starts, and how much of its items go on.

    Args:
        request, trigger, sample: as for `execute`.
        credential_revisions: name of a credential -> what changes when it does.
    """
    revisions = credential_revisions or {}
    found: dict[str, str] = {}
    for node_id, template in program.templates.items():
        names = sorted({name for leaf in template.leaves for name in leaf.expression.vars})
        seen: list[Any] = [[name, outside.vars[name]] if name in outside.vars else [name] for name in names]
        seen += [outside.folders.stamp(path) for path in _named(program, node_id, "file", outside)]
        credentials = _named(program, node_id, "credential", outside)
        seen += [["credential", name, revisions[name]] for name in credentials if name in revisions]
        if template.node_type.is_trigger and trigger is not None:
            seen.append(["starts", node_id == trigger])  # the others give nothing
        if template.node_type.is_trigger and request is not None:
            seen.append(list(request.items) if request.items is not None else None)
        if sample is not None and program.is_source(node_id):
            seen.append(["sample", sample])
        if seen:
            found[node_id] = digest(seen)
    return found


def _named(program: Program, node_id: str, widget: str, outside: Outside) -> list[str]:
    """What params of this widget name, a file or a credential, where it is known before the run: they read no item.

    Where a name depends on an item, it counts like an address: what was read stays until it is asked for anew.
    """
    template = program.templates[node_id]
    leaves = {leaf.path[0]: leaf.expression for leaf in template.leaves}
    found = []
    for name, known in template.node_type.params.model_fields.items():
        extra, value = known.json_schema_extra, template.raw.get(name, known.default)
        if not (isinstance(extra, dict) and extra.get("widget") == widget):
            continue
        if name in leaves and leaves[name].uses <= {"vars"}:
            with suppress(ExpressionError):  # the run will say what is wrong with it
                value = leaves[name].evaluate(Scope(vars=outside.vars))
        elif name in leaves:
            continue
        if isinstance(value, str):
            found.append(value)
    return found


def _without_pins(workflow: Workflow, trigger: str | None, registry: Registry) -> Workflow:
    """The workflow whose trigger runs: items given by hand go before its pin data."""
    ids = [trigger] if trigger else triggers(workflow, registry)
    if not any(n.pinned is not None and n.id in ids for n in workflow.nodes):
        return workflow
    nodes = tuple(n.model_copy(update={"pinned": None}) if n.id in ids else n for n in workflow.nodes)
    return workflow.model_copy(update={"nodes": nodes})
