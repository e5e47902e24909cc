"""What holds for any data and any text."""

import json
import math
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ExpressionError
from engine.expressions import documented, parse, rename_labels
from tests.support.expressions import scope, value_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
WORDS = [
    *[
        "item",
        ".",
        "x",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "|",
        "~",
        "+",
        "-",
        "*",
        "**",
        "/",
        "//",
        "%",
        "==",
        "<",
        "in",
        "not",
        "and",
    ],
    *[
        "if",
        "else",
        "is",
        "1",
        "2.5",
        "'a'",
        '"b"',
        ",",
        ":",
        "=",
        "none",
        "true",
        "items",
        "node",
        "vars",
        "now",
        "$",
        "!",
        "\\",
    ],
    *sorted({entry.name for entry in documented()}),
]


def examples(count: int) -> settings:
    """So many examples, however slow the machine."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(a: Any, b: Any) -> bool:
    """Equal in kind and value, all the way down; NaN is itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b or a != a)


@examples(100)
@given(VALUES)
def test_any_value_passes_through_unchanged(value):
    assert value_of("{{ item.x }}", {"x": value}) is value
    assert same(value_of("{{ item['x'] | default(1) }}", {"x": value}), 1 if value is None else value)
    values, errors = parse("{{ item.x }}").evaluate_all(scope(), [{"x": value}, {"x": value}])
    assert not errors
    assert values[0] is values[1] is value


@examples(100)
@given(TEXTS, TEXTS)
def test_any_text_around_an_expression_stays(before, after):
    before, after = before.replace("{", "("), after.replace("{", "(")
    assert value_of(before + "{{ item.x }}" + after, {"x": "-"}) == f"{before}-{after}"


@examples(100)
@given(TEXTS)
def test_any_name_can_be_a_field(name):
    # JSON writes two characters in a way that texts in expressions do not know.
    other = {"b": "\\x08", "f": "\\x0c"}
    literal = re.sub(r"\\(.)", lambda found: other.get(found[1], found[0]), json.dumps(name))
    assert value_of(f"item[{literal}]", {name: 5}) == 5
    assert value_of("item[vars.name]", {name: 5}, vars={"name": name}) == 5


@examples(100)
@given(VALUES)
def test_json_written_is_json_read(value):
    written = value_of("item.x | tojson", {"x": value})
    assert same(json.loads(written, parse_constant=refuse), without_nan(value))


@examples(300)
@given(st.text())
def test_any_text_in_braces_gives_a_value_or_an_expression_error(text):
    attempt("{{ " + text + " }}")
    attempt(text)


@examples(500)
@given(st.lists(st.sampled_from(WORDS), max_size=12), VALUES)
def test_any_words_in_braces_give_a_value_or_an_expression_error(words, value):
    attempt("{{ " + " ".join(words) + " }}", value)


@examples(300)
@given(st.data())
def test_any_function_of_any_values_gives_json_or_an_expression_error(data):
    entry = data.draw(st.sampled_from([entry for entry in documented() if entry.kind != "name"]))
    count = data.draw(st.integers(0, 3))
    arguments = ", ".join(f"item.x[{n + 1}]" for n in range(count))
    call = f"{entry.name}({arguments})" if arguments else entry.name
    forms = {
        "filter": f"item.x[0] | {call}",
        "test": f"item.x[0] is {call}",
        "method": f"item.x[0].{entry.name}({arguments})",
    }
    values = [data.draw(VALUES) for _ in range(4)]
    attempt("{{ " + forms.get(entry.kind, f"{entry.name}({arguments})") + " }}", values)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def attempt(text: str, value: Any = None) -> None:
    try:
        parsed = parse(text)
        if parsed is not None:
            found = parsed.evaluate(scope({"x": value}, items=[{"x": value}]))
            assert type(found) in (str, int, float, bool, type(None), list, dict)
    except ExpressionError as exc:
        assert exc.message
        assert "object at 0x" not in exc.message


@examples(100)
@given(TEXTS)
def test_renaming_nothing_changes_nothing(text):
    assert rename_labels(text, {}) == text
    assert rename_labels("{{ node('A').first }}" + text, {"B": "C"}) == "{{ node('A').first }}" + text
