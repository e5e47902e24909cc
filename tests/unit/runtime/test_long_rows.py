"""Which rows are so long that they are written down in a thread."""

import pytest

from engine.runtime.data.cuts import is_long


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], False),
        ([{"a": 1, "b": "x" * 1_000, "c": [1, 2, {"d": None}]}], False),
        ([{"text": "x" * 300_000}], True),
        ([{"deep": {"er": [{"text": "x" * 300_000}]}}], True),
        ([{"part": "x" * 1_000}] * 300, True),
        ([{"numbers": list(range(10_000))}], True),
        ([{"a": [{"b": i} for i in range(3_000)]}], True),
        ([{"a": i} for i in range(1_000)], False),
    ],
)
def test_long_texts_and_many_values_are_long(rows, expected):
    assert is_long(rows) is expected
