"""Operators and literals over JSON values, and what is not a number, a text or a list."""

import pytest

from tests.support.expressions import error_of, value_of

ITEM = {
    "n": 7,
    "f": 2.5,
    "t": "text",
    "b": True,
    "z": None,
    "l": [1, 2],
    "o": {"a": 1},
    "big": 2**4000,
    "nan": float("nan"),
    "long": "x" * 2_000,
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("item.n - 10", -3),
        ("7 / 2", 3.5),
        ("6 / 2", 3.0),
        ("item.n // 2", 3),
        ("item.n % 4", 3),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("4 ** 0.5", 2.0),
        ("1 ** 99999999999", 1),
        ("(-1) ** 99999999999", -1),
        ("0 ** 99999999999", 0),
        ("-item.n", -7),
        ("+item.f", 2.5),
        ("- 5", -5),
        ("1_000 + 0x10", 1016),
        ("1.5e3", 1500.0),
        ("item.n * item.f", 17.5),
        ("2 ** 3999 + 2 ** 3999", 2**4000),
        ('"a" + "b"', "ab"),
        ("item.l + [3]", [1, 2, 3]),
        ('item.t ~ 1 ~ none ~ true ~ 2.5 ~ [1, "x"]', 'text1true2.5[1,"x"]'),
        ('"a" "b"', "ab"),
    ],
)
def test_arithmetic_and_joining(expression, value):
    found = value_of(expression, ITEM)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("item.n == 7", True),
        ("item.n == 7.0", True),
        ("item.n != 7", False),
        ('item.t == "text"', True),
        ("item.t == 5", False),
        ("item.z == none", True),
        ("item.l == [1, 2]", True),
        ("item.long == item.long ~ ''", True),
        ("item.long < item.long ~ '!'", True),
        ("item.long != item.t", True),
        ('item.o != {"a": 2}', True),
        ('"a" < "b"', True),
        ("2.5 >= item.f", True),
        ("item.n <= 6", False),
        ('"ex" in item.t', True),
        ("1 in item.l", True),
        ("[1] in item.l", False),
        ('"x" in item.l', False),
        ('"a" in item.o', True),
        ("1 in item.o", False),
        ("3 not in item.l", True),
        ("not item.z", True),
        ("item.z or item.n", 7),
        ("item.n and item.z", None),
        ("item.n and item.t", "text"),
        ('"yes" if item.b else "no"', "yes"),
        ('"yes" if item.z', None),
        ('"a" if item.z else "b" if item.n else "c"', "b"),
        ("item.z or item.missing if item.n > 100 else 1", 1),
    ],
)
def test_comparing_and_choosing(expression, value):
    assert value_of(expression, ITEM) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("true", True),
        ("True", True),
        ("False", False),
        ("none", None),
        ("None", None),
        ("[]", []),
        ("[1, [2]]", [1, [2]]),
        ("(1, 2)", [1, 2]),
        ("1, 2", [1, 2]),
        ("{}", {}),
        ('{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        ('{item.t: 1, "x": none}', {"text": 1, "x": None}),
        (r"'it\'s'", "it's"),
        (r'"a\nb\tc\\d"', "a\nb\tc\\d"),
        (r'"\d+\.\1\b"', r"\d+\.\1\b"),
        (r'"\u00e9\xe9\U0001f600"', "éé😀"),
        (r'"\ud83d\ude00"', "😀"),
        ('"}} {{ %}"', "}} {{ %}"),
    ],
)
def test_literals(expression, value):
    assert value_of("{{ " + expression + " }}", ITEM) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("item.n + item.t", "cannot use + with a number and text: item.n + item.t"),
        ("item.t - 1", "cannot use - with text and a number: item.t - 1"),
        ("item.t * 3", "cannot use * with text and a number: item.t * 3"),
        ("item.l * 3", "cannot use * with a list and a number: item.l * 3"),
        ("item.l + item.t", "cannot use + with a list and text: item.l + item.t"),
        ("item.o + item.o", "cannot use + with an object and an object: item.o + item.o"),
        ("item.b + 1", "cannot use + with a boolean and a number: item.b + 1"),
        ("1 + item.z", "cannot use + with a number and null: 1 + item.z"),
        ("(item.n | int) + item.t", "cannot use + with a number and text"),
        ("-item.t", "cannot use - with text"),
        ("+item.b", "cannot use + with a boolean"),
        ("item.t % 3", "cannot use % with text and a number: item.t % 3"),
        ("item.n / 0", "division by zero"),
        ("item.n // (item.n - 7)", "division by zero"),
        ("item.n % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("(-8) ** 0.5", "a negative number has no fractional power"),
        ("1e300 * 1e300", "the result is no number: it is too large, or made from one that is none"),
        ("item.nan + 1", "the result is no number: it is too large, or made from one that is none"),
        ("item.big * item.big", "a whole number of more than 4,096 bits is too large"),
        ("item.big * item.f", "a number is too large"),
        ("2 ** 100000", "a number is too large"),
        ("9 ** 9 ** 9 ** 9 ** 9", "a number is too large"),
        ("10.0 ** 400", "a number is too large"),
        ("item.t < 5", "cannot compare text with a number by <"),
        ("1 < item.z", "cannot compare a number with null by <"),
        ("item.l < item.l", "cannot compare a list with a list by <"),
        ("item.b > false", "cannot compare a boolean with a boolean by >"),
        ("1 < 2 < item.t", "cannot compare a number with text by <"),
        ("1 in item.t", "cannot look for a number in text"),
        ("1 in item.n", "cannot look for a number in a number"),
        ("{item.n: 1}", "the names of an object's fields are texts, not a number"),
    ],
)
def test_kinds_that_do_not_fit_are_named(expression, message):
    assert error_of("{{ " + expression + " }}", ITEM).message == message


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("item.n + item.t", "`~` joins values as text; `| float` and `| int` read a number from a text."),
        ("item.b + 1", "A boolean is no number; `| int` makes it 1 or 0."),
        ("item.z + 1", "`| default(0)` gives a number where there is none."),
        ("'%d' % 1", "Texts are not formatted with %: write `| number(2)`, and join with `~`."),
        ("item.t < 5", "`| float` reads a number from a text."),
        ("item.z < 5", "`| default(...)` gives a value where there is none."),
    ],
)
def test_the_hint_names_the_way_to_a_fitting_kind(expression, hint):
    assert error_of(expression, ITEM).hint == hint


def test_a_value_that_is_no_json_is_passed_on_but_not_worked_with():
    stranger = object()
    assert value_of("item.x", {"x": stranger}) is stranger
    assert error_of("item.x.y", {"x": stranger}).message == 'item.x is no JSON value, so it has no field "y"'
    assert error_of("item.x | upper", {"x": stranger}).message == "upper needs text, but item.x is no JSON value"
    assert error_of("item.x ~ 1", {"x": stranger}).message == "this data does not fit the expression"
