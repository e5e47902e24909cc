"""What is wrong with the form of a workflow file: each fault with its place and remedy, all of them in one go."""

import json
from typing import Any

import pytest

from engine.checks import load as load_checked
from engine.errors import InvalidWorkflow, Problem
from engine.registry import Registry
from engine.workflow import read


def file(**keys: Any) -> str:
    """A file with these keys."""
    return json.dumps({"flowleaf": 1, "name": "Test", "nodes": [], "connections": []} | keys)


def nodes(*given: dict[str, Any], **keys: Any) -> str:
    """A file with nodes that are manual triggers, but for what is given."""
    made = [{"id": f"n{i}", "type": "core.manual"} | node for i, node in enumerate(given, 1)]
    return file(nodes=made, **keys)


def problems(text: str) -> list[Problem]:
    return read(text).problems


# What is wrong, one at a time

FAULTS: dict[str, tuple[str, tuple[str, str, str, str | None, str | None, str | None]]] = {
    # code, place, message, hint, node id, field
    "an unknown key": (
        file(nods=[]),
        ("workflow.unknown_key", "the file", "unknown key 'nods'", "Did you mean 'nodes'?", None, None),
    ),
    "an unknown key of a node": (
        nodes({"label": "A", "positon": [0, 0]}),
        ("workflow.unknown_key", 'node "A"', "unknown key 'positon'", "Did you mean 'position'?", "n1", "positon"),
    ),
    "an unknown key of retry": (
        nodes({"retry": {"atempts": 2}}),
        (
            "workflow.unknown_key",
            'node "n1", retry',
            "unknown key 'atempts'",
            "Did you mean 'attempts'?",
            "n1",
            "retry.atempts",
        ),
    ),
    "an unknown key of a connection": (
        nodes({}, {}, connections=[{"source": "n1", "target": "n2", "inptu": "x"}]),
        (
            "workflow.unknown_key",
            "connection 1 (n1 -> n2)",
            "unknown key 'inptu'",
            "Did you mean 'input'?",
            None,
            "inptu",
        ),
    ),
    "an unknown key of settings": (
        file(settings={"timezon": "UTC"}),
        (
            "workflow.unknown_key",
            "settings",
            "unknown key 'timezon'",
            "Did you mean 'timezone'?",
            None,
            "settings.timezon",
        ),
    ),
    "an unknown key of a note": (
        file(notes=[{"id": "s", "txt": "x"}]),
        ("workflow.unknown_key", "note 1", "unknown key 'txt'", "Did you mean 'text'?", None, "txt"),
    ),
    "nodes that are no list": (
        file(nodes={}),
        ("workflow.form", "nodes", "nodes should be a list", 'Write "nodes": [...].', None, None),
    ),
    "a node that is no object": (
        file(nodes=["x"]),
        ("workflow.value", "node 1", 'should be an object, not "x"', None, None, None),
    ),
    "no id": (
        file(nodes=[{"type": "core.manual"}]),
        ("workflow.missing_key", "node 1", "'id' is missing", "Add it.", None, "id"),
    ),
    "no id but a label": (
        file(nodes=[{"type": "core.manual", "label": "A"}]),
        ("workflow.missing_key", 'node "A"', "'id' is missing", "Add it.", None, "id"),
    ),
    "an id that is no text": (
        file(nodes=[{"id": 5, "type": "core.manual"}]),
        ("workflow.value", 'node "5", id', "should be a valid string, not 5", None, "5", "id"),
    ),
    "no type": (
        file(nodes=[{"id": "n1"}]),
        ("workflow.missing_key", 'node "n1"', "'type' is missing", "Add it.", "n1", "type"),
    ),
    "an empty label": (
        nodes({"label": ""}),
        ("workflow.value", "node 1, label", 'should have at least 1 character, not ""', None, "n1", "label"),
    ),
    "half a surrogate pair in a label": (
        nodes({"label": "\ud800"}),
        (
            "workflow.value",
            'node "\ud800", label',
            'should be a valid string, unable to parse raw data as a unicode string, not "\\ud800"',
            None,
            "n1",
            "label",
        ),
    ),
    "a word that is no choice": (
        nodes({"on_error": "outptu"}),
        (
            "workflow.value",
            'node "n1", on_error',
            "should be 'stop', 'continue' or 'output', not \"outptu\"",
            "Did you mean 'output'?",
            "n1",
            "on_error",
        ),
    ),
    "a choice for after a crash": (
        nodes({"on_crash": "retyr"}),
        (
            "workflow.value",
            'node "n1", on_crash',
            "should be 'retry' or 'stop', not \"retyr\"",
            "Did you mean 'retry'?",
            "n1",
            "on_crash",
        ),
    ),
    "no execution at a time": (
        file(settings={"concurrency": 0}),
        (
            "workflow.value",
            "settings.concurrency",
            "should be greater than or equal to 1, not 0",
            None,
            None,
            "settings.concurrency",
        ),
    ),
    "an unknown setting": (
        file(settings={"prioriti": "high"}),
        (
            "workflow.unknown_key",
            "settings",
            "unknown key 'prioriti'",
            "Did you mean 'priority'?",
            None,
            "settings.prioriti",
        ),
    ),
    "a number out of its range": (
        nodes({"retry": {"attempts": 0}}),
        (
            "workflow.value",
            'node "n1", retry.attempts',
            "should be greater than or equal to 1, not 0",
            None,
            "n1",
            "retry.attempts",
        ),
    ),
    "params that are no object": (
        nodes({"params": [1]}),
        ("workflow.value", 'node "n1", params', "should be an object", None, "n1", "params"),
    ),
    "pin data that is no list": (
        nodes({"pinned": {"main": {"a": 1}}}),
        ("workflow.value", 'node "n1", pinned.main', "should be a valid list", None, "n1", "pinned.main"),
    ),
    "a place that is no number": (
        nodes({"position": [0, "x"]}),
        ("workflow.value", 'node "n1", position[1]', 'should be a number, not "x"', None, "n1", "position[1]"),
    ),
    "a place that is true": (
        nodes({"position": [True, 0]}),
        ("workflow.value", 'node "n1", position[0]', "should be a number, not true", None, "n1", "position[0]"),
    ),
    "half a place": (
        nodes({"position": [0]}),
        ("workflow.missing_key", 'node "n1", position', "it is too short", "Add it.", "n1", "position[1]"),
    ),
    "a place that is none": (
        nodes({"position": 5}),
        ("workflow.value", 'node "n1", position', "should be a list, not 5", None, "n1", "position"),
    ),
    "a connection without a target": (
        nodes({}, connections=[{"source": "n1"}]),
        ("workflow.missing_key", "connection 1 (n1 -> None)", "'target' is missing", "Add it.", None, "target"),
    ),
    "a name that is none": (
        file(name=5),
        ("workflow.value", "name", "should be a valid string, not 5", None, None, "name"),
    ),
    "settings that are no object": (
        file(settings="UTC"),
        ("workflow.value", "settings", 'should be an object, not "UTC"', None, None, "settings"),
    ),
    "an id that is there already": (
        nodes({"label": "A"}, {"id": "n1", "label": "B"}),
        (
            "workflow.duplicate_id",
            'node "B" (id "n1")',
            "the id 'n1' is already that of node \"A\"",
            "Give one of them another id.",
            "n1",
            "id",
        ),
    ),
    "a label that is there already": (
        nodes({"label": "A"}, {"label": "A"}),
        (
            "workflow.duplicate_label",
            'node "A" (id "n2")',
            "the label 'A' is already that of the node \"n1\"",
            "Give one of them another label.",
            "n2",
            "label",
        ),
    ),
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_place_and_remedy(text, expected):
    found = [(p.code, p.place, p.message, p.hint, p.node_id, p.field) for p in problems(text)]
    assert found == [expected]


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_all_that_is_said_when_the_rest_is_checked_too(text, expected):
    with pytest.raises(InvalidWorkflow) as caught:
        load_checked(text, Registry())
    assert [problem.message for problem in caught.value.problems] == [expected[2]]


# What is wrong, all at once

START = {"id": "a", "type": "core.manual", "label": "Start"}
LIMIT = {"id": "b", "type": "core.limit", "label": "Limit"}
AFTER = {
    "id": "c",
    "type": "core.set",
    "label": "After",
    "params": {"fields": {"x": "{{ node('Start').first.x }}", "y": "{{ node('Limit').first.y }}"}},
}
PATH = [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}]


def said(*given: Any, connections: list[Any] | None = None, **keys: Any) -> list[str]:
    """The messages of everything that is wrong with a file."""
    text = file(**{"nodes": list(given), "connections": PATH if connections is None else connections} | keys)
    with pytest.raises(InvalidWorkflow) as caught:
        load_checked(text, Registry())
    return [problem.message for problem in caught.value.problems]


def test_the_sound_file_of_these_tests_is_sound():
    assert load_checked(file(nodes=[START, LIMIT, AFTER], connections=PATH), Registry()).name == "Test"


def test_six_faults_are_six_problems():
    found = said(
        START | {"positon": [0, 0]},
        LIMIT | {"params": {"cuont": 2}},
        AFTER | {"params": {"fields": {"x": "{{ node('Strat').first.x }}"}}},
        {"id": "d", "type": "core.lmit"},
        connections=[*PATH, {"source": "c", "target": "zz"}],
        nme="x",
    )
    assert set(found) == {
        "unknown key 'nme'",
        "unknown key 'positon'",
        "its target 'zz' is no node's id",
        "unknown key 'cuont'",
        "no node is called 'Strat'",
        "no node type 'core.lmit' is installed",
    }
    assert len(found) == 6


CHOICES = "should be 'stop', 'continue' or 'output'"
BETWEEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an unknown key": ({"nte": "x"}, ["unknown key 'nte'"]),
    "a wrong choice, with the output it speaks of": ({"on_error": "outptu"}, [f'{CHOICES}, not "outptu"']),
    "a mistyped key, with the output it speaks of": ({"on_eror": "output"}, ["unknown key 'on_eror'"]),
    "no type": ({"type": None}, ["should be a valid string, not null"]),
    "params that are none": ({"type": "core.filter", "params": "x"}, ['should be an object, not "x"']),
    "a label that is none": ({"label": 7}, ["should be a valid string, not 7"]),
    "a label that is taken": ({"label": "Start"}, ["the label 'Start' is already that of the node \"a\""]),
    "no id": ({"id": None}, ["should be a valid string, not null"]),
    "an id that is taken": (
        {"id": "a"},
        [
            "the id 'a' is already that of node \"Start\"",
            "its target 'b' is no node's id",
            "its source 'b' is no node's id",
        ],
    ),
}


@pytest.mark.parametrize(("change", "messages"), BETWEEN.values(), ids=BETWEEN)
def test_what_stands_behind_a_node_is_not_blamed_for(change, messages):
    after = AFTER
    if "label" in change:
        after = AFTER | {"params": {"fields": {"x": "{{ node('Start').first.x }}"}}}
    connections = [*PATH, {"source": "b", "output": "error", "target": "c"}] if "on_er" in "".join(change) else PATH
    assert said(START, LIMIT | change, after, connections=connections) == messages


def test_what_stands_behind_a_broken_connection_is_not_blamed_for_it():
    assert said(START, LIMIT, AFTER, connections=[{"from": "a", "to": "b"}, PATH[1]]) == [
        "'source' is missing",
        "'target' is missing",
        "unknown key 'from'",
        "unknown key 'to'",
    ]


def test_connections_of_nodes_that_cannot_be_read_are_not_blamed():
    assert said(connections=PATH, nodes="x") == ["nodes should be a list"]
    assert said(START, LIMIT, AFTER | {"nte": 1}, connections={}) == [
        "connections should be a list",
        "unknown key 'nte'",
    ]


@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}, None, True, 1.5, 10**30, "\ud800"], ids=repr)
@pytest.mark.parametrize("key", ["id", "type", "label", "params", "parent", "pinned", "retry", "position", "note", "x"])
def test_any_value_at_any_key_of_a_node_is_judged(key, value):
    found = read(file(nodes=[START, LIMIT | {key: value}, AFTER], connections=PATH))
    assert len(found.problems) <= 2
    assert all(problem.place and problem.message for problem in found.problems)


def test_what_else_is_wrong_with_a_faulty_node_is_said_too():
    assert said(START, LIMIT | {"nte": 1, "params": {"cuont": 2}}, AFTER) == [
        "unknown key 'nte'",
        "unknown key 'cuont'",
    ]


def test_a_connection_to_nothing_is_named_beside_an_id_that_is_there_twice():
    found = said(START, LIMIT, AFTER, LIMIT | {"label": "Other"}, connections=[*PATH, {"source": "c", "target": "zz"}])
    assert found == ["the id 'b' is already that of node \"Limit\"", "its target 'zz' is no node's id"]


def test_an_expression_may_name_either_node_of_one_id():
    after = AFTER | {"params": {"fields": {"x": "{{ node('Other').first.x }}"}}}
    assert said(START, LIMIT, LIMIT | {"label": "Other"}, after) == ["the id 'b' is already that of node \"Limit\""]
