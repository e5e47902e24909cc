"""The text of a workflow file: written, read, and refused with all that is wrong with it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from engine.errors import InvalidWorkflow, Problem
from engine.file_text import parse
from engine.workflow import Connection, Node, Note, Retry, Settings, Workflow, as_data, load, read, save
from tests.support.drawn import typed, workflows

ORDERS = """\
{
  "flowleaf": 1,
  "name": "Orders by country",
  "settings": {
    "timezone": "UTC"
  },
  "nodes": [
    {
      "id": "n1",
      "type": "core.webhook",
      "type_version": 1,
      "label": "New order",
      "params": {
        "path": "orders"
      },
      "position": [
        0,
        0.5
      ]
    },
    {
      "id": "n2",
      "type": "core.limit",
      "type_version": 1,
      "label": "Ten",
      "params": {},
      "disabled": true,
      "parent": "n1",
      "pinned": {
        "main": [
          {
            "a": 1
          }
        ]
      },
      "on_error": "output",
      "on_crash": "stop",
      "retry": {
        "attempts": 3,
        "wait_s": 1.0,
        "backoff": 2.0,
        "jitter": 0.1
      },
      "timeout_s": 5.0,
      "note": "Only ten.",
      "position": [
        0,
        160
      ]
    }
  ],
  "connections": [
    {
      "source": "n1",
      "output": "main",
      "target": "n2",
      "input": "main"
    }
  ],
  "notes": [
    {
      "id": "s1",
      "text": "Hello",
      "position": [
        1,
        2
      ],
      "size": [
        240,
        120
      ]
    }
  ]
}
"""
WORKFLOW = Workflow(
    name="Orders by country",
    nodes=(
        Node(id="n1", type="core.webhook", label="New order", params={"path": "orders"}, position=(0, 0.5)),
        Node(
            id="n2",
            type="core.limit",
            label="Ten",
            disabled=True,
            parent="n1",
            pinned={"main": [{"a": 1}]},
            on_error="output",
            on_crash="stop",
            retry=Retry(),
            timeout_s=5,
            note="Only ten.",
            position=(0, 160),
        ),
    ),
    connections=(Connection(source="n1", target="n2"),),
    notes=(Note(id="s1", text="Hello", position=(1, 2)),),
)


def file(**keys: Any) -> str:
    """A file with these keys."""
    return json.dumps({"flowleaf": 1, "name": "Test", "nodes": [], "connections": []} | keys)


def nodes(*given: dict[str, Any], **keys: Any) -> str:
    """A file with nodes that are manual triggers, but for what is given."""
    made = [{"id": f"n{i}", "type": "core.manual"} | node for i, node in enumerate(given, 1)]
    return file(nodes=made, **keys)


def problems(text: str) -> list[Problem]:
    return read(text).problems


# Saved and loaded


def test_a_file_has_all_its_keys_in_order_and_leaves_defaults_out():
    assert save(WORKFLOW) == ORDERS


def test_a_file_is_loaded_as_it_was_saved():
    assert load(ORDERS) == WORKFLOW


def test_the_least_file_is_a_workflow():
    assert load('{"flowleaf": 1}') == Workflow()
    assert save(Workflow()) == (
        '{\n  "flowleaf": 1,\n  "name": "Untitled",\n  "settings": {\n    "timezone": "UTC"\n  },\n'
        '  "nodes": [],\n  "connections": [],\n  "notes": []\n}\n'
    )


def test_only_settings_that_were_made_are_written_in_their_order():
    made = Settings(when_full="skip", concurrency=2, priority="high")
    assert json.loads(save(Workflow(settings=made)))["settings"] == {
        "timezone": "UTC",
        "priority": "high",
        "concurrency": 2,
        "when_full": "skip",
    }
    assert list(as_data(Workflow(settings=made))["settings"]) == ["timezone", "priority", "concurrency", "when_full"]
    assert as_data(Workflow(settings=Settings(priority="low")))["settings"] == {"timezone": "UTC", "priority": "low"}


@settings(max_examples=60, deadline=None)
@given(workflows())
def test_any_workflow_comes_back_and_is_the_same_text_again(drawn):
    text = save(drawn)
    assert load(text) == drawn
    assert save(load(text)) == text
    text.encode()


NUMBERS = [2**63, -(2**70), 1.5, -0.0, 0, 1e300]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_in_params_stay_what_they_are(number):
    saved = save(Workflow(nodes=(Node(id="a", type="t", label="a", params={"n": number, "text": "é\ud800"}),)))
    assert typed(load(saved).nodes[0].params) == typed({"n": number, "text": "é\ud800"})
    saved.encode()


@pytest.mark.parametrize(("written", "read_back"), [(5, "5"), (5.0, "5.0"), (-3, "-3")])
def test_positions_stay_as_they_are_written(written, read_back):
    workflow = load(nodes({"position": [written, 0]}))
    assert str(workflow.nodes[0].position[0]) == read_back


def test_a_node_without_a_label_is_called_by_its_id():
    assert load(nodes({"id": "n7"})).nodes[0].label == "n7"


def test_a_node_is_found_by_its_id():
    assert WORKFLOW.node("n2") is WORKFLOW.nodes[1]
    assert WORKFLOW.node("n3") is None


def test_a_file_may_begin_with_a_byte_order_mark_and_blanks():
    assert load("\ufeff \n" + ORDERS) == WORKFLOW


# YAML

YAML = """\
flowleaf: 1
name: Orders by country
nodes:
  - id: n1
    type: core.webhook
    label: New order
    params: {path: orders}
    position: [0, 0.5]
  - id: n2
    type: core.limit
    label: Ten
    disabled: true
    parent: n1
    pinned: {main: [{a: 1}]}
    on_error: output
    on_crash: stop
    retry: {attempts: 3}
    timeout_s: 5
    note: Only ten.
    position: [0, 160]
connections:
  - {source: n1, target: n2}
notes:
  - {id: s1, text: Hello, position: [1, 2]}
"""


def test_yaml_with_the_same_keys_is_the_same_workflow():
    assert load(YAML) == WORKFLOW
    assert save(load(YAML)) == ORDERS


WORDS = [
    ("2026-11-23", "2026-11-23"),
    ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"),
    ("12:30", "12:30"),
    ("NO", "NO"),
    ("on", "on"),
    ("007", "007"),
    ("0x1F", "0x1F"),
    ("1_000", "1_000"),
    (".nan", ".nan"),
    (".inf", ".inf"),
    ("+1", "+1"),
    ("=", "="),
    ("true", True),
    ("false", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("0", 0),
    ("-5", -5),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ("1.50", 1.5),
    ("1e5", 100000.0),
    ("'1'", "1"),
    ('"\\u00e9"', "é"),
]


@pytest.mark.parametrize(("word", "value"), WORDS)
def test_yaml_has_the_types_of_json_only(word, value):
    assert typed(parse(f"a: {word}\n")) == typed({"a": value})


def test_keys_of_yaml_are_text():
    assert parse("true: 1\n2026: 2\nnull: 3\n<<: {x: 4}\n") == {"true": 1, "2026": 2, "null": 3, "<<": {"x": 4}}


WRONG_TEXTS = {
    "nothing": ("", "workflow.form", "the file", "holds one object"),
    "a list": ("[]", "workflow.form", "the file", "holds one object"),
    "a word": ("hello", "workflow.form", "the file", "holds one object"),
    "JSON that breaks off": ('{"flowleaf": 1,\n "name": ', "workflow.syntax", "line 2, column 10", "Expecting value"),
    "JSON with a comma too many": ('{"flowleaf": 1,}', "workflow.syntax", "line 1, column 16", "property name"),
    "a key that stands twice": (
        '{"flowleaf": 1, "nodes": [{"id": 1, "id": 2}]}',
        "workflow.syntax",
        "the file",
        "the key 'id' stands twice",
    ),
    "NaN": ('{"flowleaf": NaN}', "workflow.syntax", "the file", "NaN is no JSON number"),
    "a number too large": ('{"flowleaf": 1e999}', "workflow.syntax", "the file", "the number 1e999 is too large"),
    "a number too long": ('{"n": ' + "9" * 5_000 + "}", "workflow.syntax", "the file", "is too large"),
    "JSON too deep": ("[" * 100_000, "workflow.syntax", "the file", "nested too deeply"),
    "YAML that breaks off": ("flowleaf: 1\nnodes: [", "workflow.syntax", "line 2, column 9", "expected"),
    "YAML with a tab": ("flowleaf: 1\n\tname: x", "workflow.syntax", "line 2, column 1", "cannot start any token"),
    "a YAML key that stands twice": (
        "flowleaf: 1\nname: a\nname: b\n",
        "workflow.syntax",
        "line 3, column 1",
        "the key 'name' stands twice",
    ),
    "a YAML alias": ("name: &n x\nnodes: *n\n", "workflow.syntax", "line 2, column 8", "aliases"),
    "a YAML tag": ("name: !!binary aGk=\n", "workflow.syntax", "line 1, column 7", "tags"),
    "a YAML tag of Python": ("!!python/object:os.x {}\n", "workflow.syntax", "line 1, column 1", "tags"),
    "a YAML key that is a list": ("? [a]\n: 1\n", "workflow.syntax", "line 1, column 3", "expected a scalar"),
    "two YAML documents": ("a: 1\n---\nb: 2\n", "workflow.syntax", "line 2, column 1", "another document"),
    "YAML with a control character": ("a: \x07", "workflow.syntax", "the file", "unacceptable character"),
    "a YAML number too large": ("n: 1e999", "workflow.syntax", "the file", "the number 1e999 is too large"),
    "a YAML number too long": ("n: " + "9" * 5_000, "workflow.syntax", "the file", "is too large"),
    "YAML too deep": ("a: " + "[" * 500, "workflow.syntax", "the file", "nested too deeply"),
    "no version": ('{"name": "x"}', "workflow.form", "the file", 'the key "flowleaf" is missing'),
    "a newer version": ('{"flowleaf": 2}', "workflow.version", "flowleaf", "file version 2 is not known"),
    "a version in quotes": ('{"flowleaf": "1"}', "workflow.version", "flowleaf", "file version '1' is not known"),
    "a version that is true": ('{"flowleaf": true}', "workflow.version", "flowleaf", "file version True"),
}


@pytest.mark.parametrize(("text", "code", "place", "message"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_a_file_is_no_workflow_with(text, code, place, message):
    (problem,) = problems(text)
    assert (problem.code, problem.place) == (code, place)
    assert message in problem.message
    assert problem.hint


def test_loading_raises_all_problems():
    with pytest.raises(InvalidWorkflow) as caught:
        load(nodes({"labl": "x"}, nme="y"))
    assert [p.message for p in caught.value.problems] == ["unknown key 'nme'", "unknown key 'labl'"]
    assert "unknown key 'nme'\n  -> Did you mean 'name'?" in str(caught.value)
