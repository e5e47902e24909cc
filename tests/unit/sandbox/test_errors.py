"""What an author is told: the line, what went wrong, and what to do."""

import pytest

from tests.support.sandbox import failure, run_here

ITEMS = [{"price": 5, "name": "x"}]


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\n\nreturn items[0]['cost']", 3, "line 3: KeyError: 'cost'"),
        ("def f(x):\n    return 1 / x\n\nf(1)\nf(0)", 2, "line 2: ZeroDivisionError: division by zero"),
        ("import json\n\njson.loads('{')", 3, "line 3: JSONDecodeError: Expecting property name"),
        ("t = '''\n\n'''\nraise ValueError('four')", 4, "line 4: ValueError: four"),
        ("if True:\n    x = [\n        1,\n        nope,\n    ]", 4, "line 4: NameError: name 'nope' is not defined"),
        ("x = 1\nx +=", 2, "line 2: SyntaxError: invalid syntax"),
        ("x = (1,\ny = 2", 1, "line 1: SyntaxError: '(' was never closed"),
        ("  x = 1", 1, "line 1: SyntaxError: unexpected indent"),
        ("x = 1\nbreak", 2, "line 2: SyntaxError: 'break' outside loop"),
        ("x\0y", None, "SyntaxError: source code string cannot contain null bytes"),
        ("x = '\ud800'", None, "SyntaxError: "),
        ("x = " + "[" * 250 + "]" * 250, 1, "line 1: SyntaxError: too many nested parentheses"),
        ("x = " + "-" * 20_000 + "1", None, "SyntaxError: the code is nested too deeply"),
        ("#" * 300_000, None, "the code is longer than 256 KiB"),
        ("\n\nimport os", 3, "line 3: module 'os' is not available in code nodes"),
        ("x = 1\nx._y", 2, "line 2: the attribute '_y' starts with an underscore"),
        ("\n_x = 1", 2, "line 2: the name '_x' starts with an underscore"),
        ("\n\nasync def f():\n    pass", 3, "line 3: `async def` is not available in code nodes"),
        ("class A:\n    @property\n    def x(self):\n        raise OSError(2)\nA().x", 4, "line 4: OSError: 2"),
        ("d = {}\n\nd['a']['b'] += 1", 3, "line 3: KeyError: 'a'"),
        ("items[0].price", 1, "line 1: AttributeError: 'dict' object has no attribute 'price'"),
        ("def f():\n    f()\nf()", 2, "line 2: RecursionError: maximum recursion depth exceeded"),
        ("raise Exception", 1, "line 1: Exception"),
        ("assert items == []", 1, "line 1: AssertionError"),
        ("x = (1, 2)\nx[0] = 3", 2, "line 2: TypeError: 'tuple' object does not support item assignment"),
        ("'text'.size = 3", 1, "line 1: AttributeError: 'str' object has no attribute 'size'"),
        ("df.total = 3", 1, "line 1: AttributeError: 'DataFrame' object has no attribute 'total'"),
        ("df.price.shift().nope", 1, "line 1: AttributeError: 'Series' object has no attribute 'nope'"),
    ],
)  # fmt: skip
def test_an_error_bears_its_line(source, line, message):
    facts = failure(source, ITEMS)
    assert facts["message"].startswith(message)
    assert facts["line"] == line


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("items[0]['pric']", "Did you mean 'price'?"),
        ("items[0]['pric'] += 1", "Did you mean 'price'?"),
        ("items[0]['zzz']", "Known here: price, name."),
        ("df['pric']", "Did you mean 'price'?"),
        ("df.iloc[0]['nam']", "Did you mean 'name'?"),
        ("items[0].price", 'Fields are read with brackets: item["price"].'),
        ("df.total = 1", 'A column is made with brackets: df["total"] = ...'),
        ("'x'.uper()", "Did you mean 'upper'?"),
        ("total = 1\ntotla + 1", "Did you mean 'total'?"),
        ("def f(rate):\n    return rat\nf(1)", "Did you mean 'rate'?"),
        ("pritn(1)", "Did you mean 'print'?"),
        ("return json.dumps(items)", "Add: import json"),
        ("return pd.DataFrame()", "Add: import pandas as pd"),
        ("return item", "The code runs once for all items"),
        ("open('x')", "Code nodes reach no files"),
        ("requests.get('x')", "Code nodes reach no files"),
        ("import os", "Available: base64, bisect, calendar,"),
        ("import json\njson.load", "It has: JSONDecodeError, dumps, loads."),
        ("'{}'.format(1)", "Use an f-string"),
        ("type(len)", "Use isinstance()"),
        ("return df.price", "Return a DataFrame"),
        ("return (x for x in items)", "Make a list of it"),
        ("return {'a': b'x'}", "Decode it to text"),
        ("x = 1\ny = = 2", "Look at: y = = 2"),
        ("__x = 1", "rename it"),
    ],
)
def test_an_error_says_what_to_do(source, hint):
    assert hint in failure(source, ITEMS)["hint"]


@pytest.mark.parametrize(
    "source", ["raise KeyError", "raise KeyError('x')", "zzzzzz", "{}[1]", "[][1]", "raise NameError"]
)
def test_an_error_without_advice_has_no_hint(source):
    assert failure(source, ITEMS)["hint"] is None


@pytest.mark.parametrize(
    "source",
    [
        "class D:\n    def __getitem__(self, key):\n        raise KeyError(key)\nD()['x']",
        "class E(NameError):\n    @property\n    def name(self):\n        raise ValueError\nraise E",
    ],
)
def test_advice_asks_nothing_of_the_authors_own_classes(source):
    assert failure(source)["hint"] is None


def test_the_list_of_modules_is_told_where_an_import_fails_at_run_time():
    facts = failure("try:\n    import nope\nexcept ValueError:\n    pass")
    assert "module 'nope' is not available; available: base64" in facts["message"]
    assert "it has: JSONDecodeError, dumps, loads" in failure("from json import dump")["message"]


def test_the_first_of_several_problems_is_told():
    assert failure("x = 1\ny.__class__\nimport os")["line"] == 2


def test_an_item_that_fails_is_named():
    facts = failure("item['x'] = 10 / item['n']", [{"n": 1}, {"n": 0}], shape="item")
    assert facts["item_index"] == 1
    assert facts["message"] == "line 1: ZeroDivisionError: division by zero"


def test_keeping_on_gives_the_other_items_and_all_errors():
    source = "if item['n'] == 2:\n    return {'x': len}\nreturn {'x': 10 // item['n'], 'big': 10 ** 30}"
    ran = run_here(source, [{"n": 1}, {"n": 0}, {"n": 2}, {"n": 5}], shape="item", keep_going=True)
    assert ran.items == [{"x": 10, "big": 10**30}, {"x": 2, "big": 10**30}]
    assert ran.sources == [0, 3]
    assert ran.errors["1"]["message"] == "line 3: ZeroDivisionError: integer division or modulo by zero"
    assert "field 'x' holds a function" in ran.errors["2"]["message"]


def test_a_value_that_fails_without_keeping_on_names_its_item():
    facts = failure("return {'x': len if item['n'] else 1}", [{"n": 0}, {"n": 1}], shape="item")
    assert facts["item_index"] == 1


def test_a_deep_but_honest_program_is_compiled():
    ladder = "x = 250\nif x == 0:\n    y = 0\n" + "".join(f"elif x == {n}:\n    y = {n}\n" for n in range(1, 300))
    assert run_here(f"{ladder}return {{'y': y, 's': {'+'.join(['1'] * 400)}}}", []).items == [{"y": 250, "s": 400}]


def test_a_long_message_is_cut():
    assert len(failure("raise ValueError('x' * 10000)")["message"]) == 2000


def test_checking_only_runs_nothing():
    ran = run_here("raise ValueError", check_only=True)
    assert (ran.items, ran.log) == ([], [])
