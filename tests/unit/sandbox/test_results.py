"""What may be returned, what becomes of its values, and which input item a row is said to come from."""

import pytest

from tests.support.sandbox import failure, run_here

TWO = [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return items", TWO),
        ("return", TWO),
        ("return None", TWO),
        ("pass", TWO),
        ("return []", []),
        ("items.clear()", []),
        ("return {'x': 1}", [{"x": 1}]),
        ("return ({'x': 1}, {'x': 2})", [{"x": 1}, {"x": 2}]),
        ("return [{'json': {'x': 1}}, {'json': {}}]", [{"x": 1}, {}]),
        ("return {'json': {'x': 1}}", [{"x": 1}]),
        ("return [{'json': {'x': 1}}, {'x': 2}]", [{"json": {"x": 1}}, {"x": 2}]),
        ("return [{'json': 1}]", [{"json": 1}]),
        ("return [{'json': {'x': 1}, 'more': 2}]", [{"json": {"x": 1}, "more": 2}]),
        ("import pandas as pd\nreturn pd.DataFrame({'x': [1, 2]})", [{"x": 1}, {"x": 2}]),
        ("import pandas as pd\nreturn pd.DataFrame()", []),
        ("import pandas as pd\nreturn pd.DataFrame(index=[1, 2])", [{}, {}]),
        ("import pandas as pd\nreturn pd.DataFrame({3: [1]})", [{"3": 1}]),
    ],
)
def test_a_value_becomes_items(source, expected):
    assert run_here(source, TWO).items == expected


def test_input_items_that_look_wrapped_are_left_as_they_are():
    wrapped = [{"json": {"x": 1}}, {"json": {"x": 2}}]
    assert run_here("return items[:1]", wrapped).items == wrapped[:1]
    assert run_here("item['json']['x'] += 1", wrapped, shape="item").items == [{"json": {"x": 2}}, {"json": {"x": 3}}]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("return 5", "returned a number; return a list of dicts, one dict, a DataFrame, or nothing"),
        ("return 'x'", "returned text;"),
        ("return True", "returned True or False;"),
        ("return len", "returned a function;"),
        ("return lambda: 1", "returned a function;"),
        ("return {1, 2}", "returned a set;"),
        ("return (x for x in items)", "returned a generator;"),
        ("yield 1", "returned a generator;"),
        ("return int", "returned a class;"),
        ("return df.a", "returned a Series;"),
        ("return [1]", "item 0 of the returned list is a number; return a list of dicts"),
        ("return [{}, None]", "item 1 of the returned list is nothing; return a list of dicts"),
        ("return [[{}]]", "item 0 of the returned list is a list;"),
        ("class Order: pass\nreturn Order()", "returned an Order;"),
        (
            "return {'a': {'b': [1, len]}}",
            "item 0 of the result: field 'a.b[1]' holds a function, which is no JSON data",
        ),
        ("return {'a': b'x'}", "field 'a' holds bytes"),
        ("return {'a': 1j}", "field 'a' holds a complex"),
        ("return [{}, {'a': df}]", "item 1 of the result: field 'a' holds a DataFrame"),
        ("from datetime import timedelta\nreturn {'a': timedelta(1)}", "field 'a' holds a timedelta"),
        ("import numpy as np\nreturn {'a': np.array([1j])}", "field 'a' holds an array"),
        ("return {'a': 10 ** 5000}", "field 'a' holds a number of more than 4,300 digits"),
        ("return {'a': '\\ud800'}", "field 'a' holds text with half of a character"),
        ("return {'\\ud800': 1}", "it holds text with half of a character"),
        ("return {'a': {(1, 2): 3}}", "field 'a' has a tuple for a key; keys are text"),
        ("return {'a': {b'x': 3}}", "field 'a' has bytes for a key"),
        (
            "return df.rename(columns={'a': ('x', 'y')})",
            "column ('x', 'y') of the returned DataFrame has several names",
        ),
        ("import pandas as pd\nreturn pd.concat([df, df], axis=1)", "the returned DataFrame has two columns named 'a'"),
    ],
)
def test_a_value_that_cannot_be_items_is_named(source, message):
    assert message in failure(source, TWO)["message"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("True", True),
        ("2 ** 63", 2**63),
        ("-(10 ** 40)", -(10**40)),
        ("[10 ** 30, 1.0, 1, None, 'é']", [10**30, 1.0, 1, None, "é"]),
        ("float('nan')", None),
        ("[float('inf'), -float('inf'), 10 ** 30]", [None, None, 10**30]),
        ("datetime(2026, 1, 2, 3, 4, 5, 600)", "2026-01-02T03:04:05.000600"),
        ("datetime(2026, 1, 2, tzinfo=timezone.utc)", "2026-01-02T00:00:00+00:00"),
        ("date(2026, 1, 2)", "2026-01-02"),
        ("time(3, 4)", "03:04:00"),
        ("Decimal('1.10')", 1.1),
        ("Decimal('5')", 5),
        ("Decimal('1E+3')", 1000),
        ("Decimal('1E+400')", "1E+400"),
        ("Decimal('0.1234567890123456789012')", "0.1234567890123456789012"),
        ("Decimal('1.5E-400')", "1.5E-400"),
        ("Decimal('NaN')", None),
        ("UUID(int=1)", "00000000-0000-0000-0000-000000000001"),
        ("(1, (2,))", [1, [2]]),
        ("{3, 1, 2}", [1, 2, 3]),
        ("frozenset('b')", ["b"]),
        ("range(3)", [0, 1, 2]),
        ("{'k': 1}.keys()", ["k"]),
        ("deque([1])", [1]),
        ("Counter('aab')", {"a": 2, "b": 1}),
        ("P(1, 2)", [1, 2]),
        ("Text('x')", "x"),
        ("Whole(7)", 7),
        ("Real(7)", 7.0),
        ("Many([1, Whole(2)])", [1, 2]),
        ("Some({'z'})", ["z"]),
        ("{1: 'a', None: 'b', True: 'c', 2.5: 'd'}", {"1": "c", "null": "b", "2.5": "d"}),
        ("{date(2026, 1, 2): 1, np.int64(4): 2, 10 ** 30: 3}", {"2026-01-02": 1, "4": 2, str(10**30): 3}),
        ("np.int64(3)", 3),
        ("np.float64(1.0)", 1.0),
        ("np.float64('nan')", None),
        ("np.bool_(True)", True),
        ("np.array([[1, 2]])", [[1, 2]]),
        ("np.array(['2026-01-02T03:04'], dtype='datetime64[s]')[0]", "2026-01-02T03:04:00"),
        ("np.array(['NaT'], dtype='datetime64[s]')[0]", None),
        ("pd.NaT", None),
        ("pd.NA", None),
        ("pd.Timestamp('2026-01-02', tz='UTC')", "2026-01-02T00:00:00+00:00"),
        ("pd.Series([1, 2])", [1, 2]),
        ("pd.Series(pd.to_datetime(['2026-01-02', None]))", ["2026-01-02T00:00:00", None]),
        ("pd.Index(['a'])", ["a"]),
        ("pd.Series([1, None], dtype='Int64').values", [1, None]),
    ],
)
def test_a_field_is_made_plain(expression, expected):
    imports = """\
from datetime import date, datetime, time, timezone
from decimal import Decimal
from uuid import UUID
from collections import Counter, deque, namedtuple
import numpy as np, pandas as pd
P = namedtuple("P", "x y")
class Text(str): pass
class Whole(int): pass
class Real(float): pass
class Many(list): pass
class Some(set): pass
"""
    value = run_here(f"{imports}return {{'v': {expression}}}", []).items[0]["v"]
    assert value == expected
    assert type(value) is type(expected)


def test_large_numbers_do_not_change_the_other_fields():
    values = {"whole": 1, "real": 1.0, "zero": -0.0, "text": "1", "large": 2**200, "none": None, "yes": True}
    back = run_here("pass", [values]).items[0]
    assert list(map(repr, back.values())) == list(map(repr, values.values()))


@pytest.mark.parametrize(
    ("source", "sources"),
    [
        ("pass", [0, 1, 2]),
        ("return items[::-1]", [2, 1, 0]),
        ("items.sort(key=lambda i: -i['n'])", [2, 1, 0]),
        ("for i in items:\n    i['m'] = 1\nreturn [i for i in items if i['n'] != 2]", [0, 2]),
        ("return [items[1], items[1]]", [1, 1]),
        ("return items[2]", [2]),
        ("return [{'json': i} for i in items if i['n'] > 1]", [1, 2]),
        ("return []", []),
        ("return [{'n': i['n']} for i in items]", None),
        ("return [items[0], {'n': 9}]", None),
        ("return {'n': 1}", None),
        ("return df", [0, 1, 2]),
        ("return df[df.n > 1]", [1, 2]),
        ("return df.sort_values('n', ascending=False).head(2)", [2, 1]),
        ("df['x'] = 1\nreturn df.drop_duplicates('k')", [0, 1]),
        ("return df.assign(x=2).iloc[[2, 0]]", [2, 0]),
        ("return df.reset_index(drop=True)", None),
        ("return df.sort_values('n', ascending=False, ignore_index=True)", None),
        ("return df.groupby('k', as_index=False).sum()", None),
        ("return df.merge(df, on='n')", None),
        ("import pandas as pd\nreturn pd.concat([df, df])", None),
        ("import pandas as pd\nreturn pd.DataFrame({'n': [1, 2]})", None),
        ("import pandas as pd\nreturn pd.DataFrame(df.to_dict('records'))", None),
        ("return df.reindex([0, 7])", None),
        ("return df.set_index('n')", None),
    ],
)
def test_lineage_is_known_where_rows_are_still_the_input_items(source, sources):
    items = [{"n": 1, "k": "a"}, {"n": 2, "k": "b"}, {"n": 3, "k": "a"}]
    assert run_here(source, items).sources == sources


@pytest.mark.parametrize("source", ["return [{}, {}]", "import pandas as pd\nreturn pd.DataFrame({'x': [1, 2]})"])
def test_all_that_one_item_gives_comes_from_it(source):
    assert run_here(source, [{"a": 1}]).sources == [0, 0]


def test_lineage_of_one_run_per_item_is_always_known():
    source = """\
if item["a"] == 2:
    return []
if item["a"] == 3:
    return [{"x": 1}, {"json": {"y": 2}}]
item["a"] = 0
"""
    ran = run_here(source, [{"a": 1}, {"a": 2}, {"a": 3}], shape="item")
    assert ran.items == [{"a": 0}, {"x": 1}, {"json": {"y": 2}}]
    assert ran.sources == [0, 2, 2]


def test_one_run_per_item_sees_its_own_inputs_and_frame():
    source = "return {'sum': item['a'] + params['b'], 'rows': len(df), 'a': int(df.a.iloc[0])}"
    ran = run_here(source, TWO, shape="item", inputs=[{"b": 10}, {"b": 20}])
    assert ran.items == [{"sum": 11, "rows": 1, "a": 1}, {"sum": 22, "rows": 1, "a": 2}]
    assert run_here("return {'b': params['b']}", TWO, shape="item", inputs={"b": 5}).items == [{"b": 5}, {"b": 5}]


def test_a_whole_number_stays_one_in_a_frame_where_another_item_lacks_it():
    items = [{"id": 2**53 + 1, "x": 1.5, "b": True}, {"x": None}, {"id": None, "x": 2}]
    back = run_here("return df", items).items
    assert back == [
        {"id": 2**53 + 1, "x": 1.5, "b": True},
        {"id": None, "x": None, "b": None},
        {"id": None, "x": 2.0, "b": None},
    ]
    assert type(back[0]["id"]) is int


def test_a_field_named_index_does_not_clash_with_the_rows_of_a_frame():
    items = [{"index": 5, "v": 1}, {"index": 5, "v": 2}]
    assert run_here("return df.groupby('index', as_index=False).v.sum()", items).items == [{"index": 5, "v": 3}]
    assert run_here("return df.reset_index()[['level_0', 'v']]", items).items[1] == {"level_0": 1, "v": 2}


def test_resetting_the_rows_of_a_frame_names_them_as_pandas_does():
    assert run_here("return df.reset_index()[['index']]", TWO).items == [{"index": 0}, {"index": 1}]
