"""What people write in code nodes, and what must come out."""

import json

import pytest

from tests.support.sandbox import programs, run_here

PROGRAMS = programs("honest_programs.txt")


@pytest.mark.parametrize(("source", "expected"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_an_honest_program_gives_what_it_says(source, expected):
    assert run_here(source).items == json.loads(expected)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter():
    assert run_here('\ufeffx = 1\r\nif x:\r\n    return {"x": x}\r\n').items == [{"x": 1}]


def test_a_file_of_comments_changes_nothing():
    assert run_here("# nothing yet", [{"a": 1}]).items == [{"a": 1}]
