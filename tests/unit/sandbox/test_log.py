"""What the author's code prints and logs."""

import pytest

from engine.sandbox.log import Log
from tests.support.sandbox import failure, run_here


@pytest.mark.parametrize(
    ("source", "log"),
    [
        ("print('a', 1, None)", [("a 1 None", 1)]),
        ("print()", [("", 1)]),
        ("\nprint('a\\nb')", [("a", 2), ("b", 2)]),
        ("print('a', end='')\nprint('b', end=' ')\nprint('c')\nprint('d', end='')", [("ab c", 1), ("d", 4)]),
        ("print(1, 2, sep=', ', end='!\\n', flush=True)", [("1, 2!", 1)]),
        ("print(1, 2, sep=None, end=None)", [("1 2", 1)]),
        ("log('a', {'b': 1})", [("a {'b': 1}", 1)]),
        ("print('half', end='')\nlog('whole')", [("half", 1), ("whole", 2)]),
        ("def f(x):\n    print(x)\n\nf('in')\nlist(map(log, ['by map']))", [("in", 2), ("by map", 5)]),
        ("import math\nprint(math)", [("<module math>", 2)]),
        ("print('\\ud800')", [("?", 1)]),
        ("class A:\n    def __str__(self):\n        return 'me'\nprint(A())", [("me", 4)]),
        ("class S(str):\n    def join(self, parts):\n        return 5\nprint(1, 2, sep=S('-'))", [("1-2", 4)]),
        ("import pandas as pd\nprint(df[['id']].head(1))\nprint(pd.Series([1]))", [
            ("   id", 2), ("0   1", 2), ("0    1", 3), ("dtype: int64", 3),
        ]),
    ],
)  # fmt: skip
def test_lines_come_with_the_line_of_the_source(source, log):
    assert run_here(source).log == log


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("for i in range(100):\n    print('12345678')", ["12345678", "12345678", "12"]),
        ("print('x' * 1000)", ["x" * 20]),
        ("for i in range(100):\n    print()", [""] * 20),
        ("for i in range(100):\n    print('é', end='')", ["é" * 10]),
        ("while True:\n    print('1234', end='')\n    log('z' * 17)\n    break", ["1234", "z" * 15]),
    ],
)
def test_a_log_is_cut_with_a_line_that_says_so(source, kept):
    texts = [text for text, _ in run_here(source, log_bytes=20).log]
    assert texts[:-1] == kept
    assert texts[-1] == "(the log was cut here: it is longer than 20 bytes)"


def test_a_line_from_no_source_has_no_line():
    lines = []
    Log(100, lambda *line: lines.append(line)).output("x")
    assert lines == [("x", 0)]


def test_separators_are_text():
    assert "sep and end must be text, not int" in failure("print(1, sep=2)")["message"]
