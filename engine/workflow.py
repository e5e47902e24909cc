"""Workflow, Node, Connection: as drawn, stored and shared; and the text of a workflow file."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import InvalidWorkflow, Problem, did_you_mean, nearest

SCHEMA_VERSION = 1
Position = tuple[int | float, int | float]
NAMED = Annotated[str, Field(min_length=1, max_length=200)]


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
    """What holds for a whole workflow. `timezone` is an IANA name: `now` and date functions speak in it."""

    timezone: str = "UTC"


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
OPTIONAL = ("disabled", "parent", "pinned", "on_error", "retry", "timeout_s", "note")
NODE_DEFAULTS = {name: Node.model_fields[name].default for name in OPTIONAL}
FILE_KEYS = ("flowleaf", "name", "settings", "nodes", "connections", "notes")


def as_data(workflow: Workflow) -> dict[str, Any]:
    """The workflow as the plain data of a file, keys in their fixed order."""
    data = workflow.model_dump(mode="python", exclude={"schema_version"})
    for node in data["nodes"]:
        for name in OPTIONAL:
            if node[name] == NODE_DEFAULTS[name]:
                del node[name]
    return {"flowleaf": SCHEMA_VERSION, **data}


def save(workflow: Workflow) -> str:
    """The text of the workflow's file. The same workflow always gives the same text."""
    data = as_data(workflow)
    try:
        return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    except orjson.JSONEncodeError:  # whole numbers beyond 64 bits
        import json  # noqa: PLC0415

        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def load(text: str) -> Workflow:
    """The workflow of a file's text, JSON or YAML. Raises InvalidWorkflow with all that is wrong in its form."""
    workflow, problems = read(text)
    if problems:
        raise InvalidWorkflow(problems)
    return workflow


def read(text: str) -> tuple[Workflow, list[Problem]]:
    """What of the text can be read, and all that is wrong with its form.

    Parts with problems are left out of the workflow, so that what remains can be checked in the same go.
    """
    try:
        data = _parse(text)
    except ValueError as exc:
        place, _, message = str(exc).partition(": ")
        hint = "A workflow file is JSON or YAML; look at the place named, or just before it."
        return Workflow(), [Problem("workflow.syntax", f"the file cannot be read: {message}", hint, place)]
    return from_data(data)


def from_data(data: Any) -> tuple[Workflow, list[Problem]]:
    """As `read`, of a file's data."""
    if not isinstance(data, dict):
        hint = 'It starts with {"flowleaf": 1, "name": ..., "nodes": [...]}.'
        return Workflow(), [Problem("workflow.form", "a workflow file holds one object", hint, "the file")]
    version = data.get("flowleaf")
    if version is None:
        hint = 'Add "flowleaf": 1 as its first key, if it is a workflow.'
        return Workflow(), [Problem("workflow.form", 'the key "flowleaf" is missing', hint, "the file")]
    if version != SCHEMA_VERSION or isinstance(version, bool):
        hint = f"This Flowleaf reads version {SCHEMA_VERSION}; a newer one made the file, or the number is mistyped."
        return Workflow(), [Problem("workflow.version", f"file version {version!r} is not known", hint, "flowleaf")]
    problems: list[Problem] = [
        Problem("workflow.unknown_key", f"unknown key {key!r}", did_you_mean(key, FILE_KEYS), "the file")
        for key in data
        if key not in FILE_KEYS
    ]
    lists = {key: _elements(data, key, problems) for key in ("nodes", "connections", "notes")}
    nodes = _models(Node, [_labelled(n) for n in lists["nodes"]], "node", problems)
    connections = _models(Connection, lists["connections"], "connection", problems)
    notes = _models(Note, lists["notes"], "note", problems)
    head: dict[str, Any] = {}
    for key, model in (("name", Workflow), ("settings", Workflow)):
        if key not in data:
            continue
        try:
            head[key] = getattr(model(**{key: data[key]}), key)
        except ValidationError as exc:
            problems += validation_problems(exc, place="", model=Settings)
    for name in ("id", "label"):
        nodes = _unique(nodes, name, problems)
    broken = broken_ids(lists["nodes"], nodes)
    kept = [c for c in connections if broken.isdisjoint((c.source, c.target))]
    return Workflow(**head, nodes=tuple(nodes), connections=tuple(kept), notes=tuple(notes)), problems


def broken_ids(raw: Iterable[Any], nodes: Iterable[Node]) -> set[str]:
    """Ids of nodes that are in the file but could not be read: connections to them are no mistake of their own."""
    ids = {str(n["id"]) for n in raw if isinstance(n, Mapping) and "id" in n}
    return ids - {n.id for n in nodes}


def _labelled(node: Any) -> Any:
    """A node without a label is called by its id."""
    if isinstance(node, dict) and "label" not in node and "id" in node:
        return {**node, "label": node["id"]}
    return node


def _elements(data: dict[str, Any], key: str, problems: list[Problem]) -> list[Any]:
    value = data.get(key, [])
    if isinstance(value, list):
        return value
    problems.append(Problem("workflow.form", f"{key} should be a list", f'Write "{key}": [...].', key))
    return []


def _models(model: type[Any], raw: list[Any], noun: str, problems: list[Problem]) -> list[Any]:
    """The elements that are well formed; the others' problems are added to `problems`."""
    found = []
    for index, element in enumerate(raw):
        try:
            found.append(model.model_validate(element))
        except ValidationError as exc:
            place, node_id = f"{noun} {index + 1}", None
            if noun == "node" and isinstance(element, dict):
                node_id = str(element.get("id", "")) or None
                place = f'node "{element["label"]}"' if element.get("label") else place
            elif noun == "connection" and isinstance(element, dict):
                place = f"connection {index + 1} ({element.get('source')} -> {element.get('target')})"
            problems += validation_problems(exc, place=place, model=model, node_id=node_id)
    return found


def _unique(nodes: list[Node], name: str, problems: list[Problem]) -> list[Node]:
    """The nodes whose id or label was not there before."""
    first: dict[str, Node] = {}
    for index, node in enumerate(nodes):
        value = getattr(node, name)
        if value in first:
            other = f'node "{first[value].label}"' if name == "id" else f"node {first[value].id}"
            hint = f"Give one of them another {name}."
            place = f'node "{node.label}"' if name == "id" else f'node {index + 1} (id "{node.id}")'
            message = f"the {name} {value!r} is already that of {other}"
            problems.append(Problem(f"workflow.duplicate_{name}", message, hint, place, node.id, name))
        else:
            first[value] = node
    return list(first.values())


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
            code, message = "workflow.missing_key", f"{error['loc'][-1]!r} is missing"
            where = ", ".join(part for part in (place, dotted(error["loc"][:-1], prefix)) if part)
            hint = "Add it."
        else:
            message = humane(error)
            if error["type"] == "literal_error":
                near = nearest(str(error["input"]), re.findall(r"'([^']+)'", str(error["ctx"]["expected"])))
                hint = f"Did you mean {near!r}?" if near else None
        problems.append(Problem(code, message, hint, where or "the file", node_id, path or None))
    return problems


def known_fields(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Field names of the model that stands at `loc` inside `model`; [] where that is none."""
    current: Any = model
    for part in loc:
        if isinstance(part, int):
            continue
        if not (isinstance(current, type) and issubclass(current, BaseModel)) or part not in current.model_fields:
            continue
        current = model_in(current.model_fields[part].annotation)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


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
    message = str(error["msg"]).replace("Input should be", "should be").removeprefix("Value error, ")
    value = error.get("input")
    if isinstance(value, (str, int, float, bool)) or value is None:
        shown = orjson.dumps(value).decode() if not isinstance(value, int) or abs(value) < 2**63 else str(value)
        return f"{message}, not {shown[:80]}" if message.startswith("should") else f"{message} (it is {shown[:80]})"
    return message


def dotted(loc: Iterable[str | int], prefix: str = "") -> str:
    """`("conditions", 0, "test")` as `conditions[0].test`."""
    path = prefix
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _parse(text: str) -> Any:
    """JSON, or YAML where it does not start like JSON. Raises ValueError `place: message`."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        return _json(text.lstrip("\ufeff"))
    return _yaml(text)


def _json(text: str) -> Any:
    import json  # noqa: PLC0415

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            names = [name for name, _ in found]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the file: the key {twice!r} stands twice in one object")
        return made

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError:
        raise ValueError("the file: it is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"the file: {name} is no JSON number")


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415

    class Loader(yaml.SafeLoader):
        """YAML's JSON types only: a date stays text, and no aliases, which blow up when written out."""

        yaml_implicit_resolvers = {
            key: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()  # type: ignore[no-untyped-call]
                raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=event.start_mark)
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506  derived from SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        raise ValueError(f"{place}: {exc.problem}") from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ValueError(f"the file: {str(exc).splitlines()[0]}") from exc
