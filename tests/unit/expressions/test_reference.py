"""The library documents itself: every entry has words and examples, and every example holds."""

import pytest

from engine.expressions import documented, parse, reference_page
from engine.expressions.library import FILTERS, FUNCTIONS, METHODS, TESTS
from engine.expressions.reference import sample_scope

ENTRIES = documented()
EXAMPLES = [(entry, example) for entry in ENTRIES for example in entry.examples]


@pytest.mark.parametrize(
    ("entry", "example"), EXAMPLES, ids=[f"{entry.kind} {entry.name}: {e.expression}" for entry, e in EXAMPLES]
)
def test_every_example_gives_what_it_says(entry, example):
    found = parse("{{ " + example.expression + " }}").evaluate(sample_scope())
    assert found == example.result
    assert type(found) is type(example.result)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind} {entry.name}")
def test_every_entry_says_what_it_gives_and_shows_it(entry):
    assert entry.summary.endswith(".")
    assert entry.examples
    assert entry.name in entry.signature
    assert any(name in e.expression for e in entry.examples for name in (entry.name, *entry.aliases))


def test_everything_on_offer_is_documented():
    documented_names = {(entry.kind, name) for entry in ENTRIES for name in (entry.name, *entry.aliases)}
    offered = [("filter", FILTERS), ("function", FUNCTIONS), ("method", METHODS), ("test", TESTS)]
    assert {(kind, name) for kind, table in offered for name in table} <= documented_names
    assert {"map", "select", "reject", "selectattr", "rejectattr"} <= {name for kind, name in documented_names}


def test_examples_come_with_the_data_they_read():
    example = next(e for entry in ENTRIES for e in entry.examples if e.expression == "item.tags | length")
    assert example.given["item"]["tags"] == ["new", "vip"]
    assert list(example.given) == ["item"]


def test_the_page_shows_every_entry_and_every_example():
    page = reference_page()
    assert page.startswith("# Expressions\n")
    assert [entry.signature for entry in ENTRIES if f"`{entry.signature}`" not in page] == []
    assert [e.expression for _, e in EXAMPLES if f"`{e.expression}`" not in page] == []
    assert page.count("\n## ") == 10
