"""The text around braces: when a value keeps its type, how values read in a text, and renaming labels in place."""

import pytest

from engine.errors import ExpressionError
from engine.expressions import parse, rename_labels
from tests.support.expressions import error_of, scope, value_of

ITEM = {
    "n": 5,
    "f": 1.0,
    "big": 10**30,
    "t": "Ada",
    "z": None,
    "b": False,
    "l": [1, "é", None],
    "o": {"a": 2.5},
    "e": 1e22,
}


@pytest.mark.parametrize("text", ["", "plain", "{ not this }", "100 %}", "}} alone", "{# no comment #}", "a { b } c"])
def test_plain_text_is_no_expression(text):
    assert parse(text) is None


@pytest.mark.parametrize("name", ITEM)
def test_a_lone_expression_keeps_the_values_type(name):
    found = value_of("{{ item." + name + " }}", ITEM)
    assert found == ITEM[name]
    assert type(found) is type(ITEM[name])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("n={{ item.n }}", "n=5"),
        ("{{ item.n }} ", "5 "),
        (" {{ item.n }}", " 5"),
        ("{{ item.n }}{{ item.n }}", "55"),
        ("<{{ item.f }}>", "<1.0>"),
        ("<{{ item.e }}>", "<1e+22>"),
        ("<{{ item.big }}>", "<1000000000000000000000000000000>"),
        ("<{{ item.t }}>", "<Ada>"),
        ("<{{ item.z }}>", "<>"),
        ("<{{ item.b }}>", "<false>"),
        ("<{{ item.l }}>", '<[1,"é",null]>'),
        ("<{{ item.o }}>", '<{"a":2.5}>'),
        ("<{{ [item.big] }}>", "<[1000000000000000000000000000000]>"),
        ('{"a": {{ item.n }}, "b": {"c": {{ item.o }}}}', '{"a": 5, "b": {"c": {"a":2.5}}}'),
        ("a {{- item.n -}} b", "a5b"),
        ("a\n  {{- item.n }}\n", "a5\n"),
        ("{{ item.n -}}\n\n", 5),
        ("  {{- item.n -}}  ", 5),
        ("{{+ item.n }}", 5),
        ("{{-1}}", 1),
        ("{{ -1 }}", -1),
        ("{{ '}}' }}{{ '{{' }}{# x #}", "}}{{{# x #}"),
        ('{{ "{%" }} x', "{% x"),
        ("line\r\n{{ item.n }}\r\nend\r", "line\r\n5\r\nend\r"),
        ("x {{\n item.n\n | string\n}}", "x 5"),
    ],
)
def test_values_in_a_text(text, result):
    assert value_of(text, ITEM) == result


@pytest.mark.parametrize(
    "text",
    [
        "{% if item %}x{% endif %}",
        "{{ item.n }}{% set x = 1 %}",
        "a {%- raw %}{{ x }}{% endraw %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_statements_are_refused(text):
    with pytest.raises(
        ExpressionError, match="statements are not allowed in a param; use an expression or a Code node"
    ):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {{ item", "`{{` is never closed (column 3)"),
        ("a\nbc {{ item", "`{{` is never closed (line 2, column 4)"),
        ("{{ }}", "there is nothing between {{ and }} (column 1)"),
        ("{{ 'abc }}", "a text is never closed (column 4)"),
        ('{{ item["a }}', "a text is never closed (column 9)"),
        ("{{ (1 }}", "')' is missing before this '}' (column 7)"),
        ("{{ 1) }}", "this ')' closes nothing (column 5)"),
        ("{{ 1 + }}", "unexpected 'end of the expression' (column 6)"),
        ("{{ 1 + * 2 }}", "unexpected '*' (column 8)"),
        ("{{ item. }}", "expected name or number (column 8)"),
        ("{{ item.n item.t }}", "'item' is not expected here (column 11)"),
        ("{{ item.n = 3 }}", "'=' is not expected here (column 11)"),
        ("{{ a b }}", "'b' is not expected here (column 6)"),
        ("{{ $json.x }}", "'$json' has no meaning here (column 4)"),
        ("{{ item.a && 1 }}", "'&' has no meaning here (column 11)"),
        ("{{ № }}", "'№' is no name (column 4)"),
        ("{{ " + "9" * 5000 + " }}", "this number is too large (column 4)"),
        ("{{ 1e999 }}", "this number is too large (column 4)"),
        (r"{{ '\ud800' }}", "an escape in this text is no character (column 4)"),
        (r"{{ '\Uffffffff' }}", "an escape in this text is no character (column 4)"),
        ("{{ f(a=1, a=2) }}", "unknown function 'f' (column 4)"),
        ("{{ " + "(" * 40 + "1" + ")" * 40 + " }}", "brackets are nested more than 30 deep (column 34)"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_column(text, message):
    assert error_of(text).message == message
    assert error_of(text).code == "node.expression"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ $json.x }}", "Write `item` for `$json`."),
        ('{{ $node["A"].json.x }}', 'Write node("Label").item for $node["Label"].json.'),
        ("{{ $unknown }}", "Names have no `$` here: `item`, `items`, node(...)."),
        ("{{ a && b }}", "Write `and`."),
        ("{{ !a }}", "Write `not`."),
        ("{{ a ? b : c }}", "Write `a if b else c`, and `| default(...)` for what may be missing."),
        ("{{ item.n = 3 }}", "To compare write `==`; values cannot be assigned here."),
        ("{{ item.n item.t }}", "An operator is missing before it; `~` joins values as text."),
        ("{{ 'x }}", "The text is never closed: a quote is missing."),
        ("{{ x", 'For the braces themselves write {{ "{{" }}.'),
    ],
)
def test_foreign_words_are_translated(text, hint):
    assert error_of(text).hint == hint


def test_a_label_is_renamed_in_node_only_and_all_else_stays():
    first = 'node("A") {{ node("A").item.x ~ "A" ~ node( \'A\' ).first.A }}\r\n'
    second = '{{- "node(\\"A\\")" -}} A {{ node("B").last }}'
    renamed = rename_labels(first + second, {"A": "New", "x": "y"})
    assert renamed == 'node("A") {{ node("New").item.x ~ "A" ~ node( \'New\' ).first.A }}\r\n' + second
    assert rename_labels(renamed, {"New": "A"}) == first + second


@pytest.mark.parametrize(
    "label", ['with "quotes"', "it's", "back\\slash", "two\nlines\ttab\r", "ümlaut 😀", "}}", "{{ x"]
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_any_label_can_be_written_and_read_back(label, quote):
    text = rename_labels("{{ node(" + quote + "A" + quote + ").first }}", {"A": label})
    assert parse(text).labels == (label,)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{{ node("A" "B").first }}', '{{ node("C").first }}'),
        ('{{ item.node("AB") }}', '{{ item.node("AB") }}'),
        ('{{ x | node("AB") }}', '{{ x | node("AB") }}'),
        ('{{ node ("AB").first', '{{ node ("AB").first'),
        ("{{ node }} {{ node() }} {{ node(item) }}", "{{ node }} {{ node() }} {{ node(item) }}"),
        ('{% node("AB") %}', '{% node("AB") %}'),
        ('plain node("AB")', 'plain node("AB")'),
        ('{{ node("AB").items | map(attribute="AB") }}', '{{ node("C").items | map(attribute="AB") }}'),
    ],
)
def test_only_what_is_surely_a_label_is_renamed(text, result):
    assert rename_labels(text, {"AB": "C"}) == result


def test_long_plain_text_around_an_expression_is_fine():
    text = "x" * 200_000 + "{{ item.n }}"
    assert parse(text).evaluate(scope({"n": 1})) == "x" * 200_000 + "1"


def test_the_same_text_is_parsed_once():
    assert parse("{{ item.cached }}") is parse("{{ item.cached }}")
