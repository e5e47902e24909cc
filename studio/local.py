"""`flowleaf run`: reads the file and the input, runs in this process, prints the result."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.api import Request
from engine.checks import load
from engine.convert import loads
from engine.errors import DefinitionError
from engine.events import NodeResult
from engine.registry import Registry
from engine.run import Finished, LocalServices, node_called, run_workflow, triggers
from engine.runtime.settings import load_settings
from engine.workflow import Workflow
from studio.terminal import Progress, print_aside, print_held, print_problem, print_result, print_summary


@dataclass(frozen=True)
class Options:
    """How to run a file; the names are those of the command's options."""

    input: str | None = None
    node: str | None = None
    vars: dict[str, Any] = field(default_factory=dict)
    trigger: str | None = None
    dry_run: bool = False


def run_file(file: Path, options: Options, *, form: str, samples: Path) -> int:
    """Run a workflow file and print its result; gives the exit code."""
    settings = load_settings()
    registry = Registry()
    workflow = load(read_text(file), registry)
    if not workflow.nodes:
        raise DefinitionError(f"{file} has no nodes, so there is nothing to run")
    target = node_called(workflow, options.node) if options.node is not None else None
    trigger = _trigger(workflow, registry, options)
    request = _request(options.input, trigger)
    services = LocalServices(
        folders=[*settings.file_folders, file.resolve().parent, samples],
        http_allow=settings.http_allow,
        vars=options.vars,
    )
    labels = {node.id: node.label for node in workflow.nodes}
    with Progress(labels) as progress:
        finished = asyncio.run(_run(workflow, registry, services, request, trigger, target, options.dry_run, progress))
    return _show(workflow, finished, target, form, progress)


async def _run(
    workflow: Workflow,
    registry: Registry,
    services: LocalServices,
    request: Request | None,
    trigger: str | None,
    target: str | None,
    dry_run: bool,
    progress: Progress,
) -> Finished:
    try:
        return await run_workflow(
            workflow,
            registry,
            services,
            request=request,
            trigger=trigger,
            target=target,
            hold_writes=dry_run,
            on_event=progress.show,
        )
    finally:
        await services.aclose()


def read_text(file: Path) -> str:
    """The text of a workflow file. Raises DefinitionError."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DefinitionError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise DefinitionError(f"{file} is a folder", hint="Name a workflow file in it.") from None
    except UnicodeDecodeError as exc:
        raise DefinitionError(f"{file} is not UTF-8 text: byte {exc.start}") from exc
    except OSError as exc:
        raise DefinitionError(f"{file} cannot be read: {exc.strerror}") from exc


def _trigger(workflow: Workflow, registry: Registry, options: Options) -> str | None:
    """The id of the trigger to start, or None where the workflow has none."""
    found = triggers(workflow, registry)
    labels = {node.id: node.label for node in workflow.nodes}
    if options.trigger is not None:
        wanted = node_called(workflow, options.trigger)
        if wanted not in found:
            raise DefinitionError(f"{options.trigger!r} is no trigger, or it is disabled")
        return wanted
    if len(found) > 1:
        names = ", ".join(repr(labels[node_id]) for node_id in found)
        raise DefinitionError(f"the workflow has several triggers: {names}", hint="Name one: --trigger LABEL.")
    return found[0] if found else None


def _request(source: str | None, trigger: str | None) -> Request | None:
    """The trigger's items, of a file or of standard input."""
    if source is None:
        return None
    if trigger is None:
        raise DefinitionError(
            "the workflow has no trigger to give the items to", hint="Leave --input out, or add a manual trigger."
        )
    what = "standard input" if source == "-" else source
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as exc:
        raise DefinitionError(f"{what} cannot be read: {exc.strerror}") from exc
    return Request(_objects(data, what))


def _objects(data: bytes, what: str) -> list[dict[str, Any]]:
    """A JSON list of objects, one object, or one object per line."""
    if not data.strip():
        raise DefinitionError(f"{what} is empty", hint="Give a JSON list of objects, or one object per line.")
    try:
        value = loads(data)
    except ValueError as exc:
        lines = [line for line in data.splitlines() if line.strip()]
        value = []
        for number, line in enumerate(lines, 1):
            try:
                value.append(loads(line))
            except ValueError:
                where = f"line {number}: {line[:60].decode('utf-8', 'replace')}" if number > 1 else str(exc)
                raise DefinitionError(f"{what} is neither JSON nor NDJSON: {where}") from exc
    rows = value if isinstance(value, list) else [value]
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DefinitionError(f"{what}: element {index} is no object", hint='Items are objects: {"name": "Ada"}.')
    return rows


def _show(workflow: Workflow, finished: Finished, target: str | None, form: str, progress: Progress) -> int:
    """Print the result, and on stderr what went wrong; gives the exit code."""
    print_result(_result(workflow, finished, target), form)
    labels = progress.labels
    missing = False
    wired = {connection.source for connection in workflow.connections if connection.output == "error"}
    for node_id, result in finished.results.items():
        if len(result.outputs.get("error", ())) and node_id not in wired and target is None:
            print_aside(labels[node_id], result)
        if result.status == "held":
            print_held(labels[node_id], result)
        if result.error is not None:
            print_problem(labels[node_id], result)
            missing = missing or _is_missing_request(result)
    print_summary(finished, progress)
    if missing:
        print("  -> Give it one: --input FILE, or pin data on the trigger.", file=sys.stderr)
        return 2
    return 0 if finished.status == "succeeded" else 1


def _is_missing_request(result: NodeResult) -> bool:
    return result.error is not None and result.error["code"] == "definition.request_missing"


def _result(workflow: Workflow, finished: Finished, target: str | None) -> Any:
    """The target's result; else that of the only last node; else label -> result of each last node."""
    if target is not None:
        return finished.rows(target)
    sources = {connection.source for connection in workflow.connections}
    last = [node for node in workflow.nodes if node.id not in sources]
    if len(last) == 1:
        return finished.rows(last[0].id)
    return {node.label: finished.rows(node.id) for node in last}
