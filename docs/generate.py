"""Writes the pages that are made from the code: docs/nodes/ and docs/expressions.md. `make docs` runs it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.expressions import reference_page
from engine.node_type import Example, NodeType
from engine.registry import Registry
from nodes.conditions.vocabulary import ALONE, MEANINGS

DOCS = Path(__file__).parent
GROUPS = {
    "trigger": "Triggers",
    "flow": "Flow",
    "transform": "Transform",
    "code": "Code",
    "files": "Files",
    "network": "Network",
    "output": "Output",
}
EFFECTS = {
    "pure": "pure: it only computes, so it runs by itself while you edit",
    "read": "read: it looks something up outside; while you edit it runs by itself once you have run it",
    "write": "write: it changes something outside; while you edit it shows what it would do, and runs on a click",
}
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} of them",
}
MADE = "<!-- Made by `make docs` from {}: change it there. -->\n\n"


def pages() -> dict[str, str]:
    """Path below docs -> text, for every page that is made."""
    node_types = Registry(installed=()).discover()
    made = {f"nodes/{t.name}.md": node_page(t) for t in node_types}
    made["nodes/README.md"] = index_page(node_types)
    made["nodes/tests.md"] = tests_page()
    made["expressions.md"] = MADE.format("engine/expressions") + reference_page()
    return made


def index_page(node_types: list[NodeType]) -> str:
    """The list of node types, by group."""
    parts = [
        MADE.format("nodes/") + "# Node types\n\n"
        "Every node type that comes with Flowleaf. [Tests](tests.md) explains what If, Switch and Filter look for.\n"
        "[Write a node](../write_a_node.md) says how to add your own.\n"
    ]
    for group, title in GROUPS.items():
        rows = [(f"[{t.label}]({t.name}.md)", f"`{t.name}`", t.summary) for t in node_types if t.group == group]
        parts.append(f"\n## {title}\n\n" + table(("Node", "Type", "What it does"), rows))
    return "".join(parts)


def tests_page() -> str:
    """What each test of a condition means."""
    rows = [(f"`{test}`", text, "" if test in ALONE else "yes") for test, text in MEANINGS.items()]
    return (
        MADE.format("nodes/conditions") + "# Tests\n\n"
        "The tests in the conditions of [If](core.if.md), [Switch](core.switch.md) and [Filter](core.filter.md).\n"
        "A text that is written as a number counts as one beside a number. An item that lacks the field, or whose\n"
        "values a test cannot compare, fails: `on_error` of the node says what becomes of it.\n\n"
    ) + table(("Test", "It passes when", "Compares with `other`"), rows)


def node_page(node_type: NodeType) -> str:
    """The page of a node type."""
    name = node_type.name.partition(".")[2]
    text = re.split(r"^Example:$", node_type.description, maxsplit=1, flags=re.MULTILINE)[0].strip()
    parts = [
        MADE.format(f"nodes/{name}.py") + f"# {node_type.label}\n",
        text + "\n",
        table(("", ""), facts(node_type)),
        "## Params\n",
        *params_of(node_type.schema()),
    ]
    for example in node_type.examples():
        parts += example_of(example)
    return "\n".join(parts)


def facts(node_type: NodeType) -> list[tuple[str, str]]:
    """What the page says of the node type as a whole."""
    outputs = ", ".join(f"`{name}`" for name in node_type.outputs({}))
    if callable(node_type._outputs):
        outputs = str(node_type._outputs.__doc__)
    effects = EFFECTS[node_type.effects({})]
    if callable(node_type._effects):
        effects = str(node_type._effects.__doc__)
    inputs = ", ".join(f"`{name}`" for name in node_type.inputs) or "none: it starts the workflow"
    return [
        ("Type", f"`{node_type.name}`, version {node_type.version}"),
        ("Inputs", inputs),
        ("Outputs", outputs),
        ("Effects", effects),
        ("Found by", ", ".join(node_type.keywords)),
    ]


def params_of(schema: Mapping[str, Any]) -> Iterator[str]:
    """The tables of params: of the node, then of each object inside them; and defaults of several lines."""
    if not schema["properties"]:
        yield "None.\n"
        return
    models = {"": schema, **schema.get("$defs", {})}
    for name, model in models.items():
        if name:
            yield f"### {name}\n\n{model['description']}\n"
        rows = []
        for field, known in model["properties"].items():
            required = field in model.get("required", ())
            rows.append(
                (f"`{field}`", type_of(known), default_of(known, required=required), quoted(known["description"]))
            )
        yield table(("Name", "Type", "Default", "What it is"), rows)
        for field, known in model["properties"].items():
            if is_long(known.get("default")):
                yield f"Default of `{field}`:\n\n```\n{known['default']}```\n"


def quoted(text: str) -> str:
    """The text with its expressions marked as code."""
    return re.sub(r"[^\s(]*\{\{.*?\}\}", r"`\g<0>`", text)


def type_of(known: Mapping[str, Any]) -> str:
    """The type of a param in plain words, with what it may not be."""
    notes = [LIMITS[key].format(known[key]) for key in LIMITS if key in known and known[key] != 1]
    if known.get("minItems") == 1 or known.get("minLength") == 1:
        notes.append("not empty")
    if known.get("expressions") is False:
        notes.append("no expressions")
    if per_item(known):
        notes.append("may differ from item to item")
    return ", ".join([kind_of(known), *notes])


def kind_of(known: Mapping[str, Any]) -> str:
    if "$ref" in known:
        name = known["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in known:
        return " or ".join(kind_of(part) for part in known["anyOf"])
    if "enum" in known or "const" in known:
        *most, last = [f"`{json.dumps(value)}`" for value in known.get("enum", [known.get("const")])]
        return f"{', '.join(most)} or {last}" if most else last
    if known.get("type") == "array":
        return f"list of {kind_of(known['items'])}"
    if known.get("type") == "object":
        inner = known.get("additionalProperties")
        return "object" if inner in (None, True) else f"object of {kind_of(inner)}"
    return TYPES.get(str(known.get("type")), "anything")


def per_item(known: Any) -> bool:
    """Whether the param, or what it holds, may be bound to a column of values."""
    return isinstance(known, dict) and bool(known.get("per_item") or per_item(known.get("additionalProperties")))


def default_of(known: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    return "below" if is_long(known["default"]) else f"`{json.dumps(known['default'])}`"


def is_long(default: Any) -> bool:
    return isinstance(default, str) and "\n" in default


def example_of(example: Example) -> Iterator[str]:
    """An example as what goes in and what comes out."""
    yield "## Example\n\nWith these params:\n"
    yield block(json.dumps(example.params, indent=2, ensure_ascii=False))
    for name, rows in example.inputs.items():
        words = "it is started with" if name == "request" else f"the items at `{name}`"
        yield f"{words[0].upper()}{words[1:]}:\n"
        yield block(listed(rows))
    for name, rows in example.gives.items():
        yield f"It gives at `{name}`:\n"
        yield block(listed(rows))


def listed(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON, one to a line."""
    return "[\n" + ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n]" if rows else "[]"


def block(text: str) -> str:
    return f"```json\n{text}\n```\n"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write the pages, and remove those of node types that are gone."""
    made = pages()
    for path, text in made.items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")
    for page in (DOCS / "nodes").glob("*.md"):
        if f"nodes/{page.name}" not in made:
            page.unlink()


if __name__ == "__main__":
    if not __package__:  # run as a file, it takes docs/nodes for the package of the same name
        raise SystemExit("Run it by: make docs")
    main()
