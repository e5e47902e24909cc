"""Items from and to CSV: its forms, and the types of its columns."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.convert import items_from_csv, items_to_csv
from engine.errors import NodeError
from engine.items import Items
from tests.support.drawn import typed


def csv(text: str | bytes, **options: Any) -> list[dict[str, Any]]:
    return items_from_csv(text if isinstance(text, bytes) else text.encode(), **options).rows


# CSV: form

FORMS = {
    "plain": ("a,b\n1,x\n", [{"a": 1, "b": "x"}]),
    "no line break at the end": ("a,b\n1,x", [{"a": 1, "b": "x"}]),
    "CRLF": ("a,b\r\n1,x\r\n", [{"a": 1, "b": "x"}]),
    "CR": ("a,b\r1,x\r", [{"a": 1, "b": "x"}]),
    "byte order mark": ("\ufeffa,b\n1,x\n", [{"a": 1, "b": "x"}]),
    "empty lines": ("\n\r\na,b\n\n1,x\n\n", [{"a": 1, "b": "x"}]),
    "semicolons": ("a;b\n1,5;x\n", [{"a": "1,5", "b": "x"}]),
    "tabs": ("a\tb\n1\tx, y\n", [{"a": 1, "b": "x, y"}]),
    "bars": ("a|b\n1|x\n", [{"a": 1, "b": "x"}]),
    "commas in a quoted name": ('"a, b, c";d\n1;2\n', [{"a, b, c": 1, "d": 2}]),
    "quotes": ('a,b\n"1","say ""hi"", you"\n', [{"a": 1, "b": 'say "hi", you'}]),
    "a line break in a cell": ('a,b\n1,"x\ny"\n2,z\n', [{"a": 1, "b": "x\ny"}, {"a": 2, "b": "z"}]),
    "a line break in a name": ('"a\nb",c\n1,2\n', [{"a\nb": 1, "c": 2}]),
    "one column": ("a\n1\n2\n", [{"a": 1}, {"a": 2}]),
    "an empty cell of one column": ('a\n1\n""\n', [{"a": 1}, {"a": None}]),
    "the same name twice": ("a,a,a_2\n1,2,3\n", [{"a": 1, "a_2": 2, "a_2_2": 3}]),
    "names that are empty": (",b, \n1,2,3\n", [{"column_1": 1, "b": 2, "column_3": 3}]),
    "spaces around names": (" a , b\n1,2\n", [{"a": 1, "b": 2}]),
    "spaces around cells": ("a,b\n 1, x\n", [{"a": " 1", "b": " x"}]),
    "nothing": ("", []),
    "blanks only": (" \n\n", []),
}


@pytest.mark.parametrize(("text", "rows"), FORMS.values(), ids=FORMS)
def test_csv_with(text, rows):
    assert csv(text) == rows


@pytest.mark.parametrize("text", ["a,b", "a,b\n", "\ufeffa,b\r\n"])
def test_a_header_alone_gives_no_items_but_their_fields(text):
    items = items_from_csv(text.encode())
    assert items.rows == []
    assert items.table is not None
    assert items.table.column_names == ["a", "b"]


def test_csv_is_held_as_a_table():
    assert items_from_csv(b"a\n1\n").is_table


def test_a_delimiter_can_be_said():
    assert csv("a;b,c\n1;2,3\n", delimiter=",") == [{"a;b": "1;2", "c": 3}]


ENCODINGS = [("cp1252", "größe,€\n1,2\n"), ("utf-16", "größe,€\n1,2\n"), ("utf-8", "größe,€\n1,2\n")]


@pytest.mark.parametrize(("encoding", "text"), ENCODINGS)
def test_csv_is_read_in_its_encoding(encoding, text):
    assert csv(text.encode(encoding), encoding=encoding) == [{"größe": 1, "€": 2}]


def test_a_cell_may_be_longer_than_a_megabyte():
    long = "x" * 3_000_000
    assert csv(f"a,b\n1,{long}\n") == [{"a": 1, "b": long}]


def test_a_header_may_be_long():
    names = [f"column number {i:06}" for i in range(3_000)]
    text = ",".join(names) + "\n" + ",".join(["1"] * len(names))
    assert csv(text) == [dict.fromkeys(names, 1)]


WRONG_CSV = {
    "too few cells": ("a,b\n1,2\n3\n", "line 3 has 1 cells, the header has 2"),
    "too many cells": ("a,b\n1,2,3\n", "line 2 has 3 cells, the header has 2"),
    "after a line break in a cell": ('a,b\n"x\ny",2\n\n1,2,3\n', "line 5 has 3 cells, the header has 2"),
    "a quote that stays open": ('a,b\n1,2\n"3,4\n', "the quote that opens in line 3 is not closed"),
    "a quote in the header that stays open": ('"a,b\n1,2\n', "the quote that opens in line 1 is not closed"),
    "a long quote in the header": ('"a,b\n' + "1,2\n" * 40_000, "its header cannot be read"),
    "a delimiter that is none": ("a,b\n1,2\n", "this is not CSV"),
}


@pytest.mark.parametrize(("text", "message"), WRONG_CSV.values(), ids=WRONG_CSV)
def test_csv_is_refused_for(text, message):
    options = {"delimiter": "\n"} if message == "this is not CSV" else {}
    with pytest.raises(NodeError) as caught:
        csv(text, what="orders.csv", **options)
    assert caught.value.message.startswith(f"orders.csv: {message}")
    assert caught.value.hint
    assert not caught.value.retryable


def test_a_wrong_encoding_is_named_with_the_byte():
    with pytest.raises(NodeError, match="the file is not utf-8: byte 2 cannot be read") as caught:
        csv("größe\n1\n".encode("cp1252"))
    assert "cp1252" in str(caught.value.hint)


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "a\0b", "undefined"])
def test_an_encoding_that_is_none_is_named(encoding):
    with pytest.raises(NodeError, match="no encoding is called"):
        csv("a\n1\n", encoding=encoding)


# CSV: types

CELLS: dict[str, tuple[list[str], list[Any]]] = {
    "whole numbers": (["1", "-20", "0"], [1, -20, 0]),
    "18 digits": (["123456789012345678"], [123456789012345678]),
    "more digits than 64 bits hold": (["1234567890123456789"], ["1234567890123456789"]),
    "leading zeros": (["007", "1"], ["007", "1"]),
    "a plus": (["+5", "1"], ["+5", "1"]),
    "numbers": (["1.5", "-0.25", "3"], [1.5, -0.25, 3.0]),
    "exponents": (["1e5", "2E-3"], [100000.0, 0.002]),
    "what a float prints as": (["0.30000000000000004", "1.5"], [0.30000000000000004, 1.5]),
    "more digits than a float has": (["0.12345678901234567890", "1.5"], ["0.12345678901234567890", "1.5"]),
    "a long whole number among others": (["12345678901234567", "1.5"], ["12345678901234567", "1.5"]),
    "a huge exponent": (["1e400"], ["1e400"]),
    "no number before the point": ([".5"], [".5"]),
    "no number after the point": (["5."], ["5."]),
    "NaN": (["NaN", "1"], ["NaN", "1"]),
    "thousands": (["1 000"], ["1 000"]),
    "true and false": (["true", "false"], [True, False]),
    "other words for true": (["True", "yes"], ["True", "yes"]),
    "numbers and empty cells": (["1", "", "2"], [1, None, 2]),
    "empty cells and floats": (["", "1.5"], [None, 1.5]),
    "true and empty cells": (["", "true"], [None, True]),
    "text and empty cells": (["x", ""], ["x", ""]),
    "empty cells": (["", ""], ["", ""]),
    "numbers and text": (["1", "x"], ["1", "x"]),
    "numbers and true": (["1", "true"], ["1", "true"]),
    "null": (["null", "1"], ["null", "1"]),
    "dates": (["2026-11-23"], ["2026-11-23"]),
}


@pytest.mark.parametrize(("cells", "values"), CELLS.values(), ids=CELLS)
def test_a_column_of(cells, values):
    text = "a,b\n" + "".join(f"{cell},x\n" for cell in cells)
    assert typed([row["a"] for row in csv(text)]) == typed(values)
    assert [row["a"] for row in csv(text, types=False)] == cells


def test_a_text_after_many_numbers_keeps_the_column_text():
    assert csv("a\n" + "1\n" * 200 + "x\n")[0] == {"a": "1"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_written_as_csv_come_back_or_stay_text(numbers):
    rows = csv(items_to_csv(Items([{"n": number, "x": 1} for number in numbers])))
    assert [float(row["n"]) for row in rows] == numbers


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_text_written_as_csv_comes_back(data):
    count = data.draw(st.integers(1, 3))
    cell = st.text(st.characters(codec="utf-8"), max_size=5)
    rows = [{"key": str(i), "b": data.draw(cell), "c": data.draw(cell)} for i in range(count)]
    assert csv(items_to_csv(Items(rows)), types=False) == rows


def test_csv_is_written_with_a_header():
    rows = [{"a": 1, "b": None, "c": [1, {"x": "é"}]}, {"a": 'x,\n"y"', "b": True, "d": {}}, {"a": 0.1, "c": False}]
    assert items_to_csv(Items(rows)).decode() == (
        'a,b,c,d\n1,,"[1,{""x"":""é""}]",\n"x,\n""y""",true,,{}\n0.1,,false,\n'
    )
    assert items_to_csv(Items([{"a": 1, "b": 2}]), delimiter=";") == b"a;b\n1;2\n"


def test_half_a_surrogate_pair_is_written_as_a_question_mark():
    assert items_to_csv(Items([{"a": "x\ud800"}])) == b"a\nx?\n"


def test_the_line_in_which_a_spreadsheet_names_the_delimiter_is_no_header():
    assert items_from_csv(b"sep=;\r\na;b\r\n1;x\r\n").rows == [{"a": 1, "b": "x"}]
