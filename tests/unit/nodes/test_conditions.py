"""The tests of core.if, core.switch and core.filter: what each says of which values."""

import time
from typing import get_args

import pytest

from nodes.conditions.vocabulary import ALONE, TESTS, Test
from tests.support.build import run_node
from tests.support.nodes import refusals

NO = "refused"  # the item cannot be tested
GONE = object()  # the item has no such field


def verdict(test, value, other=None, *, fixed=False):
    """True, false or refused, of one item; `other` from the item too, unless it is fixed in the params."""
    row = {}
    if value is not GONE:
        row["v"] = value
    if other is not GONE:
        row["o"] = other
    condition = {"value": "{{ item.v }}", "test": test}
    if fixed or test not in ALONE:
        condition["other"] = other if fixed else "{{ item.o }}"
    ran = run_node("core.filter", {"conditions": [condition]}, [row], on_error="output")
    outputs = ran.result("node").outputs
    assert sum(map(len, outputs.values())) == 1
    return True if outputs["main"] else False if outputs["rejected"] else NO


EQUAL = [
    (1, 1, True), (1, 1.0, True), (1, 2, False), (0, False, False), (1, True, False), (True, True, True),
    ("1", 1, True), (1, "1.0", True), (1, " 1 ", True), ("1", "1.0", False), ("", 0, False), ("01", 1, False),
    (1, "one", False), (2**53 + 1, float(2**53), False), (2**70, str(2**70), True), (5, "1e400", False),
    (None, None, True), (None, "", False), (None, 0, False), ("a", "a", True), ("a", "A", False),
    ([1, "a"], [1.0, "a"], True), ([1], [True], False), ([1], ["1"], False), ([], None, False),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ({"a": 1}, {"a": True}, False), ({}, [], False),
    ("9" * 400, 9, False),
]  # fmt: skip
ORDER = [  # value, other, then whether it is greater, greater or equal, less, less or equal
    (2, 1, True, True, False, False), (1, 1, False, True, False, True), (1, 1.0, False, True, False, True),
    (1, 2.5, False, False, True, True), ("10", 9, True, True, False, False), (9, "10", False, False, True, True),
    ("10", "9", False, False, True, True), ("b", "a", True, True, False, False),
    ("1.5e1", 15, False, True, False, True),
    (2**70, 2.0**69, True, True, False, False), ("2026-02-01", "2025-12-31", True, True, False, False),
    (None, 1, False, False, False, False), (1, None, False, False, False, False),
    (None, None, False, False, False, False),
    ("abc", 5, NO, NO, NO, NO), (5, "", NO, NO, NO, NO), (True, 1, NO, NO, NO, NO), (True, False, NO, NO, NO, NO),
    ([1], 1, NO, NO, NO, NO), ({}, {}, NO, NO, NO, NO), ("NaN", 1, NO, NO, NO, NO),
]  # fmt: skip
TEXT = [
    ("contains", "abc", "b", True), ("contains", "abc", "B", False), ("contains", "a5", 5, True),
    ("contains", "abc", "", True), ("contains", [1, "2"], 2, True), ("contains", [1], True, False),
    ("contains", [None], None, True), ("contains", [[1.0]], [1], True), ("contains", {"a": 1}, "a", True),
    ("contains", {"a": 1}, 1, False), ("contains", {"a": 1}, ["a"], False), ("contains", None, "a", False),
    ("contains", 5, 5, NO), ("contains", True, "t", NO), ("contains", "abc", None, NO), ("contains", "true", True, NO),
    ("starts_with", "abc", "ab", True), ("starts_with", "abc", "b", False), ("starts_with", 123, 1, True),
    ("starts_with", 1.5, "1.5", True), ("starts_with", None, "a", False), ("starts_with", "a", None, False),
    ("starts_with", ["a"], "a", NO), ("starts_with", True, "t", NO), ("starts_with", "abc", "", True),
    ("ends_with", "abc", "bc", True), ("ends_with", "abc", "b", False), ("ends_with", 123, "23", True),
    ("ends_with", "a", {}, NO),
    ("matches", "order 12", r"\d+", True), ("matches", "order", r"\d+", False), ("matches", "abc", "^b", False),
    ("matches", "ABC", "(?i)abc", True), ("matches", "Zoë", "^.{3}$", True), ("matches", 123, "^1", True),
    ("matches", None, ".*", False), ("matches", "\ud800", "a", False), ("matches", "a", "\ud800", False),
    ("matches", ["a"], "a", NO), ("matches", "a", 5, NO), ("matches", "a", "(", NO), ("matches", "a", r"(?=a)", NO),
    ("matches", "aa", r"(a)\1", NO),
]  # fmt: skip
OTHERS = [
    ("is_empty", None, True), ("is_empty", "", True), ("is_empty", [], True), ("is_empty", {}, True),
    ("is_empty", GONE, True), ("is_empty", 0, False), ("is_empty", False, False), ("is_empty", " ", False),
    ("is_empty", [None], False),
    ("exists", GONE, False), ("exists", None, False), ("exists", "", True), ("exists", 0, True),
    ("exists", False, True),
    ("is_true", True, True), ("is_true", "yes", True), ("is_true", " TRUE ", True), ("is_true", 1, True),
    ("is_true", "1", True), ("is_true", False, False), ("is_true", "no", False), ("is_true", 0, False),
    ("is_true", None, False), ("is_true", "maybe", NO), ("is_true", 2, NO), ("is_true", 1.0, True),
    ("is_true", -0.0, False), ("is_true", [], NO),
    ("is_true", "", NO), ("is_true", GONE, NO),
    ("is_false", False, True), ("is_false", "No", True), ("is_false", "0", True), ("is_false", True, False),
    ("is_false", None, False), ("is_false", "x", NO),
]  # fmt: skip
LISTS = [
    ("de", ["de", "fr"], True), ("it", ["de", "fr"], False), ("de", "de, fr", True), ("d", "de, fr", False),
    (1, ["1"], True), ("1", [1], True), (1, "1, 2", True), (1.0, [1], True), (True, [1], False), (1, [True], False),
    ([1], [[1.0]], True), ({"a": 1}, [{"a": 1.0}], True), ("a", {"a": 1}, True), ("b", {"a": 1}, False),
    ([1], {"a": 1}, False),
    (None, [None], False), (None, "", False), ("", "", True), ("x", [], False), (2**70, [str(2**70)], True),
    ("de", 5, NO), ("de", True, NO),
]  # fmt: skip
DATES = [  # value, other, before, after
    ("2025-12-31", "2026-01-01", True, False), ("2026-01-01", "2026-01-01", False, False),
    ("2026-01-02", "2026-01-01T23:59:59Z", False, True), ("2026-01-01T01:00:00+02:00", "2026-01-01", True, False),
    ("2026-01-01T00:00", "2026-01-01T00:00:00Z", False, False), ("20260101", "2026-01-02", True, False),
    (" 2026-01-01 ", "2026-01-02", True, False), (1767225600, "2026-01-01T00:00:01Z", True, False),
    (1767225601000, "2026-01-01", False, True), (-1, 0, True, False), ("1969-12-31", 0, True, False),
    (None, "2026-01-01", False, False), ("2026-01-01", None, False, False),
    ("soon", "2026-01-01", NO, NO), ("2026-13-01", "2026-01-01", NO, NO), ("2026-01-01", "soon", NO, NO),
    (True, "2026-01-01", NO, NO), ([], "2026-01-01", NO, NO), (10**400, "2026-01-01", NO, NO),
    ("12:00", "13:00", NO, NO),
    ("", "2026-01-01", NO, NO),
]  # fmt: skip


@pytest.mark.parametrize(("value", "other", "expected"), EQUAL)
def test_equals(value, other, expected):
    assert verdict("equals", value, other) is expected
    assert verdict("equals", other, value) is expected
    assert verdict("not_equals", value, other) is not expected


@pytest.mark.parametrize("case", ORDER, ids=lambda case: f"{case[0]!r:.20}-{case[1]!r:.20}")
def test_order(case):
    value, other, *expected = case
    tests = ("greater_than", "greater_or_equal", "less_than", "less_or_equal")
    assert [verdict(test, value, other) for test in tests] == expected


@pytest.mark.parametrize(("test", "value", "other", "expected"), TEXT)
def test_text(test, value, other, expected):
    assert verdict(test, value, other) is expected
    if test == "contains":
        assert verdict("not_contains", value, other) is (NO if expected is NO else not expected)


@pytest.mark.parametrize(("test", "value", "expected"), OTHERS)
def test_of_one_value(test, value, expected):
    assert verdict(test, value) is expected
    if test == "is_empty":
        assert verdict("is_not_empty", value) is not expected


@pytest.mark.parametrize(("value", "other", "expected"), LISTS)
def test_is_in(value, other, expected):
    assert verdict("is_in", value, other) is expected


@pytest.mark.parametrize(("value", "other", "before", "after"), DATES)
def test_dates(value, other, before, after):
    assert verdict("before", value, other) is before
    assert verdict("after", value, other) is after


USABLE = [
    *(("is_in", value, other, expected) for value, other, expected in LISTS if expected is not NO),
    *((test, v, o, e) for test, v, o, e in TEXT if test == "matches" and e is not NO),
    *(("before", v, o, before) for v, o, before, _ in DATES if before is not NO and o is not None),
]


@pytest.mark.parametrize(("test", "value", "other", "expected"), USABLE)
def test_it_makes_no_difference_whether_the_other_side_is_fixed(test, value, other, expected):
    assert verdict(test, value, other, fixed=True) is expected


def test_every_test_has_a_meaning():
    assert set(TESTS) == set(get_args(Test))
    assert len(TESTS) == 19


@pytest.mark.parametrize("test", sorted(set(TESTS) - {"exists", "is_empty", "is_not_empty"}))
def test_a_missing_field_cannot_be_tested(test):
    assert verdict(test, GONE, 1) is NO


@pytest.mark.parametrize("test", sorted(set(TESTS) - set(ALONE)))
def test_a_missing_field_cannot_be_compared_with(test):
    assert verdict(test, "1", GONE) is NO


@pytest.mark.parametrize("test", ALONE)
def test_tests_that_need_nothing_look_at_nothing(test):
    condition = {"value": "{{ item.v }}", "test": test, "other": "{{ item.not_there }}"}
    ran = run_node("core.filter", {"conditions": [condition]}, [{"v": True}])
    assert ran.status == "succeeded"


MESSAGES = {
    "order": (
        "greater_than",
        "abc",
        5,
        'greater_than cannot compare text ("abc") with a number (5)',
        "It compares two numbers or two texts: convert one side, for example with | float or | string.",
    ),
    "order of lists": ("less_than", [1], None, None, None),
    "contains in a number": (
        "contains",
        5,
        "5",
        "contains looks into text, lists and objects, not into a number (5)",
        None,
    ),
    "contains an object": (
        "contains",
        "a",
        {"b": None},
        'contains looks for text in a text, not for an object ({"b":null})',
        None,
    ),
    "text": ("ends_with", [1, 2], "2", "ends_with looks at text, not at a list ([1,2])", None),
    "text of a long value": (
        "starts_with",
        ["x" * 99],
        "x",
        'starts_with looks at text, not at a list (["' + "x" * 35 + "...)",
        None,
    ),
    "truth": (
        "is_true",
        "maybe",
        None,
        'neither true nor false: text ("maybe")',
        "true, yes and 1 are true; false, no and 0 are false.",
    ),
    "a date": (
        "before",
        "soon",
        "2026-01-01",
        'not a date: text ("soon")',
        "Write 2026-11-23, 2026-11-23T12:00:00Z, or seconds since 1970.",
    ),
    "a pattern": (
        "matches",
        "a",
        "(",
        '"(" is no regular expression: missing ): (',
        "RE2 syntax: no look-around, no back references.",
    ),
    "no pattern": ("matches", "a", 5, "matches needs a regular expression, not a number (5)", None),
    "a list": ("is_in", "a", 5, "is_in needs a list to look in, not a number (5)", 'Write ["de", "fr"], or de, fr.'),
}


@pytest.mark.parametrize(("test", "value", "other", "message", "hint"), MESSAGES.values(), ids=MESSAGES)
def test_a_refusal_names_the_values_the_item_and_the_param(test, value, other, message, hint):
    conditions = [
        {"value": "{{ item.a }}", "test": "exists"},
        {"value": "{{ item.v }}", "test": test, **({} if test in ALONE else {"other": "{{ item.o }}"})},
    ]
    ran = run_node("core.filter", {"conditions": conditions}, [{"v": 1}, {"a": 1, "v": value, "o": other}])
    if message is None:
        assert ran.status == "succeeded"
        return
    error = ran.error("node")
    assert error["message"] == message
    assert error.get("hint") == hint
    assert (error["item"], error["param"]) == (1, "conditions[1].value")


def test_a_missing_field_is_named_with_what_to_write():
    error = run_node(
        "core.if", {"conditions": [{"value": "{{ item.totl }}", "test": "equals", "other": 1}]}, [{"total": 1}]
    ).error("node")
    assert error["code"] == "node.expression.missing"
    assert "totl" in error["message"]
    assert "total" in error["message"]
    assert (error["item"], error["param"]) == (0, "conditions[0].value")


def test_a_pattern_that_would_keep_others_busy_for_ever_is_quick():
    started = time.perf_counter()
    assert verdict("matches", "a" * 50_000 + "!", "^(a+)+$") is False
    assert time.perf_counter() - started < 1


def test_looking_in_a_long_list_does_not_get_longer_with_it():
    rows = [{"v": n} for n in range(2_000)]
    condition = {"value": "{{ item.v }}", "test": "is_in", "other": list(range(1_000, 60_000))}
    started = time.perf_counter()
    assert len(run_node("core.filter", {"conditions": [condition]}, rows)["node"]) == 1_000
    assert time.perf_counter() - started < 2


UNUSABLE = {
    "a pattern": ("matches", "(", '"(" is no regular expression: missing ): (. RE2 syntax: no look-around'),
    "a pattern that is none": ("matches", 5, "matches needs a regular expression, not a number (5)"),
    "no list": ("is_in", 5, 'is_in needs a list to look in, not a number (5). Write ["de", "fr"], or de, fr.'),
    "no date": ("after", "soon", 'not a date: text ("soon"). Write 2026-11-23'),
}


@pytest.mark.parametrize(("test", "other", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_compared_with_is_refused_before_a_run(test, other, said):
    (problem,) = refusals("core.filter", {"conditions": [{"value": 1, "test": test, "other": other}]})
    assert problem.startswith(f"params.conditions[0].other: {said}")


def test_what_an_expression_gives_is_looked_at_in_the_run():
    condition = {"value": "a", "test": "matches", "other": "{{ '(' }}"}
    assert refusals("core.filter", {"conditions": [condition]}) == []
    error = run_node("core.filter", {"conditions": [condition]}, [{}]).error("node")
    assert error["param"] == "conditions[0].other"
    assert "is no regular expression" in error["message"]


NEEDY = sorted(set(TESTS) - set(ALONE) - {"equals", "not_equals"})


@pytest.mark.parametrize("test", NEEDY)
@pytest.mark.parametrize("more", [{}, {"other": None}])
def test_a_test_that_compares_needs_something_to_compare_with(test, more):
    (problem,) = refusals("core.filter", {"conditions": [{"value": 1, "test": test, **more}]})
    assert problem.startswith(f"params.conditions[0]: {test} needs `other`: what to compare with")


@pytest.mark.parametrize("test", [*ALONE, "equals", "not_equals"])
def test_others_need_nothing(test):
    assert refusals("core.filter", {"conditions": [{"value": 1, "test": test}]}) == []


BAD = {
    "no conditions": ({"conditions": []}, "params.conditions: should have at least one element"),
    "no value": ({"conditions": [{"test": "exists"}]}, "params.conditions[0].value: 'value' is missing"),
    "a test that is none": (
        {"conditions": [{"value": 1, "test": "equal", "other": 1}]},
        "Did you mean 'equals'?",
    ),
    "a misspelt key": (
        {"conditions": [{"value": 1, "test": "equals", "othr": 1}]},
        "Did you mean 'other'?",
    ),
    "a combination that is none": (
        {"conditions": [{"value": 1, "test": "exists"}], "combine": "or"},
        "params.combine: should be 'all' or 'any'",
    ),
    "a test per item": (
        {"conditions": [{"value": 1, "test": "{{ item.test }}", "other": 1}]},
        "params.conditions[0].test: `item` differs",
    ),
}


@pytest.mark.parametrize("name", ["core.if", "core.filter"])
@pytest.mark.parametrize(("params", "said"), BAD.values(), ids=BAD)
def test_params_that_cannot_be_used_are_refused(name, params, said):
    assert said in "\n".join(refusals(name, params))
