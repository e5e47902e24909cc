"""Workflow, Node, Connection: as drawn, stored and shared; and the text of a workflow file."""

import json
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from engine.errors import InvalidWorkflow, Problem, did_you_mean, nearest
from engine.file_text import parse

SCHEMA_VERSION = 1
NAMED = Annotated[str, Field(min_length=1, max_length=200)]


def _number(value: Any) -> int | float:
    """The number; a whole one stays whole, so that a file saved again is the same text."""
    if type(value) in (int, float) and isfinite(value):
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError("number", "Input should be a number")


Coordinate = Annotated[int | float, BeforeValidator(_number)]
Position = tuple[Coordinate, Coordinate]


class Frozen(BaseModel):
    """Plain data that is changed by making a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Retry(Frozen):
    """How often a failing node is tried.

    Attributes:
        attempts: in all, the first included.
        wait_s: seconds before the second attempt.
        backoff: each later wait is this many times the one before; 1 keeps them equal.
        jitter: each wait is longer or shorter by up to this share of it, by chance; 0 to 1.
    """

    attempts: int = Field(3, ge=1, le=100)
    wait_s: float = Field(1.0, ge=0, le=86_400)
    backoff: float = Field(2.0, ge=1, le=10)
    jitter: float = Field(0.1, ge=0, le=1)


class Node(Frozen):
    """A box on the canvas. `id` is stable and never shown; `label` is for people and unique in its workflow.

    Attributes:
        parent: id of the loop it stands in.
        pinned: output name -> rows, used instead of running the node while editing.
        on_error: stop (what depends on it is not run and the execution fails), continue (failing items go on with an
            `error` field), output (they leave through the output `error`).
        on_crash: what becomes of a step with effects outside that was running when its worker died: retry (it is run
            again, with the same idempotency keys), stop (a person decides).
        timeout_s: seconds that one attempt may take; of one item, where the node runs once per item.
        note: what its author wrote beside it.
        position: x and y on the canvas, pixels.
    """

    id: NAMED
    type: NAMED
    type_version: int = Field(1, ge=1)
    label: NAMED
    params: dict[str, Any] = {}
    disabled: bool = False
    parent: str | None = None
    pinned: dict[str, list[dict[str, Any]]] | None = None
    on_error: Literal["stop", "continue", "output"] = "stop"
    on_crash: Literal["retry", "stop"] = "retry"
    retry: Retry | None = None
    timeout_s: float | None = Field(None, gt=0, le=86_400)
    note: str = ""
    position: Position = (0, 0)


class Connection(Frozen):
    """An arrow from an output to an input."""

    source: str
    output: str = "main"
    target: str
    input: str = "main"


class Note(Frozen):
    """A sticky note on the canvas."""

    id: NAMED
    text: str = ""
    position: Position = (0, 0)
    size: Position = (240, 120)


class Settings(Frozen):
    """What holds for a whole workflow.

    Attributes:
        timezone: an IANA name: `now` and date functions speak in it.
        priority: which executions begin first where several wait.
        concurrency: how many executions of it run at the same time, at most; None for no limit of its own.
        when_full: what an execution does that finds as many running: queue (it waits), skip (it is not run),
            cancel_oldest (the one that runs longest is cancelled for it).
    """

    timezone: str = "UTC"
    priority: Literal["high", "default", "low"] = "default"
    concurrency: int | None = Field(None, ge=1)
    when_full: Literal["queue", "skip", "cancel_oldest"] = "queue"


class Workflow(Frozen):
    """Nodes and connections as drawn."""

    name: NAMED = "Untitled"
    settings: Settings = Settings()
    nodes: tuple[Node, ...] = ()
    connections: tuple[Connection, ...] = ()
    notes: tuple[Note, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def node(self, node_id: str) -> Node | None:
        """The node with this id."""
        return next((n for n in self.nodes if n.id == node_id), None)


# Left out of a file where they hold their default; everything else is always written.
OPTIONAL = ("disabled", "parent", "pinned", "on_error", "on_crash", "retry", "timeout_s", "note")
NODE_DEFAULTS = {name: Node.model_fields[name].default for name in OPTIONAL}
SETTING_DEFAULTS = {name: known.default for name, known in Settings.model_fields.items() if name != "timezone"}
NAMELESS = "?"
FILE_KEYS = ("flowleaf", "name", "settings", "nodes", "connections", "notes")


def as_data(workflow: Workflow) -> dict[str, Any]:
    """The workflow as the plain data of a file, keys in their fixed order."""
    data = workflow.model_dump(mode="python", exclude={"schema_version"})
    for holder, defaults in ((data["settings"], SETTING_DEFAULTS), *((node, NODE_DEFAULTS) for node in data["nodes"])):
        for name, default in defaults.items():
            if holder[name] == default:
                del holder[name]
    return {"flowleaf": SCHEMA_VERSION, **data}


def save(workflow: Workflow) -> str:
    """The text of the workflow's file. The same workflow always gives the same text."""
    data = as_data(workflow)
    try:
        return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    except orjson.JSONEncodeError:  # whole numbers beyond 64 bits, half a surrogate pair
        text = json.dumps(data, indent=2, ensure_ascii=False)
        is_unicode = text.encode("utf-8", "replace").decode() == text
        return (text if is_unicode else json.dumps(data, indent=2)) + "\n"


def load(text: str) -> Workflow:
    """The workflow of a file's text, JSON or YAML. Raises InvalidWorkflow with all that is wrong in its form."""
    found = read(text)
    if found.problems:
        raise InvalidWorkflow(found.problems)
    return found.workflow


class Reading(NamedTuple):
    """What could be read of a file.

    A node with a mistake is there without the field at fault; a node or connection that cannot be told is left out.

    Attributes:
        problems: all that is wrong with the file's form.
        unsure: labels of which it is not sure what node they mean.
        whole: whether every node and every connection is there.
    """

    workflow: Workflow
    problems: list[Problem]
    unsure: frozenset[str] = frozenset()
    whole: bool = True


def read(text: str) -> Reading:
    """What of the text can be read, so that it can be checked in the same go, and all that is wrong with its form."""
    try:
        data = parse(text)
    except ValueError as exc:
        place, _, message = str(exc).partition(": ")
        hint = "A workflow file is JSON or YAML; look at the place named, or just before it."
        return Reading(Workflow(), [Problem("workflow.syntax", f"the file cannot be read: {message}", hint, place)])
    return from_data(data)


def from_data(data: Any) -> Reading:
    """As `read`, of a file's data."""
    if not isinstance(data, dict):
        hint = 'It starts with {"flowleaf": 1, "name": ..., "nodes": [...]}.'
        return Reading(Workflow(), [Problem("workflow.form", "a workflow file holds one object", hint, "the file")])
    version = data.get("flowleaf")
    if version is None:
        hint = 'Add "flowleaf": 1 as its first key, if it is a workflow.'
        return Reading(Workflow(), [Problem("workflow.form", 'the key "flowleaf" is missing', hint, "the file")])
    if version != SCHEMA_VERSION or isinstance(version, bool):
        hint = f"This Flowleaf reads version {SCHEMA_VERSION}; a newer one made the file, or the number is mistyped."
        problem = Problem("workflow.version", f"file version {version!r} is not known", hint, "flowleaf")
        return Reading(Workflow(), [problem])
    problems: list[Problem] = [
        Problem("workflow.unknown_key", f"unknown key {key!r}", did_you_mean(key, FILE_KEYS), "the file")
        for key in data
        if key not in FILE_KEYS
    ]
    lists = {key: _elements(data, key, problems) for key in ("nodes", "connections", "notes")}
    nodes = _models(Node, [_labelled(n) for n in lists["nodes"]], "node", problems)
    connections = _models(Connection, lists["connections"], "connection", problems)
    notes = _models(Note, lists["notes"], "note", problems)
    all_nodes = isinstance(data.get("nodes", []), list) and len(nodes) == len(lists["nodes"])
    all_connections = isinstance(data.get("connections", []), list) and len(connections) == len(lists["connections"])
    head: dict[str, Any] = {}
    for key, model in (("name", Workflow), ("settings", Workflow)):
        if key not in data:
            continue
        try:
            head[key] = getattr(model(**{key: data[key]}), key)
        except ValidationError as exc:
            problems += validation_problems(exc, place="", model=Settings)
    labels = {str(node["label"]) for node in map(_labelled, lists["nodes"]) if isinstance(node, dict)}
    nodes, unsure = _unique(nodes, problems)
    if not all_nodes:
        # A node whose id cannot be read may be where a connection leads to.
        ids = {node.id for node in nodes}
        connections = [c for c in connections if c.source in ids and c.target in ids]
    workflow = Workflow(**head, nodes=tuple(nodes), connections=tuple(connections), notes=tuple(notes))
    whole = all_nodes and all_connections and len(nodes) == len(lists["nodes"])
    return Reading(workflow, problems, unsure | (labels - {node.label for node in nodes}), whole)


def _labelled(node: Any) -> Any:
    """A node without a label is called by its id."""
    if isinstance(node, dict) and "label" not in node:
        return {**node, "label": str(node.get("id") or NAMELESS)}
    return node


def _without_faults(node: Any, exc: ValidationError) -> Node | None:
    """The node without the fields at fault, so that what else is wrong with it is found too; None without its id."""
    faults = {str(error["loc"][0]) for error in exc.errors(include_url=False) if error["loc"]}
    if not faults or "id" in faults:
        return None
    sound = {name: value for name, value in node.items() if name not in faults}
    # The fault may be in `on_error`: then its output `error` is no second mistake.
    return Node.model_validate({"label": node["id"], "type": "?", "on_error": "output"} | sound)


def _elements(data: dict[str, Any], key: str, problems: list[Problem]) -> list[Any]:
    value = data.get(key, [])
    if isinstance(value, list):
        return value
    problems.append(Problem("workflow.form", f"{key} should be a list", f'Write "{key}": [...].', key))
    return []


def _models(model: type[Any], raw: list[Any], noun: str, problems: list[Problem]) -> list[Any]:
    """The elements, as far as they can be told; what is wrong with them is added to `problems`."""
    found: list[Any] = []
    for index, element in enumerate(raw):
        try:
            found.append(model.model_validate(element))
        except ValidationError as exc:
            place, node_id = f"{noun} {index + 1}", None
            if noun == "node" and isinstance(element, dict):
                node_id = str(element.get("id", "")) or None
                place = f'node "{element["label"]}"' if element["label"] not in ("", NAMELESS) else place
            elif noun == "connection" and isinstance(element, dict):
                place = f"connection {index + 1} ({element.get('source')} -> {element.get('target')})"
            problems += validation_problems(exc, place=place, model=model, node_id=node_id)
            if noun == "node" and (rest := _without_faults(element, exc)) is not None:
                found.append(rest)
    return found


def _unique(nodes: list[Node], problems: list[Problem]) -> tuple[list[Node], frozenset[str]]:
    """The nodes, each id and label once, and the labels that may mean another node than the one that bears them.

    Of nodes with one id the first is kept; of those with one label all are, the later ones under another.
    """
    by_id: dict[str, Node] = {}
    by_label: dict[str, str] = {}
    unsure = set()

    def add(name: str, message: str, node: Node) -> None:
        place, hint = f'node "{node.label}" (id "{node.id}")', f"Give one of them another {name}."
        problems.append(Problem(f"workflow.duplicate_{name}", message, hint, place, node.id, name))
        unsure.add(node.label)

    for node in nodes:
        if node.id in by_id:
            add("id", f'the id {node.id!r} is already that of node "{by_id[node.id].label}"', node)
            continue
        by_id[node.id] = node
        if node.label in by_label:
            add("label", f'the label {node.label!r} is already that of the node "{by_label[node.label]}"', node)
            by_id[node.id] = node.model_copy(update={"label": f'{node.label} (id "{node.id}")'})
        by_label.setdefault(node.label, node.id)
    return list(by_id.values()), frozenset(unsure)


def validation_problems(
    exc: ValidationError, *, place: str, model: type[BaseModel], node_id: str | None = None, prefix: str = ""
) -> list[Problem]:
    """Pydantic's errors as problems: one each, with the dotted place and the nearest known name."""
    problems = []
    for error in exc.errors(include_url=False, include_context=True):
        path = dotted(error["loc"], prefix)
        where = ", ".join(part for part in (place, path) if part)
        code, message, hint = "workflow.value", error["msg"], None
        if error["type"] == "extra_forbidden":
            key = str(error["loc"][-1])
            code, message = "workflow.unknown_key", f"unknown key {key!r}"
            known = known_fields(model, error["loc"][:-1])
            hint = did_you_mean(key, known) if known else "Remove it."
            where = ", ".join(part for part in (place, dotted(error["loc"][:-1], prefix)) if part)
        elif error["type"] == "missing":
            name = error["loc"][-1]
            message = f"{name!r} is missing" if isinstance(name, str) else "it is too short"
            code = "workflow.missing_key"
            where = ", ".join(part for part in (place, dotted(error["loc"][:-1], prefix)) if part)
            hint = "Add it."
        else:
            message, hint = humane(error), help_of(model, error["loc"])
            if error["type"] == "literal_error":
                near = nearest(str(error["input"]), re.findall(r"'([^']+)'", str(error["ctx"]["expected"])))
                hint = f"Did you mean {near!r}?" if near else hint
        problems.append(Problem(code, message, hint, where or "the file", node_id, path or None))
    return problems


def known_fields(model: type[BaseModel], loc: tuple[str | int, ...]) -> Mapping[str, FieldInfo]:
    """The fields of the model that stands at `loc` inside `model`, by name; none where there is no model."""
    current: Any = model
    known: Mapping[str, FieldInfo] = model.model_fields
    for part in loc:
        if part in known:
            current = model_in(known[str(part)].annotation)
            known = getattr(current, "model_fields", {})
    return known


def help_of(model: type[BaseModel], loc: tuple[str | int, ...]) -> str | None:
    """What the form says under the field at `loc`, or under the one that it stands in."""
    for end in range(len(loc) - 1, -1, -1):
        if (known := known_fields(model, loc[:end]).get(str(loc[end]))) and known.description:
            return known.description
    return None


def model_in(annotation: Any) -> Any:
    """The model class within an annotation such as list[Condition] or Retry | None; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := model_in(argument)) is not None:
            return found
    return None


def humane(error: Mapping[str, Any]) -> str:
    """Pydantic's message as a sentence about the value."""
    message = str(error["msg"])
    if error["type"] == "value_error":
        return message.removeprefix("Value error, ")
    message = re.sub(r"^(Input|String|List|Dictionary) should", "should", message)
    message = re.sub(r"at (least|most) (\d+) items? after validation", r"at \1 \2 elements", message)
    message = message.replace("least 1 elements", "least one element")
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "an object", message).replace("valid tuple", "list")
    value = error.get("input")
    if isinstance(value, (str, int, float, bool)) or value is None:
        shown = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
        return f"{message}, not {shown[:80]}" if message.startswith("should") else f"{message} (it is {shown[:80]})"
    return message


def dotted(loc: Iterable[str | int], prefix: str = "") -> str:
    """`("conditions", 0, "test")` as `conditions[0].test`."""
    path = prefix
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
