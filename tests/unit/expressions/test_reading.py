"""What expressions read: the item, rows, earlier nodes, variables; and what they say where something is missing."""

import pytest

from engine.errors import ExecutionCancelled, ExpressionError, MissingValue
from engine.expressions import Scope, parse
from tests.support.expressions import error_of, scope, value_of

ITEM = {
    "name": "Ada",
    "items": [1, 2],
    "get": "a field",
    "keys": None,
    "a b": 5,
    "address": {"city": "London", "zip": None, "geo": {"lat": 1.5}},
    "tags": ["x", "y", "z"],
    "größe": 7,
    "__class__": "data",
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("item.name", "Ada"),
        ("json.name", "Ada"),
        ('item["name"]', "Ada"),
        ('item["a b"]', 5),
        ('item["na" ~ "me"]', "Ada"),
        ("item.größe", 7),
        ("item.address.city", "London"),
        ("item.address.zip", None),
        ("item.address.geo.lat", 1.5),
        ('item["address"]["city"]', "London"),
        ("item.tags[0]", "x"),
        ("item.tags.0", "x"),
        ("item.tags[-1]", "z"),
        ("item.tags[item.items[0]]", "y"),
        ("item.tags[1:]", ["y", "z"]),
        ("item.tags[:-1]", ["x", "y"]),
        ("item.tags[::-1]", ["z", "y", "x"]),
        ("item.tags[5:9]", []),
        ("item.name[0]", "A"),
        ("item.name[1:]", "da"),
        ("item", ITEM),
        ("now", "2026-03-15T12:00:00+00:00"),
        ("vars.rate", 2),
        ('vars["rate"]', 2),
        ("workflow.name", "Orders"),
        ("execution.id", "e1"),
        ("items | length", 2),
        ("items[1].n", 2),
    ],
)
def test_names_fields_and_positions_are_read(expression, value):
    rows = [{"n": 1}, {"n": 2}]
    found = value_of(expression, ITEM, items=rows, vars={"rate": 2}, workflow_name="Orders", execution_id="e1")
    assert found == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("item.items", [1, 2]),
        ("item.get", "a field"),
        ("item.keys", None),
        ("item.__class__", "data"),
        ('item.get("name")', "Ada"),
        ("item.items() | length", len(ITEM)),
        ("item.keys() | first", "name"),
    ],
)
def test_a_field_goes_before_a_method_and_brackets_call_the_method(expression, value):
    assert value_of(expression, ITEM) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('item.get("nope")', None),
        ('item.get("nope", 1)', 1),
        ('item.get("name", 1)', "Ada"),
        ("item.nope | default(1)", 1),
        ("item.nope | default", None),
        ("item.nope | d(1)", 1),
        ("item.address.zip | default(1)", 1),
        ("item.a.b.c | default(1)", 1),
        ("item.address.zip.code.x | default(1)", 1),
        ("item.name.x | default(1)", 1),
        ("item.tags[7] | default(1)", 1),
        ('item.tags["x"] | default(1)', 1),
        ("item.nope[1:] | default(1)", 1),
        ("item.nope.upper() | default(1)", 1),
        ("(item.nope | upper) | default(1)", 1),
        ("vars.nope | default(1)", 1),
        ('node("A").first.nope | default(1)', 1),
        ('node("Empty").first.nope | default(1)', 1),
        ('node("Empty").last | default(1)', 1),
        ('node("Empty").item | default(1)', 1),
        ("item.name | default(1)", "Ada"),
        ("item.nope | default(item.alias | default(3))", 3),
        ('"" | default("x")', ""),
        ('"" | default("x", true)', "x"),
        ("0 | default(1, boolean=true)", 1),
        ("coalesce(item.nope, item.address.zip, item.name)", "Ada"),
        ("coalesce(item.nope, vars.nope)", None),
        ("coalesce()", None),
        ("item.nope is defined", False),
        ("item.nope is undefined", True),
        ("item.nope is not defined", True),
        ("item.address.zip is defined", True),
        ("item.address.zip.code is defined", False),
        ("item.name is defined", True),
        ("vars.nope is defined", False),
        ("[] | first | default(9)", 9),
        ("[] | max | default(9)", 9),
    ],
)
def test_default_get_coalesce_and_defined_answer_for_what_is_missing(expression, value):
    assert value_of(expression, ITEM, nodes={"A": [{"n": 1}], "Empty": []}) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("item.totl", 'item has no field "totl"; did you mean "total"?'),
        ("json.totl", 'json has no field "totl"; did you mean "total"?'),
        ('item["totl"]', 'item has no field "totl"; did you mean "total"?'),
        ("item.zzz", 'item has no field "zzz"; it has total, address, tags, none, flag'),
        ("item.address.citi", 'item.address has no field "citi"; did you mean "city"?'),
        ("item.address.city.x", 'item.address.city is text, so it has no field "x"'),
        ("item.none.x", 'item.none is null, so it has no field "x"'),
        ("item.total.x", 'item.total is a number, so it has no field "x"'),
        ("item.flag.x", 'item.flag is a boolean, so it has no field "x"'),
        ("item.tags.x", 'item.tags is a list, so it has no field "x"'),
        ("item.tags[3]", "item.tags has no position 3: its length is 1"),
        ("item.tags[1.5]", "item.tags is a list: its positions are whole numbers, not a number"),
        ("item.tags[true]", "item.tags is a list: its positions are whole numbers, not a boolean"),
        ("item.total[0]", "item.total is a number, so it has no parts"),
        ("item[0]", "item is an object: its fields have names, not a number"),
        ("item[none]", "item is an object: its fields have names, not null"),
        ("{}.x", 'this value has no field "x"'),
        ("vars.rat", 'there is no variable "rat"; did you mean "rate"?'),
        ("item.tags[:'a']", "a slice has whole numbers, and a step other than 0"),
        ("item.tags[::0]", "a slice has whole numbers, and a step other than 0"),
        ("item.total[1:]", "item.total is a number: only lists and texts can be sliced"),
        ('node("A").first.m', 'node("A").first has no field "m"; it has n'),
        ('node("Empty").first', 'there is no node("Empty").first'),
        ('node("Empty").item.x', 'there is no node("Empty").item'),
    ],
)
def test_what_is_missing_is_named_with_the_nearest_there_is(expression, message):
    item = {"total": 3, "address": {"city": "London"}, "tags": ["x"], "none": None, "flag": True}
    error = error_of(expression, item, vars={"rate": 1}, nodes={"A": [{"n": 1}], "Empty": []})
    assert error.message == message


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("item.nope", 'Where it may be missing, write item.get("nope") or ... | default(...).'),
        ("item.name.upper", "A method has brackets: item.name.upper()."),
        ("item.tags.length", "A filter follows a bar: item.tags | length."),
        ("item.tags.city", 'For one field of every element write | map(attribute="city").'),
        ("items | map(attribute='zz')", "Where it may be missing, write ... | default(...)."),
    ],
)
def test_the_hint_says_what_to_write_instead(expression, hint):
    assert error_of(expression, {"name": "Ada", "tags": ["x"]}, items=[{"a": 1}]).hint == hint


def test_a_missing_field_can_be_told_from_other_errors():
    assert isinstance(error_of("item.nope", {}), MissingValue)
    assert isinstance(error_of("item.tags[0]", {"tags": []}), MissingValue)
    assert not isinstance(error_of("item.a + 1", {"a": "x"}), MissingValue)


def test_long_names_and_huge_objects_make_short_messages():
    item = {f"field{n}": n for n in range(10_000)} | {"y" * 5_000: 1}
    error = error_of(f'item["{"x" * 5_000}"]', item)
    assert len(error.message) < 300
    assert len(error.hint or "") < 300


def test_a_row_with_an_error_does_not_stop_the_others():
    parsed = parse("{{ item.total }}")
    values, errors = parsed.evaluate_all(scope(), [{"total": 1}, {"totl": 2}, {"total": 3}])
    assert values == [1, None, 3]
    assert [(index, error.item_index, error.message) for index, error in errors.items()] == [
        (1, 1, 'item has no field "total"; did you mean "totl"?')
    ]


def test_each_row_sees_its_own_item_and_its_own_item_of_an_earlier_node():
    parsed = parse('{{ item.n ~ node("A").item.m }}')
    values, errors = parsed.evaluate_all(scope(nodes={"A": [{"m": "a"}, {"m": "b"}]}), [{"n": 1}, {"n": 2}, {"n": 3}])
    assert values == ["1a", "2b", None]
    assert errors[2].message == 'there is no node("A").item'


def test_rows_may_be_any_sequence():
    rows = ({"n": 1}, {"n": 2})
    assert value_of("items + node('A').items", items=rows, nodes={"A": rows}) == [*rows, *rows]


def test_without_an_item_or_nodes_the_error_says_so():
    assert error_of("item.a").message == "there is no current item here"
    parsed = parse('{{ node("A").first }}')
    with pytest.raises(ExpressionError, match="cannot be read here"):
        parsed.evaluate(Scope())


class Broken:
    """A view of a node that did not run."""

    items = ()

    @property
    def first(self):
        raise ExpressionError('"A" has no output: it did not run', hint="Run it first.")

    @property
    def last(self):
        raise ExecutionCancelled("stopped")

    def item(self, index):
        raise MissingValue("this item came from no item of it")


def test_errors_of_an_earlier_node_come_through_with_their_hint():
    parsed = parse('{{ node("A").first.x }}')
    values, errors = parsed.evaluate_all(Scope(node=lambda label: Broken()), [{}, {}])
    assert values == [None, None]
    assert [(e.message, e.hint, e.item_index) for e in errors.values()] == [
        ('"A" has no output: it did not run', "Run it first.", 0),
        ('"A" has no output: it did not run', "Run it first.", 1),
    ]


def test_default_answers_for_a_missing_item_of_an_earlier_node():
    assert parse('{{ node("A").item.x | default(1) }}').evaluate(Scope(node=lambda label: Broken())) == 1


def test_stopping_is_not_an_error_of_the_expression():
    parsed = parse('{{ node("A").last ~ item.n }}')
    with pytest.raises(ExecutionCancelled):
        parsed.evaluate_all(Scope(node=lambda label: Broken()), [{"n": 1}])


def test_what_is_the_same_for_every_row_is_computed_once():
    asked = []

    class Counted:
        items = [{"n": 1}, {"n": 2}]
        first = last = {}

        def item(self, index):
            return self.items[index]

    def node(label):
        asked.append(label)
        return Counted()

    parsed = parse('{{ item.n / (node("A").items | sum("n")) }}')
    values, _ = parsed.evaluate_all(Scope(node=node), [{"n": 3}, {"n": 6}])
    assert values == [1.0, 2.0]
    assert asked == ["A"]


def test_an_expression_without_item_is_computed_once_for_all_rows():
    parsed = parse("{{ vars.list + [1] }}")
    values, _ = parsed.evaluate_all(scope(vars={"list": [0]}), [{}] * 3)
    assert values == [[0, 1]] * 3
    assert parsed.evaluate_all(scope(), []) == ([], {})
    _, errors = parsed.evaluate_all(scope(), [{}] * 2)
    assert [error.item_index for error in errors.values()] == [0, 1]


def test_chance_differs_from_row_to_row():
    values, _ = parse("{{ uuid() }}").evaluate_all(scope(), [{}] * 5)
    assert len(set(values)) == 5


@pytest.mark.parametrize(
    "text", ["{{ item.a }}", "{{item.a.b_1}}", "{{ item.items }}", "{{ item.and.none }}", "{{ item.get }}"]
)
def test_a_plain_field_is_read_as_the_parser_reads_it(text):
    quick, parsed = parse(text), parse(text.replace("item.", "item . "))
    for name in ("single", "uses", "labels", "fields", "path", "per_item", "volatile"):
        assert getattr(quick, name) == getattr(parsed, name)
    for item in ({"a": {"b_1": 2}, "items": 3, "and": {"none": 4}, "get": 5}, {"b": 1}, {"a": None}):
        outcomes = []
        for expression in (quick, parsed):
            try:
                outcomes.append(expression.evaluate(Scope(item=item)))
            except ExpressionError as exc:
                outcomes.append((exc.message, exc.hint))
        assert outcomes[0] == outcomes[1]
