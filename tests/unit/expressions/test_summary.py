"""What an expression tells about itself before it is computed: the executor plans and hashes by it."""

import pytest

from engine.expressions import parse


@pytest.mark.parametrize(
    ("expression", "uses"),
    [
        ("1 + 1", set()),
        ("item.a", {"item"}),
        ("json.a", {"item"}),
        ("items | length", {"items"}),
        ('node("A").first.x', {"node"}),
        ('node("A").item.x ~ item.y', {"node", "item"}),
        ("vars.a", {"vars"}),
        ("now", {"now"}),
        ("today()", {"now"}),
        ("execution.id", {"execution"}),
        ("workflow.name", {"workflow"}),
        ("item.at | date_format", {"item", "workflow"}),
        ("items | map('date')", {"items", "workflow"}),
        ("uuid()", {"random"}),
        ("random()", {"random"}),
        ("random_int(1, item.n)", {"random", "item"}),
    ],
)
def test_what_it_depends_on(expression, uses):
    parsed = parse("{{ " + expression + " }}")
    assert parsed.uses == uses
    assert parsed.per_item == ("item" in uses or ".item" in expression)
    assert parsed.volatile == bool(uses & {"now", "execution", "random"})


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("1", set()),
        ("item.a", {"a"}),
        ("json.a", {"a"}),
        ('item["a b"]', {"a b"}),
        ("item.a.b ~ item.c[0]", {"a", "c"}),
        ('item.get("a")', {"a"}),
        ('item.get("a", item.b)', {"a", "b"}),
        ("item.a | default(item.b)", {"a", "b"}),
        ("item.a is defined", {"a"}),
        ("coalesce(item.a, item.b)", {"a", "b"}),
        ("item.a.get('x')", {"a"}),
        ('node("A").item.x', set()),
        ("item", None),
        ("item | tojson", None),
        ("item[vars.x]", None),
        ("item.get(vars.x)", None),
        ('"a" in item', None),
        ("item.keys()", None),
        ("[item.a, item]", None),
        ("item[0]", None),
        ("item | default({})", None),
    ],
)
def test_the_fields_of_the_item_that_it_reads(expression, fields):
    found = parse("{{ " + expression + " }}").fields
    assert found == (None if fields is None else frozenset(fields))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ item.a }}", ("a",)),
        ("{{ json.a.b[0] }}", ("a", "b", 0)),
        ('{{item["a b"].c}}', ("a b", "c")),
        ("{{- item.a -}}", ("a",)),
        ("{{ item }}", None),
        ("{{ item.a | upper }}", None),
        ("{{ item[vars.x] }}", None),
        ("{{ item.a[1:] }}", None),
        ('{{ node("A").item.a }}', None),
        ("{{ vars.a }}", None),
        ("{{ item.a }} ", None),
        ("{{ item.a }}{{ item.b }}", None),
        ("{{ (item.a, 1) }}", None),
    ],
)
def test_a_plain_path_is_recognised(text, path):
    assert parse(text).path == path


def test_labels_come_in_order_of_first_use():
    parsed = parse('{{ node("B").first }} {{ node("A").items ~ node("B").last }}')
    assert parsed.labels == ("B", "A")
    assert not parsed.node_item
    assert not parsed.per_item


def test_the_item_of_an_earlier_node_depends_on_the_current_item():
    parsed = parse('{{ node("A").item.x }}')
    assert parsed.node_item
    assert parsed.per_item
    assert parsed.uses == {"node"}


def test_names_of_variables_are_known():
    assert parse('{{ vars.a ~ vars["b c"] }} {{ vars.a | default(1) }}').vars == {"a", "b c"}


def test_single_and_text_are_kept():
    parsed = parse("{{ item.a }}")
    assert (parsed.text, parsed.single) == ("{{ item.a }}", True)
    assert not parse("x{{ item.a }}").single


def test_an_expression_cannot_be_changed():
    with pytest.raises(AttributeError):
        parse("{{ item.a }}").text = "x"
