"""Items from and to JSON and NDJSON, and values made plain."""

import enum
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.convert import (
    as_rows,
    dumps,
    items_from_json,
    items_from_ndjson,
    items_to_ndjson,
    loads,
    plain,
    type_name,
)
from engine.errors import NodeError
from engine.items import Items
from tests.support.drawn import ROW, VALUES, typed


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# JSON


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_a_value_written_and_read_is_the_same(value):
    assert typed(loads(dumps(value))) == typed(value)
    assert typed(loads(dumps(value, pretty=True))) == typed(value)
    assert dumps(value) == dumps(value)


TEXTS = [
    ("9223372036854775808", 2**63),
    ("-9223372036854775809", -(2**63) - 1),
    ("[1234567890123456789012345678901234567890]", [1234567890123456789012345678901234567890]),
    ('{"id": 12345678901234567890, "x": 1.5, "y": 1e2}', {"id": 12345678901234567890, "x": 1.5, "y": 100.0}),
    ('"\\ud800"', "\ud800"),
    ('{"a": 1, "a": 2}', {"a": 2}),
    ("\ufeff[1]", [1]),
    ("  null\n", None),
    ("1E5", 100000.0),
]


@pytest.mark.parametrize(("text", "value"), TEXTS)
def test_json_is_read_without_loss(text, value):
    assert typed(loads(text)) == typed(value)
    assert typed(loads(text.encode())) == typed(value)


def test_half_a_surrogate_pair_can_be_in_a_text():
    assert loads('["\ud800"]') == ["\ud800"]


BROKEN = [
    ("", "line 1, column 1"),
    ('{"a": 1,\n "b": }', "line 2, column 7"),
    ('["12345678901234567890",\n 1 2]', "line 2, column 4"),
    ("NaN", "line 1, column 1"),
    ("[12345678901234567890, NaN]", "NaN is no JSON number"),
    ("[12345678901234567890, -Infinity]", "-Infinity is no JSON number"),
    ("1e400", "line 1, column 1"),
    ("[12345678901234567890, 1e400]", "the number 1e400 is too large"),
    ("{'a': 1}", "line 1, column 2"),
    ("[1]]", "line 1, column 4"),
    ("[" * 3000 + "]" * 3000, "depth|deep"),
    ("[" * 100_000 + "12345678901234567890", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "where"), BROKEN)
def test_what_is_no_json_is_refused_with_its_place(text, where):
    with pytest.raises(ValueError, match=where):
        loads(text)


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(ValueError, match="not UTF-8: byte 2 cannot be read"):
        loads(b'["\xff"]')


def test_values_are_written_compact_in_utf8():
    assert dumps({"name": "Zoë", "n": [1, 2.0, None]}) == '{"name":"Zoë","n":[1,2.0,null]}'.encode()
    assert dumps({"a": [1]}, pretty=True) == b'{\n  "a": [\n    1\n  ]\n}'


def test_large_numbers_are_written_compact_too():
    assert dumps({"name": "Zoë", "n": 2**70}) == f'{{"name":"Zoë","n":{2**70}}}'.encode()
    assert dumps({"n": 2**70}, pretty=True) == f'{{\n  "n": {2**70}\n}}'.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_written_as_null(number):
    assert dumps([number]) == b"[null]"
    assert dumps([number, 2**70, {"a": number}]) == f'[null,{2**70},{{"a":null}}]'.encode()


@pytest.mark.parametrize("depth", [100, 254, 255, 900])
def test_deep_values_are_written(depth):
    assert loads(dumps(nested(depth))) == nested(depth)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), {1, 2}, {1: 2}, b"x", object()], ids=type_name)
def test_what_is_no_json_data_is_not_written(value):
    with pytest.raises(TypeError):
        dumps(value)
    with pytest.raises(TypeError):
        dumps([2**70, value] if not isinstance(value, dict) else value)


def test_what_has_no_end_is_not_written():
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, nested(5_000)):
        with pytest.raises(TypeError, match="nested too deeply, or holds itself"):
            dumps(value)


# Items


def test_items_are_a_list_of_objects_or_one():
    assert items_from_json('[{"a": 1}, {"b": 2}]').rows == [{"a": 1}, {"b": 2}]
    assert items_from_json(b'{"a": 1}').rows == [{"a": 1}]
    assert items_from_json("[]").rows == []


NO_ITEMS = [
    ("[{}, 5]", "element 1 of the JSON is a number, not an object"),
    ("null", "the JSON is null, not an object"),
    ('"x"', "the JSON is text, not an object"),
    ("[[{}]]", "element 0 of the JSON is a list, not an object"),
    ("[true]", "element 0 of the JSON is true/false, not an object"),
    ("[1", "this is not JSON: line 1, column"),
]


@pytest.mark.parametrize(("text", "message"), NO_ITEMS)
def test_what_is_no_object_is_named(text, message):
    with pytest.raises(NodeError) as caught:
        items_from_json(text)
    assert caught.value.message.startswith(message)
    assert not caught.value.retryable


def test_rows_are_named_as_their_source_is():
    with pytest.raises(NodeError, match="element 0 of line 3 is text"):
        as_rows(["x"], what="line 3")


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=4))
def test_items_written_as_ndjson_come_back(rows):
    text = items_to_ndjson(Items(rows))
    assert len(text.splitlines()) == len(rows)
    assert typed(items_from_ndjson(text).rows) == typed(rows)


def test_ndjson_passes_over_empty_lines():
    assert items_from_ndjson('\ufeff{"a": 1}\r\n\n  \n{"a": "\u2028"}').rows == [{"a": 1}, {"a": "\u2028"}]


def test_a_line_may_hold_a_list_of_objects():
    assert items_from_ndjson('[{"a": 1}, {"a": 2}]\n{"a": 3}').rows == [{"a": 1}, {"a": 2}, {"a": 3}]


NO_LINES = [
    ('{"a": 1}\n\n{"a": }', "line 3 is not JSON: column 7: "),
    ('{"a": 1}\n5', "line 2 is a number, not an object"),
    ('[{}, "x"]', "element 1 of line 1 is text, not an object"),
]


@pytest.mark.parametrize(("text", "message"), NO_LINES)
def test_a_line_that_is_no_object_is_named(text, message):
    with pytest.raises(NodeError) as caught:
        items_from_ndjson(text)
    assert caught.value.message.startswith(message)


# Plain values


class Colour(enum.StrEnum):
    RED = "red"


PLAIN: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (10**30, 10**30),
    ("x", "x"),
    (1.5, 1.5),
    (float("nan"), None),
    (float("inf"), None),
    (np.int64(5), 5),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.float32(0.5), 0.5),
    (np.float64(1.5), 1.5),
    (np.float64("nan"), None),
    (np.bool_(True), True),
    (np.str_("x"), "x"),
    (Colour.RED, "red"),
    (enum.IntEnum("Level", ["LOW"]).LOW, 1),
    (pd.NA, None),
    (pd.NaT, None),
    (pd.Timestamp("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05+00:00"),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4), "03:04:00"),
    (np.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456"),
    (np.datetime64("NaT"), None),
    (np.array(["2026-01-02"], dtype="datetime64[ns]"), ["2026-01-02T00:00:00"]),
    (Decimal("7.00"), 7),
    (Decimal("7.5"), 7.5),
    (Decimal("NaN"), None),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (pd.Series([1, None]), [1.0, None]),
    ((1, (2,)), [1, [2]]),
    ({3}, [3]),
    ({1: np.int64(2), "a": (None,)}, {"1": 2, "a": [None]}),
    (MappingProxyType({"a": 1}), {"a": 1}),
]


@pytest.mark.parametrize(("value", "made"), PLAIN, ids=lambda value: repr(value)[:30])
def test_a_value_made_plain(value, made):
    assert typed(plain(value)) == typed(made)
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize("value", [timedelta(1), pd.Timedelta("1s"), np.timedelta64(1, "ns"), b"x", 1j], ids=repr)
def test_a_value_without_a_json_form_is_named(value):
    with pytest.raises(NodeError, match="has no JSON form") as caught:
        plain([value])
    assert caught.value.hint


TYPES = [
    (None, "null"),
    (True, "true/false"),
    (1, "a number"),
    (1.5, "a number"),
    ("", "text"),
    ([], "a list"),
    ((), "a list"),
    ({}, "an object"),
    (MappingProxyType({}), "an object"),
    (b"", "a bytes"),
]


@pytest.mark.parametrize(("value", "name"), TYPES)
def test_types_have_names_for_people(value, name):
    assert type_name(value) == name
