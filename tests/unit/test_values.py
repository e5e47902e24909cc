"""JSON values as nodes see them: fields by path, equality, order."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Items, NodeError, column_of, equal, field_value, match_key, order_key

ROW = {"a": {"b": {"c": 1}, "list": [1]}, "a.b": 2, "n": None, "": 3}
FIELDS = [
    ("a.b", 2), ("a.b.c", 1), ("a.list", [1]), ("n", None), ("", 3), ("a.x", ...), ("x.b", ...), ("n.b", ...),
    ("a.list.0", ...), ("a.", ...), (".", ...), ("a..b", ...), ("x", ...),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), FIELDS)
def test_a_field_by_name_or_path(name, expected):
    assert field_value(ROW, name, ...) == expected


def test_a_column_has_null_where_an_item_lacks_the_field():
    items = Items([{"n": 1}, {}, {"n": None}, {"b": {"n": 2}}])
    assert column_of(items, "n") == [1, None, None, None]
    assert column_of(items, "b.n") == [None, None, None, 2]
    assert column_of(Items([]), "anything") == []


def test_a_column_of_a_table_makes_no_rows():
    items = Items(table=pa.table({"n": [1, 2], "m": ["x", "y"]}))
    assert column_of(items, "n") == [1, 2]
    assert items.is_table


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bodi", "Did you mean 'body'?"),
        ("body.totl", "Did you mean 'body.total'?"),
        ("qqq", "Known here: body, body.total, body.deep, body.deep.er."),
    ],
)
def test_a_field_that_no_item_has(name, hint):
    items = Items([{"body": {"total": 1, "deep": {"er": {"still": 1}}}}])
    with pytest.raises(NodeError) as caught:
        column_of(items, name, what="left item")
    assert caught.value.message == f"no left item has the field {name!r}"
    assert caught.value.hint == hint


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, -0.0, 2.5])
    | st.sampled_from(["", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def same(a, b):
    """Equality as it is meant, written out."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) not in (list, dict) and type(b) not in (list, dict) and a == b


@given(values, values)
def test_values_are_equal_as_they_are_meant_to_be(a, b):
    assert equal(a, b) is same(a, b)
    assert (match_key(a) == match_key(b)) is same(a, b)
    assert equal(a, a)
    if same(a, b):
        assert hash(match_key(a)) == hash(match_key(b))


@given(st.lists(values.filter(lambda value: value is not None), max_size=5))
def test_values_of_any_types_have_an_order(mixed):
    ordered = sorted(mixed, key=order_key)
    ranks = [order_key(value)[0] for value in ordered]
    assert ranks == sorted(ranks)
