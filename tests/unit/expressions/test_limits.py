"""Nothing that an expression makes, keeps or walks through grows without bound; what would is refused beforehand."""

import resource
import time

import pytest

from engine.expressions import parse
from engine.expressions.scope import LIST_LIMIT, TEXT_LIMIT
from tests.support.expressions import error_of, scope, value_of

TEXT_5_MB = "a" * 5_000_000
ROWS = [{"i": i, "name": f"N{i}", "big": "x" * 50_000, "list": [1, 2, 3]} for i in range(1_000)]

TEXT = "a text of"
LIST = "a list of"
MADE = "the expression makes more than 256 MB for one value"
WALKED = "the expression walks through more than 50,000,000 elements for all items together"
KEPT = "the results of this expression are larger than 256 MB together"


def times(expression: str, count: int, joint: str = ",") -> str:
    return joint.join([expression] * count)


# Takes 19 million steps.
SORTED = f"([{times('item.big', 3_000)}] | sort | length)"

AMPLIFIERS = [
    ("'x' | pad(99999999)", TEXT),
    ("'7'.zfill(99999999)", TEXT),
    ("vars.big ~ vars.big ~ vars.big", TEXT),
    ("vars.big + vars.big + vars.big", TEXT),
    ("vars.big | replace('a', 'aaa')", TEXT),
    ("vars.big | replace('', 'aa')", TEXT),
    ("vars.big | upper | replace('A', '<') | escape", TEXT),
    ("vars.big | url_encode", TEXT),
    ("[vars.big, vars.big] | join(vars.big)", TEXT),
    ("vars.big.join(['', '', ''])", TEXT),
    ("[vars.big, vars.big, vars.big] | tojson", TEXT),
    ("'' ~ [vars.big, vars.big, vars.big]", TEXT),
    ("items | tojson", TEXT),
    ("items | string", TEXT),
    (f"[{times('items', 2_000)}] | string", TEXT),
    ("range(100000) | map('pad', 1000) | list", MADE),
    ("vars.big | regex_replace('a', 'b' | pad(5000))", MADE),
    ("vars.big | split('a')", LIST),
    ("vars.big | list", LIST),
    ("vars.big | lines | batch(1) | list if false else (vars.big | replace('a', '\n') | lines)", LIST),
    ("vars.big | replace('a', ',') | from_json", LIST),
    (f"[{times('range(100000)', 11)}] | flatten", LIST),
    (f"{times('range(100000)', 11, ' + ')}", LIST),
    ("[1] | batch(99999999, 0)", LIST),
    ("range(99999999)", "range gives at most 100,000 numbers"),
    ("range(0, -99999999, -1)", "range gives at most 100,000 numbers"),
    ("range(-99999999999999999999, 99999999999999999999)", "range gives at most 100,000 numbers"),
    ("[[1]] * 9", "cannot use * with a list and a number"),
    ("'a' * 9", 'cannot use * with text and a number: "a" * 9'),
    ("2 ** 9999999", "a number is too large"),
    ("(2 ** 4000) * (2 ** 4000)", "a whole number of more than 4,096 bits is too large"),
    ("5 | round(-999999999)", "round takes at most 30 decimals"),
    ("1 | number(999999999)", "number takes 0 to 30 decimals, and separators of up to 3 characters"),
    ("'ff' * 1 if false else (vars.big | int(base=16))", "int: this text is no number"),
    ("0 | date_format(vars.big)", "a date format may have 200 characters"),
    ("vars.big | date", "this text is no date that is known here"),
    ("0 | timezone(vars.big)", "there is no such timezone"),
    ("vars.big | slug", "slug takes texts of up to 10,000 characters"),
    ("vars.big.strip(vars.big)", "at most 100 characters can be stripped"),
    ("'a' | url_encode(vars.big)", "at most 100 characters can be safe"),
    ("{'a': range(20000)} | query_string", "a query has fewer than 10,000 parts"),
    ("'x' | matches(vars.big)", "a pattern may have 2,000 characters"),
    ("items", KEPT),
    (f"[{times('item.big', 400)}]", KEPT),
    (f"{{{','.join(f'{chr(34)}{n}{chr(34)}: item.big' for n in range(400))}}}", KEPT),
    ("'x' | pad(1000000) ~ item.i", KEPT),
    (f"[{times('item.big', 3_000)}] | sort | length", WALKED),
    (f"[{times('item.big', 3_000)}] | unique | length", WALKED),
    (f"[{times('item.big', 3_000)}] | max | length", WALKED),
    (f"({times('item.big ~ 1', 100)}) == ({times('item.big ~ 1', 100)})", WALKED),
    ("items | selectattr('i', '>=', item.i) | map(attribute='big') | sort | length", WALKED),
    (f"[{SORTED}, {SORTED}, vars.big | regex_find_all('a.*b|a') | length]", WALKED),
    (f"(item.i ~ vars.big) in [{times('vars.big', 500)}]", WALKED),
    (f"[items, item.i] in [{times('items', 500)}]", WALKED),
]


@pytest.mark.parametrize(("expression", "message"), AMPLIFIERS, ids=[e[:60] for e, _ in AMPLIFIERS])
def test_an_amplifier_stops_early_with_little_memory(expression, message):
    parsed = parse("{{ " + expression + " }}")
    started, before = time.process_time(), peak_bytes()
    _, errors = parsed.evaluate_all(scope(items=ROWS, vars={"big": TEXT_5_MB}), ROWS)
    assert errors
    assert errors[max(errors)].message.startswith(message)
    assert peak_bytes() - before < 600_000_000
    assert time.process_time() - started < 10


def peak_bytes() -> int:
    """The most memory this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_budget_is_for_a_pass_not_for_the_scope():
    parsed, used = parse("{{ 'x' | pad(9000000) | length }}"), scope()
    assert [parsed.evaluate(used) for _ in range(50)] == [9_000_000] * 50


def test_what_is_remembered_for_a_pass_counts_together():
    branches = " ".join(f"('{n}' | pad(9000000) | length) if item.i == {n} else" for n in range(30))
    values, errors = parse("{{ " + branches + " 0 }}").evaluate_all(scope(), [{"i": i} for i in range(40)])
    assert values[0] == 9_000_000
    assert {error.message for error in errors.values()} == {MADE}
    assert values[35] == 0


def test_one_value_is_bounded_as_a_whole():
    assert error_of(f"[{times('vars.big', 60)}]", vars={"big": TEXT_5_MB}).message == KEPT


def test_many_rows_may_have_middling_results():
    rows = [{"t": "x" * 900, "n": i} for i in range(20_000)]
    values, errors = parse("{{ item.t ~ item.n ~ item.t }}").evaluate_all(scope(), rows)
    assert not errors
    assert len(values[-1]) == 1_805


def test_one_large_value_may_be_shared_by_rows_only_within_reason():
    parsed = parse("{{ vars.big }}")
    assert parsed.evaluate_all(scope(vars={"big": TEXT_5_MB}), [{}] * 10)[1] == {}
    assert len(parsed.evaluate_all(scope(vars={"big": TEXT_5_MB}), [{}] * 100)[1]) == 100


def test_the_largest_allowed_are_allowed():
    assert len(value_of(f"'x' | pad({TEXT_LIMIT})")) == TEXT_LIMIT
    assert len(value_of("vars.l | map('default', 1) | list", vars={"l": [None] * LIST_LIMIT})) == LIST_LIMIT
    assert len(value_of("item.a", {"a": [0] * (LIST_LIMIT + 1)})) == LIST_LIMIT + 1
    assert error_of("item.l | map('default', 1)", {"l": [None] * (LIST_LIMIT + 1)}).message.startswith(LIST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ " + "(" * 31 + "1" + ")" * 31 + " }}", "brackets are nested more than 30 deep"),
        ("{{ " + "[" * 5_000 + " }}", "brackets are nested more than 30 deep"),
        ("{{ " + '{"a":' * 31 + "1" + "}" * 31 + " }}", "brackets are nested more than 30 deep"),
        ("{{ " + "not " * 10_000 + "1 }}", "the expression is nested too deeply"),
        ("{{ " + "- " * 10_000 + "1 }}", "the expression is nested too deeply"),
        ("{{ " + "a if b else " * 5_000 + "c }}", "the expression is nested too deeply"),
        ("{{ item" + ".a" * 5_000 + " }}", "the expression is nested more than 100 deep"),
        ("{{ item" + "|upper" * 5_000 + " }}", "the expression is nested more than 100 deep"),
        ("{{ 1" + "+1" * 5_000 + " }}", "the expression is nested more than 100 deep"),
        ("{{ uuid" + "()" * 5_000 + " }}", "only functions and methods can be called"),
        ("{{ 1" + "~1" * 15_000 + " }}", "the expression has more than 10,000 parts"),
        ("{{1}}" * 12_000, "the expression has more than 10,000 parts"),
        ("{{ '" + "x" * 70_000 + "' }}", "the expression is longer than 65,536 characters"),
        (
            "{{ '" + "x" * 30_000 + "' }}{{ '" + "x" * 40_000 + "' }}",
            "the expressions of this text are longer than 65,536 characters",
        ),
        ("{{ " + "1" * 60_000 + " }}", "this number is too large"),
        ("{{ " + "1_" * 30_000 + "1 }}", "this number is too large"),
    ],
)
def test_source_that_is_too_long_or_too_deep_is_refused_quickly(text, message):
    started = time.process_time()
    assert error_of(text).message.startswith(message)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "source",
    ["{{ " + "[" * 28 + "1" + "]" * 28 + " }}", "{{ 1" + " + 1" * 95 + " }}", "{{ item.a" + "|default(1)" * 30 + " }}"],
)
def test_deep_source_within_the_limits_works(source):
    value_of(source, {})


def test_deeply_nested_data_is_passed_on_or_refused_never_a_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert value_of("item.x", {"x": deep}) is deep
    assert value_of("item.x | length", {"x": deep}) == 1
    assert value_of("[item.x][0][0] | type_of", {"x": deep}) == "list"
    for expression in ("item.x | tojson", "'' ~ item.x", "item.x == [item.x]", "[item.x] | unique"):
        assert error_of(expression, {"x": deep}).message == "the data is nested too deeply"
    # Pytest's own look at the locals of a test must not fall over it.
    while deep:
        deep = deep.pop()
