"""What every node type of the catalogue keeps to."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import nodes
from engine.errors import UnknownNodeType
from engine.node_type import Example, NodeType
from engine.registry import Registry
from tests.support.http_server import raw_server
from tests.support.nodes import ADA, NamedServices, run_example, run_step

TYPES = Registry().discover()
EXAMPLES = [(t, example) for t in TYPES for example in t.examples()]
GROUPS = {"trigger", "flow", "transform", "code", "files", "network", "output"}
# JSON Schema, and what forms read beside it.
SCHEMA_KEYS = {
    "$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum", "exclusiveMinimum", "items",
    "maxLength", "maximum", "minItems", "minLength", "minimum", "pattern", "properties", "required", "title", "type",
    "expressions", "per_item", "widget",
}  # fmt: skip

every_type = pytest.mark.parametrize("node_type", TYPES, ids=lambda t: t.name)
every_example = pytest.mark.parametrize(
    ("node_type", "example"), EXAMPLES, ids=[f"{t.name}-{i}" for i, (t, _) in enumerate(EXAMPLES)]
)


@pytest.fixture
def services() -> Iterator[NamedServices]:
    with raw_server(ADA) as server:
        yield NamedServices({"https://api.example.com": server.url})


def test_the_catalogue_is_as_described():
    assert [t.name for t in TYPES] == [
        "core.code", "core.filter", "core.http_request", "core.if", "core.limit", "core.manual", "core.merge",
        "core.read_file", "core.respond", "core.schedule", "core.set", "core.sort", "core.split_out", "core.summarize",
        "core.switch", "core.webhook",
    ]  # fmt: skip


def test_what_node_types_share_is_none_itself():
    with pytest.raises(UnknownNodeType) as caught:
        Registry().get("core.conditions")
    assert "conditions" not in str(caught.value.hint)


@every_type
def test_its_name_is_that_of_its_file(node_type):
    prefix, _, name = node_type.name.partition(".")
    assert prefix == "core"
    assert (Path(nodes.__file__).parent / f"{name}.py").is_file()
    assert node_type.run.__module__ == f"nodes.{name}"


@every_type
def test_its_catalogue_entry_reads_well(node_type):
    assert re.fullmatch(r"[A-Z][^\n]{15,110}\.", node_type.summary)
    assert re.fullmatch(r"[A-Z][A-Za-z ]+", node_type.label)
    assert node_type.group in GROUPS
    assert len(node_type.keywords) >= 3
    assert all(re.fullmatch(r"[a-z]+", word) for word in node_type.keywords)


@every_type
def test_every_field_of_its_form_is_explained(node_type):
    for model, name, known in fields_of(node_type.params):
        place = f"{model.__name__}.{name}"
        assert known.description, place
        assert re.fullmatch(r"[A-Za-z`].{5,}[.\]]", known.description), f"{place}: {known.description}"


@every_type
def test_its_schema_is_plain_and_complete(node_type):
    schema = node_type.schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["title"] == node_type.label
    for part in [schema, *schema.get("$defs", {}).values()]:
        assert part["type"] == "object"
        assert part["additionalProperties"] is False
        for name, known in part["properties"].items():
            assert known.get("title") or "$ref" in known, name
            assert known["description"], name
    assert set(keys_of(schema)) <= SCHEMA_KEYS


@every_type
def test_it_says_what_it_does_outside(node_type):
    for params in ({}, *(example.params for example in node_type.examples())):
        assert node_type.effects(params) in ("pure", "read", "write")


@every_type
def test_older_params_can_be_brought_up_to_date(node_type):
    assert sorted(node_type.upgrades) == list(range(1, node_type.version))


@every_type
def test_it_has_an_example(node_type):
    assert node_type.examples()


@every_example
def test_an_example_gives_what_it_says(node_type, example, services):
    ran = run_example(node_type, example, services)
    assert ran.status == "succeeded", ran.result("node").error
    made = {name: items.rows for name, items in ran.result("node").outputs.items()}
    assert made == {name: example.gives.get(name, []) for name in made}
    assert [json.dumps(rows) for rows in made.values()] == [json.dumps(example.gives.get(name, [])) for name in made]


@every_example
def test_its_outputs_are_those_it_declares(node_type, example, services):
    result = run_step(node_type, example.params, example.inputs, services)
    assert tuple(result.outputs) == node_type.outputs(example.params)


@every_example
@pytest.mark.parametrize("count", [0, 1, 3])
def test_it_takes_any_number_of_items_and_changes_none(node_type, example, services, count):
    if node_type.name == "core.respond":
        example = Example({}, example.inputs, example.gives)  # the example reads its first item
    given = {name: (rows * 3)[:count] for name, rows in example.inputs.items()}
    given = marked(given)
    before = copy.deepcopy(given)
    result = run_step(node_type, example.params, given, services)
    assert result.status == "succeeded", result.error
    assert given == before
    for items in result.outputs.values():
        assert json.loads(json.dumps(items.rows)) == items.rows
        follows(items, given)


def marked(inputs: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows, each of its own, with a field that says which one it is."""
    return {
        name: [{**copy.deepcopy(row), f"from_{name}": index} for index, row in enumerate(rows)]
        for name, rows in inputs.items()
    }


def follows(items: Any, given: Mapping[str, list[dict[str, Any]]]) -> None:
    """The lineage, where there is one, leads to items that were given, and to those whose mark an item bears."""
    if items.lineage is None:
        return
    for index, row in enumerate(items.rows):
        sources = items.lineage.of(index)
        for name, rows in given.items():
            if name == "request":
                continue
            assert all(0 <= source < len(rows) for source in sources[name])
            if f"from_{name}" in row:
                assert sources[name] == (row[f"from_{name}"],)


def fields_of(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, Any]]:
    """Every field of a model and of the models inside it."""
    for name, known in model.model_fields.items():
        yield model, name, known
        for inner in models_in(known.annotation):
            yield from fields_of(inner)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from models_in(part)


def keys_of(schema: Mapping[str, Any]) -> Iterator[str]:
    """The keywords of a schema, those inside it included; not the names of fields."""
    for key, value in schema.items():
        if key == "$defs" or key == "properties":
            for inner in value.values():
                yield from keys_of(inner)
            continue
        yield key
        if key in ("items", "additionalProperties") and isinstance(value, dict):
            yield from keys_of(value)
        if key == "anyOf":
            for inner in value:
                yield from keys_of(inner)


def test_every_example_is_of_the_first_input_up(services):
    for node_type, example in EXAMPLES:
        assert isinstance(node_type, NodeType)
        expected = {"request"} if node_type.is_trigger else set(node_type.inputs)
        assert set(example.inputs) == expected, node_type.name
